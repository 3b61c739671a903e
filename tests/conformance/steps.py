"""Steps that many conformance tests share: fresh agents, opened rooms, admissions.

Every step fails loudly on an unexpected reply; none hides a rule a test is about.
"""

import secrets
import time
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests._support.plainclient import Frame, Link, PlainAgent
from tests.conformance.hubs import HubUnderTest

CHANNEL_SUFFIX = "[abcdefghjkmnpqrstuvwxyz23456789]{6}"  # protocol 4.1
CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
CODE = f"[{CODE_ALPHABET}]{{8}}"
ANY_ERROR: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """The hub, and fresh agents that belong to one test only."""

    hub: HubUnderTest
    address: str | None

    def coded(self, code: str) -> Collection[str | None]:
        """`code` from our hub; from others also no code (protocol 3.3)."""
        return (code,) if self.hub.ours else (code, None)

    def agent(
        self, name: str, role: str | None = None, *, seed: str | None = None
    ) -> PlainAgent:
        """An identity with a new key, or with the key of `seed`."""
        return PlainAgent.create(name, role, seed, local_address=self.address)

    @asynccontextmanager
    async def link(
        self,
        who: str | PlainAgent,
        *,
        role: str | None = None,
        secret: str | None = None,
        sign_in: bool = True,
    ) -> AsyncIterator[Link]:
        """One connection of a fresh agent of that name, or of the agent given."""
        agent = self.agent(who, role) if isinstance(who, str) else who
        async with agent.dial(self.hub.url, secret=secret, sign_in=sign_in) as link:
            yield link

    @asynccontextmanager
    async def links(self, *names: str) -> AsyncIterator[list[Link]]:
        """One connection for each of several fresh agents."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.link(name)) for name in names]

    @asynccontextmanager
    async def room_of(self, *names: str) -> AsyncIterator[tuple[list[Link], str]]:
        """Fresh agents that are members of one new open room; the first owns it."""
        async with self.links(*names) as links:
            invited = await open_room(links[0])
            for link in links[1:]:
                await join(link, invited["code"])
            yield links, invited["room"]


def fresh_name(stem: str = "room") -> str:
    """A room name no earlier run has used; survives name cleaning unchanged."""
    return f"{stem}-{uuid.uuid4().hex[:12]}"


def unknown_code() -> str:
    """A well-formed invite code that was (almost certainly) never minted."""
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(8))


async def open_room(owner: Link, *, gated: bool = False, **fields: Any) -> Frame:
    """Mint an invite; without `room` this makes a new channel."""
    if gated:
        fields["requireApproval"] = True
    return await owner.ask("invited", "invite", **({"kind": "channel"} | fields))


async def join(link: Link, code: str) -> Frame:
    """Redeem an open key."""
    return await link.ask("joined", "redeem", code=code)


async def knock(link: Link, code: str) -> Frame:
    """Redeem a gated key for the first time, or ask again."""
    return await link.ask("join_pending", "redeem", code=code)


async def decide(
    owner: Link, room: str, *, agent: str, approve: bool, **fields: Any
) -> Frame:
    """The owner answers a knock."""
    return await owner.ask(
        "join_resolved",
        "resolve_join",
        room=room,
        agent=agent,
        approve=approve,
        **fields,
    )


async def admit(owner: Link, joiner: Link, invited: Frame) -> None:
    """Knock, approve, enter."""
    await knock(joiner, invited["code"])
    await decide(owner, invited["room"], agent=joiner.id, approve=True)
    await join(joiner, invited["code"])


async def pull(link: Link, room: str, **fields: Any) -> Frame:
    """A pull that must succeed."""
    return await link.ask("pulled", "pull", room=room, **fields)


async def backlog(link: Link, room: str) -> list[Frame]:
    """Everything in the room, without touching the cursor."""
    messages: list[Frame] = (await pull(link, room, since=0, limit=1000))["messages"]
    return messages


async def stored_cursor(link: Link, room: str) -> int:
    """The cursor the hub keeps: `ack` 0 raises nothing, `limit` 0 reads nothing."""
    cursor: int = (await pull(link, room, ack=0, limit=0))["cursor"]
    return cursor


async def room_info(link: Link, room: str) -> Frame | None:
    """The caller's entry for a room in `rooms`, if any."""
    listed = (await link.ask("rooms", "rooms"))["rooms"]
    return next((info for info in listed if info["name"] == room), None)


async def roster(link: Link, room: str) -> dict[str, Frame]:
    """Roster entries by agent id."""
    entries = (await link.ask("roster", "roster", room=room))["entries"]
    return {entry["id"]: entry for entry in entries}


async def event_named(link: Link, name: str, **fields: Any) -> Frame:
    """The next event of that name whose fields match; others are skipped."""
    while True:
        event = await link.next_event()
        matches = all(event.get(key) == value for key, value in fields.items())
        if event["event"] == name and matches:
            return event


async def past_expiry(link: Link, room: str, *, expires_at: int) -> None:
    """Let the hub itself pass the time: long polls of an empty room, a second each."""
    while time.time_ns() // 1_000_000 <= expires_at:
        await pull(link, room, ack=0, waitSecs=1)


async def parked(link: Link, room: str, *, bystander: Link, **fields: Any) -> None:
    """Start a long poll and give the hub ample opportunity to answer it too early."""
    fields = {"waitSecs": 30} | fields
    await link.post("pull", room=room, **fields)
    for _ in range(5):
        await bystander.ask("pong", "ping")
