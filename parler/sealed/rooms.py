"""Sealed rooms at a hub: pulled, kept up to date, spoken into.

Joins `member`, which decides and keeps, to a client, which talks. What one identity
says goes out one by one, from whichever process: from the number it gets until the hub
has it, a room is one process's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from parler.client.client import Client
from parler.machine.files import locked
from parler.sealed.changes import Change
from parler.sealed.formats import GRANT_KIND, Reference
from parler.sealed.member import Member
from parler.sealed.reader import Reading
from parler.sealed.store import Outgoing
from parler.wire.base import Code, Millis, RoomName, Seq
from parler.wire.limits import MAX_PULLED_BYTES
from parler.wire.records import RoomTarget, StoredMessage
from parler.wire.replies import Sent
from parler.wire.requests import Send

PAGE = 100
"""Messages in one pull: at a hub without a bound of its own a reply stays small."""

LOCK_SECS = 30.0
"""How long another process of this identity may take to say something."""

IN_FLIGHT_MS = 60_000
"""After which no frame of an earlier connection can still arrive."""


class SealedRoom:
    """A room of ours at a hub."""

    def __init__(
        self,
        client: Client,
        member: Member,
        room: RoomName,
        *,
        lock: Path,
        page: int = PAGE,
    ) -> None:
        """Use a connected client.

        Args:
            lock: A path in the home, whose lock is held while something is said.
            page: Messages in one pull.
        """
        self._client = client
        self._member = member
        self._room = room
        self._lock = lock
        self._page_size = page
        self._here = asyncio.Lock()
        self._unread: list[Reading] = []

    async def open(self) -> None:
        """Make the room sealed, with us as its owner.

        Raises:
            HubError, TransportError: It is not known to be done; `sync` goes on.
        """
        async with self._turn():
            await self._send(self._member.open())
            await self._pull()

    async def enter(self) -> list[Reading] | None:
        """Find what lets us in, and read from the beginning; None if it is not there.

        Raises:
            OtherRoom: The room is not the one that our key was made for.
        """
        grants = GRANT_KIND.encode()
        messages = [m async for m in self._all() if grants in bytes(m.parts)]
        if not self._member.begin(messages):
            return None
        return await self.sync()

    async def sync(self) -> list[Reading]:
        """Read all that is new, and say what was left unsaid.

        What was read while something was said comes first.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            readings, self._unread = self._unread, []
            return readings

    async def say(
        self,
        parts: list[dict[str, Any]],
        *,
        mentions: list[str] | None = None,
        re: Reference | None = None,
    ) -> Sent:
        """Say something, on top of all that is there. The hub has it on return.

        Raises:
            NotReading: We are no member who may speak.
            TooLong: It has more than 700,000 bytes.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            return await self._send(self._member.say(parts, mentions=mentions, re=re))

    async def invite(self, code: Code, expires_at: Millis) -> str:
        """Make the secret half of a session key; the other admins know it then too.

        Raises:
            NotReading: We are no admin who may speak.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            secret, outgoing = self._member.invite(code, expires_at)
            await self._send(outgoing)
            return secret

    async def revoke(self, code: Code) -> None:
        """End the secret half of a session key; that of its code is the hub's part.

        Raises:
            NotReading: We may not speak.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            if (outgoing := self._member.revoke(code)) is not None:
                await self._send(outgoing)

    async def change(self, change: Change) -> None:
        """Change who is in the room; others may do so at the same time.

        When it returns, it is so, or was lost to others as often as it is tried.

        Raises:
            NotReading: We are no admin.
            Refused: By which rule it cannot be.
        """
        async with self._turn():
            await self._pull()
            self._member.intend(change)
            await self._flush()

    async def _flush(self) -> None:
        """Say what is due: what is on its way, what is wanted, keys given and asked.

        It ends where the hub takes something and does not show it.
        """
        last = None
        while (outgoing := await self._next()) is not None:
            if self._member.now() - outgoing.at > IN_FLIGHT_MS:
                outgoing = self._member.renew() or outgoing
            if outgoing.uid == last:
                return
            last = outgoing.uid
            await self._send(outgoing)
            await self._pull()

    async def _next(self) -> Outgoing | None:
        oldest = await self._page(0, limit=1) if self._member.admits else []
        return self._member.outgoing(oldest) or self._member.ask()

    async def _send(self, outgoing: Outgoing) -> Sent:
        frame = Send(
            target=RoomTarget(self._room),
            parts=msgspec.Raw(outgoing.parts),
            client_id=outgoing.uid,
        )
        return await self._client.request(frame, Sent)

    async def _pull(self) -> None:
        while True:
            last = self._member.last
            messages = await self._page(max(0, last - 1))
            if last and [m.seq for m in messages[:1]] != [last]:
                self._member.skip(await self._page(0, limit=1))
            self._unread += self._member.take(messages)
            if self._is_end(messages):
                return

    async def _page(
        self, since: Seq, *, limit: int | None = None
    ) -> list[StoredMessage]:
        limit = limit or self._page_size
        batch = await self._client.pull(self._room, since=since, limit=limit)
        return [message.stored for message in batch.messages]

    async def _all(self) -> AsyncIterator[StoredMessage]:
        """All that the hub shows us of the room."""
        since, end = 0, False
        while not end:
            messages = await self._page(since)
            for message in messages:
                yield message
                since = message.seq
            end = self._is_end(messages)

    def _is_end(self, messages: list[StoredMessage]) -> bool:
        """Whether a page is the last one: a hub ends it early, if it becomes large."""
        size = sum(len(bytes(message.parts)) for message in messages)
        return len(messages) < self._page_size and size < MAX_PULLED_BYTES // 2

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """While no other task or process of this identity does the same."""
        async with self._here:
            with ExitStack() as stack:
                held = locked(self._lock, wait_secs=LOCK_SECS)
                await asyncio.to_thread(stack.enter_context, held)
                yield
