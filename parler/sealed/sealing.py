"""The sealed rooms of one identity at one hub, as its client is given them.

The one place that decides whether a room is sealed. What reads and computes is imported
for the first such room: whoever has none pays a look at a file that is not there.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from parler.errors import ConfigError, UsageError, VerificationError
from parler.identity.identity import Identity
from parler.identity.known_rooms import KnownRooms
from parler.wire.base import Millis, RoomName
from parler.wire.canonical import canonical_json
from parler.wire.names import is_direct
from parler.wire.parts import (
    InvalidParts,
    Part,
    TextPart,
    check_parts,
    encode_parts,
    read_parts,
)
from parler.wire.records import RoomTarget, StoredMessage
from parler.wire.replies import Sent
from parler.wire.requests import AnyRequest, Forget, PutBlob, Recall, Remember, Send

if TYPE_CHECKING:
    from parler.client.client import Client
    from parler.client.messages import Message
    from parler.sealed.log import Entry
    from parler.sealed.rooms import SealedRoom
    from parler.sealed.store import Store

STORE = "sealed.sqlite"
"""Where the store of a home is; the same as `parler.sealed.store.FILE_NAME`."""

_OURS = ("com.parler.sealed", "com.parler.grant")
"""Kinds of which one is in each message that a member's program says there."""

GRANT = b"com.parler.grant"


class LeavesSeal(UsageError):
    """It would go in clear into a room that only its members can read."""

    code = "leaves_seal"


class SealedRooms:
    """What an identity keeps of its sealed rooms, opened when it is needed."""

    def __init__(
        self,
        identity: Identity,
        known_rooms: KnownRooms,
        *,
        hub: str,
        now: Callable[[], Millis],
    ) -> None:
        """Nothing is opened yet.

        Args:
            hub: In the one spelling that people are shown.
        """
        self._identity = identity
        self._known = known_rooms
        self._hub = hub
        self._now = now
        self._path = identity.home / STORE
        self._sealed: dict[RoomName, bool] = {}
        self._doubts: dict[RoomName, bool] = {}
        self._looked: set[RoomName] = set()
        self._signs: tuple[int, bool] | None = None
        self._store: Store | None = None
        self._rooms: dict[RoomName, SealedRoom] = {}

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
        self._store = None
        self._rooms.clear()

    def covers(self, room: RoomName) -> bool:
        """Whether a room is sealed, as far as this machine knows."""
        if self._signs != (signs := self._look_around()):
            # Another process may have found out; what is sealed stays so.
            self._sealed = {name: True for name, is_so in self._sealed.items() if is_so}
            self._doubts.clear()
            self._signs = signs
        if room not in self._sealed:
            self._sealed[room] = self._look(room)
        return self._sealed[room]

    def _look_around(self) -> tuple[int, bool]:
        try:
            changed = self._known.path.stat().st_mtime_ns
        except OSError:
            changed = 0
        return changed, self._path.exists()

    def _look(self, room: RoomName) -> bool:
        noted = self._noted(room)
        if noted is None and not is_direct(room) and self._path.exists():
            noted = room in self._opened_store().names(self._hub)
            if noted:
                with suppress(ConfigError):  # it is only looked for again
                    self._known.note_sealed(self._hub, room, True)
        return bool(noted)

    def _noted(self, room: RoomName) -> bool | None:
        with suppress(ConfigError):  # it is damaged; the store knows as well
            return self._known.is_sealed(self._hub, room)
        return None

    def note_plain(self, room: RoomName) -> None:
        """Know a room as one that its hub reads, whatever somebody posts there."""
        if not self.covers(room):
            self._known.note_sealed(self._hub, room, False)

    async def settle(self, client: "Client", room: RoomName) -> bool:
        """Whether a room is sealed, as who is about to speak there has to know.

        In doubt the room itself is asked.

        Raises:
            LeavesSeal: It is the sealed one of another address of its hub.
            HubError: It does not say how the room begins.
        """
        if self.covers(room):
            return True
        if room in self._looked or is_direct(room):
            return False
        if room not in self._doubts:
            self._doubts[room] = self._is_in_doubt(room)
        return self._doubts[room] and await self.begins_sealed(client, room)

    def _is_in_doubt(self, room: RoomName) -> bool:
        """Whether a room may be sealed, though nothing here says that it is."""
        if self._noted(room) is not None:
            return False
        with suppress(ConfigError):
            if self._known.has_knocked(self._hub, room):
                return True
        if self._elsewhere(room) is not None:
            return True
        return self._path.exists() and bool(self._opened_store().damaged)

    def _elsewhere(self, room: RoomName) -> str | None:
        """The address under which we know the room of that name as a sealed one."""
        with suppress(ConfigError):
            if hub := self._known.sealed_at(room):
                return hub
        return self._opened_store().hub_of(room) if self._path.exists() else None

    async def begins_sealed(self, client: "Client", room: RoomName) -> bool:
        """Whether a room is sealed; one we know nothing of, if its first message is.

        Nobody is in a sealed room before that message, and nobody who comes into a
        plain one later can make it so. That is looked at once.

        Raises:
            LeavesSeal: We know it as sealed under another address of its hub, where our
                place in it is kept.
        """
        if self.covers(room):
            return True
        if room in self._looked or self._noted(room) is False:
            return False
        first = await client.pull(room, since=0, limit=1, opened=False)
        begins = bool(first.messages) and _brings_keys(first.messages[0].stored)
        elsewhere = self._elsewhere(room)
        if elsewhere is not None and (begins or not first.messages):
            raise LeavesSeal(
                f"{room} is a sealed session that you entered at {elsewhere}",
                next_step=f"the same command with --hub {elsewhere}",
            )
        if not first.messages:
            return False
        self._looked.add(room)
        if begins:
            self.seal(room)
            return True
        with suppress(ConfigError):  # it is only looked at again
            self.note_plain(room)
        return False

    def seal(self, room: RoomName) -> None:
        """Know a room as sealed, from now on and for good."""
        self._known.remember(self._hub, room)
        self._known.note_sealed(self._hub, room, True)
        self._sealed[room] = True

    async def check(self, client: "Client", frame: AnyRequest) -> None:
        """Refuse what would say something in clear into a sealed room.

        Raises:
            LeavesSeal: It would.
        """
        room = _room_of(frame)
        if room is None or _is_sealed(frame) or not await self.settle(client, room):
            return
        raise LeavesSeal(
            f"{room} is sealed, and this would be readable for its hub: "
            f"{_WHAT.get(type(frame), 'a message')} is not sent there"
        )

    def all(self, client: "Client") -> "list[SealedRoom]":
        """The sealed rooms at this hub that we have read."""
        if not self._path.exists():
            return []
        names = self._opened_store().names(self._hub)
        return [self.room(client, name) for name in names if self.covers(name)]

    def room(self, client: "Client", name: RoomName) -> "SealedRoom":
        """A sealed room of ours, with what keeps and computes."""
        from parler.sealed.member import Member
        from parler.sealed.rooms import SealedRoom

        if name not in self._rooms:
            member = Member(
                self._opened_store(),
                self._identity.keypair,
                hub=self._hub,
                room=name,
                name=self._identity.name,
                role=self._identity.role,
                now=self._now,
                hub_token=client.hub_token,
            )
            lock = self._identity.home / f"sealed-{_file_name(name)}"
            self._rooms[name] = SealedRoom(client, member, name, lock=lock)
        return self._rooms[name]

    def _opened_store(self) -> "Store":
        from parler.sealed.store import open_store

        if self._store is None:
            self._store = open_store(self._path)
        return self._store

    async def say(
        self,
        client: "Client",
        room: RoomName,
        parts: Sequence[Part],
        *,
        mentions: Collection[str],
        reply_to: str | None,
        client_id: str | None,
    ) -> Sent:
        """Say something into a sealed room.

        Raises:
            NotReading: We are no member who may speak.
            UsageError: It is longer than a sealed message may be.
        """
        from parler.sealed.envelope import TooLong

        sealed = self.room(client, room)
        await sealed.arrive()
        try:
            return await sealed.say(
                msgspec.json.decode(encode_parts(list(parts))),
                mentions=list(mentions) or None,
                re=sealed.reference(reply_to) if reply_to else None,
                once=client_id,
            )
        except TooLong as error:
            raise UsageError(str(error)) from None

    async def opened(
        self, client: "Client", room: RoomName, messages: "list[Message]"
    ) -> "list[Message]":
        """What a hub handed out, with what is sealed opened.

        A room of which we know nothing is sealed if it begins so.
        """
        if not self.covers(room):
            if not any(GRANT in bytes(one.stored.parts) for one in messages):
                return messages
            try:
                if not await self.begins_sealed(client, room):
                    return messages
            except LeavesSeal as error:
                return [_closed(one, str(error)) for one in messages]
        sealed = self.room(client, room)
        try:
            await sealed.arrive(messages[-1].seq)
        except VerificationError as error:
            return [_closed(one, str(error)) for one in messages]
        entries = sealed.entries(messages[0].seq, messages[-1].seq)
        return [
            _shown(one, entries[one.seq], sealed)
            if one.seq in entries
            else _closed(one, "its keys have not come yet")
            for one in messages
        ]


_WHAT = {
    PutBlob: "a file",
    Remember: "a fact",
    Recall: "a search",
    Forget: "a fact",
}


def _room_of(frame: AnyRequest) -> RoomName | None:
    match frame:
        case Send(target=RoomTarget(room=room)) | PutBlob(target=RoomTarget(room=room)):
            return room
        case Remember(fact=fact):
            return fact.room
        case Recall(room=room) | Forget(room=room):
            return room
    return None


def _is_sealed(frame: AnyRequest) -> bool:
    if not isinstance(frame, Send) or frame.mentions or frame.reply_to:
        return False
    try:
        kinds = check_parts(frame.parts)
    except InvalidParts:
        return False
    return len(kinds) == 3 and kinds[1] in _OURS


def _brings_keys(message: StoredMessage) -> bool:
    """Whether a message is a signed state of its room."""
    if GRANT not in bytes(message.parts):
        return False
    from parler.sealed.reader import is_state

    return is_state(message)


def _file_name(room: RoomName) -> str:
    import hashlib

    return hashlib.sha256(room.encode()).hexdigest()[:16]


def _shown(message: "Message", entry: "Entry", room: "SealedRoom") -> "Message":
    """A message as a member reads it: its author's own words, or why there are none."""
    from parler.sealed.formats import INVITE_KIND, Verdict
    from parler.sealed.reader import Reading

    reading = Reading(entry=entry)
    if entry.verdict in (Verdict.STATE, Verdict.KEYS):
        return _said(message, f"🔒 {room.told(entry)}")
    if entry.plain is None:
        return _closed(message, entry.verdict.value)
    plain = entry.plain
    parts = [part for part in reading.parts if part["kind"] != INVITE_KIND]
    if not parts:
        return _said(message, "🔒 made a key to this session")
    marks = [f"(not shown, it may not be inside: {kind})" for kind in reading.dropped]
    if entry.old_key:
        marks.append("(old key: its author had not seen the last change of members)")
    parts += [{"kind": "text", "text": mark} for mark in marks]
    author = msgspec.structs.replace(
        message.stored.author, name=plain.name, role=plain.role
    )
    stored = msgspec.structs.replace(
        message.stored,
        author=author,
        parts=msgspec.Raw(canonical_json(parts)),
        mentions=plain.mentions,
        reply_to=room.message_id(plain.re) if plain.re else None,
    )
    return _reread(message, stored)


def _closed(message: "Message", verdict: str) -> "Message":
    """A message of which nothing is shown, and why."""
    if verdict == "not sealed":
        return _said(message, "⚠ NOT SEALED: not shown, since the hub can read it")
    return _said(message, f"🔒 not opened: {verdict}")


def _said(message: "Message", text: str) -> "Message":
    parts = encode_parts([TextPart(text)])
    stored = msgspec.structs.replace(
        message.stored, parts=parts, mentions=None, reply_to=None
    )
    return replace(_reread(message, stored), said=False)


def _reread(message: "Message", stored: StoredMessage) -> "Message":
    return replace(message, stored=stored, parts=read_parts(stored.parts))
