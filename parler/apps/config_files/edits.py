"""What is to be changed in a file, apart from which file and when: pure functions.

A `FileEdit` says what should stand in one file (`changes`) and how everything of ours
is recognised there, also what earlier versions and the existing client left
(`sweeps`). The formats do the cutting; here their work is checked against the model:
a change that would alter anything else is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from parler.apps.config_files import jsonc, toml_text, yaml_text
from parler.apps.config_files.errors import (
    AppError,
    FileRefused,
    Unfitting,
    Unparsable,
)

KeyPath = tuple[str, ...]


class Format(StrEnum):
    """How a file is written."""

    JSONC = "jsonc"
    TOML = "toml"
    YAML = "yaml"
    OWN = "own"
    """The whole file is ours."""


@dataclass(frozen=True, slots=True)
class Put:
    """A member that is ours."""

    path: KeyPath
    value: object
    unless_there: bool = False
    """Only what the file needs at all: whatever stands there is fine."""

    ours: Callable[[object], bool] | None = None
    """Whether what stands there is ours; anything else is not written over."""

    settle: Callable[[object, object], object] | None = None
    """From what stands there and our value to what should stand."""


@dataclass(frozen=True, slots=True)
class Add:
    """An item of ours in a list of the user's."""

    path: KeyPath
    value: object


@dataclass(frozen=True, slots=True)
class DropKey:
    """A member that is removed if it is ours."""

    path: KeyPath
    ours: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class DropItems:
    """Items that are removed if they are ours; or what is ours within them.

    Of a hook group in which the user put more than ours, only ours goes.
    """

    path: KeyPath
    ours: Callable[[object], bool]
    within: str | None = None


Change = Put | Add
Sweep = DropKey | DropItems


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """One file of an app, and what should become of it."""

    role: str
    """What the app keeps in it; one file of each role for an app."""

    path: Path
    format: Format = Format.JSONC
    changes: tuple[Change, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    content: str = ""
    """Of a file that is ours."""

    mark: str = ""
    """What stands in every version of a file that is ours."""

    server: KeyPath | None = None
    """Where our server stands, in a file in which the app lists its servers."""

    keep_lock: bool = False
    """The app guards its writing with a folder ``<file>.lock``."""

    @property
    def is_own(self) -> bool:
        """Whether the whole file is ours."""
        return self.format is Format.OWN

    def at(self, path: Path) -> "FileEdit":
        """The same for another place."""
        return replace(self, path=path)


@dataclass(frozen=True, slots=True)
class Edited:
    """A text after its changes."""

    text: str
    made: tuple[KeyPath, ...] = ()
    """Containers that were not there before."""


def apply(edit: FileEdit, text: str, had_made: tuple[KeyPath, ...] = ()) -> Edited:
    """The text as it should be; the same text if it is so already.

    What is ours and outdated goes; what is ours and right stays where it is, also if
    somebody put it elsewhere or wrote it differently.

    Raises:
        Unparsable: The text is not in its format.
        Unfitting: It has no place for our entry.
        FileRefused: It is to be ours altogether, and is somebody else's.
    """
    if edit.format is Format.OWN:
        return _apply_own(edit, text)
    for sweep in edit.sweeps:
        text = _swept(edit.format, text, sweep, keep=edit.changes)
    made: list[KeyPath] = []
    for change in edit.changes:
        if is_satisfied(edit.format, text, change):
            continue
        before = _parsed(edit.format, text)
        _require_ours(change, value_at(before, change.path))
        changed, new = _changed(edit.format, text, change)
        if edit.format is not Format.YAML:  # which checks itself
            _check(edit.format, changed, _expected(before, change))
        if not is_satisfied(edit.format, changed, change):
            raise AppError(f"{edit.path} would not hold what was written; left alone")
        text = changed
        made += new
    return Edited(_pruned(edit, text, had_made), tuple(made))


def _require_ours(change: Change, current: object) -> None:
    if isinstance(change, Add) or change.ours is None or current in (None, "", {}):
        return
    if not change.ours(current):
        raise Unfitting(
            f"its entry {change.path[-1]!r} starts something else",
            next_step="remove or rename that entry, then the same command again",
        )


def _changed(style: Format, text: str, change: Change) -> tuple[str, list[KeyPath]]:
    syntax = _SYNTAX[style]
    if isinstance(change, Add):
        text, made = syntax.add(text, change.path, change.value)
        return text, made
    current = value_at(_parsed(style, text), change.path)
    wanted = _wanted(change, current)
    if style is Format.JSONC and change.settle and isinstance(current, Mapping):
        return _settled(text, change.path, current, wanted), []
    text, made = syntax.put(text, change.path, wanted)
    return text, made


def _settled(
    text: str, path: KeyPath, current: Mapping[str, object], wanted: object
) -> str:
    """Change single members of an entry, so that its text stays otherwise."""
    if not isinstance(wanted, Mapping):
        return jsonc.put(text, path, wanted)[0]
    for key in current:
        if key not in wanted:
            text = jsonc.drop(text, (*path, key))
    for key, value in wanted.items():
        old = current.get(key)
        if key in current and old == value:
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            text = _settled(text, (*path, key), old, value)
        else:
            text, _ = jsonc.put(text, (*path, key), value)
    return text


def _wanted(change: Put, current: object) -> object:
    """What should stand at a path, given what does."""
    if change.settle is None or not isinstance(current, Mapping):
        return change.value
    return change.settle(current, change.value)


def _apply_own(edit: FileEdit, text: str) -> Edited:
    if not text.strip() or edit.mark in text:
        return Edited(edit.content)
    if edit.content:
        raise FileRefused(f"{edit.path} exists and is not ours")
    return Edited(text)


def remove(edit: FileEdit, text: str, made: tuple[KeyPath, ...] = ()) -> str:
    """The text without anything of ours, and without containers we made and left.

    Raises:
        Unparsable: The text is not in its format.
        Unfitting: It is written so that our entry cannot be cut out.
    """
    if edit.format is Format.OWN:
        return "" if edit.mark in text else text
    swept = text
    for sweep in edit.sweeps:
        swept = _swept(edit.format, swept, sweep)
    return text if swept == text else _pruned(edit, swept, made)


def _pruned(edit: FileEdit, text: str, made: tuple[KeyPath, ...]) -> str:
    """The text without containers that we made and that hold nothing any more."""
    syntax = _SYNTAX[edit.format]
    for path in sorted(made, key=len, reverse=True):
        if value_at(_parsed(edit.format, text), path) in ({}, []):
            text = syntax.drop(text, path)
    return text


def is_bare(edit: FileEdit, text: str) -> bool:
    """Whether a file that we created says nothing any more; raises `Unparsable`."""
    if edit.format is Format.OWN or not text.strip():
        return not text.strip()
    said = _parsed(edit.format, text)
    needed = {
        change.path[0]: change.value
        for change in edit.changes
        if isinstance(change, Put) and change.unless_there
    }
    if not isinstance(said, Mapping):
        return said is None
    return all(
        value in ({}, []) or value == needed.get(key) for key, value in said.items()
    )


def is_satisfied(style: Format, text: str, change: Change) -> bool:
    """Whether a text says already what a change wants; raises `Unparsable`."""
    value = value_at(_parsed(style, text), change.path)
    if isinstance(change, Add):
        return isinstance(value, list) and change.value in value
    if change.unless_there and value is not None:
        return True
    return value == _wanted(change, value)


def read(edit: FileEdit, text: str) -> object:
    """What a text says; raises `Unparsable`."""
    if edit.is_own:  # of those, only one that lists servers is read at all
        return jsonc.parse(text) if edit.server else {}
    return _parsed(edit.format, text)


def value_at(data: object, path: KeyPath) -> object:
    """What stands at a path, None if nothing does."""
    for key in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def _swept(
    style: Format, text: str, sweep: Sweep, *, keep: tuple[Change, ...] = ()
) -> str:
    syntax = _SYNTAX[style]
    value = value_at(_parsed(style, text), sweep.path)
    wanted = [change.value for change in keep if change.path == sweep.path]
    if isinstance(sweep, DropKey):
        # One that is to be there is replaced in its place.
        if wanted or value is None or not sweep.ours(value):
            return text
        return str(syntax.drop(text, sweep.path))
    if not isinstance(value, list):
        return text
    for index in reversed(range(len(value))):
        if value[index] in wanted:
            continue
        if sweep.ours(value[index]):
            text = syntax.drop_item(text, sweep.path, index)
        elif sweep.within:
            text = _swept_within(text, sweep, value[index], index)
    return text


def _swept_within(text: str, sweep: DropItems, item: object, index: int) -> str:
    """Cut ours out of an item that holds more than ours."""
    inner = value_at(item, (sweep.within or "",))
    if not isinstance(inner, list):
        return text
    for at in reversed(range(len(inner))):
        if sweep.ours({sweep.within: [inner[at]]}):
            text = jsonc.drop_inner(text, sweep.path, index, sweep.within or "", at)
    return text


def _expected(before: object, change: Change) -> object:
    """What a text should say after a change; only what is on the way is copied."""
    node = model = _members(before)
    for key in change.path[:-1]:
        node[key] = _members(node.get(key))
        node = node[key]
    last, current = change.path[-1], node.get(change.path[-1])
    if isinstance(change, Put):
        node[last] = _wanted(change, current)
    else:
        node[last] = [*(current if isinstance(current, list) else []), change.value]
    return model


def _members(value: object) -> dict[str, Any]:
    assert value is None or isinstance(value, Mapping)
    return dict(value or {})


def _check(style: Format, text: str, expected: object) -> None:
    try:
        said = _parsed(style, text)
    except Unparsable as error:
        raise AppError(f"the file has no place for our entry: {error}") from None
    if said != expected:
        raise AppError("the file would say something else than before; left alone")


@lru_cache(maxsize=2)
def _parsed(style: Format, text: str) -> object:
    """What a text says; asked again and again of one before and one after a change.

    Nobody may change the answer.
    """
    said: object = _SYNTAX[style].parse(text)
    return said


_SYNTAX: dict[Format, ModuleType] = {
    Format.JSONC: jsonc,
    Format.TOML: toml_text,
    Format.YAML: yaml_text,
}
