"""Importing a bundle, and the refs that were imported.

Objects are added, and refs below ``refs/parler/``; work tree, HEAD, index,
configuration and everybody else's refs stay as they are. A bundle is examined in a
folder of its own before the repository gets anything of it.
"""

import asyncio
import re
import struct
import tempfile
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

from parler.errors import (
    BadBundle,
    GitFailed,
    HandoffError,
    MissingCommits,
    TooManyPaths,
    UsageError,
)
from parler.handoff.bundle import Head, create_private, read_head, verify
from parler.handoff.changes import check_commits
from parler.handoff.git import Git
from parler.handoff.repository import OID, Contents, Repository
from parler.wire.base import Digest
from parler.wire.foreign import sentence

REFS = "refs/parler/"
EXAMINE_SECS = 180.0
"""For all that is done with a bundle before the repository gets any of it."""

MAX_OBJECTS = 1_000_000
"""In one bundle; git keeps some 200 bytes for each."""

ID_CHARS = (12, 24, 64)
"""Characters of a blob's id in a ref: more only if somebody has the shorter one."""

_FEWER = "ask the sender for fewer commits at a time: parler push --base REF"
_AGAIN = f"ask the sender to push again, or {_FEWER.removeprefix('ask the sender ')}"
_ID = re.compile(r"[0-9a-f]{4,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedRef:
    """A ref of ours, and where it points."""

    ref: str
    tip: str
    name: str = ""
    """What the sender calls it; shown, never used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came in."""

    refs: list[ImportedRef]
    already: bool
    contents: Contents
    merge: str
    """The command that would merge it; nobody has run it."""


async def take(
    repository: Repository, data: bytes, *, blob: Digest, tip: str | None = None
) -> Imported:
    """Import a bundle under ``refs/parler/``; nothing is merged or checked out.

    All of it is checked in a place of its own before this repository gets any.

    Args:
        blob: The digest of `data`.
        tip: What the message about it announced.

    Raises:
        BadBundle: It is none, is damaged, or holds what it must not.
        MissingCommits: It builds on commits that are not here.
        HandoffError: Its name is taken.
    """
    head = read_head(data)
    if head.object_format != repository.object_format:
        raise BadBundle(
            f"the bundle is of a {head.object_format} repository; this one is "
            f"{repository.object_format}, and git cannot mix them"
        )
    _check_announced(head, tip)
    _check_pack(data, head)
    with tempfile.TemporaryDirectory(prefix="parler-") as name:
        path, objects = await asyncio.to_thread(_lay_out, Path(name), data)
        await _check_needed(repository, head)
        await verify(repository.git, path)
        found = await _examine(_aside(repository, objects), head, path)
        await _index(repository.git, path, head)
    refs, already = await _name(repository, blob, head)
    return Imported(
        refs=refs,
        already=already,
        contents=found.contents,
        merge=_merge(repository, refs[0].ref, found.relation),
    )


async def _check_needed(repository: Repository, head: Head) -> None:
    if not head.needed:
        return
    lines = "".join(f"{one.oid}^{{commit}}\n" for one in head.needed)
    found = await repository.git.run(
        "cat-file", "--batch-check=%(objecttype)", stdin=lines.encode()
    )
    pairs = zip(head.needed, found.lines, strict=True)
    missing = [one for one, kind in pairs if kind != "commit"]
    if not missing:
        return
    named = ", ".join(
        f"{one.oid[:12]} {sentence(one.comment, 72)}" for one in missing[:5]
    )
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    get = "git fetch --unshallow" if repository.shallow else "git fetch"
    raise MissingCommits(
        f"the bundle builds on commits that are not here: {named}{more}",
        [one.oid for one in missing],
        next_step=(
            f"{get} and apply again, or ask the sender for `parler push` without --base"
        ),
    )


class _Relation(Enum):
    """How what came stands to HEAD."""

    UNBORN = auto()
    RELATED = auto()
    UNRELATED = auto()


@dataclass(frozen=True, slots=True)
class _Found:
    """What the examination of a bundle found."""

    contents: Contents
    relation: _Relation


def _aside(repository: Repository, objects: Path) -> Repository:
    """The same repository, of which new objects go elsewhere."""
    extra = {
        "GIT_OBJECT_DIRECTORY": str(objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(repository.objects),
    }
    return replace(repository, git=replace(repository.git, extra=extra))


async def _examine(aside: Repository, head: Head, path: Path) -> _Found:
    """Unpack in a folder of its own, look at all that came, and describe it.

    What was imported before it was looked at is looked at like new: nothing but what
    is outside of ``refs/parler/`` is taken for known.
    """
    git, tips = aside.git, [one.oid for one in head.tips]
    known = ["--not", f"--exclude={REFS}*", "--all", *(one.oid for one in head.needed)]
    next_step = _FEWER
    try:
        async with asyncio.timeout(EXAMINE_SECS):
            await _index(git, path, head, "--strict")
            kinds = await git.run(
                "cat-file",
                "--batch-check=%(objecttype)",
                stdin="".join(f"{oid}^{{commit}}\n" for oid in tips).encode(),
            )
            if set(kinds.lines) != {"commit"}:
                raise BadBundle("the bundle names things that are no commits")
            await git.run("rev-list", "--objects", "--quiet", *tips, *known)
            await check_commits(git, *tips, *known)
            return await _described(aside, head)
    except GitFailed as failed:
        why = f"the bundle is damaged or malicious: {failed.message}"
        next_step = _AGAIN
    except TooManyPaths as beyond:
        why = f"the bundle is too large to look at: {beyond.message}"
    except TimeoutError:
        why = f"the bundle could not be looked at within {EXAMINE_SECS:g} s"
    if aside.partial:
        why += "; or this partial clone lacks what it builds on, which is not fetched"
        next_step = "git fetch --refetch --no-filter"
    raise BadBundle(f"{why}; nothing of it was imported", next_step=next_step)


async def _index(git: Git, path: Path, head: Head, *more: str) -> None:
    with path.open("rb", buffering=0) as file:
        file.seek(head.pack_at)
        options = ("--stdin", "--fix-thin", *more, *git.told("-v"))
        await git.run("index-pack", *options, stdin=file)


async def _name(
    repository: Repository, blob: Digest, head: Head
) -> tuple[list[ImportedRef], bool]:
    """Give what came refs of ours, without ever moving one that exists."""
    called = {one.oid: one.name for one in head.tips if one.name != "HEAD"}
    tips = list(dict.fromkeys(one.oid for one in head.tips))
    existing = {one.ref: one.tip for one in await imported_refs(repository)}
    for chars in ID_CHARS:
        base = f"{REFS}{blob[:chars]}"
        names = (
            [base]
            if len(tips) == 1
            else [f"{base}/{number}" for number in range(1, len(tips) + 1)]
        )
        wanted = dict(zip(names, tips, strict=True))
        refs = [
            ImportedRef(ref=ref, tip=oid, name=called.get(oid, "HEAD"))
            for ref, oid in wanted.items()
        ]
        taken = {
            ref: oid
            for ref, oid in existing.items()
            if ref == base or ref.startswith(f"{base}/")
        }
        if taken == wanted:
            return refs, True
        if not taken and not await _leads_elsewhere(repository, base):
            lines = "".join(f"create {ref} {oid}\n" for ref, oid in wanted.items())
            await repository.git.run(
                "update-ref", "--no-deref", "--stdin", stdin=lines.encode()
            )
            return refs, False
    raise HandoffError(
        f"{REFS}{blob[:12]} and its longer names point elsewhere already",
        next_step=f"parler apply --drop {blob[:12]}",
    )


async def _leads_elsewhere(repository: Repository, ref: str) -> bool:
    # A symbolic ref to one that does not exist is listed nowhere.
    found = await repository.git.run("symbolic-ref", "--quiet", ref, may_fail=True)
    return found.status == 0


async def _described(aside: Repository, head: Head) -> _Found:
    tip = head.tips[0].oid
    excluded = [f"^{one.oid}" for one in head.needed]
    count = await aside.count(tip, excluded)
    base = await aside.git.run("merge-base", "HEAD", tip, may_fail=True)
    if base.status not in (0, 1):
        relation = _Relation.UNBORN
    else:
        relation = _Relation.UNRELATED if base.status else _Relation.RELATED
    if relation is _Relation.RELATED:
        since: str | None = base.text
    else:
        since = head.needed[0].oid if head.needed else None
    contents = await aside.contents(tip, excluded, since=since, count=count)
    return _Found(contents, relation)


def _merge(repository: Repository, ref: str, relation: _Relation) -> str:
    """The command by which a user would take what came."""
    name = f"parler-{ref.removeprefix(REFS).replace('/', '-')}"
    if repository.bare:
        return f"git branch {name} {ref}"
    if relation is _Relation.UNBORN:
        return f"git switch -c {name} {ref}"
    if relation is _Relation.RELATED:
        return f"git merge {ref}"
    if repository.shallow:  # what they have in common may lie before the cut
        return f"git fetch --unshallow && git merge {ref}"
    return f"git merge --allow-unrelated-histories {ref}"


async def imported_refs(repository: Repository) -> list[ImportedRef]:
    """Everything below ``refs/parler/``."""
    found = await repository.git.run(
        "for-each-ref", "--format=%(refname) %(objectname)", REFS.rstrip("/")
    )
    pairs = (line.rpartition(" ") for line in found.lines)
    return [ImportedRef(ref=ref, tip=oid) for ref, _, oid in pairs]


async def drop(repository: Repository, id_: str) -> list[ImportedRef]:
    """Remove what was imported under an id, or the beginning of one.

    Raises:
        UsageError: It names nothing, or more than one import.
    """
    if not _ID.fullmatch(id_):
        raise UsageError(f"{id_!r} is no id of a bundle", next_step="parler bundles")
    existing = await imported_refs(repository)
    ids = {id_of(one.ref) for one in existing}
    meant = {one for one in ids if one.startswith(id_) or id_.startswith(one)}
    if id_ in ids:
        meant = {id_}
    if len(meant) != 1:
        some = f"{len(meant)} imports" if meant else "nothing that was imported"
        raise UsageError(f"{id_} names {some}", next_step="parler bundles")
    gone = [one for one in existing if id_of(one.ref) in meant]
    lines = "".join(f"delete {one.ref} {one.tip}\n" for one in gone)
    await repository.git.run(
        "update-ref", "--no-deref", "--stdin", stdin=lines.encode()
    )
    return gone


def _lay_out(folder: Path, data: bytes) -> tuple[Path, Path]:
    path, objects = folder / "in.bundle", folder / "objects"
    with create_private(path) as file:
        file.write(data)
    objects.mkdir()
    return path, objects


def _check_announced(head: Head, tip: str | None) -> None:
    if tip is None or not OID.fullmatch(tip):
        return
    if tip not in {one.oid for one in head.tips}:
        raise BadBundle(f"the message announces {tip[:12]}, which the bundle lacks")


def _check_pack(data: bytes, head: Head) -> None:
    start = data[head.pack_at : head.pack_at + 12]
    if len(start) < 12 or not start.startswith(b"PACK"):
        raise BadBundle("the bundle holds no pack", next_step=_AGAIN)
    (objects,) = struct.unpack(">I", start[8:])
    if objects > MAX_OBJECTS:
        raise BadBundle(
            f"the bundle has {objects} objects; at most {MAX_OBJECTS} are taken",
            next_step=_FEWER,
        )


def _quoted(path: Path) -> str:
    """A path within a list of paths, as git reads it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def id_of(ref: str) -> str:
    """The beginning of a blob's id that is in the name of one of our refs."""
    return ref.removeprefix(REFS).partition("/")[0]
