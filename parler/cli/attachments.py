"""Handing over: ``push``, ``apply``, ``bundles``, ``send-file``, ``fetch``."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import typer

from parler.cli._command import command
from parler.cli._run import (
    HERE,
    Options,
    Place,
    Run,
    carry_out,
    connected,
    in_room,
    settings_of,
)
from parler.cli._targets import place_of, target_of
from parler.cli.render import Ours
from parler.errors import UsageError
from parler.handoff.repository import Repository, open_repository
from parler.identity.identity import active_session
from parler.identity.message_signing import Signature
from parler.ops import bundles, files
from parler.ops.attachments import Sender
from parler.ops.bundles import ApplyResult, BundlesResult, Outline, PushResult, Ready
from parler.ops.context import room_or_session
from parler.ops.files import FetchResult, SendFileResult
from parler.text.terminal import (
    counted,
    paragraph,
    sentence,
    shell_word,
    shown_name,
    shown_size,
    word,
)
from parler.text.transcript import SHORT_ID, blob_command
from parler.wire.base import RoomName

_SHOWN_COMMITS = 10
_UNCOUNTED = "too much to count the lines"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, bundles.PUSH)(push)
    command(app, bundles.APPLY)(apply)
    command(app, bundles.BUNDLES)(list_bundles)
    command(app, files.SEND_FILE)(send_file)
    command(app, files.FETCH)(fetch)


def push(
    options: Options,
    ref: str,
    room: str | None,
    to: str | None,
    service: str | None,
    base: str | None,
    summary: str | None,
    note: str | None,
    allow_dirty: bool,
) -> None:
    """Send commits; what goes is told before it does."""
    place = place_of(room, to, service)
    _check_room(options, place)
    what = bundles.SelectParams(
        folder=Path.cwd(), ref=ref, base=base, allow_dirty=allow_dirty
    )

    async def whole() -> None:
        watch = options.out.counting()
        async with bundles.prepared(what, watch=watch) as ready:
            for line in _preview(ready):
                options.out.note(line)
            async with connected(options, place) as run:
                target = await target_of(run, room=room, to=to, service=service)
                result = await bundles.push(
                    run.ctx,
                    ready,
                    bundles.PushParams(target=target, summary=summary, note=note),
                    progress=run.out.progress("sending"),
                )
                run.out.result(result, _pushed(result))

    asyncio.run(whole())


def apply(
    options: Options, blob: str | None, room: str | None, drop: str | None
) -> None:
    """Import a bundle, or remove what was imported."""
    if (blob is None) == (drop is None):
        raise UsageError("name a BLOB to apply, or one to --drop", next_step=_LIST)

    async def whole() -> None:
        repository = await open_repository(Path.cwd())
        if drop is not None:
            gone = await bundles.drop(repository, drop)
            removed = [f"removed {word(one.ref)}" for one in gone.refs]
            options.out.result(gone, removed)
            return
        params = bundles.ApplyParams(
            blob=blob or "", room=RoomName(room) if room else None
        )
        async with connected(options, Place(room=room)) as run:
            result = await bundles.apply(
                run.ctx,
                repository.watched(run.out.counting()),
                params,
                progress=run.out.progress("fetching"),
            )
            run.out.result(result, _applied(result), foreign=True)
            if not result.already:
                run.out.undo(f"parler apply --drop {result.blob[:SHORT_ID]}")

    asyncio.run(whole())


_LIST = "parler bundles"


def list_bundles(options: Options, room: str | None) -> None:
    """Show what came in, on the hub and in this repository."""
    where = room or active_session(settings_of(options).home)

    async def whole() -> None:
        repository: Repository | None
        try:
            repository = await open_repository(Path.cwd())
        except UsageError:
            if not where:
                raise
            repository = None
        if not where:
            result = await bundles.bundles(None, None, repository)
            options.out.result(result, _listed(result))
            return
        async with connected(options, in_room(where)) as run:
            result = await bundles.bundles(run.ctx, RoomName(where), repository)
            run.out.result(result, _listed(result), foreign=True)

    asyncio.run(whole())


def _check_room(options: Options, place: Place) -> None:
    if place is not HERE and place.needs_room:  # before a bundle is made
        room_or_session(settings_of(options).home, place.room)


def _preview(ready: Ready) -> Iterator[str]:
    selection = ready.selection
    since = f" since {selection.base[:12]}" if selection.base else ""
    yield f"sending {selection.tip[:12]}{since}, {shown_size(ready.size)}:"
    yield from _contents(bundles.outline(selection.contents), files=False)
    for note in selection.notes:
        yield f"note: {note}"


def _pushed(result: PushResult) -> Iterator[str]:
    yield (
        f"📦 {result.tip[:12]} sent to {word(result.room)} (seq {result.seq}), "
        f"{shown_size(result.size)}"
    )
    yield "The other agent runs, inside the repository:"
    yield f"  {blob_command('apply', result.blob, result.room)}"


def _applied(result: ApplyResult) -> Iterator[str]:
    again = " (was there already)" if result.already else ""
    for one in result.refs:
        name = f"  called {word(one.name)} there" if len(result.refs) > 1 else ""
        yield f"imported {one.ref} at {one.tip[:12]}{again}{name}"
    yield f"  {sender_of(result.sender)}"
    if result.summary:
        yield f"  {paragraph(result.summary)}"
    yield from _contents(result.contents, files=True)
    ref = result.refs[0].ref
    yield "Nothing was merged. Look at it, then merge it:"
    yield f"  git log -p {ref} --not --branches"
    yield f"  {result.merge}"


def _contents(contents: Outline, *, files: bool) -> Iterator[str]:
    for commit in contents.commits[:_SHOWN_COMMITS]:
        yield f"  {commit.oid[:12]} {sentence(commit.subject)}"
    more = contents.commit_count - min(len(contents.commits), _SHOWN_COMMITS)
    if more > 0:
        yield f"  … and {counted(more, 'more commit')}"
    known = contents.added is not None
    lines = f"+{contents.added} -{contents.removed} lines" if known else _UNCOUNTED
    yield (
        f"{counted(contents.commit_count, 'commit')}, "
        f"{counted(contents.change_count, 'file')} changed, {lines}"
    )
    if not files:
        return
    for change in contents.changes:
        lines = "binary" if known else ""
        if change.added is not None:
            lines = f"+{change.added} -{change.removed}"
        yield f"  {lines:>12}  {sentence(change.path)}"
    more = contents.change_count - len(contents.changes)
    if more > 0:
        yield f"  … and {counted(more, 'more file')}"


def _listed(result: BundlesResult) -> Iterator[str]:
    if not result.bundles and not result.others:
        yield "no bundles came in"
    for one in result.bundles:
        tip = f" @{word(one.tip[:12])}" if one.tip else ""
        what = paragraph(one.summary) if one.summary else "(bundle)"
        yield f"[{one.sender.seq}] 📦 {what}{tip}, {shown_size(one.size)}"
        yield f"    {sender_of(one.sender)}"
        for ref in one.refs:
            yield f"    imported as {ref}"
        if not one.refs:
            yield f"    {blob_command('apply', one.blob, one.sender.room)}"
    for other in result.others:
        yield f"imported {word(other.ref)} at {other.tip[:12]}"


def send_file(
    options: Options,
    path: Path,
    room: str | None,
    to: str | None,
    service: str | None,
    note: str | None,
) -> None:
    """Send a file."""
    files.read_file(path)  # before anybody is bothered

    async def work(run: Run) -> None:
        target = await target_of(run, room=room, to=to, service=service)
        result = await files.send_file(
            run.ctx,
            files.SendFileParams(target=target, path=path, note=note),
            progress=run.out.progress("sending"),
        )
        run.out.result(result, _sent(result))

    carry_out(options, work, place=place_of(room, to, service))


def fetch(options: Options, what: str, room: str | None, out: Path | None) -> None:
    """Fetch a file that was sent."""

    async def work(run: Run) -> None:
        params = files.FetchParams(
            what=what, room=RoomName(room) if room else None, out=out
        )
        result = await files.fetch(
            run.ctx, params, progress=run.out.progress("fetching")
        )
        run.out.result(result, _fetched(result), foreign=True)

    carry_out(options, work, place=Place(room=room))


def _sent(result: SendFileResult) -> Iterator[str]:
    yield (
        f"📎 {shown_name(result.name)} sent to {word(result.room)} "
        f"(seq {result.seq}), {shown_size(result.size)}"
    )
    yield "The other agent runs:"
    yield f"  {blob_command('fetch', result.blob, result.room)}"


def _fetched(result: FetchResult) -> Iterator[str]:
    again = "; it was there already" if result.already else ""
    yield Ours(shell_word(result.path, None))
    looks = f"looks like {result.looks_like}, not opened"
    yield f"  {shown_size(result.size)}, {looks}{again}"
    if result.warning:
        yield f"  ⚠ careful: {sentence(result.warning)}"
    yield f"  {sender_of(result.sender)}"


def sender_of(sender: Sender | None) -> str:
    """Who sent something, and what there is to believe of it."""
    if sender is None:
        return "from whoever gave you its id: no message of this room speaks of it"
    proofs = {
        Signature.VALID: "signature verified",
        Signature.UNSIGNED: "NOT SIGNED: anybody at the hub could have written it",
        Signature.INVALID: "✗ UNVERIFIED: forged or damaged",
        Signature.REPLAYED: "✗ REPLAYED: said elsewhere or before",
    }
    role = f" ({shown_name(sender.role)})" if sender.role else ""
    name = f"{shown_name(sender.name)}{role} {sender.fingerprint}"
    return f"from {name}, {proofs[sender.signature]}"
