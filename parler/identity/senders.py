"""Whose direct messages the person let through or turned away.

One small file in the machine home: what is decided once holds for all agents of this
user. Who is known without a decision is not known here (`client.acquaintance`).
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from parler.errors import ConfigError
from parler.machine.files import aside, locked, read_private, write_private
from parler.wire.base import AgentId

FILE_NAME = "senders.json"
MAX_SENDERS = 8000
"""Of each kind; the oldest decisions are forgotten first."""


class Decisions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided so far."""

    accepted: list[AgentId] = []
    declined: list[AgentId] = []
    strangers: bool = False
    """Everybody's direct messages come through unasked."""


class Senders:
    """The decisions of one machine home; processes share the file."""

    def __init__(self, machine_home: Path) -> None:
        """Use the file in `machine_home`; nothing is read yet."""
        self.path = machine_home / FILE_NAME

    def read(self) -> Decisions:
        """What was decided.

        Raises:
            ConfigError: The file is damaged or readable by others: nobody is let
                through by guess.
        """
        try:
            return msgspec.json.decode(read_private(self.path), type=Decisions)
        except FileNotFoundError:
            return Decisions()
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(
                f"{self.path} is damaged: {error}",
                next_step=f"{aside(self.path)}; who was accepted has to be again",
            ) from None

    def accept(self, agent: AgentId) -> None:
        """Let an agent's direct messages through from now on.

        Raises:
            ConfigError: It cannot be written.
        """
        self._decide(agent, accepted=True)

    def decline(self, agent: AgentId) -> None:
        """Drop an agent's direct messages from now on, without a word.

        Raises:
            ConfigError: It cannot be written.
        """
        self._decide(agent, accepted=False)

    def let_strangers_through(self, allowed: bool) -> None:
        """Whether everybody's direct messages come through unasked.

        Raises:
            ConfigError: It cannot be written.
        """
        self._change(lambda now: replace(now, strangers=allowed))

    def _decide(self, agent: AgentId, *, accepted: bool) -> None:
        def decided(now: Decisions) -> Decisions:
            taken, refused = (
                [one for one in known if one != agent]
                for known in (now.accepted, now.declined)
            )
            (taken if accepted else refused).append(agent)
            return replace(
                now, accepted=taken[-MAX_SENDERS:], declined=refused[-MAX_SENDERS:]
            )

        self._change(decided)

    def _change(self, change: Callable[[Decisions], Decisions]) -> None:
        with locked(self.path):
            before = self.read()
            after = change(before)
            if after != before:
                write_private(self.path, msgspec.json.encode(after))
