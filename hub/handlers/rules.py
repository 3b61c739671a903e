"""Who may do what in a room: decisions, without I/O (protocol 4, 14.5, 14.6)."""

from enum import Enum, auto

from hub.errors import Refusal
from hub.store.invites import Invite, Knock
from hub.store.rooms import Room
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_TTL_SECS
from parler.wire.records import RoomKind


class Admission(Enum):
    """What redeeming a key does for an agent that is no member."""

    ENTER = auto()
    KNOCK = auto()
    STILL_WAITING = auto()


def admission(
    invite: Invite, room: Room, agent: AgentId, knock: Knock | None, *, now: int
) -> Admission:
    """Judge a key in the order of protocol 4.3.

    A removed member has to knock on any key (14.5). A rejected one stays out on any
    key until the owner approves it after all. The owner of a room always gets in, even
    when nobody is left to give it a key that is still good.

    Raises:
        Refusal: The key opens nothing for this agent.
    """
    if room.owner == agent:
        return Admission.ENTER
    if invite.expires < now:
        raise no_entry("the invite code has expired; ask for a new one")
    if knock is Knock.DENIED:
        raise no_entry("the owner of this session rejected your request")
    if knock is Knock.PENDING:
        return Admission.STILL_WAITING
    if invite.uses >= invite.max_uses:
        raise no_entry("the invite code is used up; ask for a new one")
    if invite.gated or knock is Knock.REMOVED:
        return Admission.KNOCK
    return Admission.ENTER


def may_mint(room: Room, agent: AgentId, *, member: bool, gated: bool) -> None:
    """Judge who may make a key to an existing room (protocol 4.2, 14.6).

    Raises:
        Refusal: Not a member, or an ungated key to a gated room by somebody else
            than its owner.
    """
    if not member:
        raise Refusal(ErrorCode.NOT_MEMBER, "not a member of that room")
    if room.gated and not gated and room.owner != agent:
        raise not_owner(
            "only the owner of this session may make a key without approval"
        )


def must_own(room: Room | None, agent: AgentId) -> Room:
    """The room, if it is the agent's; unknown rooms answer alike (protocol 4.5).

    Raises:
        Refusal: It is not.
    """
    if room is None or room.owner != agent:
        raise not_owner("only the owner of the room may do that")
    return room


def not_owner(text: str) -> Refusal:
    """The refusal of what others may not do."""
    return Refusal(ErrorCode.NOT_OWNER, text)


def expiry(ttl_secs: int | None, default: int, *, now: int) -> int:
    """When something minted now ends, in epoch milliseconds (protocol 4.1)."""
    ttl = default if ttl_secs is None else min(ttl_secs, MAX_TTL_SECS)
    return now + ttl * 1000


def needs_approval(kind: RoomKind, asked: bool) -> bool:
    """Whether a key lets one only knock: channels alone have a gate (4.2)."""
    return asked and kind is RoomKind.CHANNEL


def no_entry(text: str) -> Refusal:
    """The refusal of a key."""
    return Refusal(ErrorCode.INVALID_INVITE, text)
