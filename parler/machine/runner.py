"""Running a program for a task: bounded in time and memory, and with all below it.

Input goes to stdin, output is read as it comes and kept only in part. Which program,
and what it is told, is decided elsewhere; `reaper` ends what the program started.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from parler.errors import ConfigError
from parler.machine import reaper

GRACE_SECS = 5.0
"""Between asking a program to end and killing it."""

ERROR_BYTES = 1000
"""Of stderr that is told when a program failed."""

_CHUNK_BYTES = 2**16
_DRAIN_SECS = 2.0
_MARGIN_SECS = 5.0
_CUT = "\n[… {} bytes left out …]\n"

Hear = Callable[[bytes], None]
"""Is handed output as it comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, where, and within which bounds."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    timeout_secs: float
    max_output_bytes: int
    grace_secs: float = GRACE_SECS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended."""

    status: int
    timed_out: bool
    output: str
    errors: str
    """The end of what it said on stderr."""

    elapsed_ms: int


@dataclass(slots=True)
class Excerpt:
    """The beginning and the end of a stream; what is between is only counted."""

    limit: int
    only_end: bool = False
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)
    _total: int = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        self._total += len(data)
        begin = 0 if self.only_end else self.limit // 4
        room = max(begin - len(self._head), 0)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._tail) - (self.limit - begin)
        if excess > 0:
            del self._tail[:excess]

    def text(self) -> str:
        """What was kept; a cut is marked."""
        left_out = self._total - len(self._head) - len(self._tail)
        cut = _CUT.format(left_out).encode() if left_out else b""
        return (bytes(self._head) + cut + bytes(self._tail)).decode("utf-8", "replace")


async def run(program: Program, data: bytes, *, hear: Hear) -> Ended:
    """Run a program to its end, or end it: after its time, or when cancelled.

    When this returns or raises, neither the program nor anything it started is left,
    as far as the system lets that be known.

    Args:
        data: Its stdin.
        hear: Is handed stdout and stderr as they come.

    Raises:
        ConfigError: It could not be started at all.
    """
    started = time.monotonic()
    output, errors = Excerpt(program.max_output_bytes), Excerpt(ERROR_BYTES, True)
    timed_out = False
    async with _running(program, data) as running, asyncio.TaskGroup() as tasks:
        listening = [
            tasks.create_task(_listen(stream, excerpt, hear))
            for stream, excerpt in ((running.out, output), (running.err, errors))
        ]
        try:
            async with asyncio.timeout(program.timeout_secs):
                status = await running.reaper.wait()
        except TimeoutError:
            timed_out = True
            status = await running.stop(program.grace_secs)
        # Everybody who could write is gone, so this is short.
        await asyncio.wait(listening, timeout=_DRAIN_SECS)
        for task in listening:
            task.cancel()
    return Ended(
        status=status,
        timed_out=timed_out,
        output=output.text(),
        errors=errors.text(),
        elapsed_ms=int((time.monotonic() - started) * 1000),
    )


@dataclass(slots=True, kw_only=True)
class _Running:
    reaper: asyncio.subprocess.Process
    out: asyncio.StreamReader
    err: asyncio.StreamReader
    control: IO[bytes]

    async def stop(self, grace_secs: float) -> int:
        """End the program and all below it; the reaper is killed if it does not."""
        self.control.close()
        patience = grace_secs + reaper.SWEEP_SECS + _MARGIN_SECS
        try:
            async with asyncio.timeout(patience):
                return await self.reaper.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.reaper.send_signal(signal.SIGKILL)
            return await self.reaper.wait()


@asynccontextmanager
async def _running(program: Program, data: bytes) -> AsyncIterator[_Running]:
    """The program under its reaper, which is gone when the block ends."""
    if sys.platform == "win32":
        raise ConfigError("workers need a system with process groups, not Windows")
    with ExitStack() as open_files:
        told, control = _pipe(open_files)
        (out, out_end), (err, err_end) = _pipe(open_files), _pipe(open_files)
        given = open_files.enter_context(tempfile.TemporaryFile())
        given.write(data)
        given.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(reaper.__file__))),
                *(str(told.fileno()), str(program.grace_secs), *program.command),
                stdin=given,
                stdout=out_end,
                stderr=err_end,
                pass_fds=[told.fileno()],
                env=dict(program.environment),
                cwd=program.folder,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot start {program.command[0]!r}: {error}") from None
        for file in (told, out_end, err_end, given):
            file.close()  # the reaper has its own
        running = _Running(
            reaper=process,
            out=await _reader(out, open_files),
            err=await _reader(err, open_files),
            control=control,
        )
        try:
            yield running
        finally:
            if process.returncode is None:
                await running.stop(program.grace_secs)


async def _reader(pipe: IO[bytes], stack: ExitStack) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    stack.callback(transport.close)
    return reader


async def _listen(stream: asyncio.StreamReader, excerpt: Excerpt, hear: Hear) -> None:
    while data := await stream.read(_CHUNK_BYTES):
        excerpt.add(data)
        hear(data)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return (
        stack.enter_context(os.fdopen(reading, "rb", buffering=0)),
        stack.enter_context(os.fdopen(writing, "wb", buffering=0)),
    )
