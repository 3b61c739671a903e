"""Agents that act while nobody watches: ``work`` and ``supervise``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from parler.cli._arguments import between
from parler.cli._command import command
from parler.cli._run import Options, Place, Run, carry_out, in_room
from parler.errors import UsageError
from parler.identity.homes import process_environment
from parler.ops import supervise as supervising
from parler.ops import work as working
from parler.ops.capability import MAX_U32
from parler.ops.work import (
    DEFAULT_PER_HOUR,
    MAX_PER_CONVERSATION,
    MAX_TIMEOUT_SECS,
    Limits,
    Step,
    Surroundings,
    TaskEnd,
)
from parler.text.terminal import sentence, shell_word, visible, word
from parler.wire.base import MessageId, RoomName
from parler.wire.limits import MAX_TTL_SECS
from parler.wire.names import service_room

TIMEOUT_SECS = 900


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, working.WORK)(work)
    command(app, supervising.SUPERVISE)(supervise)


def work(
    options: Options,
    room: str | None,
    service: str | None,
    runner: str,
    max_per_hour: Annotated[
        int,
        typer.Option(
            "--max-per-hour",
            metavar="N",
            help="Turns an hour; 0: any.",
            parser=between(0, MAX_U32),
        ),
    ] = DEFAULT_PER_HOUR,
    timeout_secs: Annotated[
        int,
        typer.Option(
            "--timeout-secs",
            metavar="SECS",
            help="For each task.",
            parser=between(1, MAX_TIMEOUT_SECS),
        ),
    ] = TIMEOUT_SECS,
    *,
    pass_on: list[str],
    share_identity: bool,
    **given: Any,
) -> None:
    """Let an agent act in this folder, until interrupted or after one task."""
    if room is not None and service is not None:
        raise UsageError("--room and --service exclude each other")
    limits = Limits(
        timeout_secs=timeout_secs,
        per_hour=max_per_hour,
        pass_on=pass_on,
        share_identity=share_identity,
    )
    params = working.WorkParams(
        room=None if room is None else RoomName(room),
        service=service,
        runner=runner,
        limits=limits,
        **given,
    )

    async def stay(run: Run) -> None:
        await _work(run, params)

    place = in_room(room) if service is None else Place(room=service_room(service))
    carry_out(options, stay, place=place)


async def stay_in(run: Run, room: RoomName, runner: str, *, once: bool) -> None:
    """Let an agent act on the handoffs of a room that we have joined."""
    limits = Limits(timeout_secs=TIMEOUT_SECS)
    params = working.WorkParams(room=room, runner=runner, once=once, limits=limits)
    await _work(run, params)


async def _work(run: Run, params: working.WorkParams) -> None:
    where, runner = params.service or run.ctx.room(params.room), params.runner
    run.out.note(f"working in {visible(where)} with {runner}; Ctrl-C ends it")
    await working.work(
        run.ctx,
        params,
        surroundings=_surroundings(),
        watcher=_Screen(run, shown_bytes=params.limits.max_output_bytes),
        done=lambda end: _show(run, end),
    )


def supervise(
    options: Options,
    runner: str,
    role: str | None,
    room: str | None,
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
    *,
    pass_on: list[str],
    share_identity: bool,
    **given: Any,
) -> None:
    """Run a command for each task, until interrupted or after one."""
    if (role is None) == (room is None):
        raise UsageError("name either --role or --room")
    limits = Limits(
        timeout_secs=timeout_secs,
        max_output_bytes=max_output_bytes,
        per_hour=max_per_hour,
        per_conversation=0 if role is not None else MAX_PER_CONVERSATION,
        pass_on=pass_on,
        share_identity=share_identity,
    )
    params = supervising.SuperviseParams(
        runner=runner,
        role=role,
        room=None if room is None else RoomName(room),
        lease_secs=lease_secs,
        limits=limits,
        **given,
    )

    async def stay(run: Run) -> None:
        run.out.note(f"working on {visible(role or room or '')}; Ctrl-C ends it")
        await supervising.supervise(
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

    def reached(self, step: Step, task: MessageId) -> None:
        if step is Step.STARTED:
            self._left, self._line = self._shown_bytes, b""
            self._out.note(f"working on {word(task)}")
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


def _surroundings() -> Surroundings:
    return Surroundings(environment=process_environment(), folder=Path.cwd())


def _show(run: Run, end: TaskEnd) -> None:
    note = f": {sentence(end.note)}" if end.note else ""
    took = f" after {end.elapsed_ms} ms" if end.elapsed_ms is not None else ""
    line = f"{end.status.value} {shell_word(end.task)}{took} (seq {end.seq}){note}"
    run.out.result(end, [line])
