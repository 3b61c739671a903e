"""What may interrupt us: one mode for all, told to the hub, and exceptions for rooms.

The exceptions stay in our own file (protocol 10.3). What they mean for a message is
decided in `parler.wake.attention`.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from parler.errors import UsageError
from parler.identity.identity import (
    AttentionPolicy,
    Identity,
    load_identity,
    update_identity,
)
from parler.ops.capability import SETS, Capability, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.wire.base import RoomName
from parler.wire.records import Attention
from parler.wire.replies import AttentionOk
from parler.wire.requests import SetAttention


class RoomAttention(StrEnum):
    """What a single room may do."""

    INHERIT = "inherit"
    QUIET = "quiet"
    MUTED = "muted"


_SYNONYMS = {"open": RoomAttention.INHERIT, "default": RoomAttention.INHERIT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeParams:
    """What may interrupt us in general."""

    mode: Annotated[
        Attention,
        Param("What may interrupt you; nothing shows it.", on_cli=False),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomParams:
    """What one room may do, whatever the mode."""

    room: RoomName
    attention: Annotated[
        RoomAttention,
        Param("An exception for that room.", name="room_attention", on_cli=False),
    ]


class AttentionResult(Result):
    """What may interrupt us. `attention` is that of `room`, if one was named."""

    mode: Attention
    quiet_rooms: list[RoomName]
    muted_rooms: list[RoomName]
    room: RoomName | None = None
    attention: RoomAttention | None = None


def parse_mode(typed: str) -> Attention:
    """A mode in the spelling of people.

    Raises:
        UsageError: It is none, or one of a room.
    """
    word = typed.strip().lower()
    if word in {one.value for one in Attention}:
        return Attention(word)
    if word in {one.value for one in RoomAttention}:
        raise UsageError(
            f"{word} is for a single room",
            next_step=f"parler attention {word} --room ROOM",
        )
    raise UsageError(
        f"there is no attention mode {typed!r}",
        next_step="use one of " + ", ".join(one.value for one in Attention),
    )


def parse_room_attention(typed: str) -> RoomAttention:
    """What a room may do in the spelling of people.

    Raises:
        UsageError: There is no such thing.
    """
    word = typed.strip().lower()
    try:
        return _SYNONYMS.get(word) or RoomAttention(word)
    except ValueError:
        raise UsageError(
            f"a room cannot be set to {typed!r}",
            next_step="use one of " + ", ".join(one.value for one in RoomAttention),
        ) from None


def show_attention(
    identity: Identity,
    *,
    room: Annotated[RoomName | None, Param("Only for this room.", brief="")] = None,
) -> AttentionResult:
    """What may interrupt us, without asking any hub."""
    return _result(load_identity(identity.home).attention, room)


async def set_mode(ctx: OpContext, params: ModeParams) -> AttentionResult:
    """Set what may interrupt us; others see it on the hub. If that fails, nothing is.

    Rooms keep their exceptions.
    """
    await ctx.client.request(SetAttention(attention=params.mode), AttentionOk)
    changed = update_identity(
        ctx.identity.home, attention=lambda policy: replace(policy, mode=params.mode)
    )
    return _result(changed.attention, None)


def set_room(identity: Identity, params: RoomParams) -> AttentionResult:
    """Set what one room may do; only we know of it."""
    room = params.room
    check_texts(room=room)
    if not room.strip():
        raise UsageError("the room has no name", next_step="parler rooms")

    def change(policy: AttentionPolicy) -> AttentionPolicy:
        quiet = params.attention is RoomAttention.QUIET
        muted = params.attention is RoomAttention.MUTED
        return replace(
            policy,
            quiet_rooms=_with(policy.quiet_rooms, room, wanted=quiet),
            muted_rooms=_with(policy.muted_rooms, room, wanted=muted),
        )

    changed = update_identity(identity.home, attention=change)
    return _result(changed.attention, room)


ATTENTION = Capability(
    run=show_attention,
    also=[set_mode, set_room],
    about="Show or set what may interrupt you.",
    more="open: everything. dnd: what is meant for you. focus: only handoffs and work. "
    "The mode is shown to others; what you set for a room is not. A quiet room "
    "interrupts only with what is meant for you, a muted one never.",
    command="attention",
    example="""\
parler attention focus
parler attention quiet --room backend""",
    tool="parler_attention",
    brief="What may interrupt you: open everything, dnd what is meant for you, focus "
    "only handoffs.",
    call='{"mode": "dnd"}',
    hints=SETS,
)


def _with(
    rooms: tuple[RoomName, ...], room: RoomName, *, wanted: bool
) -> tuple[RoomName, ...]:
    others = tuple(one for one in rooms if one != room)
    return (*others, room) if wanted else others


def _result(policy: AttentionPolicy, room: RoomName | None) -> AttentionResult:
    attention = None
    if room is not None:
        attention = RoomAttention.INHERIT
        if room in policy.quiet_rooms:
            attention = RoomAttention.QUIET
        if room in policy.muted_rooms:
            attention = RoomAttention.MUTED
    return AttentionResult(
        mode=policy.mode,
        quiet_rooms=list(policy.quiet_rooms),
        muted_rooms=list(policy.muted_rooms),
        room=room,
        attention=attention,
    )
