"""Numbers of messages belong to a hub, also while an agent goes from one to another."""

from pathlib import Path

from parler.client.client import connect
from parler.identity.identity import load_identity, set_active_session
from parler.identity.known_rooms import KnownRooms
from parler.wake.spool import Spool
from parler.wire.base import Code, RoomName
from parler.wire.records import DeliveryState, RoomKind
from parler.wire.replies import Invited, Joined, JoinPending
from parler.wire.requests import Invite, Redeem
from tests._support.mcp_hosts import at_work, environment, home_of
from tests._support.mcp_peers import Peer, peer
from tests._support.polling import comes
from tests._support.processes import HubProcess

PLAIN = RoomName("plain")

"""Longer than a hub that refused is left alone before it is dialled again."""


async def lets_in(bob: Peer, home: Path, hub: str, room: RoomName | None) -> RoomName:
    """Have Bob make a room and let the agent of a home in, through a shell of it."""
    invited = await bob.client.request(
        Invite(kind=RoomKind.CHANNEL, room=room), Invited
    )
    ann = load_identity(home)
    async with connect(hub, ann.keypair, name=ann.name) as shell:
        await shell.request(Redeem(code=Code(invited.code)), (Joined, JoinPending))
    return invited.room


async def test_what_one_hub_brought_is_not_acknowledged_to_another(
    hub: HubProcess, tmp_path: Path
) -> None:
    other = HubProcess(tmp_path / "other")
    env = environment(tmp_path, hub.url, "ann")
    home = home_of(env)
    try:
        async with (
            at_work(env, tmp_path) as host,
            peer(hub.url) as bob,
            peer(other.url, "bob") as eve,
        ):
            await host.calls("parler_open_session", context="here")
            await lets_in(bob, home, hub.url, PLAIN)
            await lets_in(eve, home, other.url, PLAIN)
            there = await lets_in(eve, home, other.url, None)
            await bob.says(PLAIN, "on this hub")
            unread = await eve.says(PLAIN, "on the other hub")
            first = await eve.says(there, "welcome")
            assert "on this hub" in await host.calls("parler_recv", room=PLAIN)
            # A shell of the agent enters a session there, before the app says more.
            KnownRooms(home).remember(other.url, there)
            set_active_session(home, there)

            async def arrived() -> bool:
                return any(item.room == there for item in Spool(home).waiting())

            await comes(arrived)
            await host.brings("welcome", "parler_recv", wait_secs=1)
            await host.pings()

            async def seen() -> bool:
                return (await eve.receipts(there, first))["ann"].state is (
                    DeliveryState.SEEN
                )

            await comes(seen)
            state = (await eve.receipts(PLAIN, unread))["ann"].state
            assert state is not DeliveryState.SEEN
            read = await host.calls("parler_recv", room=PLAIN)
            assert "on the other hub" in read
    finally:
        other.stop()
