"""Handing over commits: sending them, taking them, and seeing what came in.

What is taken is imported under ``refs/parler/`` and no more; merging is the user's.
"""

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from parler.client.pending import Progress
from parler.errors import BadBundle
from parler.handoff import incoming, outgoing
from parler.handoff.git import Watch
from parler.handoff.repository import (
    Change,
    Commit,
    Contents,
    Repository,
    open_repository,
)
from parler.ops.attachments import (
    Attachment,
    Sender,
    announced,
    attachments,
    check_size,
)
from parler.ops.capability import (
    READS,
    SESSION,
    SETS,
    TARGET,
    Capability,
    Hints,
    Means,
    Param,
)
from parler.ops.context import OpContext, Result, check_texts
from parler.text.terminal import sentence
from parler.wire.base import Digest, RoomName
from parler.wire.limits import DEFAULT_MAX_BLOB_BYTES
from parler.wire.parts import BundlePart, FilePart, Part, TextPart
from parler.wire.records import Target

MEDIA_TYPE = "application/x-git-bundle"
_VCS = "git"
_LIST = "parler bundles, or parler recv --all"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectParams:
    """Which commits of which repository."""

    folder: Path
    ref: Annotated[
        str,
        Param(
            "A commit, or BASE..TIP.", "REF|RANGE", positional=True, argument="gitref"
        ),
    ] = "HEAD"
    base: Annotated[str | None, Param("What the others have already.", "REF")] = None
    allow_dirty: Annotated[
        bool, Param("Although changes are not committed.", on_tool=False)
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushParams:
    """To whom commits go, and with which words."""

    target: Annotated[Target, TARGET]
    summary: Annotated[str | None, Param("What the commits do.", "TEXT", brief="")] = (
        None
    )
    note: Annotated[
        str | None, Param("A text shown before them.", "TEXT", brief="")
    ] = None


class PushResult(Result, omit_defaults=False):
    """A bundle as it was sent."""

    blob: Digest
    tip: str
    base: str | None
    size: int
    seq: int
    room: RoomName


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Commits as a bundle in a private file, verified, and not sent yet."""

    selection: outgoing.Selection
    path: Path
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyParams:
    """Which bundle."""

    blob: Annotated[
        str, Param("Its id, or the beginning of it.", positional=True, optional=True)
    ]
    room: Annotated[
        RoomName | None,
        Param("Where it was sent; a whole id needs none.", means=Means.ROOM),
    ] = None


class Ref(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A ref of ours, where it points, and what the sender calls it."""

    ref: str
    tip: str
    name: str = ""


class CommitLine(msgspec.Struct, rename="camel", kw_only=True):
    """A commit."""

    oid: str
    subject: str


class Edit(msgspec.Struct, rename="camel", kw_only=True):
    """A changed file; lines are null where there are none to count."""

    path: str
    added: int | None
    removed: int | None


class Outline(msgspec.Struct, rename="camel", kw_only=True):
    """What commits bring: the newest of them, the first changes, and the sums.

    Sums of lines are null where counting them would have taken too much.
    """

    commits: list[CommitLine]
    commit_count: int
    changes: list[Edit]
    change_count: int
    added: int | None
    removed: int | None


class ApplyResult(Result):
    """What was imported, and the command that would merge it."""

    blob: Digest
    size: int
    refs: list[Ref]
    already: bool
    contents: Outline
    merge: str
    summary: str | None = None
    sender: Sender | None = None


class DropResult(Result):
    """The refs that are gone; their commits go with git's next clean-up."""

    refs: list[Ref]


class Bundle(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A bundle that somebody sent, and our refs to it."""

    blob: Digest
    size: int
    sender: Sender
    tip: str | None = None
    base: str | None = None
    summary: str | None = None
    refs: list[str] = []


class BundlesResult(Result):
    """Bundles of a room, and imports that no message there speaks of."""

    bundles: list[Bundle]
    others: list[Ref]
    room: RoomName | None = None


@asynccontextmanager
async def prepared(
    params: SelectParams, *, watch: Watch | None = None
) -> AsyncIterator[Ready]:
    """Select commits and write them to a private file, which ends with the block.

    Args:
        watch: Told how far git is.

    Raises:
        UsageError: There is no such repository, ref or base.
        HandoffError: There is nothing to send, or it must not or cannot be sent.
    """
    repository = (await open_repository(params.folder)).watched(watch)
    selection = await outgoing.select(
        repository, params.ref, base=params.base, allow_dirty=params.allow_dirty
    )
    with tempfile.TemporaryDirectory(prefix="parler-") as folder:
        path = Path(folder) / f"{secrets.token_hex(16)}.bundle"
        size = await outgoing.write(
            repository, selection, path, max_bytes=DEFAULT_MAX_BLOB_BYTES
        )
        yield Ready(selection=selection, path=path, size=size)


async def push(
    ctx: OpContext,
    ready: Ready,
    params: PushParams,
    *,
    progress: Progress | None = None,
) -> PushResult:
    """Upload prepared commits and tell about them.

    Raises:
        HubError: The hub refused. Nobody was told.
    """
    check_texts(summary=params.summary, note=params.note)
    selection = ready.selection
    stored = await ctx.client.put_blob(
        params.target, ready.path, media_type=MEDIA_TYPE, progress=progress
    )
    newest = selection.contents.commits[0].subject if selection.contents.commits else ""
    bundle = BundlePart(
        blob=stored.id,
        vcs=_VCS,
        size=stored.size,
        tip=selection.tip,
        base=selection.base,
        summary=params.summary or newest or None,
        media_type=MEDIA_TYPE,
    )
    note: list[Part] = [TextPart(text=params.note)] if params.note else []
    sent = await ctx.client.send(params.target, [*note, bundle])
    return PushResult(
        blob=stored.id,
        tip=selection.tip,
        base=selection.base,
        size=stored.size,
        seq=sent.seq,
        room=sent.room,
    )


PUSH = Capability(
    run=push,
    also=[prepared],
    about="Send commits of this git repository; nothing here changes.",
    more="Without --base the whole history of REF goes along.",
    command="push",
    example="""\
parler push --base origin/main --note "review please"
parler push main..topic --to reviewer""",
    tool="parler_push",
    brief="Send commits of this repository, or one file, to a session or an agent.",
    call='{"summary": "retry webhooks", "base": "main"}',
    hints=Hints(open_world=True),
    common=True,
)


async def apply(
    ctx: OpContext,
    repository: Repository,
    params: ApplyParams,
    *,
    progress: Progress | None = None,
) -> ApplyResult:
    """Fetch a bundle, verify it, and import it under ``refs/parler/``.

    Raises:
        UsageError: It is not known which one is meant.
        DigestMismatch: The hub handed out something else.
        VerificationError: The message about it is forged, or announces another length.
        HandoffError: It cannot or must not be imported.
    """
    meant = await announced(ctx, params.blob, params.room, next_step=_LIST)
    return await take(ctx, repository, *meant, progress=progress)


async def take(
    ctx: OpContext,
    repository: Repository,
    digest: Digest,
    found: Attachment | None,
    *,
    progress: Progress | None = None,
) -> ApplyResult:
    """The same of what is known to be meant (`parler.ops.attachments.announced`)."""
    if found is not None and isinstance(found.part, FilePart):
        raise BadBundle(
            f"{found} is a file and no bundle",
            next_step=f"parler fetch {found.part.blob}",
        )
    part = found.part if found and isinstance(found.part, BundlePart) else None
    if part is not None and part.vcs != _VCS:
        raise BadBundle(
            f"the bundle is of {sentence(part.vcs, 40)}; only git is known here"
        )
    blob = await ctx.client.get_blob(digest, progress=progress)
    check_size(found, len(blob.data))
    imported = await incoming.take(
        repository, blob.data, blob=blob.digest, tip=part.tip if part else None
    )
    return ApplyResult(
        blob=blob.digest,
        size=len(blob.data),
        refs=_refs(imported.refs),
        already=imported.already,
        contents=outline(imported.contents),
        merge=imported.merge,
        summary=part.summary if part else None,
        sender=found.sender if found else None,
    )


async def drop(
    repository: Repository,
    id_: Annotated[
        str,
        Param("Remove what was imported.", name="drop", metavar="ID", on_tool=False),
    ],
) -> DropResult:
    """Remove the refs that an import made.

    Raises:
        UsageError: The id names no import, or several.
    """
    return DropResult(refs=_refs(await incoming.drop(repository, id_)))


APPLY = Capability(
    run=apply,
    also=[take, drop],
    about="Import commits that were sent, under refs/parler/.",
    more="Nothing is merged or checked out: work tree, HEAD, index and configuration "
    "stay as they are. The commands that look at it and merge it are printed.",
    command="apply",
    example="""\
parler apply 3f2a9c04b1de
parler apply --drop 3f2a9c04b1de""",
    tool="parler_apply",
    brief="Take what was sent: commits go under refs/parler/, unmerged, a file into "
    "your inbox.",
    call='{"blob": "3f9a1c…"}',
    hints=SETS,
    common=True,
)


async def bundles(
    ctx: OpContext | None,
    room: Annotated[RoomName | None, SESSION],
    repository: Repository | None,
) -> BundlesResult:
    """What came in: the bundles of a room, and the refs of a repository."""
    refs = await incoming.imported_refs(repository) if repository else []
    sent = await attachments(ctx, room) if ctx and room else []
    listed = [
        _listed(one, one.part, refs) for one in sent if isinstance(one.part, BundlePart)
    ]
    spoken_of = {ref for one in listed for ref in one.refs}
    return BundlesResult(
        room=room,
        bundles=listed,
        others=_refs([ref for ref in refs if ref.ref not in spoken_of]),
    )


BUNDLES = Capability(
    run=bundles,
    about="List commits that were sent, and what was imported here.",
    command="bundles",
    tool="parler_bundles",
    brief="Commits that were sent to a session.",
    hints=READS,
)


def outline(contents: Contents) -> Outline:
    """The JSON shape of what commits bring."""

    def line(commit: Commit) -> CommitLine:
        return CommitLine(oid=commit.oid, subject=commit.subject)

    def edit(change: Change) -> Edit:
        return Edit(path=change.path, added=change.added, removed=change.removed)

    return Outline(
        commits=[line(commit) for commit in contents.commits],
        commit_count=contents.commit_count,
        changes=[edit(change) for change in contents.changes],
        change_count=contents.change_count,
        added=contents.added,
        removed=contents.removed,
    )


def _refs(refs: list[incoming.ImportedRef]) -> list[Ref]:
    return [Ref(ref=one.ref, tip=one.tip, name=one.name) for one in refs]


def _listed(
    one: Attachment, part: BundlePart, refs: list[incoming.ImportedRef]
) -> Bundle:
    ours = [ref.ref for ref in refs if part.blob.startswith(incoming.id_of(ref.ref))]
    return Bundle(
        blob=part.blob,
        size=part.size,
        sender=one.sender,
        tip=part.tip,
        base=part.base,
        summary=part.summary,
        refs=ours,
    )
