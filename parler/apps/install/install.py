"""Installing into an app and taking it back: plan, show, then write.

A plan is made for all files of an app before any of them is written, so that a file
that cannot be changed stops the whole app and leaves it as it was. What was there is
kept under our home before the first change, and what we did is noted before we do it.
"""

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from parler.apps.config_files import disk, edits
from parler.apps.config_files.edits import FileEdit, KeyPath
from parler.apps.config_files.errors import AppError
from parler.apps.install.manifest import AppRecord, FileRecord, Manifest, Undo
from parler.apps.kit.app import App
from parler.apps.kit.config import Wiring
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import Entry

_NAMED = r"(?:secret|token|key|passw(?:or)?d|authorization|credentials?)[\w-]*"
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s\"',}\]]+)"
_SECRET = re.compile(
    rf"({_NAMED}[\"']?\s*[:=]\s*|--?[\w-]*{_NAMED}[\"']\s*,\s*){_VALUE}", re.IGNORECASE
)
_TOKEN = re.compile(
    r"\bBearer [^\s\"']+|\b(?:sk|gh[opsu]|github_pat|glpat|xox[abp])[-_][\w-]{12,}"
    r"|(?<=://)[^\s/\"'@]+(?=@)"
)
"""What is a secret by what stands before it, and by what it looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file as it is, and as it should become."""

    edit: FileEdit
    content: disk.Content
    text: str | None
    """What it should say; None: it should not be there."""

    record: FileRecord | None
    """What is to be noted of it; None: nothing of ours is left."""

    @property
    def data(self) -> bytes | None:
        """The bytes it should hold."""
        return None if self.text is None else self.content.encoded(self.text)

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be written."""
        return self.data != self.content.data

    def diff(self) -> str:
        """What would change, as a unified diff that shows nobody's secrets."""
        path = self.content.path
        lines = difflib.unified_diff(
            self.content.text.splitlines(),
            (self.text or "").splitlines(),
            fromfile="/dev/null" if self.content.data is None else str(path),
            tofile="/dev/null" if self.text is None else str(path),
            lineterm="",
        )
        return "\n".join(_TOKEN.sub("…", _SECRET.sub(r"\1…", line)) for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done to one app."""

    app: App
    changes: tuple[FileChange, ...]
    hooks: bool = True
    reservations: bool = False
    approvals: bool = False

    @property
    def needed(self) -> tuple[FileChange, ...]:
        """The files that have to be written."""
        return tuple(change for change in self.changes if change.is_needed)


def entry_of(app: App, machine: Machine, wiring: Wiring) -> Entry | None:
    """The server that the app has under our name, None if there is none.

    Raises:
        AppError: Its file cannot be read.
    """
    for edit in app.config().files(machine, wiring):
        if edit.server is None:
            continue
        content = disk.read(edit.path)
        if content.data is None:
            continue
        with naming(edit.path):
            data = edits.read(edit, content.text)
        if entry := Entry.of(edits.value_at(data, edit.server)):
            return entry
    return None


def plan(app: App, machine: Machine, wiring: Wiring, manifest: Manifest) -> Plan:
    """Find out what wiring an app means; nothing is written.

    Raises:
        AppError: A file cannot be changed; which and why is in the message.
        ConfigError: Our own notes are damaged.
    """
    record = manifest.get(app.id)
    files = app.config().files(machine, wiring)
    changes = [*_stray(files, record)]
    changes += [_applied(edit, _known(edit, record)) for edit in files]
    return Plan(
        app=app,
        changes=tuple(changes),
        hooks=wiring.hooks,
        reservations=wiring.reservations,
        approvals=wiring.approvals,
    )


def plan_removal(
    app: App, machine: Machine, wiring: Wiring, manifest: Manifest
) -> Plan:
    """Find out what unwiring an app means; raises as `plan`."""
    record = manifest.get(app.id)
    files = app.config().files(machine, wiring)
    changes = [*_stray(files, record)]
    changes += [_removed(edit, _known(edit, record)) for edit in files]
    return Plan(app=app, changes=tuple(changes))


def carry_out(plan: Plan, manifest: Manifest) -> None:
    """Write what is planned. The caller holds the manifest's lock.

    Raises:
        AppError: A file was not written; those before it were, and are noted.
        ConfigError: Our own notes cannot be written.
    """
    at_first = manifest.get(plan.app.id)
    for change in plan.changes:
        before = manifest.get(plan.app.id).files.get(change.edit.role)
        if not change.is_needed:
            _note(manifest, plan, change, change.record or None)
            continue
        record = _with_backup(change, before, manifest, plan.app)
        folders = disk.missing_folders(change.content)
        if record is not None and folders:
            record = msgspec.structs.replace(
                record, folders=[*map(str, folders), *record.folders]
            )
        # Noted first: should we end in between, ours is still recognised as ours.
        _note(manifest, plan, change, record or before)
        try:
            _write(change)
        except AppError:
            disk.remove_empty(folders)
            _note(manifest, plan, change, before)
            raise
        _note(manifest, plan, change, record)
    _remove_folders(at_first, manifest.get(plan.app.id))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in errors which file they are about."""
    try:
        yield
    except AppError as error:
        if str(path) not in error.message:
            error.message = f"{path} is left alone: {error.message}"
            error.args = (error.message,)
        raise


def _known(edit: FileEdit, record: AppRecord) -> FileRecord | None:
    known = record.files.get(edit.role)
    return known if known and known.path == str(edit.path) else None


def _stray(files: tuple[FileEdit, ...], record: AppRecord) -> Iterator[FileChange]:
    """What we wrote where the app had its file then: it is taken back there."""
    by_role = {edit.role: edit for edit in files}
    for role, known in record.files.items():
        edit = by_role.get(role)
        if edit and known.path != str(edit.path):
            yield _removed(edit.at(Path(known.path)), known)


def _applied(edit: FileEdit, known: FileRecord | None) -> FileChange:
    content = disk.read(edit.path)
    with naming(edit.path):
        text = content.text
        made = _made(known)
        base = _base(edit, content, known)
        edited = edits.apply(edit, text, tuple(made))
        fresh = edits.apply(edit, base)
        pure = known is not None and known.pure and _is_as_written(content, known)
        if edited.text != text and pure:
            edited = fresh  # as if for the first time
        is_ours = edit.is_own or content.data is None or (known and known.created)
        change = FileChange(
            edit=edit,
            content=content,
            text=edited.text or (None if is_ours else ""),
            record=None,
        )
        if change.is_needed:
            disk.check_writable(content)
    if change.text is None or edited.text == base:
        return change
    if known and edited.text == text:
        return replace(change, record=known)
    made += [path for path in edited.made if path not in made]
    record = FileRecord(
        path=str(edit.path),
        written=disk.digest(content.encoded(edited.text)),
        undo=Undo.between(base, edited.text),
        created=known.created if known else content.data is None,
        folders=known.folders if known else [],
        made=[list(path) for path in made],
        pure=edited.text == fresh.text,
        backup=known.backup if known else None,
    )
    return replace(change, record=record)


def _removed(edit: FileEdit, known: FileRecord | None) -> FileChange:
    content = disk.read(edit.path)
    text: str | None = None
    if content.data is not None:
        with naming(edit.path):
            text = _base(edit, content, known)
            unchanged = text == content.text
            gone = edit.is_own or (known is not None and known.created)
            if gone and not unchanged and edits.is_bare(edit, text):
                text = None
            if text != content.text:
                disk.check_writable(content)
    return FileChange(edit=edit, content=content, text=text, record=None)


def _base(edit: FileEdit, content: disk.Content, known: FileRecord | None) -> str:
    """The text as it would be without us."""
    if known and known.undo and _is_as_written(content, known):
        return known.undo.apply(content.text)
    return edits.remove(edit, content.text, tuple(_made(known)))


def _made(known: FileRecord | None) -> list[KeyPath]:
    return [tuple(path) for path in known.made] if known else []


def _is_as_written(content: disk.Content, known: FileRecord) -> bool:
    return content.data is not None and disk.digest(content.data) == known.written


def _with_backup(
    change: FileChange, before: FileRecord | None, manifest: Manifest, app: App
) -> FileRecord | None:
    """Keep the file as it was before our first change of it."""
    is_known = before is not None and before.path == str(change.edit.path)
    if is_known and not _is_edited_own(change, before):
        return change.record
    name = f"{app.id}.{change.edit.role}.{change.edit.path.name}".replace(" ", "-")
    kept = disk.keep_backup(change.content, manifest.backups, name)
    if change.record is None or kept is None:
        return change.record
    return msgspec.structs.replace(change.record, backup=str(kept))


def _is_edited_own(change: FileChange, before: FileRecord | None) -> bool:
    """Whether a file of ours is about to go in which somebody wrote since."""
    if not change.edit.is_own or change.text is not None or before is None:
        return False
    return not _is_as_written(change.content, before)


def _note(
    manifest: Manifest, plan: Plan, change: FileChange, record: FileRecord | None
) -> None:
    role = change.edit.role
    old = manifest.get(plan.app.id)
    kept = {name: one for name, one in old.files.items() if name != role}
    if record is not None:
        kept[role] = record
    new = AppRecord(
        files=kept,
        hooks=plan.hooks,
        reservations=plan.reservations,
        approvals=plan.approvals,
    )
    if new != old:
        manifest.set(plan.app.id, new)


def _write(change: FileChange) -> None:
    data = change.data
    if data is not None:
        disk.replace(change.content, data, keep_lock=change.edit.keep_lock)
    else:
        disk.delete(change.content)


def _remove_folders(before: AppRecord, after: AppRecord) -> None:
    """Take away the folders we made for files that are gone, if nobody uses them."""
    made = {folder for one in before.files.values() for folder in one.folders}
    kept = {folder for one in after.files.values() for folder in one.folders}
    disk.remove_empty([Path(folder) for folder in sorted(made - kept, key=len)])
