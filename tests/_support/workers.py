"""Workers under test: what they reached and told, and programs for them to run."""

import asyncio
import os
import shlex
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from parler.client.messages import Message
from parler.identity.message_signing import Signature
from parler.ops.context import OpContext
from parler.ops.work import Step, Surroundings, TaskEnd
from parler.wire.base import MessageId, RoomName
from parler.wire.parts import TaskPart
from parler.wire.records import TaskStatus
from tests._support.actors import Stage
from tests._support.polling import WAIT


class Killed(BaseException):
    """A worker that ends here, as if the power had gone."""


@dataclass(slots=True)
class Audience:
    """Watches a worker; may end it after a step."""

    dies_after: Step | None = None
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    printed: bytearray = field(default_factory=bytearray)
    ends: list[TaskEnd] = field(default_factory=list)
    on_step: dict[Step, Callable[[], None]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def reached(self, step: Step, task: MessageId) -> None:
        self.steps.append(step)
        self._news.set()
        if step in self.on_step:
            self.on_step[step]()
        if step is self.dies_after:
            raise Killed

    def note(self, text: str) -> None:
        self.notes.append(text)
        self._news.set()

    def output(self, data: bytes) -> None:
        self.printed += data
        self._news.set()

    def done(self, end: TaskEnd) -> None:
        self.ends.append(end)
        self._news.set()

    async def until(self, condition: Callable[["Audience"], object]) -> None:
        """Wait until something was seen."""
        try:
            async with asyncio.timeout(WAIT):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.steps}, {self.notes}") from None


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that other tasks or processes bring about."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)


class Working(AbstractAsyncContextManager[None]):
    """Something that works while the block runs, and is cancelled with it."""

    def __init__(self, work: Awaitable[None]) -> None:
        self._work = work
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> None:
        async def run() -> None:
            await self._work

        await self._group.__aenter__()
        self._task = self._group.create_task(run())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await self._group.__aexit__(kind, error, traceback)


def script(folder: Path, source: str, name: str = "runner.py") -> str:
    """A command that runs a Python program."""
    path = folder / name
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return shlex.join([sys.executable, "-I", str(path)])


def counting(folder: Path, answer: str = "did it") -> str:
    """A command that notes each of its runs in `runs`, one file each."""
    (folder / "runs").mkdir(exist_ok=True)
    return script(
        folder,
        f"""
        import os, pathlib, uuid
        task = os.environ["PARLER_TASK_ID"]
        (pathlib.Path({str(folder)!r}) / "runs" / f"{{task}}.{{uuid.uuid4()}}").touch()
        print({answer!r})
        """,
    )


def runs(folder: Path) -> list[str]:
    """The tasks for which a counting command ran, once for each run."""
    return sorted(path.name.partition(".")[0] for path in (folder / "runs").iterdir())


def surroundings(folder: Path, **more: str) -> Surroundings:
    """A folder to work in, and an environment to choose from."""
    return Surroundings(
        environment={"PATH": os.environ["PATH"], **more}, folder=folder, grace_secs=0.2
    )


async def enter(at: Stage, name: str, role: str | None = None) -> OpContext:
    """Connect a new agent whose clock is the one that signatures state."""
    ctx = await at.enter(name, role)
    return replace(ctx, now=lambda: time.time_ns() // 1_000_000)


async def said(ctx: OpContext, room: RoomName) -> list[Message]:
    """Everything in a room."""
    return (await ctx.client.pull(room, since=0, limit=1000)).messages


async def receipts(
    ctx: OpContext, room: RoomName, task: str | None = None
) -> list[TaskStatus]:
    """The statuses told, in order; all of them validly signed."""
    found = []
    for message in await said(ctx, room):
        for part in message.parts:
            if isinstance(part, TaskPart) and task in (None, part.task):
                assert message.signature is Signature.VALID
                assert part.task == message.stored.reply_to
                found.append(part.status)
    return found
