"""Agents that act while nobody watches: ``work`` and ``supervise``."""

from typing import TYPE_CHECKING, Annotated

import typer

from parler.apps.registry import DEFAULT_RUNNER, headless_ids
from parler.cli._arguments import MAX_U32, Room, Service, between
from parler.cli._command import command
from parler.cli._run import Options, Place, Run, carry_out, in_room
from parler.errors import UsageError
from parler.text.terminal import shell_word, visible
from parler.wire.limits import MAX_TTL_SECS

if TYPE_CHECKING:
    from parler.ops.work import Step, Surroundings, TaskEnd
    from parler.wire.base import MessageId

_WORK = """\
parler work --runner claude
parler work --service review --allow-from ABCD-EFGH-IJKL-MNOP --runner codex"""
_SUPERVISE = """\
parler supervise --role review --runner './review.sh'
parler supervise --room team --runner 'python answer.py' --once"""

_AllowFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-from",
        metavar="ID",
        help="Only this agent may ask: id or fingerprint, never a name; repeatable.",
    ),
]
_PassOn = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="Pass this variable on to the runner; repeatable.",
    ),
]
_ShareIdentity = Annotated[
    bool,
    typer.Option("--share-identity", help="Let the runner use parler as this agent."),
]
_Once = Annotated[bool, typer.Option("--once", help="End after one task.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "work", example=_WORK)(work)
    command(app, "supervise", example=_SUPERVISE)(supervise)


def work(
    options: Options,
    room: Room = None,
    service: Service = None,
    runner: Annotated[
        str,
        typer.Option(
            "--runner",
            metavar="WHAT",
            help=f"{', '.join(headless_ids())}, or a command for sh.",
        ),
    ] = DEFAULT_RUNNER,
    all_messages: Annotated[
        bool,
        typer.Option("--all-messages", help="Plain text starts work, too."),
    ] = False,
    allow_from: _AllowFrom = None,
    allow_any: Annotated[
        bool, typer.Option("--allow-any", help="Anybody may ask a service.")
    ] = False,
    max_per_hour: Annotated[
        int,
        typer.Option(
            "--max-per-hour",
            metavar="N",
            help="Turns an hour; 0: any.",
            parser=between(0, MAX_U32),
        ),
    ] = 20,
    timeout_secs: Annotated[
        int,
        typer.Option(
            "--timeout-secs",
            metavar="SECS",
            help="For each task.",
            parser=between(1, 7200),
        ),
    ] = 900,
    once: _Once = False,
    env: _PassOn = None,
    share_identity: _ShareIdentity = False,
) -> None:
    """Let an agent act on handoffs in this folder while nobody watches.

    Only validly signed messages start work, each once. A message is given to the
    runner on stdin, as data from its author. What it answers is sent to the room with
    a receipt: done or failed. Receipts start no work.
    """
    if room is not None and service is not None:
        raise UsageError("--room and --service exclude each other")
    from parler.ops import work as operations
    from parler.wire.base import RoomName
    from parler.wire.names import service_room

    limits = operations.Limits(
        timeout_secs=timeout_secs,
        per_hour=max_per_hour,
        pass_on=env or [],
        share_identity=share_identity,
    )
    params = operations.WorkParams(
        room=None if room is None else RoomName(room),
        service=service,
        runner=runner,
        everything=all_messages,
        allow_from=allow_from or [],
        allow_any=allow_any,
        once=once,
        limits=limits,
    )

    async def stay(run: Run) -> None:
        where = service or run.ctx.room(room)
        run.out.note(f"working in {visible(where)} with {runner}; Ctrl-C ends it")
        await operations.work(
            run.ctx,
            params,
            surroundings=_surroundings(),
            watcher=_Screen(run, shown_bytes=limits.max_output_bytes),
            done=lambda end: _show(run, end),
        )

    place = in_room(room) if service is None else Place(room=service_room(service))
    carry_out(options, stay, place=place)


def supervise(
    options: Options,
    runner: Annotated[
        str,
        typer.Option(
            "--runner", metavar="CMD", help="A command for sh, or a known agent."
        ),
    ],
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help="Take tasks of this role."),
    ] = None,
    room: Annotated[
        str | None,
        typer.Option("--room", metavar="ROOM", help="Or take what is said here."),
    ] = None,
    allow_from: _AllowFrom = None,
    lease_secs: Annotated[
        int,
        typer.Option(
            "--lease-secs",
            metavar="SECS",
            help="How soon a task of a dead worker is another's.",
            min=15,
            max=3600,
            clamp=True,
        ),
    ] = 300,
    timeout_secs: Annotated[
        int,
        typer.Option(
            "--timeout-secs",
            metavar="SECS",
            help="For each task.",
            parser=between(1, MAX_TTL_SECS),
        ),
    ] = 1800,
    max_per_hour: Annotated[
        int,
        typer.Option(
            "--max-per-hour",
            metavar="N",
            help="Turns an hour; 0: any.",
            parser=between(0, MAX_U32),
        ),
    ] = 0,
    once: _Once = False,
    max_output_bytes: Annotated[
        int,
        typer.Option(
            "--max-output-bytes",
            metavar="N",
            help="Kept of its output.",
            min=1024,
            max=2**20,
            clamp=True,
        ),
    ] = 65536,
    env: _PassOn = None,
    share_identity: _ShareIdentity = False,
) -> None:
    """Run a command for each task of a role, or for each message of a room.

    Exactly one free worker takes each task of a role. The command reads one JSON
    object on stdin: who asks, and the parts of the message. It is also told
    PARLER_TASK_ID, PARLER_ROOM, PARLER_FROM, PARLER_FROM_NAME and PARLER_ROLE. What
    it prints is sent to the room with a receipt: done, or failed if its exit status
    is not 0.
    """
    if (role is None) == (room is None):
        raise UsageError("name either --role or --room")
    from parler.ops import supervise as operations
    from parler.ops.work import MAX_PER_CONVERSATION, Limits
    from parler.wire.base import RoomName
    from parler.wire.names import service_room

    limits = Limits(
        timeout_secs=timeout_secs,
        max_output_bytes=max_output_bytes,
        per_hour=max_per_hour,
        per_conversation=0 if role is not None else MAX_PER_CONVERSATION,
        pass_on=env or [],
        share_identity=share_identity,
    )
    params = operations.SuperviseParams(
        runner=runner,
        role=role,
        room=None if room is None else RoomName(room),
        allow_from=allow_from or [],
        lease_secs=lease_secs,
        once=once,
        limits=limits,
    )

    async def stay(run: Run) -> None:
        run.out.note(f"working on {visible(role or room or '')}; Ctrl-C ends it")
        await operations.supervise(
            run.ctx,
            params,
            surroundings=_surroundings(),
            watcher=_Screen(run, shown_bytes=max_output_bytes),
            done=lambda end: _show(run, end),
        )

    place = Place(room=service_room(role)) if role is not None else in_room(room)
    carry_out(options, stay, place=place)


class _Screen:
    """Shows on stderr how a worker gets on, and a bounded part of what is printed."""

    def __init__(self, run: Run, *, shown_bytes: int) -> None:
        self._out = run.out
        self._shown_bytes = shown_bytes
        self._left = 0
        self._line = b""

    def reached(self, step: "Step", task: "MessageId") -> None:
        from parler.ops.work import Step

        if step is Step.STARTED:
            self._left, self._line = self._shown_bytes, b""
            self._out.note(f"working on {visible(task)}")
        elif step is Step.RAN and self._line:
            self._show(self._line)

    def note(self, text: str) -> None:
        self._out.note(text)

    def output(self, data: bytes) -> None:
        if self._left <= 0:
            return
        *whole, rest = (self._line + data[: self._left]).split(b"\n")
        self._left -= len(data)
        for line in whole:
            self._show(line)
        self._line = rest
        if self._left <= 0:
            self._show(rest)
            self._line = b""
            self._out.note("  | … the rest is not shown")

    def _show(self, line: bytes) -> None:
        self._out.note("  | " + line.decode("utf-8", "replace"))


def _surroundings() -> "Surroundings":
    from pathlib import Path

    from parler.identity.homes import process_environment
    from parler.ops.work import Surroundings

    return Surroundings(environment=process_environment(), folder=Path.cwd())


def _show(run: Run, end: "TaskEnd") -> None:
    note = f": {visible(end.note)}" if end.note else ""
    took = f" after {end.elapsed_ms} ms" if end.elapsed_ms is not None else ""
    line = f"{end.status.value} {shell_word(end.task)}{took} (seq {end.seq}){note}"
    run.out.result(end, [line])
