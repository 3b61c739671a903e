"""The other side of a conversation with an MCP host: a plain client of the same hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from parler.client.client import Client, connect
from parler.identity.signing import Keypair, fingerprint
from parler.wire.base import Code, RoomName
from parler.wire.parts import HandoffPart, Part, TextPart
from parler.wire.records import DmTarget, MemberReceipt, RoomKind, RoomTarget
from parler.wire.replies import (
    Invited,
    Joined,
    JoinPending,
    JoinRequestList,
    JoinResolved,
    ReceiptList,
)
from parler.wire.requests import Invite, JoinRequests, Receipts, Redeem, ResolveJoin


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else."""

    client: Client

    @property
    def fingerprint(self) -> str:
        """What others compare."""
        return fingerprint(self.client.agent_id)

    async def opens(self, *, gated: bool = False) -> tuple[str, RoomName]:
        """Make a room; returns its key and name."""
        invited = await self.client.request(
            Invite(kind=RoomKind.CHANNEL, require_approval=gated), Invited
        )
        return invited.code, invited.room

    async def joins(self, key: str) -> RoomName:
        """Enter with a key, or knock."""
        code = Code(key.partition("@")[0])
        reply = await self.client.request(Redeem(code=code), (Joined, JoinPending))
        return reply.room

    async def says(self, room: RoomName, text: str, *parts: Part) -> int:
        """Say something in a room; returns its number."""
        said = [TextPart(text=text)] if text else []
        sent = await self.client.send(RoomTarget(room=room), [*said, *parts])
        return sent.seq

    async def tells(self, agent: str, text: str) -> RoomName:
        """Say something to one agent."""
        sent = await self.client.send(DmTarget(agent=agent), [TextPart(text=text)])
        return sent.room

    async def hands(self, room: RoomName, next_: str, **fields: str) -> int:
        """Hand over the turn."""
        return await self.says(room, "", HandoffPart(next=next_, **fields))

    async def knocks(self, room: RoomName) -> list[str]:
        """Who waits at a room of ours."""
        listed = await self.client.request(JoinRequests(room=room), JoinRequestList)
        return [one.agent for one in listed.requests]

    async def admits(self, room: RoomName, agent: str) -> None:
        """Let somebody in."""
        await self.client.request(
            ResolveJoin(room=room, agent=agent, approve=True), JoinResolved
        )

    async def receipts(self, room: RoomName, seq: int) -> dict[str, MemberReceipt]:
        """How far a message got, by name."""
        listed = await self.client.request(Receipts(room=room, seq=seq), ReceiptList)
        return {one.name: one for one in listed.members}

    async def texts(self, room: RoomName) -> list[str]:
        """All that was said in a room."""
        batch = await self.client.pull(room, since=0)
        return [message.text for message in batch.messages]


@asynccontextmanager
async def peer(hub: str, name: str = "bob") -> AsyncIterator[Peer]:
    """Somebody who is connected until the block ends."""
    async with connect(hub, Keypair.generate(), name=name) as client:
        yield Peer(client)
