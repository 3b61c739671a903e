"""Lines of JSON over stdin and stdout, as the SDK's streams; and what became of them.

The SDK's own transport does not say when a result was written, or whether the host has
read it, and that decides what may be acknowledged. So this one does. It also keeps the
two file descriptors to itself: what a library prints goes to stderr, and what a child
reads is empty.
"""

import asyncio
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from mcp.shared.message import SessionMessage
from mcp_types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is no message of any host; it is dropped."""

MAX_UNHANDLED = 256
"""Lines read ahead of the server."""

MAX_UNWRITTEN_BYTES = 16 * 2**20
"""Beyond, whoever writes waits for the host to read."""

CHUNK_BYTES = 2**16
_LOOK_SECS = 0.005
_MAX_LOOKS = 2000
_PARSE_ERROR = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}\n'
)

RequestId = int | str


class Observer(Protocol):
    """Told what passes. Nothing here may take long or raise."""

    def opening(self, message: JSONRPCMessage) -> bytes | None:
        """See the first request; an answer keeps it from the server."""

    def heard(self, message: JSONRPCMessage) -> None:
        """A message of the host arrived."""

    def failed(self, request: RequestId) -> None:
        """A request was answered with an error."""


class HostPipe:
    """The connection to the host. Made in the event loop that uses it."""

    def __init__(
        self, observer: Observer, *, descriptors: tuple[int, int] | None = None
    ) -> None:
        """Nothing is read yet.

        Args:
            descriptors: Where to read and to write, instead of stdin and stdout.
        """
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._stdin, self._stdout = descriptors or claim_streams()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ahead = threading.BoundedSemaphore(MAX_UNHANDLED)
        self._out: deque[tuple[bytes, RequestId | None]] = deque()
        self._unwritten = 0
        self._more = threading.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._watched: set[RequestId] = set()
        self._written: set[RequestId] = set()
        self._read_at: dict[RequestId, float] = {}
        self._writing = False
        self._gone = False
        self.ended = asyncio.Event()
        """The host has closed stdin."""

        self.reader = _Reader(self)
        self.writer = _Writer(self)

    def start(self) -> None:
        """Read and write from now on."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()
        threading.Thread(target=self._write, name="stdout", daemon=True).start()

    def watch(self, request: RequestId) -> None:
        """Keep an eye on the answer to a request, which is not written yet."""
        self._watched.add(request)

    def was_written(self, request: RequestId) -> bool:
        """Whether the answer to a request has left this process."""
        return request in self._written

    def forget(self, request: RequestId) -> None:
        """Its answer is not asked for any more."""
        self._watched.discard(request)
        self._read_at.pop(request, None)
        self._written.discard(request)

    def was_read(self, request: RequestId, *, secs_ago: float) -> bool:
        """Whether the host has read the answer, and that long ago at least."""
        read_at = self._read_at.get(request)
        return read_at is not None and self._loop.time() - read_at >= secs_ago

    def all_read(self) -> bool:
        """Whether the host has read all that was written, where that can be told."""
        if self._gone or self._out or self._writing:
            return False
        return _unread_bytes(self._stdout) in (0, None)

    async def send(self, message: JSONRPCMessage) -> None:
        """Write a message, after those before it."""
        await self._room.wait()
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        answered = message.id if isinstance(message, JSONRPCResponse) else None
        if isinstance(message, JSONRPCError) and message.id is not None:
            self._observer.failed(message.id)
        self._put(text.encode() + b"\n", answered)

    def hang_up(self) -> None:
        """The host has gone, whoever may hold its end of the pipe."""
        self._gone = True
        self._lost()

    async def drain(self, timeout: float) -> None:
        """Wait until all is written, for so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    async def next(self) -> SessionMessage | None:
        """The host's next message; None at its end."""
        while (line := await self._lines.get()) is not None:
            self._ahead.release()
            message = self._understood(line)
            if message is not None:
                return SessionMessage(message)
        self.ended.set()
        self._lines.put_nowait(None)  # whoever asks again hears it again
        return None

    def _understood(self, line: bytes) -> JSONRPCMessage | None:
        if not line.strip():
            return None
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            try:
                message = _mended(line)
            except (ValueError, RecursionError):
                self._put(_PARSE_ERROR, None)
                return None
        if isinstance(message, JSONRPCRequest):
            answer = self._observer.opening(message)
            if answer is not None:
                self._put(answer, None)
                return None
        self._observer.heard(message)
        return message

    def _put(self, data: bytes, answered: RequestId | None) -> None:
        if self._gone:
            return
        self._unwritten += len(data)
        if self._unwritten > MAX_UNWRITTEN_BYTES:
            self._room.clear()
        self._idle.clear()
        self._out.append((data, answered))
        self._more.set()

    def _read(self) -> None:
        pending = bytearray()
        overlong = False
        while chunk := self._read_chunk():
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                pending += line
                if not overlong:
                    self._ahead.acquire()
                    self._post(self._lines.put_nowait, bytes(pending))
                pending.clear()
                overlong = False
            pending += rest
            if len(pending) > MAX_LINE_BYTES:
                pending.clear()
                overlong = True
        if pending and not overlong:  # a last line that nothing ends
            self._post(self._lines.put_nowait, bytes(pending))
            self._ahead.acquire()
        self._post(self._lines.put_nowait, None)

    def _read_chunk(self) -> bytes:
        try:
            return os.read(self._stdin, CHUNK_BYTES)
        except OSError:
            return b""

    def _write(self) -> None:
        while True:
            self._more.wait()
            self._more.clear()
            while self._out:
                self._writing = True
                data, answered = self._out.popleft()
                if not self._write_all(data):
                    return
                if answered in self._watched:
                    self._written.add(answered)
                self._writing = False
                self._post(self._wrote, len(data))

    def _write_all(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._stdout, view) :]
        except OSError:
            self._gone = True
            self._post(self._lost)
            return False
        return True

    def _wrote(self, size: int) -> None:
        self._unwritten -= size
        if self._unwritten <= MAX_UNWRITTEN_BYTES:
            self._room.set()
        if self._unwritten == 0:
            self._idle.set()
        self._look(0)

    def _look(self, looks: int) -> None:
        """Notice when the host reads what is watched."""
        unread = self._written - self._read_at.keys()
        if not unread or looks > _MAX_LOOKS:
            return
        if self.all_read():
            now = self._loop.time()
            self._read_at.update((request, now) for request in unread)
        else:
            self._loop.call_later(_LOOK_SECS, self._look, looks + 1)

    def _lost(self) -> None:
        # Nobody reads us any more: as good as an end of stdin.
        self._out.clear()
        self._room.set()
        self._idle.set()
        self._lines.put_nowait(None)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            return  # the loop has ended before its threads


class _Reader:
    """What the SDK reads from."""

    def __init__(self, pipe: HostPipe) -> None:
        self._pipe = pipe
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        return await self.__anext__()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        message = None if self._closed else await self._pipe.next()
        if message is None:
            raise StopAsyncIteration
        return message

    async def aclose(self) -> None:
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Writer:
    """What the SDK writes to."""

    def __init__(self, pipe: HostPipe) -> None:
        self._pipe = pipe

    async def send(self, item: SessionMessage, /) -> None:
        await self._pipe.send(item.message)

    async def aclose(self) -> None:
        """The pipe is closed by the end of the process."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _mended(line: bytes) -> JSONRPCMessage:
    """A message with half of a character in it, as apps write that cut texts in two.

    Raises:
        ValueError: It is none all the same.
    """
    text = json.dumps(json.loads(line), ensure_ascii=False)
    whole = text.encode("utf-8", "replace")
    return jsonrpc_message_adapter.validate_json(whole, by_name=False)


def claim_streams() -> tuple[int, int]:
    """Private descriptors of the host's pipes; 0 and 1 lead elsewhere from now on."""
    private_in, private_out = _above_standard(0), _above_standard(1)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    return private_in, private_out


def _above_standard(descriptor: int) -> int:
    if sys.platform == "win32":
        return os.dup(descriptor)
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _unread_bytes(descriptor: int) -> int | None:
    """How much of what was written the reader has not taken; None if unknown."""
    if not sys.platform.startswith("linux"):
        return None
    import fcntl
    import stat
    import struct
    import termios

    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(mode):
            request = termios.FIONREAD
        elif stat.S_ISSOCK(mode):
            request = termios.TIOCOUTQ
        else:
            return None
        answer = fcntl.ioctl(descriptor, request, bytes(4))
    except OSError:
        return None
    return int(struct.unpack("i", answer)[0])
