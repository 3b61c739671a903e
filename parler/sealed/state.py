"""The states of a room: making them, and which one may follow which.

A state is its admins' signed word on who is a member. Pure: given states, it says
whether one is valid after another. In which order they count is for `reader`.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from parler.identity.signing import Keypair, verify
from parler.sealed import crypto
from parler.sealed.formats import (
    MAX_MEMBERS,
    VERSION,
    Link,
    Member,
    Refused,
    State,
    Verdict,
    b64,
    print_struct,
    read_state,
    unb64,
)
from parler.wire.base import AgentId, Millis, RoomName

FIRST_EPOCH = 1
_RAND_BYTES = 16


@dataclass(frozen=True)
class SignedState:
    """A state as it came: read, and with what its hash and its signature cover."""

    link: Link

    @cached_property
    def state(self) -> State:
        """What it says.

        Raises:
            Refused: ``format``.
        """
        return read_state(self.link.state)

    @cached_property
    def hash(self) -> str:
        """Its name, by which messages and later states mean it."""
        return b64(crypto.state_hash(self.link.state))

    @cached_property
    def genuine(self) -> bool:
        """Whether its author signed it."""
        data = crypto.state_bytes(self.link.state)
        return verify(self.state.by, data, self.link.sig)

    @property
    def room_id(self) -> str:
        """The id of the room it belongs to: of a genesis its own hash."""
        return self.hash if self.state.room is None else self.state.room


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A room as far as the next state is concerned."""

    owner: AgentId
    room_id: str
    current: SignedState
    known: Callable[[str], SignedState | None]
    """A state that is current or was, by its hash."""

    owner_left: bool = False


def sign_state(keypair: Keypair, state: State) -> SignedState:
    """Sign a state that we make."""
    fields = print_struct(state)
    sig = keypair.sign(crypto.state_bytes(fields))
    return SignedState(Link(state=fields, sig=sig))


def make_genesis(
    keypair: Keypair, room: RoomName, *, epoch_key: bytes, ts: Millis
) -> SignedState:
    """The first state of a room, with its owner as the only member."""
    state = State(
        v=VERSION,
        s=0,
        by=keypair.agent_id,
        epoch=FIRST_EPOCH,
        kc=b64(crypto.commitment(epoch_key, FIRST_EPOCH)),
        hub_room=room,
        members=[Member(id=keypair.agent_id, since=FIRST_EPOCH, admin=True)],
        ts=ts,
        rand=b64(secrets.token_bytes(_RAND_BYTES)),
    )
    return sign_state(keypair, state)


def make_next(
    keypair: Keypair,
    current: SignedState,
    members: Iterable[Member],
    *,
    epoch_key: bytes | None,
    ts: Millis,
) -> SignedState:
    """The state after `current`, with other members or another key.

    Args:
        epoch_key: The new key; None keeps the current one.
    """
    before = current.state
    epoch = before.epoch if epoch_key is None else before.epoch + 1
    kc = before.kc if epoch_key is None else b64(crypto.commitment(epoch_key, epoch))
    state = State(
        v=VERSION,
        s=before.s + 1,
        by=keypair.agent_id,
        epoch=epoch,
        kc=kc,
        hub_room=before.hub_room,
        members=sorted(members, key=lambda member: member.id),
        ts=ts,
        room=current.room_id,
        prev=current.hash,
    )
    return sign_state(keypair, state)


def check_genesis(made: SignedState, *, author: str, hub_room: str) -> None:
    """Hold the first state of a room against the rules 1 to 4.

    Raises:
        Refused: The first rule it breaks.
    """
    _check_alone(made, author=author)
    _hold(made.state.hub_room == hub_room, Verdict.STATE_CHAIN)
    _check_first(made.state)


def check_next(
    made: SignedState, room: Standing, *, author: str, hub_room: str
) -> None:
    """Hold a state against all rules, as the one after the current one.

    Raises:
        Refused: The first rule it breaks.
    """
    _hold(room.known(made.hash) is None, Verdict.REPEAT)
    _check_alone(made, author=author)
    state, before = made.state, room.current
    _hold(state.hub_room == hub_room, Verdict.STATE_CHAIN)
    _hold(state.rand is None, Verdict.GENESIS)
    _hold(state.room == room.room_id, Verdict.STATE_CHAIN)
    if state.prev != before.hash:
        earlier = room.known(state.prev or "")
        late = earlier is not None and earlier.state.is_admin(author)
        raise Refused(Verdict.LOST_RACE if late else Verdict.STATE_CHAIN)
    _hold(state.s == before.state.s + 1, Verdict.STATE_CHAIN)
    _hold(before.state.is_admin(author), Verdict.NOT_AN_ADMIN)
    _hold(state.member(author) is not None, Verdict.AUTHOR_NOT_A_MEMBER)
    kept = room.owner_left or state.is_admin(room.owner)
    _hold(kept, Verdict.OWNER_REMOVED)
    _check_change(before.state, state)


def check_chain(
    links: Sequence[Link], *, author: str, hub_room: str, room_id: str | None = None
) -> list[SignedState]:
    """Hold the chain that comes with an admission against its rules.

    The first is the genesis; each signer is an admin in an earlier one, and who admits
    is an admin in one of them. What is behind that proof, the states with which the log
    begins, has to be signed by such admins as well.

    Args:
        author: Who sent it and makes the state that admits.
        room_id: The room it has to be of, if that is known.

    Raises:
        Refused: ``chain``.
    """
    states = [SignedState(link) for link in links]
    try:
        _hold(bool(states), Verdict.CHAIN)
        genesis = states[0]
        check_genesis(genesis, author=genesis.state.by, hub_room=hub_room)
        _hold(room_id in (None, genesis.hash), Verdict.CHAIN)
        admins, s = _admins(genesis.state), 0
        for made in states[1:]:
            _check_alone(made, author=made.state.by)
            in_order = made.room_id == genesis.hash and made.state.s > s
            _hold(in_order and made.state.hub_room == hub_room, Verdict.CHAIN)
            _hold(made.state.by in admins, Verdict.CHAIN)
            admins |= _admins(made.state)
            s = made.state.s
        _hold(author in admins, Verdict.CHAIN)
    except Refused:
        raise Refused(Verdict.CHAIN) from None
    return states


def check_admission(
    made: SignedState, states: Sequence[SignedState], *, author: str, hub_room: str
) -> None:
    """Hold the state that admits a newcomer against what it can know of the room.

    Args:
        states: The chain, checked by `check_chain`.

    Raises:
        Refused: The first rule it breaks.
    """
    _check_alone(made, author=author)
    state = made.state
    fits = state.room == states[0].hash and state.hub_room == hub_room
    _hold(fits and state.s > states[-1].state.s, Verdict.STATE_CHAIN)
    _hold(state.member(author) is not None, Verdict.AUTHOR_NOT_A_MEMBER)


def _check_alone(made: SignedState, *, author: str) -> None:
    state = made.state
    _hold(state.v == VERSION, Verdict.FORMAT)
    _hold(state.by == author and made.genuine, Verdict.STATE_SIGNATURE)
    ids = [member.id for member in state.members]
    _hold(1 <= len(ids) <= MAX_MEMBERS, Verdict.MEMBERS)
    _hold(all(a < b for a, b in pairwise(ids)), Verdict.MEMBERS)
    for agent in ids:
        try:
            crypto.check_id(agent)
        except Refused:
            raise Refused(Verdict.MEMBERS) from None


def _check_first(state: State) -> None:
    by = state.member(state.by)
    unlinked = state.room is None and state.prev is None
    fits = state.s == 0 and state.epoch == FIRST_EPOCH and unlinked
    _hold(fits and state.rand is not None, Verdict.GENESIS)
    _hold(by is not None and by.admin, Verdict.GENESIS)
    unb64(state.rand or "", _RAND_BYTES)
    all_first = all(member.since == FIRST_EPOCH for member in state.members)
    _hold(all_first, Verdict.ENTITLEMENT)


def _check_change(before: State, state: State) -> None:
    renewed = state.epoch == before.epoch + 1
    kept = state.epoch == before.epoch and state.kc == before.kc
    _hold(renewed or kept, Verdict.EPOCH)
    now = {member.id: member for member in state.members}
    gone = [member for member in before.members if member.id not in now]
    _hold(renewed or not gone, Verdict.REMOVAL_WITHOUT_A_NEW_KEY)
    for member in before.members:
        same = member.id not in now or now.pop(member.id).since == member.since
        _hold(same, Verdict.ENTITLEMENT_CHANGED)
    within = all(FIRST_EPOCH <= new.since <= state.epoch for new in now.values())
    _hold(within, Verdict.ENTITLEMENT)


def _admins(state: State) -> set[str]:
    return {str(member.id) for member in state.members if member.admin}


def _hold(rule: bool, verdict: Verdict) -> None:
    if not rule:
        raise Refused(verdict)
