"""A member of one sealed room: what it has pulled is taken, what it wants is prepared.

Nothing here talks to a hub. Whoever does pulls from `since` and hands that to `take`,
and sends what `outgoing` gives, those very bytes, until `take` has met them: a crash
anywhere between loses nothing and says nothing twice. One identity does this in one
process at a time.
"""

import secrets
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from parler.errors import UsageError, VerificationError
from parler.identity.message_signing import fresh_uid, sign_parts
from parler.identity.signing import Keypair, fingerprint
from parler.sealed import changes, crypto, envelope, invites, state
from parler.sealed.changes import Admit, Change, Remove
from parler.sealed.crypto import Secret
from parler.sealed.envelope import Envelope
from parler.sealed.formats import (
    GRANT_KIND,
    GRANT_NOTICE,
    HASH_BYTES,
    KEY_BYTES,
    MAX_WANTED,
    MESSAGE_NOTICE,
    NOWHERE,
    PREFIX_BYTES,
    VERSION,
    Ask,
    At,
    Give,
    Grant,
    InviteRecord,
    Keys,
    Leave,
    Link,
    Plaintext,
    Post,
    Reference,
    Refused,
    State,
    Verdict,
    b64,
    print_struct,
    read_body,
    read_invites,
    read_state,
    unb64,
)
from parler.sealed.invites import Invite, new_invite, spell_secret
from parler.sealed.log import Alarm, Entry, Position
from parler.sealed.reader import (
    Admission,
    Reader,
    Reading,
    enter,
    find_admission,
    is_genesis,
)
from parler.sealed.state import FIRST_EPOCH, SignedState, Standing
from parler.sealed.store import Outgoing, Phase, Store, StoredRoom
from parler.wire.base import AgentId, Code, Millis, RoomName, Seq
from parler.wire.foreign import foreign
from parler.wire.parts import OtherPart, TextPart, part_objects
from parler.wire.records import RoomTarget, StoredMessage

_OVER = (Phase.STOPPED, Phase.LEFT)

_OF_ANOTHER_ROOM = (Verdict.INVITE, Verdict.CHAIN)

ASK_EVERY_MS = 60_000
GIVE_AFTER_MS = range(5_000, 15_000)
"""How long who is no admin waits whether somebody else gives what was asked for."""

REMOVE_AFTER_MS = range(1_000, 10_000)
"""How long an admin waits whether another one removes who has left."""

HOUR_MS = 3_600_000
MAX_ANSWERS = 3
"""To one asker within an hour."""

LACK_MS = 60_000
"""How long a state may be missing that a member has written under."""

MAX_GIVEN_STATES = 16
MAX_GIVEN_MEMBERS = 4_000
"""Of all states together in one answer: about what fits into a message."""

MAX_TRIES = 5
"""How often a change is repeated that another one came before."""


class NotReading(UsageError):
    """There is nothing to say into the room yet, or any more."""

    code = "not_reading"


class OtherRoom(VerificationError):
    """The room is not the one that the session key was made for."""

    code = "other_room"


class Member:
    """One identity in one room of one hub."""

    def __init__(
        self,
        store: Store,
        keypair: Keypair,
        *,
        hub: str,
        room: RoomName,
        name: str,
        now: Callable[[], Millis],
        role: str | None = None,
        hub_token: str | None = None,
    ) -> None:
        """Go on from what the store has of the room.

        Args:
            name: What we call ourselves in what we say; `role` likewise.
            hub_token: That in the challenge of the hub.
        """
        self._store = store
        self._keypair = keypair
        self._hub = hub
        self._room_name = room
        self._name, self._role = name, role
        self.now = now
        self._hub_token = hub_token

    @property
    def agent(self) -> AgentId:
        """Who we are."""
        return self._keypair.agent_id

    # Coming in.

    def expect(self, secret: Secret | None) -> None:
        """From here on the room is known as sealed, and nothing plain is said in it.

        Of a room that we are in already nothing changes. One that was stopped is set
        aside, since this is another one under its name.

        Args:
            secret: Of the key that we came with; None if we came with the code only.
        """
        with self._room() as room:
            if room.phase is Phase.STOPPED:
                room.set_aside()
            elif room.position.rows:
                return
        with self._room() as room:
            room.expect(secret)

    def prove_knock(self, code: Code) -> str | None:
        """What our card says while we knock; None if we came with the code only."""
        with self._room() as room:
            secret = room.secret
        if secret is None:
            return None
        return invites.prove_knock(secret, agent=self.agent, code=code)

    def invited_with(self, proofs: list[str], agent: AgentId) -> Code | None:
        """Which session key of ours somebody who knocks was given, if one."""
        with self._room() as room:
            room_id, live = room.position.room_id, room.invites(self.now())
        for invite in live if room_id else []:
            secret = invite.secret(unb64(room_id or "", HASH_BYTES))
            with suppress(Refused):
                invites.check_knock(proofs, secret, agent=agent, code=invite.code)
                return invite.code
        return None

    def invite(self, code: Code, expires_at: Millis) -> tuple[str, Outgoing]:
        """Make the secret half of a session key, and tell the other admins.

        Returns the secret as it is passed on behind the code.

        Raises:
            NotReading: We are no admin who may speak.
        """
        made = new_invite(code, expires_at)
        with self._room() as room:
            current, key = self._speaking(room)
            if not current.state.is_admin(self.agent):
                raise NotReading("only an admin lets others in")
            room.add_invite(made)
            assert room.position.room_id is not None, "it is being read"
            secret = made.secret(unb64(room.position.room_id, HASH_BYTES))
            record = InviteRecord(code=code, r=b64(made.r), exp=expires_at)
            plain = self._plain([print_struct(record)])
            outgoing = self._seal(room, plain, current, key)
        return spell_secret(secret), outgoing

    def revoke(self, code: Code) -> Outgoing | None:
        """Take no proof of a session key any more, and tell the other admins.

        It is told as a record of the same key that is over. Returns None if we know of
        none that is not.

        Raises:
            NotReading: We are no admin who may speak.
        """
        with self._room() as room:
            current, key = self._speaking(room)
            live = {invite.code: invite.r for invite in room.invites(self.now())}
            if code not in live or not current.state.is_admin(self.agent):
                return None
            room.add_invite(Invite(code, live[code], 0))
            record = InviteRecord(code=code, r=b64(live[code]), exp=0)
            plain = self._plain([print_struct(record)])
            return self._seal(room, plain, current, key)

    def begin(self, messages: Sequence[StoredMessage]) -> bool:
        """Find what lets us in, among all that the hub shows us of the room.

        Returns whether it was found; then it is read from its beginning with `take`.
        It may still come after an `OtherRoom`: whoever is in the room at the hub can
        show us another one beside it.

        Raises:
            OtherRoom: What there is does not fit the key that we were given.
        """
        with self._room() as room:
            if room.position.rows:
                return True
            secret, refused = room.secret, False
            for message in messages:
                try:
                    found = find_admission(message, self._keypair, secret)
                except Refused as error:
                    refused = refused or error.verdict in _OF_ANOTHER_ROOM
                    continue
                if found is not None:
                    self._enter(room, found, messages)
                    return True
            if not refused:
                return False
            room.phase = Phase.REFUSED
        raise OtherRoom(
            "this is not the room your key was made for; the hub may be lying"
        )

    def _enter(
        self, room: StoredRoom, found: Admission, messages: Sequence[StoredMessage]
    ) -> None:
        room.position = Position()
        room.phase = Phase.ADMITTED
        if any(is_genesis(message, found.room_id) for message in messages):
            room.position.room_id = found.room_id
        else:
            enter(room, found, messages)
            before = room.current()
            inside = before is not None and before.state.member(self.agent) is not None
            room.position.anew = inside

    # Reading.

    def kept(self) -> AbstractContextManager[StoredRoom]:
        """What the store has of the room, as one transaction."""
        return self._room()

    @property
    def is_in(self) -> bool:
        """Whether something has let us in, so that the room is read."""
        with self._room() as room:
            return room.phase not in (Phase.EXPECTED, Phase.KNOCKING, Phase.REFUSED)

    @property
    def last(self) -> Seq:
        """The position of the last entry that we have; 0 if there is none."""
        with self._room() as room:
            return room.position.seq

    def take(self, messages: Sequence[StoredMessage]) -> list[Reading]:
        """Read what was pulled, from before our last entry on, as one transaction.

        If that entry does not come first, and was not skipped, the log no longer
        continues ours: the room is stopped.

        Raises:
            NotReading: Nothing has let us in yet: see `begin`.
        """
        readings: list[Reading] = []
        with self._room() as room:
            if room.phase in (Phase.EXPECTED, Phase.KNOCKING, Phase.REFUSED):
                raise NotReading(f"nothing is read of a room that is {room.phase}")
            reader, news = Reader(room, self._keypair), list(messages)
            if room.position.gap < room.position.rows:
                if not reader.continues(news[:1]):
                    room.alarm(Alarm.REPLACED, room.position.rows, None, self.agent)
                    room.phase = Phase.STOPPED
                    return []
                del news[0]
            for message in news:
                for reading in reader.read(message):
                    self._note_invites(room, reading)
                    self._note_duties(room, reading)
                    readings.append(reading)
            self._settle(room)
        return readings

    def skip(self, oldest: Sequence[StoredMessage]) -> None:
        """Allow for a gap, if our last entry is older than all that the hub has.

        Args:
            oldest: The first message of the room, if it has one.
        """
        with self._room() as room:
            position = room.position
            if oldest and position.rows and oldest[0].seq > position.seq:
                position.gap = position.rows
                position.base, position.head = None, None

    def told(self, entry: Entry) -> str:
        """What a message without text did, to people; members by their fingerprints."""
        parts = part_objects(entry.message.parts)
        body = read_body(next(one for one in parts if one["kind"] == GRANT_KIND))
        match body:
            case Post(state=fields):
                now = read_state(fields)
                with self._room() as room:
                    before = room.state(now.prev) if now.prev else None
                return changes.told(
                    now, before.made.state if before and before.made else None
                )
            case Give(grants=grants):
                return (
                    f"gave keys to {', '.join(fingerprint(one.to) for one in grants)}"
                )
            case Leave():
                return "leaves this session"
        return "asked for keys that it lacks"

    def _note_invites(self, room: StoredRoom, reading: Reading) -> None:
        """Keep the session keys that another admin made."""
        current, author = room.current(), reading.entry.message.author.id
        if reading.plain is None or not current or not current.state.is_admin(author):
            return
        with suppress(Refused):
            for record in read_invites(reading.plain):
                r = Secret(unb64(record.r, KEY_BYTES))
                room.add_invite(Invite(record.code, r, record.exp))

    def _note_duties(self, room: StoredRoom, reading: Reading) -> None:
        """What another member's word asks of us; who is no admin gives others time."""
        current, author = room.current(), reading.entry.message.author.id
        if current is None:
            return
        if reading.verdict is Verdict.STATE:
            self._drop_done(room, current)
        if reading.verdict is not Verdict.KEYS:
            return
        admin, now = current.state.is_admin(self.agent), self.now()
        match reading.body:
            case Ask(want=want, st=st) if author != self.agent:
                wait = 0 if admin else secrets.choice(GIVE_AFTER_MS)
                if want or st is not None:
                    room.add_request(author, want, now + wait, st)
            case Give(grants=grants):
                for grant in grants:
                    room.drop_request(grant.to)
            case Leave() if admin and author != self.agent:
                wait = secrets.choice(REMOVE_AFTER_MS)
                room.add_change(Remove(agent=author), now + wait)

    def _drop_done(self, room: StoredRoom, current: SignedState) -> None:
        """What somebody else has done is wanted no longer, whatever follows."""
        waiting = room.outgoing()
        for ident, change in room.changes().items():
            sent = waiting is not None and waiting.change == ident
            if not sent and changes.plan(change, current.state) is None:
                room.drop_change(ident)

    def _settle(self, room: StoredRoom) -> None:
        """What follows of where the log is now, for us and for what is on its way."""
        current = room.current()
        self._mind_lack(room)
        if current is not None and room.phase not in _OVER:
            inside = current.state.member(self.agent) is not None
            if inside and current.state.epoch in room.epoch_keys():
                room.phase = Phase.READING
            elif room.position.admitted and not inside:
                room.phase = Phase.REMOVED
        outgoing = room.outgoing()
        if outgoing is None or not room.has(self.agent, outgoing.uid):
            return
        room.drop_outgoing()
        lost = room.verdict(self.agent, outgoing.uid) is Verdict.LOST_RACE
        change = outgoing.change
        if change is not None and not (lost and room.tries(change) < MAX_TRIES):
            room.drop_change(change)

    def _mind_lack(self, room: StoredRoom) -> None:
        """Alarm if a state that a member wrote under does not come."""
        position, now = room.position, self.now()
        if position.lacks is None:
            return
        if position.lacks_since is None:
            position.lacks_since = now
        if now - position.lacks_since >= LACK_MS:
            row = position.lacks_row
            room.alarm(Alarm.WITHHELD, row, None, room.author(row))

    # Speaking.

    def open(self) -> Outgoing:
        """Make the room: its genesis, with us as owner and only member."""
        with self._room() as room:
            key = crypto.new_key()
            made = state.make_genesis(
                self._keypair, self._room_name, epoch_key=key, ts=self.now()
            )
            room.position.room_id = made.hash
            room.phase = Phase.ADMITTED
            grants = self._grants(made, {self.agent: {FIRST_EPOCH: key}}, {})
            return self._prepare(room, self._post(room, made, grants, chain=None))

    def say(
        self,
        parts: list[dict[str, Any]],
        *,
        mentions: list[str] | None = None,
        re: Reference | None = None,
        uid: str | None = None,
    ) -> Outgoing:
        """Seal a message under the current state.

        Args:
            uid: Of `uid_of`; fresh unless given.

        Raises:
            NotReading: We are no member, or something of ours is still on its way.
            TooLong: It has more than 700,000 bytes.
        """
        with self._room() as room:
            current, key = self._speaking(room)
            plain = self._plain(parts)
            if mentions is not None:
                plain.mentions = [foreign(mention) for mention in mentions]
            plain.re = re
            return self._seal(room, plain, current, key, uid)

    def uid_of(self, once: str) -> str:
        """The uid that something has in this room, however often it is tried."""
        named = uuid.uuid5(
            uuid.NAMESPACE_OID, f"{self.agent}\n{self._room_name}\n{once}"
        )
        text = str(named)
        version = "4" if self._hub_token is None else "8"
        return f"{text[:14]}{version}{text[15:]}"

    def _plain(self, parts: list[dict[str, Any]]) -> Plaintext:
        name, role = foreign(self._name), foreign(self._role)
        return Plaintext(v=VERSION, name=name, role=role, parts=parts)

    def facts(self, *, key: str | None, text: str | None) -> int:
        """How many live facts of our own are under a key, of a text, or both."""
        with self._room() as room:
            return room.facts(self.agent, key=key, text=text)

    def renew(self) -> Outgoing | None:
        """Seal what is on its way anew, if the state has changed since.

        Only once it cannot arrive any more as it was: with the same number twice in the
        log its author would be two.
        """
        with self._room() as room:
            waiting, current = room.outgoing(), room.current()
            if waiting is None or waiting.plain is None or current is None:
                return waiting
            if waiting.state == current.hash:
                return waiting
            room.drop_outgoing()
            current, key = self._speaking(room)
            return self._seal(room, waiting.plain, current, key)

    def _seal(
        self,
        room: StoredRoom,
        plain: Plaintext,
        current: SignedState,
        key: Secret,
        uid: str | None = None,
    ) -> Outgoing:
        assert room.position.room_id is not None, "it is being read"
        uid = uid or fresh_uid(self._hub_token)
        n, prev = self._number(room)
        part = envelope.seal_message(
            plain,
            Envelope(
                room_id=unb64(room.position.room_id, HASH_BYTES),
                author=self.agent,
                uid=uid,
            ),
            key,
            state=current.hash,
            n=n,
            prev=prev,
            at=self._at(room),
        )
        parts = self._sign(part, MESSAGE_NOTICE, uid)
        return self._keep(
            room,
            Outgoing(
                uid=uid, parts=parts, at=self.now(), state=current.hash, plain=plain
            ),
        )

    def intend(self, change: Change) -> int:
        """Keep what we want of the members; `outgoing` says it, until it is so.

        Returns what `withdraw` calls it.

        Raises:
            NotReading: We are no admin.
            Refused: By which rule it cannot be.
        """
        with self._room() as room:
            current = room.current()
            if current is None or not current.state.is_admin(self.agent):
                raise NotReading("only an admin changes who is in the room")
            if isinstance(change, Admit):
                self._hold_for_alarms(room)
            self._hold(room, current, change)
            return room.add_change(change, self.now())

    def withdraw(self, intention: int) -> None:
        """What was intended, and has not been said, is not wanted any more."""
        with self._room() as room:
            room.drop_change(intention)

    @property
    def admits(self) -> bool:
        """Whether somebody is to be let in, who may not see the beginning."""
        with self._room() as room:
            return any(isinstance(one, Admit) for one in room.changes().values())

    def outgoing(self, oldest: Sequence[StoredMessage] = ()) -> Outgoing | None:
        """What has to be sent next, as it is; None if nothing of ours is due.

        That is what is on its way, then what was intended, then keys that others lack.

        Args:
            oldest: The first message that the hub still has of the room, if somebody is
                to be let in.
        """
        with self._room() as room:
            waiting = room.outgoing() or self._count_anew(room)
            while waiting is None and (due := room.next_change(self.now())):
                waiting = self._prepare_change(room, *due, oldest)
            while waiting is None and (asked := room.next_request(self.now())):
                room.drop_request(asked[0])
                waiting = self._prepare_gift(room, *asked)
            return waiting

    def ask(self) -> Outgoing | None:
        """Ask the others for what we may have and have not got: keys, or a state.

        None if there is nothing, if we asked within the minute, or if something of ours
        is on its way.

        Who asks for a state says nothing of how far it has read: its log lacks
        something, and all who might answer would be alarmed and give nothing. What it
        says next shows them.
        """
        with self._room() as room:
            last, lacks = room.position.asked_at, room.position.lacks
            want, now = self._wanted(room), self.now()
            if want is None or room.outgoing() is not None or not (want or lacks):
                return None
            if last is not None and now - last < ASK_EVERY_MS:
                return None
            room.position.asked_at = now
            n, prev = self._number(room)
            at = self._at(room) if lacks is None else NOWHERE
            body = Ask(v=VERSION, n=n, prev=prev, at=at, want=want, st=lacks)
            return self._prepare(room, body)

    def _wanted(self, room: StoredRoom) -> list[int] | None:
        """The epochs whose keys we lack; None if we are no member."""
        current = room.current()
        member = current.state.member(self.agent) if current else None
        if current is None or member is None:
            return None
        epochs, have = range(member.since, current.state.epoch + 1), room.epoch_keys()
        return [epoch for epoch in epochs if epoch not in have][:MAX_WANTED]

    def _count_anew(self, room: StoredRoom) -> Outgoing | None:
        """Say that we count from 1 again, if nothing of ours is left to count on."""
        want, needed = self._wanted(room), room.position.anew
        room.position.anew = needed and want is None
        if not needed or want is None or room.last_word(self.agent) is not None:
            return None
        room.position.asked_at = self.now()
        at = self._at(room)
        return self._prepare(room, Ask(v=VERSION, n=1, at=at, want=want, anew=True))

    def _prepare_gift(
        self, room: StoredRoom, to: AgentId, want: list[int], lacks: str | None
    ) -> Outgoing | None:
        """Give a member what it asked for, as far as it may have it."""
        current, now = room.current(), self.now()
        member = current.state.member(to) if current else None
        if current is None or member is None or room.phase is not Phase.READING:
            return None
        if room.alarms() or room.answers(to, now - HOUR_MS) >= MAX_ANSWERS:
            return None
        have, chain = room.epoch_keys(), _up_to(room.states(), lacks)
        under = chain[-1] if chain else current
        wanted = {*want, *(made.state.epoch for made in chain)}
        keys = {
            epoch: have[epoch]
            for epoch in sorted(wanted)
            if epoch in have and epoch >= member.since
        }
        if not keys:
            return None
        room.add_answer(to, now)
        n, prev = self._number(room)
        grants, at = self._grants(under, {to: keys}, {}), self._at(room)
        body = Give(
            v=VERSION,
            n=n,
            prev=prev,
            at=at,
            st=under.hash,
            grants=grants,
            chain=[made.link for made in chain] or None,
        )
        return self._prepare(room, body)

    def leave(self) -> Outgoing:
        """Say that we go; an admin's client makes the state without us."""
        with self._room() as room:
            self._speaking(room)
            n, prev = self._number(room)
            room.phase = Phase.LEFT
            return self._prepare(
                room, Leave(v=VERSION, n=n, prev=prev, at=self._at(room))
            )

    # Changes.

    def _hold_for_alarms(self, room: StoredRoom) -> None:
        """Nobody gets keys while a contradiction has not been looked at."""
        if room.alarms():
            raise NotReading(
                "nobody is let in until a person has verified the room",
                next_step="parler session verify, and if all see the same: "
                "parler session verify --accept",
            )

    def _hold(self, room: StoredRoom, current: SignedState, change: Change) -> None:
        """Hold a change against the rules before it is anybody else's concern."""
        planned = changes.plan(change, current.state)
        if planned is not None:
            key = crypto.new_key() if planned.new_key else None
            made = state.make_next(
                self._keypair, current, planned.members, epoch_key=key, ts=self.now()
            )
            self._check(room, current, made)

    def _check(self, room: StoredRoom, current: SignedState, made: SignedState) -> None:
        position = room.position
        assert position.owner is not None
        assert position.room_id is not None
        standing = Standing(
            owner=position.owner,
            room_id=position.room_id,
            current=current,
            known=lambda name: known.made if (known := room.state(name)) else None,
            owner_left=position.owner_left,
        )
        author, name = self.agent, self._room_name
        state.check_next(made, standing, author=author, hub_room=name)

    def _prepare_change(
        self,
        room: StoredRoom,
        ident: int,
        change: Change,
        oldest: Sequence[StoredMessage],
    ) -> Outgoing | None:
        """Finish the bytes of a change; None if it is already so, or cannot be."""
        current = room.current()
        planned = changes.plan(change, current.state) if current else None
        if current is None or planned is None:
            room.drop_change(ident)
            return None
        new = crypto.new_key() if planned.new_key else None
        made = state.make_next(
            self._keypair, current, planned.members, epoch_key=new, ts=self.now()
        )
        try:
            self._check(room, current, made)
        except Refused:
            room.drop_change(ident)
            return None
        keys = room.epoch_keys() | ({made.state.epoch: new} if new is not None else {})
        granted = _granted(made.state, planned.newcomers, keys, renewed=new is not None)
        r = self._confirmations(room, change)
        chain = None
        if planned.newcomers:
            begins = room.begins(oldest[0].seq) if oldest else []
            chain = changes.chain(room.states(), self.agent, begins)
        grants = self._grants(made, granted, r)
        body = self._post(room, made, grants, chain=chain)
        return self._prepare(room, body, change=ident)

    def _confirmations(self, room: StoredRoom, change: Change) -> dict[str, Secret]:
        if not isinstance(change, Admit):
            return {}
        return {
            str(change.agent): invite.r
            for invite in room.invites(self.now())
            if invite.code == change.code
        }

    def _grants(
        self,
        made: SignedState,
        granted: dict[AgentId, dict[int, Secret]],
        r: dict[str, Secret],
    ) -> list[Grant]:
        name = unb64(made.hash, HASH_BYTES)
        return [
            envelope.seal_grant(
                keys, granter=self.agent, state=name, to=to, r=r.get(to)
            )
            for to, keys in granted.items()
        ]

    # Messages on their way.

    def _speaking(self, room: StoredRoom) -> tuple[SignedState, Secret]:
        current = room.current()
        member = current.state.member(self.agent) if current else None
        key = room.epoch_keys().get(current.state.epoch) if current else None
        if current is None or member is None or key is None:
            raise NotReading("the room's owner has not given you the keys yet")
        if room.phase is not Phase.READING:
            raise NotReading(f"nothing is said into a room that is {room.phase}")
        if room.outgoing() is not None:
            raise NotReading("an earlier message is still on its way")
        return current, key

    def _number(self, room: StoredRoom) -> tuple[int, str | None]:
        last = room.last_word(self.agent)
        return (1, None) if last is None else (last.n + 1, b64(last.digest))

    def _at(self, room: StoredRoom) -> At:
        position = room.position
        row = room.row(position.rows)
        if position.base is None or position.head is None or row is None:
            return NOWHERE
        prefix = b64(row[1][:PREFIX_BYTES])
        return position.base + position.rows, b64(position.head), prefix

    def _post(
        self,
        room: StoredRoom,
        made: SignedState,
        grants: list[Grant],
        *,
        chain: list[Link] | None,
    ) -> Post:
        n, prev = self._number(room)
        return Post(
            v=VERSION,
            n=n,
            prev=prev,
            at=self._at(room),
            state=made.link.state,
            sig=made.link.sig,
            grants=grants,
            chain=chain,
        )

    def _prepare(
        self, room: StoredRoom, body: Keys, *, change: int | None = None
    ) -> Outgoing:
        uid = fresh_uid(self._hub_token)
        part = {"kind": GRANT_KIND, **print_struct(body)}
        parts = self._sign(part, GRANT_NOTICE, uid)
        return self._keep(
            room, Outgoing(uid=uid, parts=parts, at=self.now(), change=change)
        )

    def _sign(self, part: dict[str, Any], notice: str, uid: str) -> bytes:
        fields = {name: value for name, value in part.items() if name != "kind"}
        signed = sign_parts(
            self._keypair,
            RoomTarget(self._room_name),
            [TextPart(notice), OtherPart(kind=part["kind"], fields=fields)],
            ts=self.now(),
            uid=uid,
            hub_token=self._hub_token,
        )
        return bytes(signed)

    def _keep(self, room: StoredRoom, outgoing: Outgoing) -> Outgoing:
        if room.outgoing() is not None:
            raise NotReading("an earlier message is still on its way")
        room.put_outgoing(outgoing)
        return outgoing

    def _room(self) -> AbstractContextManager[StoredRoom]:
        return self._store.room(self._hub, self._room_name)


def _up_to(states: list[SignedState], name: str | None) -> list[SignedState]:
    """The states up to one by its hash, as many as an answer holds."""
    end = next((at for at, made in enumerate(states, 1) if made.hash == name), 0)
    if not end:
        return []
    fit = MAX_GIVEN_MEMBERS // len(states[end - 1].state.members)
    return states[max(0, end - max(1, min(fit, MAX_GIVEN_STATES))) : end]


def _granted(
    made: State, newcomers: list[AgentId], keys: dict[int, Secret], *, renewed: bool
) -> dict[AgentId, dict[int, Secret]]:
    """Which keys each member lacks: a new one all, the others the newcomers."""
    granted: dict[AgentId, dict[int, Secret]] = {}
    for member in made.members:
        if member.id in newcomers:
            granted[member.id] = {
                epoch: key for epoch, key in keys.items() if epoch >= member.since
            }
        elif renewed:
            granted[member.id] = {made.epoch: keys[made.epoch]}
    return granted
