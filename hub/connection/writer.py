"""Writing what a connection has to say: texts at once, and blobs piece by piece.

All that a turn of the loop brings leaves in one write. A task exists only while the
peer reads slowly or takes a blob.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import BinaryIO

from hub.blobs.folder import Download
from hub.connection.ending import NORMAL, VIOLATION
from hub.connection.failures import as_error, as_fault
from hub.delivery.outbox import Handed, Outbox, Text
from hub.errors import Refusal
from hub.handlers.blobs import UNAVAILABLE, readable
from hub.handlers.caller import Caller
from hub.server.transport import Transport
from hub.services import Services
from parler.wire.codec import encode_utf8
from parler.wire.codes import ErrorCode
from parler.wire.replies import Error

FRAGMENT_BYTES = 2**20
"""One piece of a blob on its way out; existing clients take up to 16 MiB (1.5)."""

WRITE_BYTES = 128 * 1024
"""About what is written at once, before it is asked whether the peer keeps up."""


class Writer:
    """Empties the outbox of one connection."""

    def __init__(
        self,
        services: Services,
        transport: Transport,
        *,
        caller: Callable[[], Caller | None],
        handed: Callable[[Handed], None],
        end: Callable[[int, str], None],
    ) -> None:
        """Write nothing before `start`.

        Args:
            caller: Who reads, once it has proved who it is.
            handed: Told of messages that were written.
            end: Ends the connection, with a close code and why.
        """
        self._services = services
        self._transport = transport
        self._caller = caller
        self._handed = handed
        self._end = end
        self.outbox = Outbox(self._write_soon, services.quotas.memory)
        self.torn = False
        """Whether a part of a blob was written and the rest will not be."""

        self._flushing = False
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, group: asyncio.TaskGroup) -> None:
        """Write from now on, with tasks of a group."""
        self._group = group

    def stop(self) -> None:
        """Write nothing more."""
        self._group = None
        if self._task is not None:
            self._task.cancel()

    def _write_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._task is not None or self._group is None or self.torn:
            return
        try:
            while self._transport.writable:
                texts = self.outbox.texts(WRITE_BYTES)
                if not texts:
                    break
                self._write(texts)
        except ConnectionError:
            self._abandon()
        if self.outbox.head() is not None:
            self._task = self._group.create_task(self._write_patiently())

    async def _write_patiently(self) -> None:
        """Write what needs waiting: to a peer that reads slowly, and blobs."""
        try:
            while (frame := self.outbox.head()) is not None:
                await self._transport.wait_writable()
                if isinstance(frame, Download):
                    await self._write_blob(frame)
                    self.outbox.written()
                else:
                    self._write(self.outbox.texts(WRITE_BYTES))
        except ConnectionError:
            self._abandon()
        finally:
            self._task = None

    def _write(self, texts: Sequence[Text]) -> None:
        self._transport.write(
            [text.text if isinstance(text, Handed) else text for text in texts]
        )
        for text in texts:
            if isinstance(text, Handed):
                self._handed(text)
        self.outbox.written(len(texts))

    def _abandon(self) -> None:
        self._end(NORMAL, "the peer is gone")
        self.outbox.abandon()

    async def _write_blob(self, blob: Download) -> None:
        # Nothing may come between the frame that announces a blob and its bytes, and
        # a slow reader costs one fragment of memory (protocol 1.5, 8.3).
        caller = self._caller()
        assert caller is not None
        assert self._group is not None
        async with self._services.quotas.downloads:
            with self._services.rights.watched(caller.agent) as ended:
                try:
                    await readable(self._services, caller, blob.digest)
                    file = await asyncio.to_thread(blob.path.open, "rb")
                except Refusal as refusal:
                    self._refuse_blob(blob, as_error(refusal))
                    return
                except OSError:
                    gone = Refusal(ErrorCode.INTERNAL, UNAVAILABLE)
                    self._refuse_blob(blob, as_error(gone))
                    return
                except Exception as error:  # noqa: BLE001 - outermost; logged there
                    self._refuse_blob(blob, as_fault(error))
                    return
                guard = self._group.create_task(
                    self._stop_when_unreadable(blob, caller, ended)
                )
                try:
                    await self._write_blob_now(blob, file)
                finally:
                    guard.cancel()

    def _refuse_blob(self, blob: Download, error: Error) -> None:
        error.rid = blob.rid
        self._transport.write([encode_utf8(error)])

    async def _stop_when_unreadable(
        self, blob: Download, caller: Caller, ended: asyncio.Event
    ) -> None:
        while True:
            await ended.wait()
            ended.clear()
            try:
                await readable(self._services, caller, blob.digest)
            except Refusal:
                break
            except Exception as error:  # noqa: BLE001 - outermost; it is logged there
                as_fault(error)
                break
        # No frame but a close may follow a part of a blob (protocol 8.3).
        self.torn = True
        if self._task is not None:
            self._task.cancel()
        self.outbox.abandon()
        if not self._transport.writable:
            self._transport.abort()  # what waits to be read is no longer its to read
        self._end(VIOLATION, "the blob is no longer yours to read")

    async def _write_blob_now(self, blob: Download, opened: BinaryIO) -> None:
        with opened as file:
            self._transport.write([blob.incoming])
            piece = await asyncio.to_thread(file.read, FRAGMENT_BYTES)
            first = True
            while True:
                following = await asyncio.to_thread(file.read, FRAGMENT_BYTES)
                await self._transport.send_fragment(
                    piece, first=first, last=not following
                )
                if not following:
                    return
                piece, first = following, False
