"""Which hub each of our rooms lives on, what it is about, and who comes in unasked.

One small file in the identity's home. It holds no key and no secret; the hub decides
what is true of a room, this only says where to ask.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.identity.settings import spelled
from parler.machine.files import aside, locked, read_bounded, write_private
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import Foreign, exact
from parler.wire.urls import same_hub

FILE_NAME = "sessions.json"
MAX_ROOMS = 1000
"""Rooms remembered; the oldest are forgotten first."""

MAX_PREAPPROVED = 1000


class RoomRecord(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=False):
    """A room, its hub, and the ids or fingerprints approved beforehand."""

    hub: str
    room: RoomName
    preapprove: list[str] = []
    topic: Foreign | None = None
    """What it is about; empty if it has no topic, None if nobody has looked."""
    topic_seq: int = 0
    """The message that said so, if it was not the first one."""

    open: bool = False
    """A key to it lets in whoever has it."""

    welcome: list[AgentId] = []
    """Persons whose agents come in without being asked about."""

    ours: bool = False
    """We opened it, so knocks are for us to answer."""

    sealed: bool | None = None
    """Only its members can read it; None: nobody has looked into what we keep of it."""

    knocked: bool = False
    """We came with a key and were not let in at once: nobody has seen how it begins."""


class _File(msgspec.Struct):
    rooms: list[RoomRecord] = []


class KnownRooms:
    """The rooms this identity opened or joined, in the order they were last entered."""

    def __init__(self, home: Path) -> None:
        """Use the file in `home`; nothing is read or written yet."""
        self.path = home / FILE_NAME

    def hub_of(self, room: str) -> str | None:
        """The hub of the room of that name that was entered last."""
        records = [record for record in self._read() if record.room == room]
        return records[-1].hub if records else None

    def about(self, topic: str) -> RoomName | None:
        """The room of that topic that was entered last."""
        wanted = topic.casefold()
        for record in reversed(self._read()):
            if record.topic and exact(record.topic).casefold() == wanted:
                return record.room
        return None

    def topic_of(self, room: str) -> Foreign | None:
        """What the room of that name that was entered last is about, if known."""
        records = [record for record in self._read() if record.room == room]
        return records[-1].topic if records else None

    def hubs(self) -> list[str]:
        """The hubs of our rooms, the one entered last first."""
        found: list[str] = []
        for record in reversed(self._read()):
            if not any(same_hub(record.hub, hub) for hub in found):
                found.append(record.hub)
        return found

    def records(self) -> list[RoomRecord]:
        """All rooms, the one entered last at the end."""
        return self._read()

    def knows(self, hub: str, room: str) -> bool:
        """Whether we opened or joined a room."""
        return any(_is(record, hub, room) for record in self._read())

    def is_open(self, hub: str, room: str) -> bool:
        """Whether anybody with a key is in that room, as far as we know."""
        return self._record(hub, room).open

    def is_gated(self, hub: str, room: str) -> bool:
        """Whether we are in a room whose owner is asked who comes in."""
        return self.knows(hub, room) and not self.is_open(hub, room)

    def preapproved(self, hub: str, room: str) -> list[str]:
        """Ids and fingerprints to approve as soon as they knock at a room."""
        return self._record(hub, room).preapprove

    def welcome(self, hub: str, room: str) -> list[AgentId]:
        """Persons whose agents to approve as soon as they knock at a room."""
        return self._record(hub, room).welcome

    def is_ours(self, hub: str, room: str) -> bool:
        """Whether we opened a room."""
        return self._record(hub, room).ours

    def is_sealed(self, hub: str, room: str) -> bool | None:
        """Whether only members can read a room; None if that is not noted."""
        return self._record(hub, room).sealed

    def sealed_at(self, room: str) -> str | None:
        """The hub where only members can read the room of that name, if any."""
        found = (one.hub for one in self._read() if one.room == room and one.sealed)
        return next(found, None)

    def has_knocked(self, hub: str, room: str) -> bool:
        """Whether we knocked at a room, and it is not noted who can read it."""
        record = self._record(hub, room)
        return record.knocked and record.sealed is None

    def note_sealed(self, hub: str, room: RoomName, sealed: bool) -> None:
        """Note whether only members can read a room, if it is known."""
        with self._changing() as records:
            for record in records:
                if _is(record, hub, room):
                    record.sealed = sealed

    def remember(
        self,
        hub: str,
        room: RoomName,
        *,
        preapprove: Sequence[str] | None = None,
        is_open: bool = False,
        knocked: bool = False,
    ) -> None:
        """Note that a room was entered.

        Args:
            preapprove: Whom to approve there; else whoever was to be, stays so.
            is_open: A key to it lets in whoever has it, which stays true.
            knocked: Its owner has yet to let us in.
        """
        with self._changing() as records:
            old = [record for record in records if _is(record, hub, room)]
            record = old[0] if old else RoomRecord(hub, room)
            record.hub = hub
            record.open = record.open or is_open
            record.knocked = record.knocked or knocked
            if preapprove is not None:
                record.preapprove = list(preapprove)[:MAX_PREAPPROVED]
            records[:] = [one for one in records if not _is(one, hub, room)]
            records.append(record)

    def note_topics(
        self,
        hub: str,
        topics: Mapping[RoomName, Foreign],
        *,
        said_in: Mapping[RoomName, int] | None = None,
    ) -> None:
        """Note what rooms are about, so far as they are known and that can be kept.

        Args:
            said_in: The messages that say so, of those that were renamed.

        Who lists rooms on a full disk is shown them all the same.
        """
        if not topics:
            return
        with suppress(ConfigError), self._changing() as records:
            for record in records:
                if record.room in topics and same_hub(record.hub, hub):
                    record.topic = topics[record.room]
                    seq = (said_in or {}).get(record.room, 0)
                    record.topic_seq = max(record.topic_seq, seq)

    def opened(self, hub: str, room: RoomName, *, welcome: Sequence[AgentId]) -> None:
        """Note that a room is ours, and persons whose agents come in there."""
        with self._changing() as records:
            for record in records:
                if _is(record, hub, room):
                    record.ours = True
                    both = [*record.welcome, *welcome]
                    record.welcome = list(dict.fromkeys(both))[:MAX_PREAPPROVED]

    def used(self, hub: str, room: str, approved: Sequence[str]) -> None:
        """Strike out approvals that were given."""
        with self._changing() as records:
            for record in records:
                if _is(record, hub, room):
                    record.preapprove = [
                        who for who in record.preapprove if who not in approved
                    ]

    def forget(self, hub: str, room: str) -> None:
        """Forget a room."""
        with self._changing() as records:
            records[:] = [record for record in records if not _is(record, hub, room)]

    def _record(self, hub: str, room: str) -> RoomRecord:
        found = (one for one in self._read() if _is(one, hub, room))
        return next(found, RoomRecord(hub, RoomName(room)))

    def _read(self) -> list[RoomRecord]:
        try:
            rooms = msgspec.json.decode(read_bounded(self.path), type=_File).rooms
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError):
            raise ConfigError(
                f"{self.path} is damaged",
                next_step=f"{aside(self.path)}; joining again restores it",
            ) from None
        for record in rooms:
            record.hub = spelled(record.hub)
        return rooms

    @contextmanager
    def _changing(self) -> Iterator[list[RoomRecord]]:
        # Several processes of one identity share the file.
        with locked(self.path):
            records = self._read()
            yield records
            file = _File(records[-MAX_ROOMS:])
            write_private(self.path, msgspec.json.encode(file))


def _is(record: RoomRecord, hub: str, room: str) -> bool:
    return record.room == room and same_hub(record.hub, hub)
