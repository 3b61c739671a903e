"""Reading a room: what each entry of its log is, and which contradictions it shows.

Pure: a message goes in, in the order in which the hub shows them; a verdict comes out,
and what follows of it is kept in the `Log`. A contradiction never hides a message, and
a message that cannot be opened never stops the log.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from parler.identity.message_signing import Signature, check_message
from parler.identity.signing import Keypair
from parler.sealed import crypto, envelope, invites, state
from parler.sealed.crypto import Secret
from parler.sealed.envelope import Envelope, inner_parts
from parler.sealed.formats import (
    GRANT_KIND,
    HASH_BYTES,
    PREFIX_BYTES,
    SEALED_KIND,
    Ask,
    At,
    Give,
    Grant,
    Keys,
    Leave,
    Link,
    Plaintext,
    Post,
    Refused,
    Sealed,
    Verdict,
    b64,
    one_reading,
    read_body,
    read_state,
    unb64,
)
from parler.sealed.log import Alarm, Entry, KnownState, LastWord, Log, Place
from parler.sealed.state import SignedState, Standing
from parler.wire.base import AgentId, RoomName
from parler.wire.parts import InvalidParts, SigPart, part_objects, read_part
from parler.wire.records import StoredMessage

OLD_STATE_ENTRIES = 256
"""How long after a state was replaced what was written under it is still taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an entry is. `body` and `plain` are there as far as it was read."""

    entry: Entry
    body: Sealed | Keys | None = None

    @property
    def verdict(self) -> Verdict:
        """In a word."""
        return self.entry.verdict

    @property
    def plain(self) -> Plaintext | None:
        """What it says, if it is open."""
        return self.entry.plain

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts of what it says, but for those that may not be inside."""
        return inner_parts(self.plain)[0] if self.plain else []

    @property
    def dropped(self) -> list[str]:
        """The kinds of those that may not: to be told, since somebody hid them."""
        return inner_parts(self.plain)[1] if self.plain else []


@dataclass(frozen=True, slots=True)
class Admission:
    """The state that lets us into a room we cannot see from its beginning."""

    chain: Sequence[SignedState]
    made: SignedState

    @property
    def room_id(self) -> str:
        """The room, by the genesis that the chain begins with."""
        return self.chain[0].hash


def find_admission(
    message: StoredMessage, keypair: Keypair, secret: bytes | None
) -> Admission | None:
    """Whether a message lets us into its room, and into which.

    Args:
        secret: Of the session key we came with; None, and nothing vouches for the room.

    Raises:
        Refused: ``invite``: it is not the room the key was made for. ``chain`` or a
            rule of states: who lets us in has no right to.
    """
    post = _genuine_post(message)
    if post is None:
        return None
    made, author = SignedState(post.link), message.author.id
    if author == keypair.agent_id and is_genesis(message, made.hash):
        return Admission([made], made)  # our own room
    ours = next((g for g in post.grants if g.to == keypair.agent_id), None)
    if made.state.member(keypair.agent_id) is None:
        return None
    if ours is None and secret is not None:
        return None
    admission = find_chain(message)
    if admission is None:
        return None
    if ours is None:  # we were in before, and others give us the keys
        return admission
    name = unb64(made.hash, HASH_BYTES)
    _, r = envelope.open_grant(ours, keypair, granter=author, state=name)
    if secret is not None:
        if r is None:
            raise Refused(Verdict.INVITE)
        room_id = unb64(admission.room_id, HASH_BYTES)
        invites.check_room(secret, room_id=room_id, r=r)
    return admission


def find_chain(message: StoredMessage) -> Admission | None:
    """A state that lets somebody in, with the chain that vouches for it.

    Raises:
        Refused: Who lets somebody in has no right to.
    """
    post, author, room = _genuine_post(message), message.author.id, message.room
    if post is None or not post.chain:
        return None
    made = SignedState(post.link)
    chain = state.check_chain(post.chain, author=author, hub_room=room)
    state.check_admission(made, chain, author=author, hub_room=room)
    return Admission(chain, made)


def is_state(message: StoredMessage) -> bool:
    """Whether a message is a state of its room, in its author's own words."""
    return _genuine_post(message) is not None


def is_genesis(message: StoredMessage, room_id: str) -> bool:
    """Whether a message is the first of a room."""
    post = _genuine_post(message)
    if post is None:
        return False
    made = SignedState(post.link)
    try:
        state.check_genesis(made, author=message.author.id, hub_room=message.room)
    except Refused:
        return False
    return made.hash == room_id


def enter(
    log: Log, admission: Admission, messages: Iterable[StoredMessage] = ()
) -> None:
    """Begin a log in the middle, by the states that somebody vouched for.

    Args:
        messages: The log from its beginning, as far as it has states. The first that
            follows one of the chain shows which one of it was current there; what comes
            later in the chain vouches for the admission alone.
    """
    position, chain = log.position, admission.chain
    position.room_id, position.whole = admission.room_id, False
    position.owner = chain[0].state.by
    current = next(filter(None, (_followed(m, chain) for m in messages)), chain[-1])
    for made in chain:
        if made.state.s <= current.state.s:
            log.advance(made, 0)
    position.admission = admission.made.hash


def _followed(
    message: StoredMessage, chain: Sequence[SignedState]
) -> SignedState | None:
    """Which state of a chain the state in a message follows."""
    post, author = _genuine_post(message), message.author.id
    try:
        prev = read_state(post.state).prev if post else None
    except Refused:
        return None
    return next(
        (one for one in chain if one.hash == prev and one.state.is_admin(author)), None
    )


class Reader:
    """Reads one room for one member.

    Entries before the genesis are of no account and are passed over; then every one
    counts.
    """

    def __init__(self, log: Log, keypair: Keypair) -> None:
        """Read on where `log` ends."""
        self._log = log
        self._keypair = keypair

    def read(self, message: StoredMessage) -> list[Reading]:
        """Judge the next message: it, and then what waited for the keys it brings.

        There is nothing to say of one that comes before the genesis.
        """
        position, reading = self._log.position, _Message(message)
        if position.current is None and not self._begins(reading):
            return []
        entry, body = self._judge(reading, position.rows + 1)
        if position.head is not None:
            position.head = crypto.next_head(position.head, entry.digest)
        position.rows, position.seq = entry.row, message.seq
        self._log.append(replace(entry, head=position.head))
        opened: list[Reading] = []
        if isinstance(body, Post | Give):
            opened = [*self._place_again(), *self.open_shut()]
        return [Reading(entry=entry, body=body), *opened]

    def continues(self, first: Sequence[StoredMessage]) -> bool:
        """Whether what comes next begins with the last entry that we have."""
        last = self._log.row(self._log.position.rows)
        return last is not None and [last[1]] == [_Message(m).digest for m in first]

    def take_keys(self, keys: dict[int, Secret], granter: AgentId) -> list[Reading]:
        """Take keys from beside the log, as far as its states vouch for them.

        Raises:
            Refused: ``key commitment``.
        """
        for epoch, key in sorted(keys.items()):
            kc = self._log.commitment(epoch)
            if kc is None or epoch in self._log.epoch_keys():
                continue
            if b64(crypto.commitment(key, epoch)) != kc:
                raise Refused(Verdict.KEY_COMMITMENT)
            self._log.add_key(epoch, key, granter)
        return self.open_shut()

    def _begins(self, message: "_Message") -> bool:
        """Whether this is the genesis of the room, which is taken then."""
        position, post = self._log.position, _genuine_post(message.stored)
        if post is None:
            return False
        made = SignedState(post.link)
        name = position.room_id or made.hash
        if not is_genesis(message.stored, name):
            return False
        position.room_id, position.owner = name, made.state.by
        position.base, position.head = 0, unb64(name, HASH_BYTES)
        return True

    @property
    def _me(self) -> AgentId:
        return self._keypair.agent_id

    @property
    def _current(self) -> SignedState | None:
        name = self._log.position.current
        known = self._log.state(name) if name else None
        return known.made if known else None

    def _is_member(self, agent: AgentId) -> bool:
        current = self._current
        return current is not None and current.state.member(agent) is not None

    def _judge(
        self, message: "_Message", row: int
    ) -> tuple[Entry, Sealed | Keys | None]:
        body: Sealed | Keys | None = None
        entry = Entry(
            row=row,
            message=message.stored,
            digest=message.digest,
            head=None,
            verdict=Verdict.FORMAT,
        )
        try:
            message.check_signature()
            if self._log.has(message.author, message.uid):
                self._alarm_of_member(Alarm.REPLAY, entry)
                raise Refused(Verdict.REPLAY)
            entry = replace(entry, uid=message.uid, written=message.signature.ts)
            body = message.body()
            if body is None:
                if self._log.last_word(message.author) is not None:
                    self._alarm_of_member(Alarm.DOWNGRADE, entry)
                raise Refused(Verdict.NOT_SEALED)
            entry = replace(entry, n=body.n)
            self._check_place(body, entry)
            entry = self._take(body, message, entry)
        except Refused as refused:
            entry = replace(entry, verdict=refused.verdict)
        return entry, body

    def _take(self, body: Sealed | Keys, message: "_Message", entry: Entry) -> Entry:
        match body:
            case Sealed():
                return self._take_message(body, message, entry)
            case Post():
                verdict = self._take_state(body, message, entry)
            case Give():
                verdict = self._take_given(body, entry)
            case Ask() | Leave():
                verdict = self._take_word(body, message.author)
        return replace(entry, verdict=verdict)

    # The log: what the author says of it against what we have.

    def _check_place(self, body: Sealed | Keys, entry: Entry) -> None:
        """Note the number of a message, and what its author says contradicts."""
        author, position = entry.message.author.id, self._log.position
        last = self._log.last_word(author)
        if not position.aligned and self._is_member(author):
            self._align(body.at)
        if self._contradicts(body.at, entry.row):
            self._alarm_of_member(Alarm.FORK, entry)
        anew = isinstance(body, Ask) and body.anew
        if last is None or last.row <= position.gap:
            from_genesis = position.whole and position.gap == 0
            follows = not from_genesis or (body.n, body.prev) == (1, None)
            last = None
        else:
            follows = (body.n, body.prev) == (last.n + 1, b64(last.digest))
        if not follows and not anew:
            other = self._log.numbered(author, body.n)
            kind = Alarm.WITHHELD if other is None else Alarm.TWO_COPIES
            before = last.row if other is None and last else other
            self._alarm_of_member(kind, entry, before)
        if last is None or anew or body.n > last.n:
            word = LastWord(body.n, entry.digest, entry.row)
            self._log.note_word(author, word)

    def _contradicts(self, at: At, row: int) -> bool:
        position, (place, head, prefix) = self._log.position, at
        if place == 0 or position.base is None:
            return False
        if place - position.base >= row:
            return True
        ours = self._log.row(place - position.base)
        if ours is None or ours[0] is None:  # before our beginning
            return False
        return (b64(ours[0]), b64(ours[1][:PREFIX_BYTES])) != (head, prefix)

    def _align(self, at: At) -> None:
        """Find our place by what a member had read, if it is one row of ours."""
        place, head, prefix = at
        try:
            found = self._log.rows_by_prefix(
                unb64(prefix, PREFIX_BYTES), self._log.position.gap
            )
            value = unb64(head, HASH_BYTES)
        except Refused:
            return
        if len(found) != 1 or place < found[0]:
            return
        position, heads = self._log.position, [(found[0], value)]
        for row in range(found[0] + 1, position.rows + 1):
            stored = self._log.row(row)
            assert stored is not None, "rows are counted without a gap"
            value = crypto.next_head(value, stored[1])
            heads.append((row, value))
        self._log.set_heads(heads)
        position.base, position.head = place - found[0], value

    def _alarm_of_member(
        self, kind: Alarm, entry: Entry, other: int | None = None
    ) -> None:
        """Alarm, if a member says it: else anybody who is in the room could."""
        author = entry.message.author.id
        if self._is_member(author):
            self._log.alarm(kind, entry.row, other, author)

    # States and keys.

    def _take_state(self, body: Post, message: "_Message", entry: Entry) -> Verdict:
        made, current = SignedState(body.link), self._current
        try:
            if current is not None:
                author, room = message.author, message.stored.room
                self._check_state(made, current, author=author, room=room)
        except Refused as refused:
            self._note_refused(made, refused.verdict, current, entry)
            raise
        self._log.advance(made, entry.row)
        self._note_membership(made)
        self._take_keys(body.grants, made, entry)
        return Verdict.STATE

    def _check_state(
        self,
        made: SignedState,
        current: SignedState,
        *,
        author: AgentId,
        room: RoomName,
    ) -> None:
        position = self._log.position
        if made.hash == position.admission and made.state.by == author:
            # `find_admission` has held it against the chain, which is all we can see.
            position.admission = None
            return
        assert position.owner is not None, "a room with a state has an owner"
        assert position.room_id is not None, "and an id"
        standing = Standing(
            owner=position.owner,
            room_id=position.room_id,
            current=current,
            known=self._was_current,
            owner_left=position.owner_left,
        )
        state.check_next(made, standing, author=author, hub_room=room)

    def _was_current(self, name: str) -> SignedState | None:
        known = self._log.state(name)
        return known.made if known else None

    def _note_refused(
        self,
        made: SignedState,
        verdict: Verdict,
        current: SignedState | None,
        entry: Entry,
    ) -> None:
        if verdict in (Verdict.REPEAT, Verdict.FORMAT, Verdict.STATE_SIGNATURE):
            return
        place = Place.LOST if verdict is Verdict.LOST_RACE else Place.REFUSED
        self._log.add_state(made.hash, place, None)
        author = entry.message.author.id
        unknown = made.state.prev and self._log.state(made.state.prev) is None
        if (
            verdict is Verdict.STATE_CHAIN
            and unknown
            and made.room_id == self._log.position.room_id
            and current is not None
            and current.state.is_admin(author)
            and self._log.position.admission is None
        ):
            self._alarm_of_member(Alarm.TWO_ORDERS, entry)

    def _note_membership(self, made: SignedState) -> None:
        member = made.state.member(self._me)
        if member is not None and not self._log.position.admitted:
            self._log.position.admitted = True
            self._log.shut_before(member.since)

    def _take_chain(self, chain: Sequence[Link], entry: Entry) -> None:
        """Take the states that the hub did not show us, as if they stood here.

        Only where a member has written under one of them, and only those that follow
        ours link by link: else a loser of a race could be passed off as its winner.
        """
        missing, room = self._log.position.lacks, entry.message.room
        made = [SignedState(link) for link in chain]
        if missing is None or missing not in [one.hash for one in made]:
            return
        for one in made:
            current = self._current
            assert current is not None, "somebody was a member"
            with suppress(Refused):
                if one.state.prev == current.hash:
                    self._check_state(one, current, author=one.state.by, room=room)
                    self._log.advance(one, entry.row)
                    self._note_membership(one)

    def _place_again(self) -> list[Reading]:
        """Judge what was written under a state that we lacked, and have now."""
        position, again = self._log.position, []
        if position.lacks is None or self._log.state(position.lacks) is None:
            return []
        position.lacks = position.lacks_since = None
        for entry in self._log.unplaced():
            message = _Message(entry.message)
            body = message.body()
            assert body is not None, "it names a state"
            try:
                judged = self._take(body, message, entry)
            except Refused as refused:
                judged = replace(entry, verdict=refused.verdict)
            if judged.verdict is not entry.verdict:
                self._log.settle(judged)
                again.append(Reading(entry=judged, body=body))
        return again

    def _take_given(self, body: Give, entry: Entry) -> Verdict:
        granter = entry.message.author.id
        if body.chain and self._is_member(granter):
            self._take_chain(body.chain, entry)
        known = self._log.state(body.st)
        if known is None or known.made is None:
            raise Refused(Verdict.UNKNOWN_STATE)
        if known.made.state.member(granter) is None or not self._is_member(granter):
            raise Refused(Verdict.STRANGER)
        self._take_keys(body.grants, known.made, entry, strict=True)
        return Verdict.KEYS

    def _take_word(self, body: Ask | Leave, author: AgentId) -> Verdict:
        if not self._is_member(author):
            raise Refused(Verdict.NOT_A_MEMBER)
        if isinstance(body, Leave) and author == self._log.position.owner:
            self._log.position.owner_left = True
        return Verdict.KEYS

    def _take_keys(
        self,
        grants: Iterable[Grant],
        made: SignedState,
        entry: Entry,
        *,
        strict: bool = False,
    ) -> None:
        """Take the keys that are granted to us, as far as states vouch for them.

        Args:
            strict: Whether a grant that does not open is refused; a state that has one
                is still a state.
        """
        granter, name = entry.message.author.id, unb64(made.hash, HASH_BYTES)
        for grant in grants:
            if grant.to != self._me:
                continue
            try:
                keys, _ = envelope.open_grant(
                    grant, self._keypair, granter=granter, state=name
                )
                self._keep(keys, made, entry)
            except Refused:
                if strict:
                    raise

    def _keep(self, keys: dict[int, Secret], made: SignedState, entry: Entry) -> None:
        since = self._entitled_from(made)
        for epoch, key in sorted(keys.items()):
            have, kc = self._log.epoch_keys(), self._log.commitment(epoch)
            if since is None or epoch < since or epoch in have or kc is None:
                continue
            used = any(crypto.same(key, other) for other in have.values())
            if used or b64(crypto.commitment(key, epoch)) != kc:
                self._alarm_of_member(Alarm.WRONG_KEY, entry)
                raise Refused(Verdict.KEY_COMMITMENT)
            self._log.add_key(epoch, key, entry.message.author.id)

    def _entitled_from(self, made: SignedState | None = None) -> int | None:
        """The first epoch that we may read; None if we are no member."""
        for one in (self._current, made):
            member = one.state.member(self._me) if one else None
            if member is not None:
                return member.since
        return None

    # Messages.

    def _take_message(self, body: Sealed, message: "_Message", entry: Entry) -> Entry:
        known = self._written_under(body, entry)
        assert known.made is not None, "it was current"
        current = self._current
        assert current is not None, "a log with entries has a state"
        epoch = known.made.state.epoch
        entry = replace(entry, epoch=epoch, old_key=epoch != current.state.epoch)
        key = self._log.epoch_keys().get(epoch)
        if key is not None:
            return self._open(entry, message, key)
        since = self._entitled_from()
        barred = self._log.position.admitted if since is None else epoch < since
        verdict = Verdict.BEFORE_YOUR_TIME if barred else Verdict.WAITING
        return replace(entry, verdict=verdict)

    def _written_under(self, body: Sealed, entry: Entry) -> KnownState:
        """The state of a message, if what was written under it still counts."""
        known, author = self._log.state(body.st), entry.message.author.id
        position = self._log.position
        if known is None and position.lacks is None and self._is_member(author):
            position.lacks, position.lacks_row = body.st, entry.row
        if known is None or known.place is Place.REFUSED:
            raise Refused(Verdict.UNKNOWN_STATE)
        if known.made is None:
            self._alarm_of_member(Alarm.TWO_ORDERS, entry)
            raise Refused(Verdict.LOST_STATE)
        if known.made.state.member(author) is None or not self._is_member(author):
            raise Refused(Verdict.NOT_A_MEMBER)
        if known.until is not None:
            base = position.base
            if base is not None and body.at[0] - base >= known.until:
                raise Refused(Verdict.AUTHOR_SAW_THE_NEW_ONE)
            if entry.row - known.until > OLD_STATE_ENTRIES:
                raise Refused(Verdict.TOO_LATE)
        return known

    def _open(self, entry: Entry, message: "_Message", key: Secret) -> Entry:
        assert self._log.position.room_id is not None, "a log with entries has an id"
        place = Envelope(
            room_id=unb64(self._log.position.room_id, HASH_BYTES),
            author=message.author,
            uid=message.uid,
        )
        try:
            plain = envelope.open_message(message.bodies()[0], place, key)
        except Refused as refused:
            return replace(entry, verdict=refused.verdict)
        return replace(entry, verdict=Verdict.OPEN, plain=plain)

    def open_shut(self) -> list[Reading]:
        """Open what the keys that we have now fit, in log order."""
        shut = [
            (entry, key)
            for epoch, key in self._log.epoch_keys().items()
            for entry in self._log.shut(epoch)
        ]
        opened = [
            self._open(entry, _Message(entry.message), key)
            for entry, key in sorted(shut, key=lambda one: one[0].row)
        ]
        for entry in opened:
            self._log.settle(entry)
        return [Reading(entry=entry) for entry in opened]


class _Message:
    """A message as it came, taken apart once."""

    def __init__(self, stored: StoredMessage) -> None:
        self.stored = stored
        self.author = stored.author.id
        try:
            self._parts: list[dict[str, Any]] | None = part_objects(stored.parts)
            if not one_reading(self._parts, bytes(stored.parts)):
                raise InvalidParts("a key stands twice")
            self.digest = crypto.entry_digest(self.author, self._parts, stored.reply_to)
        except (InvalidParts, ValueError, RecursionError):
            self._parts = None
            self.digest = crypto.entry_digest(self.author, None)

    @property
    def uid(self) -> str:
        """By which its author names it."""
        return self.signature.uid

    @cached_property
    def signature(self) -> SigPart:
        """The one that `check_message` reads."""
        parts = (read_part(part) for part in self._parts or [])
        return next(part for part in parts if isinstance(part, SigPart))

    def check_signature(self) -> None:
        signature = check_message(self.stored, reader=None)
        if signature is Signature.UNSIGNED:
            raise Refused(Verdict.UNSIGNED)
        if signature is not Signature.VALID or self._parts is None:
            raise Refused(Verdict.SIGNATURE)

    def bodies(self) -> list[dict[str, Any]]:
        kinds = (SEALED_KIND, GRANT_KIND)
        return [part for part in self._parts or [] if part["kind"] in kinds]

    def body(self) -> Sealed | Keys | None:
        bodies = self.bodies()
        if len(bodies) > 1:
            raise Refused(Verdict.TWO_BODIES)
        return read_body(bodies[0]) if bodies else None


def _genuine_post(message: StoredMessage) -> Post | None:
    reading = _Message(message)
    try:
        body = reading.body()
        reading.check_signature()
    except Refused:
        return None
    return body if isinstance(body, Post) else None
