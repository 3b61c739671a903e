"""Saying something, handing over the turn, reading: ``send``, ``handoff``, ``recv``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from parler.cli._arguments import only_one
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command
from parler.cli._own import As, in_its_name
from parler.cli._run import HERE, Options, Run, carry_out, in_room, settings_of
from parler.errors import UsageError
from parler.ops import messages
from parler.ops.export import EXPORT, ExportResult
from parler.ops.messages import ReceiveParams, ReceiveResult, SendResult
from parler.text.terminal import counted, sentence, visible, word

NoPager: TypeAlias = Annotated[
    bool, typer.Option("--no-pager", help="Show it all at once, however long.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, messages.SEND)(send)
    command(app, messages.HANDOFF)(handoff)
    command(app, messages.RECEIVE)(recv)
    command(app, messages.HISTORY)(history)


def send(options: Options, **given: Any) -> None:
    """Say something, or give it to one worker."""
    role = given["role"]
    only_one(**{name: given[name] for name in ("room", "to", "service", "role")})
    if role is not None:
        if given["reply_to"] or given["mentions"]:
            raise UsageError("--role takes no --reply-to or --mention")
        _dispatch(options, role, given["text"])
        return

    def told(result: SendResult) -> Iterator[str]:
        yield f"sent to {_where(options, result)}"

    carry_out_declared(options, messages.SEND, given, told)


def _where(options: Options, result: SendResult) -> str:
    """Where something was said, with what it is about there."""
    from parler.cli._format import short_topic
    from parler.identity.known_rooms import KnownRooms

    topic = KnownRooms(settings_of(options).home).topic_of(result.room)
    about = f" {short_topic(topic)}" if topic else ""
    return f"{word(result.room)}{about} (seq {result.seq})"


def _dispatch(options: Options, role: str, text: str) -> None:
    from parler.ops import queue

    async def work(run: Run) -> None:
        result = await queue.dispatch(
            run.ctx, queue.DispatchParams(role=role, text=text)
        )
        task = f"task {result.seq} for one worker of {sentence(role)}"
        run.out.result(result, [f"{task}, in {word(result.room)}"])

    carry_out(options, work, place=HERE)


def handoff(options: Options, **given: Any) -> None:
    """Hand the turn over, and say to whom."""

    def told(result: SendResult) -> Iterator[str]:
        whom = visible(given["for_"] or "anyone")
        yield f"handed to {whom} in {_where(options, result)}"

    carry_out_declared(options, messages.HANDOFF, given, told)


def recv(
    options: Options,
    room: str | None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and show messages as they come.")
    ] = False,
    no_pager: NoPager = False,
    *,
    since: int | None,
    all_: bool,
    limit: int | None,
) -> None:
    """Show what is new or was said before, once or as it comes."""
    if watch and (all_ or since is not None or limit is not None):
        raise UsageError("--watch takes no --since, --all or --limit")
    if all_ and since is not None:
        raise UsageError("--all and --since exclude each other")
    from parler.cli import _receiving

    looked_back: list[ReceiveResult] = []

    async def work(run: Run) -> None:
        chosen = run.ctx.room(room)
        if watch:
            await _receiving.watch(run, chosen)
        elif all_ or since is not None:
            params = ReceiveParams(
                room=chosen, since=since, everything=all_, limit=limit
            )
            looked_back.append(await _receiving.look(run, params))
        else:
            await _receiving.once(run, chosen, limit=limit)

    carry_out(options, work, place=in_room(room))
    for result in looked_back:
        lines = _read_again(options, result)
        options.out.result(result, lines, foreign=True, paged=not no_pager)


def history(
    options: Options,
    as_: As = None,
    no_pager: NoPager = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            help="Write all of it into a new file; JSON lines if it ends in .jsonl.",
        ),
    ] = None,
    **given: Any,
) -> None:
    """Show what was said last in a room of ours, or write all of it into a file."""
    if file is not None:
        if given["before"] or given["limit"] != messages.DEFAULT_HISTORY:
            raise UsageError("--export takes no --number or --before")
        in_its_name(
            *(options, EXPORT, given | {"file": file}, _exported),
            as_=as_,
            anyone=True,
        )
        return

    def lines(result: ReceiveResult) -> Iterator[str]:
        if not result.messages:
            narrowed = ("grep", "from_", "since", "before")
            looked = any(given[name] for name in narrowed)
            nothing = "nothing like it was" if looked else "nothing was"
            return iter([f"{nothing} said there{'' if looked else ' yet'}"])
        return _read_again(options, result)

    in_its_name(
        *(options, messages.HISTORY, given, lines),
        as_=as_,
        anyone=True,
        foreign=True,
        paged=not no_pager,
    )


def _exported(result: ExportResult) -> Iterator[str]:
    yield f"{visible(result.file)}: {counted(result.messages, 'message')}"


def _read_again(options: Options, result: ReceiveResult) -> Iterator[str]:
    """Messages that announce nothing: they were there before."""
    from parler.cli import _format
    from parler.identity.identity import find_identity
    from parler.runtime.bootstrap import now, reader_of
    from parler.text.transcript import Reader, Transcript
    from parler.wire.base import AgentId

    me = find_identity(settings_of(options).home)
    reader = reader_of(me) if me else Reader(agent=AgentId(""), name="")
    transcript = Transcript(reader, now=now())
    return _format.news(result.messages, transcript, banners=False)
