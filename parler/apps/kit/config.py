"""Where an agent app keeps what, and what we put there.

A `Config` is mostly data, and one function from a machine and a `Wiring` to the files
that should change. Nothing here reads or writes.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from parler.apps.config_files.edits import (
    Add,
    DropItems,
    DropKey,
    FileEdit,
    Format,
    Put,
    Sweep,
)
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.trust import SERVER, is_our_hook, is_our_server, settled

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:@%+=,~-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What an app is to be given."""

    app: str
    """Its id."""

    command: tuple[str, ...]
    """The words that start this program."""

    home: Path
    """The app's home, with an identity for each project below it."""

    hub: str | None = None
    """The hub that its server is told; None: the one that was chosen for its home."""

    name: str | None = None
    hooks: bool = True
    reservations: bool = False
    approvals: bool = False
    platform: Platform = Platform.LINUX

    @property
    def args(self) -> list[str]:
        """The words after the first that start our server."""
        return [*self.command[1:], "mcp"]

    @property
    def env(self) -> dict[str, str]:
        """What our server is told. No secret: those it finds in our own home."""
        told = {"PARLER_HOME": str(self.home)}
        more = {"PARLER_HUB": self.hub, "PARLER_NAME": self.name}
        return told | {name: value for name, value in more.items() if value}

    def hook(self, event: str) -> str:
        """The command line of a hook."""
        words = [
            *self.command,
            "hook",
            event,
            "--app",
            self.app,
            "--home",
            str(self.home),
        ]
        if self.platform is Platform.WINDOWS:
            # Read by Git's bash or by PowerShell: forward slashes suit both.
            return " ".join(_windows_word(word) for word in words)
        return shlex.join(words)


Files = Callable[[Machine, Wiring], tuple[FileEdit, ...]]
Detect = Callable[[Machine], tuple[Path, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps a wired app from working, or may do so."""

    what: str
    mend: str | None = None
    is_note: bool = False
    """It works all the same, or nobody can say."""


Texts = Mapping[str, object]
"""What the files of an app say, by role; without those that could not be read."""


def _no_trouble(machine: Machine, texts: Texts) -> list[Trouble]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What `parler connect` knows of an app."""

    traces: Detect
    """Files and folders that tell it is installed."""

    files: Files
    restart: str
    """What the user does for it to take effect."""

    notes: tuple[str, ...] = ()
    """What else the user should know after wiring."""

    hook_notes: tuple[str, ...] = ()
    """The same, where hooks were installed."""

    examine: Callable[[Machine, Texts], list[Trouble]] = _no_trouble
    """Looks for trouble in what the app's own files say."""

    watched: Callable[[Machine], Mapping[str, Path]] = field(default=lambda machine: {})
    """More files that `examine` wants to see: role to path."""


def server_file(
    path: Path,
    container: tuple[str, ...],
    value: object,
    *,
    format: Format = Format.JSONC,
    role: str = "servers",
    keep_lock: bool = False,
) -> FileEdit:
    """The file in which an app lists its servers."""
    key = (*container, SERVER)
    return FileEdit(
        role=role,
        path=path,
        format=format,
        changes=(Put(key, value, ours=is_our_server, settle=settled),),
        sweeps=(DropKey(key, is_our_server),),
        server=key,
        keep_lock=keep_lock,
    )


def plain_entry(wiring: Wiring, **more: object) -> dict[str, object]:
    """The shape most apps took over from one another."""
    return {
        "command": wiring.command[0],
        "args": wiring.args,
        "env": wiring.env,
        **more,
    }


def hook_groups(
    wiring: Wiring,
    events: Mapping[str, tuple[dict[str, object], ...]],
    *,
    under: tuple[str, ...] = ("hooks",),
) -> tuple[tuple[Add, ...], tuple[Sweep, ...]]:
    """Hooks in groups, as Claude Code has them and others after it.

    In a handler, ``command`` is the name of our event; the rest stands as it is.
    """
    adds: list[Add] = []
    sweeps: list[Sweep] = []
    for event, handlers in events.items():
        path = (*under, event)
        sweeps.append(DropItems(path, is_our_hook, within="hooks"))
        for handler in handlers if wiring.hooks else ():
            matcher = handler.get("matcher")
            own = {key: one for key, one in handler.items() if key != "matcher"}
            own["command"] = wiring.hook(str(handler["command"]))
            group: dict[str, object] = {"matcher": matcher} if matcher else {}
            if _is_wanted(handler, wiring):
                adds.append(Add(path, {**group, "hooks": [own]}))
    return tuple(adds), tuple(sweeps)


def hook_list(
    wiring: Wiring, events: Mapping[str, dict[str, object]]
) -> tuple[tuple[Add, ...], tuple[Sweep, ...]]:
    """Hooks without groups: a list of commands for each event."""
    adds: list[Add] = []
    sweeps: list[Sweep] = []
    for event, handler in events.items():
        path = ("hooks", event)
        sweeps.append(DropItems(path, is_our_hook))
        if not wiring.hooks:
            continue
        if _is_wanted(handler, wiring):
            command = wiring.hook(str(handler["command"]))
            adds.append(Add(path, {**handler, "command": command}))
    return tuple(adds), tuple(sweeps)


def _is_wanted(handler: Mapping[str, object], wiring: Wiring) -> bool:
    """Whether a hook is wired: some only if they were asked for."""
    asked_for = {"pre-edit": wiring.reservations, "permission": wiring.approvals}
    return asked_for.get(str(handler["command"]), True)


def _windows_word(word: str) -> str:
    word = word.replace("\\", "/")
    return word if _PLAIN_WORD.fullmatch(word) else f'"{word}"'
