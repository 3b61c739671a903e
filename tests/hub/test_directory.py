"""Who is in the directory: not who was away for long, nor all that one address brings.

What each filter finds is in `tests/conformance/test_directory.py`.
"""

from pathlib import Path

from hub.store import directory
from parler.identity.signing import Keypair
from parler.wire.base import AgentId
from parler.wire.records import AgentCard
from parler.wire.replies import Card, Directory, Pong, Registered
from parler.wire.requests import Discover, Lookup, Ping, Register
from tests._support.memory_hub import MemoryHub, Peer, memory_hub

DAY = 86_400.0
ATTACKER, ELSEWHERE = "192.0.2.66", "192.0.2.1"


async def puts_card(peer: Peer, name: str = "n", *, size: int = 0) -> None:
    card = AgentCard.of(peer.id, name, description="x" * size)
    await peer.asks(Register(card=card), Registered)


async def listed(peer: Peer) -> set[AgentId]:
    found = await peer.asks(Discover(), Directory)
    return {entry.card.id for entry in found.agents}


async def counted(hub: MemoryHub) -> int:
    reader = hub.hub.services.directory()
    size = await hub.hub.store.read("size", lambda db: directory.size(db, reader))
    return size.agents


async def test_who_was_not_seen_for_long_is_listed_when_it_comes_back(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, card_ttl_days=30) as hub:
        gone, kept, key = Keypair.generate(), Keypair.generate(), Keypair.generate()
        for one in (gone, kept, key):
            peer = await hub.sign_in(keypair=one)
            await puts_card(peer)
            peer.hangs_up()
        stays = await hub.sign_in()
        await puts_card(stays)  # it says nothing for a month, but is there
        hub.clock.advance(20 * DAY)
        peer = await hub.sign_in(keypair=kept)
        await peer.asks(Ping(), Pong)
        hub.clock.advance(11 * DAY)
        ann = await hub.sign_in(keypair=key)
        assert await listed(ann) == {kept.agent_id, key.agent_id, stays.id}
        assert await counted(hub) == 3
        entry = (await ann.asks(Lookup(id=gone.agent_id), Card)).entry
        assert entry is not None, "by its id it is still found"
        await hub.sign_in(keypair=gone)
        assert gone.agent_id in await listed(ann)


async def test_all_are_listed_where_the_operator_says_so(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, card_ttl_days=0) as hub:
        gone = await hub.sign_in()
        await puts_card(gone)
        gone.hangs_up()
        hub.clock.advance(1000 * DAY)
        assert gone.id in await listed(await hub.sign_in())


async def test_many_keys_of_one_address_put_in_no_more_than_its_share(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, max_cards_per_ip_per_day=2) as hub:
        eves = [await hub.sign_in(ip=ATTACKER) for _ in range(3)]
        for eve in eves[:2]:
            await puts_card(eve)
        await puts_card(eves[0], "another name")  # it has a card: that is not new
        card = AgentCard.of(eves[2].id, "junk")
        assert await eves[2].is_refused(Register(card=card)) == "at_capacity"
        assert hub.hub.services.quotas.cards_refused == 1
        ann = await hub.sign_in(ip=ELSEWHERE)
        await puts_card(ann)
        assert await listed(ann) == {eves[0].id, eves[1].id, ann.id}


async def test_a_card_counts_as_what_is_stored(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_stored_bytes_per_day=10_000) as hub:
        eve = await hub.sign_in()
        await puts_card(eve, size=6000)
        card = AgentCard.of(eve.id, "n", description="x" * 6000)
        assert await eve.is_refused(Register(card=card)) == "storage_full"
