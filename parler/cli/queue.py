"""Queued work: ``serve``, ``queue``, ``claim``, ``complete``, and ``task`` receipts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import MAX_SEQ, Room, Service, To, between, only_one
from parler.cli._command import command
from parler.cli._run import Options, Place, Run, carry_out
from parler.cli._targets import place_of, target_of
from parler.text.terminal import shell_word, visible

if TYPE_CHECKING:
    from parler.ops.queue import QueueResult

_TASK = """\
parler task working --task ID --note "reading the diff"
parler task done --task ID --elapsed-ms 5300"""

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The service you serve.")]
_Message = Annotated[
    str, typer.Argument(metavar="ID", help="The task's message, as queue shows it.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "serve", example="parler serve review")(serve)
    command(app, "queue", example="parler queue review --json")(queue)
    command(app, "claim", example="parler claim review ID --lease 600")(claim)
    command(app, "complete", example="parler complete review ID done")(complete)
    command(app, "task", example=_TASK)(task)


def serve(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As others ask for it.")],
) -> None:
    """Become a worker of a service; others reach it with `send --service`.

    It does no work by itself: `recv` reads what is said there, and `queue` what is to
    be done by exactly one.
    """
    from parler.ops import queue as operations

    async def work(run: Run) -> None:
        result = await operations.serve(run.ctx, name)
        word = shell_word(result.service)
        told = [
            f"you serve {visible(result.service)} in {visible(result.room)}",
            f"read:  parler recv --room {shell_word(result.room)}",
            f"work:  parler queue {word}",
        ]
        run.out.result(result, told)

    carry_out(options, work, place=_place(name))


def queue(
    options: Options,
    name: _Name,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="At most N.",
            parser=between(1, 200),
        ),
    ] = None,
) -> None:
    """Show the tasks of a service that nobody holds.

    Only to its workers, and only while they are available: idle or waiting.
    """
    from parler.ops import queue as operations

    params = operations.QueueParams(
        service=name, **({} if limit is None else {"limit": limit})
    )

    async def work(run: Run) -> None:
        result = await operations.queue(run.ctx, params)
        run.out.result(result, map(run.out.quoted, _queued(run, result, name)))

    carry_out(options, work, place=_place(name))


def claim(
    options: Options,
    name: _Name,
    message: _Message,
    lease: Annotated[
        int | None,
        typer.Option(
            "--lease",
            metavar="SECS",
            help="For how long.",
            parser=between(15, 3600),
        ),
    ] = None,
) -> None:
    """Take a task, or hold on to one you have. Losing it to another is no error."""
    from parler.ops import queue as operations
    from parler.text.transcript import shown_time
    from parler.wire.base import MessageId

    params = operations.ClaimParams(
        service=name,
        message=MessageId(message),
        **({} if lease is None else {"lease_secs": lease}),
    )

    async def work(run: Run) -> None:
        result = await operations.claim(run.ctx, params)
        told = f"{visible(message)} is not for you: taken, done, or no task of yours"
        if result.lease_until is not None:
            until = shown_time(result.lease_until, None)
            told = f"{visible(message)} is yours until {until}"
        run.out.result(result, [told])

    carry_out(options, work, place=_place(name))


def complete(
    options: Options,
    name: _Name,
    message: _Message,
    status: Annotated[
        str, typer.Argument(metavar="STATUS", help="done, failed or cancelled.")
    ],
) -> None:
    """End a task you hold, for good; `task` tells whoever asked for it."""
    from parler.ops import queue as operations
    from parler.ops.tasks import task_status
    from parler.wire.base import MessageId

    params = operations.CompleteParams(
        service=name, message=MessageId(message), status=task_status(status)
    )

    async def work(run: Run) -> None:
        result = await operations.complete(run.ctx, params)
        ended = f"is {result.status.value}" if result.completed else "is not yours"
        run.out.result(result, [f"{visible(message)} {ended}"])

    carry_out(options, work, place=_place(name))


def task(
    options: Options,
    status: Annotated[
        str,
        typer.Argument(
            metavar="STATUS",
            help="accepted, working, awaiting, done, failed or cancelled.",
        ),
    ],
    task_: Annotated[
        str | None,
        typer.Option("--task", metavar="ID", help="Which: the message that asked."),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="A word on it.")
    ] = None,
    result: Annotated[
        str | None, typer.Option("--result", metavar="BLOB", help="What came of it.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens",
            metavar="N",
            help="Model tokens it took.",
            parser=between(0, MAX_SEQ),
        ),
    ] = None,
    elapsed_ms: Annotated[
        int | None,
        typer.Option(
            "--elapsed-ms",
            metavar="MS",
            help="Time it took.",
            parser=between(0, MAX_SEQ),
        ),
    ] = None,
    room: Room = None,
    to: To = None,
    service: Service = None,
) -> None:
    """Say how far a task is, in the active session, a room, or to one agent."""
    from parler.ops import tasks
    from parler.text.transcript import TASK_MARKS

    only_one(room=room, to=to, service=service)
    chosen = tasks.task_status(status)

    async def work(run: Run) -> None:
        params = tasks.TaskParams(
            target=await target_of(run, room=room, to=to, service=service),
            status=chosen,
            task=task_,
            note=note,
            result=result,
            tokens=tokens,
            elapsed_ms=elapsed_ms,
        )
        said = await tasks.task(run.ctx, params)
        where = f"in {visible(said.room)} (seq {said.seq})"
        mark = TASK_MARKS[said.status]
        run.out.result(said, [f"{mark} task {said.status.value} {where}"])

    carry_out(options, work, place=place_of(room, to, service))


def _place(service: str) -> Place:
    from parler.wire.names import service_room

    return Place(room=service_room(service))


def _queued(run: Run, result: "QueueResult", name: str) -> Iterator[str]:
    from parler.text.transcript import Transcript

    if not result.messages:
        yield f"nothing waits for you in {visible(result.room)}"
        return
    transcript = Transcript(run.reader, now=run.ctx.now())
    for message in result.messages:
        yield from transcript.lines(message, message.signature)
        task_id = shell_word(message.id)
        yield f"    take it:  parler claim {shell_word(name)} {task_id}"
