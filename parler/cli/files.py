"""Handing over files: ``send-file``, ``fetch``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import Room, Service, To, only_one
from parler.cli._command import command
from parler.cli._handed import bytes_of, sender_of
from parler.cli._run import Options, Place, Run, carry_out
from parler.cli._targets import place_of, target_of
from parler.text.terminal import shell_word, shown_name, visible

if TYPE_CHECKING:
    from parler.ops.files import FetchResult, SendFileResult


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "send-file", example='parler send-file report.pdf --note "final"')(
        send_file
    )
    command(app, "fetch", example="parler fetch report.pdf")(fetch)


def send_file(
    options: Options,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file.")],
    room: Room = None,
    to: To = None,
    service: Service = None,
    note: Annotated[
        str | None,
        typer.Option("--note", metavar="TEXT", help="A text shown before it."),
    ] = None,
) -> None:
    """Send a file to the active session, a room, or one agent."""
    from parler.ops import files

    only_one(room=room, to=to, service=service)
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


def fetch(
    options: Options,
    what: Annotated[
        str, typer.Argument(metavar="BLOB|NAME", help="Its name or id, or the start.")
    ],
    room: Room = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help="A new file or a folder; not the inbox."
        ),
    ] = None,
) -> None:
    """Fetch a file that was sent, into the inbox of this identity.

    It is held against its digest, nothing is overwritten, and nothing is opened.
    """
    from parler.ops import files
    from parler.wire.base import RoomName

    async def work(run: Run) -> None:
        params = files.FetchParams(
            what=what, room=RoomName(room) if room else None, out=out
        )
        result = await files.fetch(
            run.ctx, params, progress=run.out.progress("fetching")
        )
        run.out.result(result, map(run.out.quoted, _fetched(result)))

    carry_out(options, work, place=Place(room=room))


def _sent(result: "SendFileResult") -> Iterator[str]:
    yield (
        f"📎 {shown_name(result.name)} sent to {visible(result.room)} "
        f"(seq {result.seq}), {bytes_of(result.size)}"
    )
    yield "The other agent runs:"
    yield f"  parler fetch {result.blob}"


def _fetched(result: "FetchResult") -> Iterator[str]:
    again = " (was there already)" if result.already else ""
    yield f"{shell_word(result.path)}{again}"
    yield f"  {bytes_of(result.size)}, looks like {result.looks_like}, not opened"
    if result.warning:
        yield f"  ⚠ careful: {visible(result.warning)}"
    yield f"  {sender_of(result.sender)}"
