"""What only a person may decide: who comes in, and what is gone for good.

One gate for every command that does such a thing. An agent's shell never passes it,
whatever it says; a person is asked at the terminal, or has answered with the command.
Over MCP it is the app that asks. A program that uses the library asks nobody: its user
wrote it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parler.apps.registry import all_apps
from parler.apps.running import all_apps_above
from parler.ask.hops import hops
from parler.errors import UsageError
from parler.identity.homes import in_agent_shell


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """Something that a person has to decide."""

    what: str
    """As in "an agent cannot …"."""

    question: str
    """What is asked: its last line is what yes or no answers."""

    line: str
    """The command that a person can run from any terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonGate:
    """How the person behind a command is reached."""

    environment: Mapping[str, str]
    pid: int
    ask: Callable[[str], bool] | None
    """Puts a question on the terminal; None if there is none."""

    yes: bool = False
    """It was answered with the command."""

    def check(self, deciding: Deciding) -> None:
        """Refuse what an agent's shell runs.

        Raises:
            UsageError: One runs us.
        """
        if by_an_agent(self.environment, self.pid):
            raise UsageError(
                f"an agent cannot {deciding.what}: that is for its user to decide, in "
                "a terminal of their own",
                next_step=deciding.line,
            )

    def agrees(self, deciding: Deciding) -> bool:
        """Whether a person wants it.

        Raises:
            UsageError: An agent runs us, or there is nobody to ask.
        """
        self.check(deciding)
        if self.yes:
            return True
        if self.ask is None:
            raise UsageError(
                "this asks a person first, and there is no terminal to ask on",
                next_step=f"{deciding.line} --yes",
            )
        return self.ask(deciding.question)


def by_an_agent(environment: Mapping[str, str], pid: int) -> bool:
    """Whether an agent runs a process, as far as that can be seen.

    A terminal within an editor is a person's: editors do not count.
    """
    if in_agent_shell(environment) or hops(environment, pid=pid) > 0:
        return True
    if any(environment.get(mark) for app in all_apps() for mark in app.marks):
        return True
    return any(not app.is_editor for app in all_apps_above(pid))
