"""What sealed rooms put on the wire: parts, states, plaintexts, verdicts and bounds.

The one place where any of it is decoded. What comes out has the types and the sizes it
says; whether it is true, is decided in `state` and `reader`. The objects that were
parsed are kept beside what was read of them, since hashes and signatures cover every
field that came, also those that a later version adds.
"""

import base64
import binascii
import json
import re
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from parler.wire.base import (
    AgentId,
    Code,
    Digest,
    MessageId,
    Millis,
    RoomName,
    Seq,
    WireStruct,
)
from parler.wire.canonical import SIG_KIND, canonical_json, parse_json
from parler.wire.foreign import Foreign
from parler.wire.records import EndpointRef

SEALED_KIND = "com.parler.sealed"
GRANT_KIND = "com.parler.grant"
INVITE_KIND = "com.parler.invite"
FACT_KIND = "com.parler.fact"

MESSAGE_NOTICE = "🔒 sealed message: this program cannot open it, a newer Parler can"
GRANT_NOTICE = "🔒 sealed room: keys for its members, nothing to read"
"""What a program shows that knows no sealed rooms."""

VERSION = 1
MAX_MEMBERS = 1000
MAX_PLAINTEXT_BYTES = 700_000
MAX_CHAIN = MAX_MEMBERS + 3
"""Links of a chain: one for each admin who named the next, and where the log begins."""

MAX_WANTED = 1000
"""Epochs in one request for keys."""

MAX_KNOCKS = 8
"""Proofs on one card."""

SALT_BYTES = 16
KEY_BYTES = 32
HASH_BYTES = 32
PREFIX_BYTES = 8
"""Of an entry's digest, by which a reader finds its place in the log."""

NEVER_INSIDE = frozenset({SIG_KIND, SEALED_KIND, GRANT_KIND, "com.parler.dispatch"})
"""Kinds that mean something to a hub or a reader of the outside: dropped, and said."""

_EPOCH = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class Verdict(StrEnum):
    """What a reader makes of an entry, in the words that people and exports see."""

    OPEN = "open"
    STATE = "state"
    KEYS = "keys"
    """A grant, a request for keys or a farewell: nothing to read, and in order."""

    WAITING = "waiting"
    """We may read it and have no key yet."""

    BEFORE_YOUR_TIME = "before your time"
    NOT_SEALED = "not sealed"

    # whose word it is
    UNSIGNED = "unsigned"
    SIGNATURE = "signature"
    REPLAY = "replay"
    TWO_BODIES = "two bodies"
    FORMAT = "format"

    # states
    REPEAT = "repeat"
    STATE_SIGNATURE = "state signature"
    MEMBERS = "members"
    STATE_CHAIN = "state chain"
    GENESIS = "genesis"
    LOST_RACE = "lost race"
    NOT_AN_ADMIN = "not an admin"
    AUTHOR_NOT_A_MEMBER = "author not a member"
    OWNER_REMOVED = "owner removed"
    EPOCH = "epoch"
    REMOVAL_WITHOUT_A_NEW_KEY = "removal without a new key"
    ENTITLEMENT_CHANGED = "entitlement changed"
    ENTITLEMENT = "entitlement"

    # keys
    ID = "id"
    INVITE = "invite"
    KNOCK = "knock"
    CHAIN = "chain"
    KEY_COMMITMENT = "key commitment"
    STRANGER = "grant from a stranger"
    HPKE = "hpke"

    # messages
    AUTHOR_SAW_THE_NEW_ONE = "old state although the author saw the new one"
    TOO_LATE = "old state, too late"
    NOT_A_MEMBER = "not a member"
    LOST_STATE = "lost state"
    UNKNOWN_STATE = "unknown state"
    RECIPIENTS = "recipients"
    TAG = "tag"
    BASE64 = "base64"
    SALT = "salt"
    JSON = "json"

    # blobs
    CHUNK = "chunk"
    TRUNCATED = "truncated"
    TRAILING = "trailing"
    PADDING = "padding"


class Refused(ValueError):
    """Something of a stranger's that is not to be believed. Never carries content."""

    def __init__(self, verdict: Verdict) -> None:
        """Keep the verdict."""
        super().__init__(verdict.value)
        self.verdict = verdict


def b64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode()


def unb64(text: str, length: int | None = None) -> bytes:
    """The bytes of a base64 text in its one canonical spelling (RFC 4648, section 3.5).

    Args:
        length: How many bytes they must be.

    Raises:
        Refused: ``base64``.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(Verdict.BASE64) from None
    if b64(data) != text or length not in (None, len(data)):
        raise Refused(Verdict.BASE64)
    return data


Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
"""What every reader can hold exactly, also one that knows doubles alone."""

Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
"""The number of a key of a room; the first is 1."""

B64: TypeAlias = str
"""Canonical base64; read by `unb64`, so that another spelling is another value."""

Hash64: TypeAlias = Annotated[B64, msgspec.Meta(max_length=44)]
"""32 bytes: a hash, a commitment, an id of a room."""

Uid: TypeAlias = Annotated[str, msgspec.Meta(max_length=4096)]

At: TypeAlias = tuple[Count, Hash64, Hash64]
"""How far the author had read: position, head, and first bytes of that entry's digest.

``(0, "", "")`` of one who has read nothing, or does not know where it is in the log."""

NOWHERE: At = (0, "", "")


def _nothing_of(struct: msgspec.Struct) -> str:
    """The repr of a struct with a secret in it."""
    return f"{type(struct).__name__}(…)"


class Value(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A `WireStruct` that nobody changes."""


class Member(Value, frozen=True, omit_defaults=False):
    """A member of a state."""

    id: AgentId
    since: Epoch = msgspec.field(name="from")
    """The first epoch it may read."""

    admin: bool


class State(Value, frozen=True):
    """Who is a member of a room, who decides that, and which key is in use.

    A genesis has `rand` and neither `room` nor `prev`.
    """

    v: Count
    s: Count
    by: AgentId
    epoch: Epoch
    kc: Hash64
    hub_room: RoomName
    members: list[Member]
    ts: Millis
    rand: str | None = None
    room: Hash64 | None = None
    prev: Hash64 | None = None

    def member(self, agent: str) -> Member | None:
        """A member by its id."""
        return next((one for one in self.members if one.id == agent), None)

    def is_admin(self, agent: str) -> bool:
        """Whether an agent may make the next state."""
        member = self.member(agent)
        return member is not None and member.admin


class Link(Value, frozen=True):
    """A state on its way, with its author's signature; not yet believed."""

    state: dict[str, Any]
    sig: str


class Grant(Value, frozen=True):
    """Keys for one member."""

    to: AgentId
    ct: B64


class Numbered(WireStruct):
    """What every body of a sealed room states about the log."""

    v: Count
    n: Count
    at: At
    prev: Hash64 | None = None


Grants: TypeAlias = Annotated[list[Grant], msgspec.Meta(max_length=MAX_MEMBERS)]
Links: TypeAlias = Annotated[list[Link], msgspec.Meta(max_length=MAX_CHAIN)]


class Post(Numbered, tag_field="op", tag="state", kw_only=True):
    """A new state, with the keys that its members lack."""

    state: dict[str, Any]
    sig: str
    grants: Grants
    chain: Links | None = None

    @property
    def link(self) -> Link:
        """The state as it came."""
        return Link(state=self.state, sig=self.sig)


class Give(Numbered, tag_field="op", tag="give", kw_only=True):
    """Keys that the state `st` entitles somebody to."""

    st: Hash64
    grants: Grants
    chain: Links | None = None


class Ask(Numbered, tag_field="op", tag="ask", kw_only=True):
    """A member has not got the keys of some epochs, or not the state `st`."""

    want: Annotated[list[Epoch], msgspec.Meta(max_length=MAX_WANTED)]
    st: Hash64 | None = None
    anew: bool = False
    """It counts its messages anew, since it finds none of its own in the log."""


class Leave(Numbered, tag_field="op", tag="leave", kw_only=True):
    """A member goes; an admin's client makes the state without it."""


Keys: TypeAlias = Post | Give | Ask | Leave


class Sealed(Numbered, kw_only=True):
    """The outside of a sealed message."""

    st: Hash64
    salt: B64
    ct: B64


class Recipient(Value, frozen=True):
    """The key of a direct message, for one of the two."""

    id: AgentId
    ct: B64


class SealedDirect(WireStruct, kw_only=True):
    """The outside of a sealed direct message."""

    v: Count
    to: Annotated[list[Recipient], msgspec.Meta(min_length=2, max_length=2)]
    salt: B64
    ct: B64


class Reference(Value, frozen=True):
    """A message by what the hub cannot change of it."""

    author: AgentId
    uid: Uid


class Plaintext(WireStruct, kw_only=True):
    """The inside of a message: its author's signed words."""

    v: Count
    name: Foreign
    role: Foreign | None = None
    parts: list[dict[str, Any]]
    mentions: list[Foreign] | None = None
    re: Reference | None = None


class GrantedKeys(WireStruct, kw_only=True):
    """The inside of a grant: keys by epoch, and what proves the key of the door."""

    keys: Annotated[dict[str, B64], msgspec.Meta(max_length=MAX_WANTED)]
    r: B64 | None = None

    __repr__ = _nothing_of


class InviteRecord(Value, frozen=True, tag_field="kind", tag=INVITE_KIND):
    """Within a message: a session key of the room, so that every admin knows it."""

    code: Code
    r: B64
    exp: Millis

    __repr__ = _nothing_of


class FactRecord(Value, frozen=True, tag_field="kind", tag=FACT_KIND):
    """Within a message: something to remember, or no longer.

    With a key it takes the place of the author's last one under that key. To forget
    drops the author's own: under a key, of exactly a text, or both.
    """

    op: Literal["put", "forget"]
    key: str | None = None
    text: str | None = None


class FileSeal(Value, frozen=True):
    """What opens the file that a part announces."""

    v: Count
    key: Hash64

    __repr__ = _nothing_of


class Attachment(Value, frozen=True):
    """What every announcement of a sealed file has, whatever its kind."""

    blob: Digest
    size: Count
    seal: FileSeal
    media_type: str | None = None


class ExportHead(Value, frozen=True, kw_only=True, omit_defaults=False):
    """The first line of an export: of which room, by whom, from which position on."""

    version: int = msgspec.field(name="parlerExport")
    hub: str
    hub_room: RoomName
    room: Hash64
    by: AgentId
    ts: Millis
    start: Count = msgspec.field(name="from")
    head0: Hash64
    """The head of the log before the first entry; empty if that is not known.

    Who entered in the middle learns it of no entry but those it has seen: then the file
    is put in its place as the room was, by what its authors say that they had read."""


class ExportEntry(Value, frozen=True, kw_only=True):
    """A line of an export: an entry as the hub showed it."""

    k: Count
    seq: Seq
    id: MessageId
    ts: Millis
    author: EndpointRef = msgspec.field(name="from")
    parts: msgspec.Raw
    reply_to: str | None = None


class ExportKeys(Value, frozen=True, kw_only=True):
    """A line of an export that opens: keys by epoch."""

    keys: dict[str, B64]

    __repr__ = _nothing_of


class ExportAlarm(Value, frozen=True, kw_only=True):
    """A contradiction that who exported knew of, with the entries that show it."""

    kind: str
    k: Count
    other: Count | None = None
    agent: AgentId


class ExportEnd(Value, frozen=True, kw_only=True, omit_defaults=False):
    """The last line of an export, signed."""

    k: Count
    head: Hash64
    alarms: list[ExportAlarm]
    sig: str


ExportLine: TypeAlias = ExportHead | ExportEntry | ExportKeys | ExportEnd
_EXPORT_LINES: dict[str, type[ExportLine]] = {
    "parlerExport": ExportHead,
    "parts": ExportEntry,
    "keys": ExportKeys,
    "sig": ExportEnd,
}


def read_export_line(line: bytes) -> ExportLine:
    """Read a line of an export.

    Raises:
        Refused: ``format``.
    """
    try:
        names = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
        kind = next(k for name, k in _EXPORT_LINES.items() if name in names)
        read: ExportLine = msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError, StopIteration):
        raise Refused(Verdict.FORMAT) from None
    return read


def read_state(fields: dict[str, Any]) -> State:
    """Read a state.

    Raises:
        Refused: ``format``.
    """
    state: State = _convert(fields, State)
    return state


def read_body(part: dict[str, Any]) -> Sealed | Keys:
    """Read the outside of a sealed message, or a grant.

    Raises:
        Refused: ``format``.
    """
    if part["kind"] == GRANT_KIND:
        body: Sealed | Keys = _convert(part, Keys)
    else:
        body = _convert(part, Sealed)
    if body.v != VERSION or body.n == 0:
        raise Refused(Verdict.FORMAT)
    return body


def read_invites(plain: Plaintext) -> list[InviteRecord]:
    """The session keys that a message tells of; what is none of that kind is left out.

    Raises:
        Refused: ``format``.
    """
    parts = [part for part in plain.parts if part["kind"] == INVITE_KIND]
    records: list[InviteRecord] = [_convert(part, InviteRecord) for part in parts]
    return records


def read_facts(plain: Plaintext) -> list[FactRecord]:
    """What a message says to remember or to forget; what says neither is left out."""
    records: list[FactRecord] = []
    for part in plain.parts:
        if part["kind"] != FACT_KIND:
            continue
        with suppress(Refused):
            record: FactRecord = _convert(part, FactRecord)
            named = record.key is not None or record.text is not None
            if record.text if record.op == "put" else named:
                records.append(record)
    return records


def read_attachment(part: dict[str, Any]) -> Attachment:
    """Read the announcement of a sealed file.

    Raises:
        Refused: ``format``.
    """
    announced: Attachment = _convert(part, Attachment)
    return announced


def read_direct(part: dict[str, Any]) -> SealedDirect:
    """Read the outside of a sealed direct message.

    Raises:
        Refused: ``recipients``, if they are not two.
    """
    try:
        return msgspec.convert(part, SealedDirect)
    except (msgspec.ValidationError, UnicodeError, RecursionError):
        raise Refused(Verdict.RECIPIENTS) from None


def read_plaintext(padded: bytes) -> Plaintext:
    """Read the inside of a message.

    Raises:
        Refused: ``json``.
    """
    plain: Plaintext = _decode(padded, Plaintext)
    named = all(isinstance(part.get("kind"), str) for part in plain.parts)
    if plain.v != VERSION or not named:
        raise Refused(Verdict.JSON)
    return plain


def read_granted(padded: bytes) -> GrantedKeys:
    """Read the inside of a grant.

    Raises:
        Refused: ``json``.
    """
    granted: GrantedKeys = _decode(padded, GrantedKeys)
    if not all(_EPOCH.fullmatch(epoch) for epoch in granted.keys):
        raise Refused(Verdict.JSON)
    return granted


def one_reading(parts: list[dict[str, Any]], raw: bytes) -> bool:
    """Whether no program reads something else of what was read as `parts`.

    Of a key that stands twice in an object one takes the first value, another the last.
    """
    if canonical_json(parts) == raw:
        return True
    try:
        json.loads(raw, object_pairs_hook=_object)
    except ValueError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a key stands twice")
    return read


def print_struct(struct: msgspec.Struct) -> dict[str, Any]:
    """A struct as the object that is sent, hashed or signed."""
    printed: dict[str, Any] = msgspec.to_builtins(struct)
    return printed


def _convert(fields: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(fields, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError):
        raise Refused(Verdict.FORMAT) from None


def _decode(padded: bytes, kind: Any) -> Any:
    # A text that two programs could read as two values has no canonical spelling, and
    # neither has one with something behind it: all members read the same, or nothing.
    text = padded.rstrip(b" ")
    try:
        fields = parse_json(text)
        if canonical_json(fields) != text:
            raise Refused(Verdict.JSON)
        return msgspec.convert(fields, kind)
    except (msgspec.ValidationError, ValueError, RecursionError):
        raise Refused(Verdict.JSON) from None
