"""Noting who connected: once for a row of short connections (protocol 2.3, 13.25)."""

from pathlib import Path

from hub.delivery import last_seen
from parler.identity.signing import Keypair
from parler.wire import requests
from parler.wire.base import RoomName
from parler.wire.records import RoomKind
from parler.wire.replies import Invited, PresenceOk, RosterList
from tests._support.memory_hub import MemoryHub, Peer, memory_hub


async def room_of(owner: Peer) -> RoomName:
    asked = requests.Invite(kind=RoomKind.CHANNEL)
    return (await owner.asks(asked, Invited)).room


async def roster_of(peer: Peer, room: RoomName) -> dict[str, tuple[str | None, str]]:
    found = await peer.asks(requests.Roster(room=room), RosterList)
    return {entry.name: (entry.role, entry.status) for entry in found.entries}


async def signed_in_again(hub: MemoryHub, keypair: Keypair, **fields: str) -> None:
    peer = await hub.sign_in(**{"name": "ann", **fields}, keypair=keypair)
    peer.hangs_up()
    await peer.sees_close()


async def test_an_agent_that_comes_again_at_once_costs_no_write(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        keypair = Keypair.generate()
        await signed_in_again(hub, keypair)
        before = hub.hub.store.writes
        for _ in range(5):
            await signed_in_again(hub, keypair)
        assert hub.hub.store.writes == before
        hub.clock.advance(last_seen.FRESH_MS / 1000)
        await signed_in_again(hub, keypair)
        assert hub.hub.store.writes == before + 1


async def test_a_new_name_or_role_is_noted_at_once(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        keypair = Keypair.generate()
        ann = await hub.sign_in("ann", keypair)
        room = await room_of(ann)
        await signed_in_again(hub, keypair, name="anna")
        assert await roster_of(ann, room) == {"anna": (None, "idle")}
        await signed_in_again(hub, keypair, name="anna", role="dev")
        assert await roster_of(ann, room) == {"anna": ("dev", "idle")}


async def test_a_status_survives_connections_in_between(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        keypair = Keypair.generate()
        ann = await hub.sign_in("ann", keypair)
        room = await room_of(ann)
        await ann.asks(requests.Presence(status="working"), PresenceOk)
        hub.clock.advance(last_seen.FRESH_MS / 1000 + 1)
        await signed_in_again(hub, keypair)
        assert await roster_of(ann, room) == {"ann": (None, "working")}


async def test_strangers_cannot_make_the_hub_remember_without_end(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        noted = hub.hub.services.last_seen
        noted.max_known = 3
        keypairs = [Keypair.generate() for _ in range(5)]
        for keypair in keypairs:
            await signed_in_again(hub, keypair)
        assert len(noted) == 3
        before = hub.hub.store.writes
        await signed_in_again(hub, keypairs[-1])
        assert hub.hub.store.writes == before
        await signed_in_again(hub, keypairs[0])
        assert hub.hub.store.writes == before + 1, "the oldest one was forgotten"
