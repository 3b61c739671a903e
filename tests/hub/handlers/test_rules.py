"""Who may do what in a room (protocol 4, 14.5, 14.6)."""

from dataclasses import replace

import pytest

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.rules import Admission
from hub.store.invites import Invite, Knock
from hub.store.rooms import Room
from parler.wire.base import AgentId, Code, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.records import RoomKind

OWNER, ANN = AgentId("OWNER"), AgentId("ANN")
NOW = 1_000_000
ROOM = Room(id=1, name=RoomName("den"), kind=RoomKind.CHANNEL, owner=OWNER, gated=False)
KEY = Invite(
    code=Code("ABCDEFGH"),
    room=1,
    max_uses=5,
    uses=0,
    expires=NOW,
    created_by=OWNER,
    gated=False,
)
GATED = replace(KEY, gated=True)


def admitted(
    key: Invite, knock: Knock | None = None, *, agent: AgentId = ANN
) -> Admission | str:
    """What a key does, or the words of the refusal."""
    try:
        return rules.admission(key, ROOM, agent, knock, now=NOW)
    except Refusal as caught:
        refusal = caught
    assert refusal.code is ErrorCode.INVALID_INVITE
    return refusal.message


@pytest.mark.parametrize(
    ("key", "knock", "outcome"),
    [
        (KEY, None, Admission.ENTER),
        (KEY, Knock.PENDING, Admission.STILL_WAITING),
        (KEY, Knock.REMOVED, Admission.KNOCK),
        (GATED, None, Admission.KNOCK),
        (GATED, Knock.PENDING, Admission.STILL_WAITING),
        (GATED, Knock.REMOVED, Admission.KNOCK),
    ],
)
def test_a_live_key_lets_enter_or_knock(
    key: Invite, knock: Knock | None, outcome: Admission
) -> None:
    assert admitted(key, knock) is outcome


@pytest.mark.parametrize("key", [KEY, GATED], ids=["open", "gated"])
def test_who_was_rejected_stays_out_on_any_key(key: Invite) -> None:
    assert "rejected" in str(admitted(key, Knock.DENIED))


@pytest.mark.parametrize("knock", [None, *Knock])
def test_an_expired_key_opens_nothing_whatever_came_before(knock: Knock | None) -> None:
    expired = replace(KEY, expires=NOW - 1)
    assert "expired" in str(admitted(expired, knock))
    assert admitted(replace(KEY, expires=NOW)) is Admission.ENTER, "valid at its last"


@pytest.mark.parametrize("key", [KEY, GATED], ids=["open", "gated"])
def test_a_used_up_key_opens_nothing_but_whoever_waits_goes_on_waiting(
    key: Invite,
) -> None:
    used_up = replace(key, uses=5)
    assert "used up" in str(admitted(used_up))
    assert "used up" in str(admitted(used_up, Knock.REMOVED))
    assert admitted(used_up, Knock.PENDING) is Admission.STILL_WAITING
    assert "used up" in str(admitted(replace(key, max_uses=0)))
    assert "used up" in str(admitted(replace(key, uses=6)))


@pytest.mark.parametrize("knock", [None, *Knock])
def test_the_owner_gets_back_in_on_any_key(knock: Knock | None) -> None:
    assert admitted(replace(GATED, uses=5), knock, agent=OWNER) is Admission.ENTER
    assert admitted(replace(KEY, expires=0), knock, agent=OWNER) is Admission.ENTER


# ------------------------------------------------------------------------------ minting


@pytest.mark.parametrize("agent", [OWNER, ANN])
@pytest.mark.parametrize("gated_key", [True, False])
@pytest.mark.parametrize("gated_room", [True, False])
def test_who_may_mint(agent: AgentId, gated_key: bool, gated_room: bool) -> None:
    room = replace(ROOM, gated=gated_room)
    with pytest.raises(Refusal) as caught:
        rules.may_mint(room, agent, member=False, gated=gated_key)
    assert caught.value.code is ErrorCode.NOT_MEMBER
    if gated_room and not gated_key and agent is ANN:
        with pytest.raises(Refusal) as caught:
            rules.may_mint(room, agent, member=True, gated=gated_key)
        assert caught.value.code is ErrorCode.NOT_OWNER
    else:
        rules.may_mint(room, agent, member=True, gated=gated_key)


def test_nobody_owns_a_room_without_owner() -> None:
    ownerless = replace(ROOM, owner=None, gated=True)
    with pytest.raises(Refusal):
        rules.may_mint(ownerless, ANN, member=True, gated=False)
    with pytest.raises(Refusal):
        rules.must_own(ownerless, ANN)


def test_an_unknown_room_and_somebody_elses_answer_alike() -> None:
    assert rules.must_own(ROOM, OWNER) is ROOM
    told = set()
    for room in (None, ROOM):
        with pytest.raises(Refusal) as caught:
            rules.must_own(room, ANN)
        told.add((caught.value.code, caught.value.message))
    assert len(told) == 1
    assert told.pop()[0] is ErrorCode.NOT_OWNER


# ----------------------------------------------------------------------------- details


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (None, 86_400),
        (0, 0),
        (1, 1),
        (365 * 86_400, 365 * 86_400),
        (365 * 86_400 + 1, 365 * 86_400),
        (2**64 - 1, 365 * 86_400),
    ],
)
def test_a_lifetime_is_capped_at_a_year(ttl: int | None, seconds: int) -> None:
    assert rules.expiry(ttl, 86_400, now=NOW) == NOW + seconds * 1000


def test_only_channels_have_a_gate() -> None:
    assert rules.needs_approval(RoomKind.CHANNEL, True)
    for kind in RoomKind:
        assert not rules.needs_approval(kind, False)
        assert rules.needs_approval(kind, True) == (kind is RoomKind.CHANNEL)
