"""How far a message got with each member of its room (protocol 14.4)."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from parler.client.messages import Message
from parler.errors import HubError, UsageError
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops.capability import READS, SESSION, Capability, Param
from parler.ops.context import OpContext, Result
from parler.text.terminal import shell_word
from parler.wire.base import AgentId, RoomName, Seq
from parler.wire.codes import Feature
from parler.wire.records import MemberReceipt
from parler.wire.replies import ReceiptList
from parler.wire.requests import Receipts

MAX_LOOKED_THROUGH = 1000
"""Later messages that are looked through for replies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusParams:
    """Which message."""

    room: Annotated[RoomName, SESSION]
    seq: Annotated[int, Param("The number send printed.", positional=True, ge=1)]


class Receipt(MemberReceipt, kw_only=True):
    """A member's state, with the fingerprint to compare."""

    fingerprint: str
    answered: Seq | None = None
    """Where it answered, by a signed reply to this message."""


class StatusResult(Result):
    """What became of a message.

    `stored`: not handed to that member yet; `delivered`: handed to it; `seen`: it
    said that it took it; `answered`: it replied.
    """

    room: RoomName
    seq: Seq
    members: list[Receipt]


async def status(ctx: OpContext, params: StatusParams) -> StatusResult:
    """How far a message got with each member but its author.

    Raises:
        HubError: The hub does not offer it, or refused.
        UsageError: There is no such message.
    """
    if Feature.RECEIPTS not in ctx.client.features:
        raise HubError(
            f"the hub {ctx.hub} does not say who has seen what",
            next_step="parler roster shows who is there",
        )
    # A hub says of any number who read that far, also of one nobody ever wrote.
    page = await ctx.client.pull(params.room, since=params.seq - 1, limit=1)
    if [message.seq for message in page.messages] != [params.seq]:
        raise UsageError(
            f"there is no message {params.seq} in {params.room!r}",
            next_step=f"parler recv --all --room {shell_word(params.room)}",
        )
    replies = await _replies(ctx, page.messages[0])
    listed = await ctx.client.request(
        Receipts(room=params.room, seq=params.seq), ReceiptList
    )
    return StatusResult(
        room=listed.room,
        seq=listed.seq,
        members=[
            Receipt(
                **msgspec.structs.asdict(one),
                fingerprint=fingerprint(one.agent),
                answered=replies.get(one.agent),
            )
            for one in listed.members
        ],
    )


STATUS = Capability(
    run=status,
    about="Show how far a message got, and who answered it.",
    command="status",
    example="parler status 42",
    tool="parler_status",
    call='{"seq": 42}',
    hints=READS,
)


async def _replies(ctx: OpContext, message: Message) -> dict[AgentId, Seq]:
    """Who replied to a message, and where first; of what was said soon after it."""
    page = await ctx.client.pull(
        message.room, since=message.seq, limit=MAX_LOOKED_THROUGH
    )
    found: dict[AgentId, Seq] = {}
    for one in page.messages:
        signed = one.signature is Signature.VALID
        if signed and one.stored.reply_to == message.id:
            found.setdefault(one.author.id, one.seq)
    return found
