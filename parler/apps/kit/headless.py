"""Running an agent app without a screen: what it declares, and help for reading it.

What holds an agent back that answers is a list of the only tools it is given, or a
sandbox of the app's own. An app's "plan" mode is not enough: in three of these apps a
command that the user once allowed for good still runs in it and writes. The words of a
question are no part of a command line.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from parler.apps.kit.permission import Permission

MAX_SESSION_CHARS = 200
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)

PROMPT = "Do what stdin asks for, within the rules it begins with."

# What an answer must never hold; in these places keys and tokens are kept.
SECRETS = (
    *("~/.ssh/**", "~/.gnupg/**", "~/.aws/**", "~/.azure/**", "~/.kube/**"),
    *("~/.config/gcloud/**", "~/.config/gh/**", "~/.docker/**", "~/.netrc"),
    *("~/.npmrc", "~/.pypirc", "~/.git-credentials", "~/.parler/**"),
    *("~/.claude.json", "~/.claude/.credentials.json", "~/.codex/auth.json"),
    *("~/.gemini/oauth_creds.json", "~/.gemini/.env"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that does a task and ends."""

    name: str
    command: Sequence[str]
    is_agent: bool = True
    """Is given a prompt; otherwise one object of JSON."""

    keeps: Sequence[str] = ()
    """Variables it needs beside the common ones; a final ``*`` stands for any end."""

    sets: Mapping[str, str] = field(default_factory=dict)
    """Variables that are ours to set, unless the user passes them on."""

    more: Callable[[Mapping[str, str], Path], Sequence[str]] = lambda *_: ()
    """Arguments that depend on its environment and on the folder."""

    def arguments(self, environment: Mapping[str, str], folder: Path) -> list[str]:
        """The whole command, for now: settings of the user's may change meanwhile."""
        return [*self.command, *self.more(environment, folder)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one run of an agent depends on."""

    permission: Permission
    session: str | None
    """The app's name of the conversation to go on with; None begins one."""

    fresh_id: str
    """A name that a new conversation may be given."""

    usd: float
    folder: Path
    """A private folder of ours, for what must be a file."""

    place: Path
    """Where it works: the project's folder."""

    home: Path
    """The user's, as the app sees it."""

    servers: Sequence[str] = ()
    """Names of MCP servers that the app would start, where it has to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How an agent is started; `files` have to be there first."""

    command: list[str]
    variables: Mapping[str, str]
    files: Mapping[Path, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent said in the end."""

    text: str = ""
    session: str | None = None
    usd: float | None = None
    tokens: int | None = None
    error: str | None = None
    """Why there is no answer, in the app's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headless:
    """How an agent app works and answers while nobody watches."""

    work: Runner
    """Does a task; also which variables the app needs, and its program."""

    launch: Callable[[Start], Launch]
    """Answers a question."""

    read: Callable[[str], Answer]
    """What it printed then."""

    lists_servers: Sequence[str] = ()
    """The command that names its MCP servers without starting them."""

    servers: Callable[[Any], list[str]] = lambda _: []
    """The names in what that prints; raises if they are not there."""

    lost: re.Pattern[str]
    """What it says when it has lost a conversation."""

    @property
    def program(self) -> str:
        """What has to be on the PATH."""
        return self.work.command[0]

    def server_names(self, output: str) -> list[str] | None:
        """The names of its MCP servers; None if that is not what was printed."""
        try:
            names = self.servers(msgspec.json.decode(output.strip()))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return None
        return names if all(isinstance(name, str) for name in names) else None


def printed_object(output: str) -> dict[str, Any]:
    """The JSON object that is printed, whatever stands before or after it."""
    start, end = output.find("{"), output.rfind("}")
    try:
        value = msgspec.json.decode(output[start : end + 1]) if start >= 0 else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def printed_events(output: str) -> Iterable[dict[str, Any]]:
    """The JSON objects that are printed, one on each line; other lines do not count."""
    for line in output.splitlines():
        if line.startswith("{"):
            value = printed_object(line)
            if value:
                yield value


UNREADABLE = Answer(error="its answer cannot be read")


def ended(
    text: object,
    *,
    session: str | None,
    usd: float | None = None,
    tokens: int | None = None,
    error: str | None = None,
) -> Answer:
    """An answer if there is a text, else why there is none."""
    if isinstance(text, str) and text.strip():
        return Answer(text=text, session=session, usd=usd, tokens=tokens)
    why = error or UNREADABLE.error
    return Answer(session=session, usd=usd, tokens=tokens, error=why)


def conversation(value: object) -> str | None:
    """An app's name of a conversation, if it can be one: it goes on a command line."""
    if not isinstance(value, str) or len(value) > MAX_SESSION_CHARS:
        return None
    return value if _SESSION.fullmatch(value) else None


def dollars(value: object) -> float | None:
    """An amount of money, if it can be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1_000_000 else None


def total(value: object, *names: str) -> int | None:
    """The sum of what stands under these names, if anything does."""
    if not isinstance(value, dict):
        return None
    numbers = [value.get(name) for name in names]
    found = [number for number in numbers if type(number) is int and number >= 0]
    return sum(found) if found else None
