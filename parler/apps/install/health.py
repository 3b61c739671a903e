"""Whether what stands in an app's files works, found out by reading them.

No server is launched and no identity made: apps start ours when they list it, and each
start would leave a stranger behind. What only the app itself knows is left to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from parler.apps.config_files import disk, edits, jsonc
from parler.apps.config_files.edits import FileEdit, Format
from parler.apps.config_files.errors import AppError
from parler.apps.install.install import entry_of, naming
from parler.apps.install.manifest import AppRecord
from parler.apps.kit.app import App
from parler.apps.kit.config import Trouble, Wiring
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SERVER, Entry
from parler.machine.program import missing_of


class State(StrEnum):
    """How far an app is."""

    WORKING = "working"
    BROKEN = "broken"
    UNWIRED = "not wired"
    ABSENT = "not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found out about one app."""

    app: App
    state: State
    entry: Entry | None
    troubles: tuple[Trouble, ...]

    @property
    def hub(self) -> str | None:
        """The hub that is written into the app, if one is."""
        return self.entry.env.get("PARLER_HUB") if self.entry else None


def examine(app: App, machine: Machine, wiring: Wiring, record: AppRecord) -> Health:
    """Look at one app; what is wrong with it is a trouble, never an exception.

    Args:
        wiring: What it would be given now, on the hub and in the home it has.
    """
    again = f"parler connect {app.id}"
    try:
        entry = entry_of(app, machine, wiring)
        texts = _texts(app, machine, wiring)
    except AppError as error:
        if not app.is_installed(machine):
            return _health(app, State.ABSENT)
        mend = error.next_step or f"mend the file, then {again}"
        return _health(app, State.BROKEN, None, Trouble(what=error.message, mend=mend))
    if entry is None:
        installed = app.is_installed(machine)
        return _health(app, State.UNWIRED if installed else State.ABSENT)
    if not entry.is_ours:
        what = f"its entry {SERVER!r} starts something else: {entry.command[0]}"
        mend = f"remove or rename that entry, then {again}"
        return _health(app, State.BROKEN, entry, Trouble(what=what, mend=mend))
    troubles = [
        *_of_entry(entry, machine, wiring, again),
        *_of_hooks(app, machine, wiring, record, again),
        *app.config().examine(machine, texts),
    ]
    broken = any(not trouble.is_note for trouble in troubles)
    return _health(app, State.BROKEN if broken else State.WORKING, entry, *troubles)


def _health(
    app: App, state: State, entry: Entry | None = None, *troubles: Trouble
) -> Health:
    return Health(app=app, state=state, entry=entry, troubles=troubles)


def _of_entry(
    entry: Entry, machine: Machine, wiring: Wiring, again: str
) -> list[Trouble]:
    found = []
    if gone := missing_of(entry.command, machine.env):
        what = f"the program it starts is gone: {entry.command[0]}"
        if gone != entry.command[0]:
            what = f"the Python that {entry.command[0]} runs on is gone: {gone}"
        found.append(Trouble(what=what, mend=again))
    elif entry.command != (wiring.command[0], *wiring.args):
        what = f"it starts another parler: {' '.join(entry.command)}"
        found.append(Trouble(what=what, mend=again, is_note=True))
    if entry.disabled:
        what = "the server is switched off in the app"
        found.append(Trouble(what=what, mend="switch parler on there"))
    if "PARLER_JOIN_SECRET" in entry.env:
        what = "its file holds a join secret in clear"
        found.append(Trouble(what=what, mend=again))
    return found


def _of_hooks(
    app: App, machine: Machine, wiring: Wiring, record: AppRecord, again: str
) -> list[Trouble]:
    """Whether all that we once wrote beside the entry is still there."""
    if not record.files:
        return []
    missing = [
        str(edit.path)
        for edit in app.config().files(machine, wiring)
        if edit.role in record.files and not _is_complete(edit)
    ]
    if not missing:
        return []
    what = f"not all that was written is there any more: {', '.join(missing)}"
    return [Trouble(what=what, mend=again)]


def _is_complete(edit: FileEdit) -> bool:
    try:
        text = disk.read(edit.path).text
        if edit.format is Format.OWN:
            return not edit.content or edit.mark in text
        # The entry itself was looked at before.
        wanted = [one for one in edit.changes if one.path != edit.server]
        return all(edits.is_satisfied(edit.format, text, one) for one in wanted)
    except AppError:
        return False


def _texts(app: App, machine: Machine, wiring: Wiring) -> Mapping[str, object]:
    said: dict[str, object] = {}
    for edit in app.config().files(machine, wiring):
        with naming(edit.path):
            text = disk.read(edit.path).text
            said[edit.role] = edits.read(edit, text)
            if edit.format is Format.JSONC and jsonc.has_comments(text):
                said[f"{edit.role}.comments"] = True
    for role, path in app.config().watched(machine).items():
        said[role] = _watched(path)
    return said


def _watched(path: Path) -> object:
    try:
        return jsonc.parse(disk.read(path).text)
    except AppError:
        return None
