"""How far a message got with each member of its room (protocol 14.4)."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from parler.errors import HubError, UsageError
from parler.ops.context import OpContext, Result
from parler.signing import fingerprint
from parler.text import shell_word
from parler.wire.base import RoomName, Seq
from parler.wire.codes import Feature
from parler.wire.records import MemberReceipt
from parler.wire.replies import ReceiptList
from parler.wire.requests import Receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusParams:
    """Which message."""

    room: Annotated[RoomName, Meta(description="Where it was said.")]
    seq: Annotated[int, Meta(description="Its number there, as send prints it.")]


class Receipt(MemberReceipt, kw_only=True):
    """A member's state, with the fingerprint to compare."""

    fingerprint: str


class StatusResult(Result):
    """What became of a message.

    `stored`: not handed to that member yet; `delivered`: handed to it; `seen`: it
    said that it took it.
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
            )
            for one in listed.members
        ],
    )
