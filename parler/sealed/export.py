"""Transcripts of sealed rooms as files, and checking them offline.

A file holds what the hub showed, signed by its authors; who checks it needs no key, no
account and no trust in who exported it. It cannot show that nothing came after its end,
nor when the hub says that it was.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import msgspec

from parler.identity.signing import Keypair, verify
from parler.sealed import crypto
from parler.sealed.crypto import Secret
from parler.sealed.formats import (
    HASH_BYTES,
    KEY_BYTES,
    ExportAlarm,
    ExportEnd,
    ExportEntry,
    ExportHead,
    ExportKeys,
    Refused,
    Verdict,
    b64,
    read_export_line,
    unb64,
)
from parler.sealed.log import Entry
from parler.sealed.reader import Reader, enter, find_chain, is_genesis
from parler.sealed.store import RaisedAlarm, StoredRoom, memory_store
from parler.wire.base import AgentId, Millis, RoomName
from parler.wire.records import StoredMessage

EXPORT_VERSION = 1
MAX_LINE_BYTES = 4 * 2**20
_AHEAD = 10_000
"""Entries that are looked through for what vouches for the first state."""


class NotAligned(ValueError):
    """We do not know yet where we are in the log, so nothing can be said of it."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What is wrong with a file: a word, whose it is, and the entries that show it."""

    kind: str
    agent: AgentId
    first: int
    second: int | None


@dataclass(slots=True, kw_only=True)
class Transcript:
    """A file that was checked."""

    head: ExportHead
    digests: dict[int, str] = field(default_factory=dict)
    """Of the entries, by position."""

    seen: dict[int, tuple[AgentId, int]] = field(default_factory=dict)
    """By position, who says there how far it had read."""

    texts: int = 0
    """How many messages opened, if the file has keys."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """How many entries are what; without keys messages are waiting."""

    contradictions: list[Contradiction] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fork:
    """Where two files of a room part, and who has signed what only one of them fits."""

    k: int
    witnesses: list[Contradiction]


def export(
    room: StoredRoom,
    keypair: Keypair,
    *,
    hub: str,
    name: RoomName,
    now: Millis,
    with_keys: bool = False,
) -> Iterator[bytes]:
    """The lines of an export, from the first entry whose place in the log we know.

    Args:
        with_keys: Whoever has the file reads all then.

    Raises:
        NotAligned: There is none.
    """
    position = room.position
    entries = [entry for entry in room.entries() if entry.head is not None]
    if position.base is None or position.head is None or not entries:
        raise NotAligned("its place in the log is not known yet")
    base, room_id = position.base, position.room_id
    assert room_id is not None, "it has entries"
    before = room.row(entries[0].row - 1)
    head0 = before[0] if before else None
    begins = unb64(room_id, HASH_BYTES) if base + entries[0].row == 1 else head0
    head = ExportHead(
        version=EXPORT_VERSION,
        hub=hub,
        hub_room=name,
        room=room_id,
        by=keypair.agent_id,
        ts=now,
        start=base + entries[0].row,
        head0="" if begins is None else b64(begins),
    )
    yield _line(head)
    for entry in entries:
        yield _line(_exported(entry, base))
    if with_keys:
        keys = {str(epoch): b64(key) for epoch, key in room.epoch_keys().items()}
        yield _line(ExportKeys(keys=keys))
    k, last = base + position.rows, b64(position.head)
    sig = keypair.sign(crypto.export_bytes(head=last, k=k, room=room_id))
    alarms = [_alarm(alarm, base) for alarm in room.alarms()]
    yield _line(ExportEnd(k=k, head=last, alarms=alarms, sig=sig))


def check(lines: Iterable[bytes]) -> Transcript:
    """Check a file: signatures, states, what authors had said and read, the head.

    Raises:
        Refused: ``format``: it cannot be read as an export.
    """
    head, entries, keys, end = _read(lines)
    transcript = Transcript(head=head)
    messages = [_message(entry, head) for entry in entries]
    with (
        closing(memory_store()) as store,
        store.room(head.hub, head.hub_room) as room,
    ):
        _begin(room, head, messages)
        reader = Reader(room, Keypair.generate())
        for entry, message in zip(entries, messages, strict=True):
            for reading in reader.read(message):
                row = reading.entry.row
                transcript.verdicts[reading.verdict] += 1
                transcript.digests[entry.k] = b64(reading.entry.digest)
                if reading.body is not None and reading.body.at[0]:
                    author = message.author.id
                    transcript.seen[entry.k] = (author, reading.body.at[0])
                if entry.k != head.start + row - 1:
                    raise Refused(Verdict.FORMAT)
        _open(reader, keys, head, transcript)
        transcript.contradictions += [
            _shown(alarm, head.start - 1) for alarm in room.alarms()
        ]
        _check_end(room, head, end, transcript)
    return transcript


def compare(one: Transcript, other: Transcript) -> Fork | None:
    """Where two files of a room part; None if one goes on where the other ends.

    Raises:
        Refused: ``format``: they are not of one room.
    """
    if one.head.room != other.head.room:
        raise Refused(Verdict.FORMAT)
    both = sorted(one.digests.keys() & other.digests.keys())
    parting = next((k for k in both if one.digests[k] != other.digests[k]), None)
    if parting is None:
        return None
    witnesses = [
        Contradiction("fork", author, k, at)
        for transcript in (one, other)
        for k, (author, at) in sorted(transcript.seen.items())
        if at >= parting
    ]
    return Fork(parting, witnesses)


def _begin(room: StoredRoom, head: ExportHead, messages: list[StoredMessage]) -> None:
    """Begin where the file begins: at the genesis, or by what vouches for a state."""
    if head.start == 1 and messages and is_genesis(messages[0], head.room):
        room.position.room_id = head.room
        return
    for message in messages[:_AHEAD]:
        with suppress(Refused):
            admission = find_chain(message)
            if admission is not None and admission.room_id == head.room:
                enter(room, admission, messages)
                if head.head0:
                    room.position.base = head.start - 1
                    room.position.head = unb64(head.head0, HASH_BYTES)
                return
    raise Refused(Verdict.FORMAT)


def _open(
    reader: Reader, keys: dict[int, Secret], head: ExportHead, transcript: Transcript
) -> None:
    try:
        opened = reader.take_keys(keys, head.by)
    except Refused as refused:
        transcript.contradictions.append(
            Contradiction(refused.verdict, head.by, head.start, None)
        )
        return
    transcript.texts = sum(one.verdict is Verdict.OPEN for one in opened)
    transcript.contradictions += [
        Contradiction(
            one.verdict,
            one.entry.message.author.id,
            head.start - 1 + one.entry.row,
            None,
        )
        for one in opened
        if one.verdict is not Verdict.OPEN
    ]


def _check_end(
    room: StoredRoom, head: ExportHead, end: ExportEnd, transcript: Transcript
) -> None:
    position = room.position
    k = head.start - 1 + position.rows
    ours = None if position.head is None else b64(position.head)
    if (k, position.base, ours) != (end.k, head.start - 1, end.head):
        transcript.contradictions.append(Contradiction("head", head.by, end.k, None))
    data = crypto.export_bytes(head=end.head, k=end.k, room=head.room)
    if not verify(head.by, data, end.sig):
        transcript.contradictions.append(
            Contradiction(Verdict.SIGNATURE, head.by, end.k, None)
        )


def _read(
    lines: Iterable[bytes],
) -> tuple[ExportHead, list[ExportEntry], dict[int, Secret], ExportEnd]:
    head: ExportHead | None = None
    end: ExportEnd | None = None
    entries: list[ExportEntry] = []
    keys: dict[int, Secret] = {}
    for line in lines:
        if len(line) > MAX_LINE_BYTES or end is not None:
            raise Refused(Verdict.FORMAT)
        read = read_export_line(line)
        if (head is None) != isinstance(read, ExportHead):
            raise Refused(Verdict.FORMAT)
        match read:
            case ExportHead(version=version):
                head = read if version == EXPORT_VERSION else None
            case ExportEntry():
                entries.append(read)
            case ExportKeys(keys=given):
                keys = _keys(given)
            case ExportEnd():
                end = read
    if head is None or end is None:
        raise Refused(Verdict.FORMAT)
    return head, entries, keys, end


def _keys(given: dict[str, str]) -> dict[int, Secret]:
    if not all(epoch.isascii() and epoch.isdecimal() for epoch in given):
        raise Refused(Verdict.FORMAT)
    return {int(epoch): Secret(unb64(key, KEY_BYTES)) for epoch, key in given.items()}


def _message(entry: ExportEntry, head: ExportHead) -> StoredMessage:
    return StoredMessage(
        seq=entry.seq,
        id=entry.id,
        room=head.hub_room,
        author=entry.author,
        parts=entry.parts,
        ts=entry.ts,
        reply_to=entry.reply_to,
    )


def _exported(entry: Entry, base: int) -> ExportEntry:
    said = entry.message
    return ExportEntry(
        k=base + entry.row,
        seq=said.seq,
        id=said.id,
        ts=said.ts,
        author=said.author,
        parts=said.parts,
        reply_to=said.reply_to,
    )


def _alarm(alarm: RaisedAlarm, base: int) -> ExportAlarm:
    other = None if alarm.other is None else base + alarm.other
    return ExportAlarm(
        kind=alarm.kind, k=base + alarm.row, other=other, agent=alarm.agent
    )


def _shown(alarm: RaisedAlarm, base: int) -> Contradiction:
    other = None if alarm.other is None else base + alarm.other
    return Contradiction(alarm.kind, alarm.agent, base + alarm.row, other)


def _line(struct: msgspec.Struct) -> bytes:
    return msgspec.json.encode(struct) + b"\n"
