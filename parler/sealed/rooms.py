"""Sealed rooms at a hub: pulled, kept up to date, spoken into.

Joins `member`, which decides and keeps, to a client, which talks. What one identity
says goes out one by one, from whichever process: from the number it gets until the hub
has it, a room is one process's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from parler.client.client import Client
from parler.errors import HubError
from parler.identity.signing import Keypair, fingerprint
from parler.machine.files import locked
from parler.sealed.changes import Admit, Change
from parler.sealed.crypto import Secret
from parler.sealed.export import export
from parler.sealed.formats import (
    GRANT_KIND,
    FactRecord,
    Reference,
    State,
    Verdict,
    print_struct,
)
from parler.sealed.log import Alarm, Entry
from parler.sealed.member import Member, NotReading
from parler.sealed.reader import Reading
from parler.sealed.store import Outgoing, RaisedAlarm
from parler.wire.base import AgentId, Code, Millis, RoomName, Seq
from parler.wire.foreign import Foreign
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


_ALARMS = {
    Alarm.WITHHELD: "a message is missing",
    Alarm.FORK: "members were shown different histories",
    Alarm.TWO_ORDERS: "members were shown different orders",
    Alarm.REPLAY: "a message came twice",
    Alarm.TWO_COPIES: "two messages have one number: the hub, or two copies of a home",
    Alarm.WRONG_KEY: "a wrong key was given",
    Alarm.REPLACED: "the history we had read is gone or another one",
    Alarm.OTHER_ROOM: "it is not the room that the key was made for",
    Alarm.DOWNGRADE: "something came in clear from who had sealed here before",
}


def told_alarm(alarm: RaisedAlarm) -> str:
    """A contradiction, and who could be behind it."""
    rows = f"entry {alarm.row}" + (f" and {alarm.other}" if alarm.other else "")
    return (
        f"{_ALARMS[alarm.kind]} ({rows}): its hub lies, or "
        f"{fingerprint(alarm.agent)} does"
    )


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

    async def arrive(self, seq: Seq | None = None) -> bool:
        """Read the room up to a position, if we have not; returns whether we are in.

        Args:
            seq: None if it is enough to have been let in.

        Raises:
            OtherRoom: The room is not the one that our key was made for.
        """
        if not self._member.is_in:
            return await self.enter() is not None
        if seq is not None and seq > self._member.last:
            await self.sync()
        return True

    def entries(self, first: Seq, last: Seq) -> dict[Seq, Entry]:
        """What is kept of the messages from one to another, by position."""
        with self._member.kept() as room:
            return {one.message.seq: one for one in room.entries_at(first, last)}

    def reference(self, message_id: str) -> Reference | None:
        """What a message is called that the hub cannot change; None of what is none."""
        with self._member.kept() as room:
            found = room.called(message_id)
        if found is None or found.uid is None:
            return None
        return Reference(author=found.message.author.id, uid=found.uid)

    def message_id(self, reference: Reference) -> str | None:
        """What the hub calls a message."""
        with self._member.kept() as room:
            found = room.written(reference.author, reference.uid)
        return None if found is None else found.message.id

    def told(self, entry: Entry) -> str:
        """What a message says that has only keys, to people."""
        return self._member.told(entry)

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
        once: str | None = None,
    ) -> Sent:
        """Say something, on top of all that is there. The hub has it on return.

        Args:
            once: Names it over several attempts, of which one is stored.

        Raises:
            NotReading: We are no member who may speak.
            TooLong: It has more than 700,000 bytes.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            uid = None if once is None else self._member.uid_of(once)
            if uid is not None and (sent := self._stored(uid)) is not None:
                return sent
            outgoing = self._member.say(parts, mentions=mentions, re=re, uid=uid)
            return await self._send(outgoing)

    def _stored(self, uid: str) -> Sent | None:
        with self._member.kept() as room:
            found = room.written(self._member.agent, uid)
        if found is None:
            return None
        return Sent(id=found.message.id, seq=found.message.seq, room=self._room)

    async def remember(self, text: str, *, key: str | None = None) -> Sent:
        """Keep a fact in the room, in the place of our last one under its key.

        Raises:
            NotReading, TooLong: As of `say`.
        """
        record = FactRecord(op="put", key=key, text=text)
        return await self.say([print_struct(record)])

    async def forget(self, *, key: str | None = None, text: str | None = None) -> int:
        """Drop facts of our own: under a key, of exactly a text, or both.

        Returns how many; if there are none, nothing is said.

        Raises:
            NotReading: We may not speak.
        """
        async with self._turn():
            await self._pull()
            await self._flush()
            count = self._member.facts(key=key, text=text)
            if count:
                record = FactRecord(op="forget", key=key, text=text)
                await self._send(self._member.say([print_struct(record)]))
            return count

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

    def has_key(self, code: Code) -> bool:
        """Whether we know of a session key that is still good."""
        with self._member.kept() as room:
            live = room.invites(self._member.now())
            return any(invite.code == code for invite in live)

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

    async def admit(
        self, change: Admit, resolve: Callable[[], Awaitable[object]]
    ) -> None:
        """Let somebody in: as a member, and at the hub.

        Args:
            resolve: Lets it in at the hub; what it raises ends all of it.

        Raises:
            NotReading: We are no admin, or a person has to verify the room first.
        """
        async with self._turn():
            await self._pull()
            intention = self._member.intend(change)
            try:
                await resolve()  # first: who has no history sees what comes after it
            except HubError:
                self._member.withdraw(intention)
                raise
            await self._flush()

    def expect(self, secret: Secret | None) -> None:
        """Know the room as sealed, before anything of it was read."""
        self._member.expect(secret)

    def invited_with(self, proofs: list[str], agent: AgentId) -> Code | None:
        """Which session key of ours somebody was given who knocks, if one."""
        return self._member.invited_with(proofs, agent)

    async def say_farewell(self) -> None:
        """Say that we go; an admin's client makes the state without us."""
        async with self._turn():
            await self._pull()
            await self._flush()
            await self._send(self._member.leave())

    # What persons look at.

    def standing(self) -> tuple[State, AgentId | None, dict[AgentId, Foreign]]:
        """The current state, the owner, and what members call themselves."""
        with self._member.kept() as room:
            current = room.current()
            if current is None:
                raise NotReading("its members are not known yet")
            names = {author: plain.name for author, plain in room.last_words()}
            return current.state, room.position.owner, names

    def confirmed(self) -> set[AgentId]:
        """Who has said something under the current state."""
        with self._member.kept() as room:
            current = room.current()
            if current is None:
                return set()
            name = current.hash.encode()
            return {current.state.by} | {
                one.message.author.id
                for one in room.entries(room.current_since() - 1)
                if one.verdict is Verdict.OPEN and name in bytes(one.message.parts)
            }

    def alarms(self) -> list[str]:
        """The contradictions that no person has accepted, in sentences."""
        with self._member.kept() as room:
            return [told_alarm(one) for one in room.alarms()]

    def accept(self) -> None:
        """A person has compared: the alarms are looked at, and the room vouched for."""
        with self._member.kept() as room:
            room.accept_alarms()
            room.confirm()

    def is_confirmed(self) -> bool:
        """Whether a key or a person vouched for the room, or it is ours."""
        with self._member.kept() as room:
            ours = room.position.owner == self._member.agent
            return ours or room.secret is not None or room.confirmed

    def place(self) -> tuple[int, bytes] | None:
        """How many entries there are, and the head; None if that is not known yet."""
        with self._member.kept() as room:
            position = room.position
            if position.base is None or position.head is None:
                return None
            return position.base + position.rows, position.head

    def exported(self, keypair: Keypair, hub: str, *, with_keys: bool) -> list[bytes]:
        """The lines of an export.

        Raises:
            NotAligned: Its place in the log is not known yet.
        """
        with self._member.kept() as room:
            now = self._member.now()
            return list(
                export(
                    room,
                    keypair,
                    hub=hub,
                    name=self._room,
                    now=now,
                    with_keys=with_keys,
                )
            )

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
        batch = await self._client.pull(
            self._room, since=since, limit=limit, opened=False
        )
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
