"""Keeps on disk what was said while the hub was away, until the hub has stored it.

Each message gets its client id when it is queued, so that the hub stores it once
however often it is sent (protocol 5.2). How one is sent is handed in (`post`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from parler.errors import ConfigError, ParlerError, UsageError
from parler.identity.settings import hub_key
from parler.machine.files import locked, read_private, write_private
from parler.ops.context import OpContext
from parler.runtime.log_file import LogFile
from parler.text.terminal import sentence
from parler.wire.base import Millis

FILE_NAME = "outbox.json"
MAX_QUEUED = 100
MAX_QUEUE_BYTES = 900_000
FLUSH_SECS = 5.0
"""How often is looked for what another window has left."""


class OutboxFull(UsageError):
    """Nothing more can be kept."""

    code = "outbox_full"


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be said."""

    client_id: str
    hub: str
    tool: str
    arguments: dict[str, Any]
    """Those of the tool; the target is as it was meant when it was called."""

    queued_at: Millis


class _File(msgspec.Struct):
    queued: list[Queued] = []


Post = Callable[[OpContext, Queued], Awaitable[str]]
"""Sends one, and says what became of it."""


class Outbox:
    """The ``outbox.json`` of one identity, which its windows share."""

    def __init__(
        self,
        home: Path,
        *,
        post: Post,
        told: Callable[[str, str], None],
        log: LogFile,
    ) -> None:
        """Nothing is read yet.

        Args:
            told: Given what the model should know of a queued message, and its id.
        """
        self._path = home / FILE_NAME
        self._post = post
        self._told = told
        self._log = log
        self._stir = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def add(self, one: Queued) -> None:
        """Keep something; it is on disk when this returns.

        Raises:
            OutboxFull: There is too much already.
            ConfigError: It cannot be written.
        """
        await asyncio.to_thread(self._add, one)
        self._stir.set()

    async def count(self, hub: str) -> int:
        """How many wait for a hub."""
        return len(await asyncio.to_thread(self._of, hub))

    async def outcome(self, one: Queued, secs: float) -> str | None:
        """What became of it, if that is known within so many seconds.

        Raises:
            ParlerError: It was refused.
        """
        future = self._waiting.setdefault(
            one.client_id, asyncio.get_running_loop().create_future()
        )
        try:
            async with asyncio.timeout(secs):
                return await asyncio.shield(future)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(one.client_id, None)

    async def flush(self, ctx: OpContext) -> None:
        """Send what waits for this hub, over one connection, until it ends."""
        self._stir.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECS):
                    await self._stir.wait()
            self._stir.clear()
            try:
                waiting = await asyncio.to_thread(self._of, ctx.hub)
                for one in waiting:
                    if not await self._send(ctx, one):
                        break
            except ConfigError as damaged:
                self._log.note(f"the outbox cannot be read: {damaged.code}")

    async def _send(self, ctx: OpContext, one: Queued) -> bool:
        """Whether the next one should be tried."""
        refused: ParlerError | None = None
        said = ""
        try:
            said = await self._post(ctx, one)
        except ParlerError as error:
            if error.retryable:
                return False
            refused = error
        await asyncio.to_thread(self._remove, one.client_id)
        future = self._waiting.get(one.client_id)
        if future is not None and not future.done():
            if refused is None:
                future.set_result(said)
            else:
                future.set_exception(refused)
        elif refused is not None:
            self._told(
                f"A message you queued with {one.tool} was NOT sent: "
                f"{sentence(refused.message)}",
                one.client_id,
            )
        else:
            self._told(
                f"What you queued with {one.tool} is stored now: {said}", one.client_id
            )
        self._log.note("a queued message was " + ("refused" if refused else "sent"))
        return True

    def _of(self, hub: str) -> list[Queued]:
        wanted = hub_key(hub)
        return [one for one in self._read() if one.hub == wanted]

    def _add(self, one: Queued) -> None:
        with self._changing() as queued:
            if len(queued) >= MAX_QUEUED:
                raise OutboxFull(
                    f"{MAX_QUEUED} messages wait for the hub; no more can be queued"
                )
            queued.append(one)

    def _remove(self, client_id: str) -> None:
        with self._changing() as queued:
            queued[:] = [one for one in queued if one.client_id != client_id]

    def _read(self) -> list[Queued]:
        try:
            return msgspec.json.decode(read_private(self._path), type=_File).queued
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError):
            aside = self._path.with_suffix(".damaged.json")
            with suppress(OSError):
                self._path.replace(aside)
            self._log.note("the outbox was damaged and put aside")
            return []

    @contextmanager
    def _changing(self) -> Iterator[list[Queued]]:
        with locked(self._path):
            queued = self._read()
            yield queued
            data = msgspec.json.encode(_File(queued))
            if len(data) > MAX_QUEUE_BYTES:
                raise OutboxFull(
                    "what waits for the hub is too long; nothing was queued"
                )
            write_private(self._path, data)
