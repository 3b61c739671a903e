"""Connections that only look (protocol 14.10): the agent seems as it was before."""

from pathlib import Path

import msgspec

from parler.wire.base import Code
from parler.wire.records import RoomKind, RoomTarget, RosterEntry
from parler.wire.replies import (
    Invited,
    Joined,
    JoinPending,
    JoinRequestList,
    JoinResolved,
    Pong,
    Pulled,
    RosterList,
    Sent,
)
from parler.wire.requests import (
    Invite,
    JoinRequests,
    Ping,
    Pull,
    Redeem,
    ResolveJoin,
    Roster,
    Send,
)
from tests._support.memory_hub import memory_hub, until

MINUTE = 60_000


async def test_a_look_says_nothing_of_how_the_agent_is_doing(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        invited = await ann.asks(Invite(kind=RoomKind.CHANNEL), Invited)
        room = invited.room
        await bob.asks(Redeem(code=Code(invited.code)), Joined)

        async def seen() -> RosterEntry:
            listed = await ann.asks(Roster(room=room), RosterList)
            return next(entry for entry in listed.entries if entry.id == bob.id)

        online = hub.hub.services.online
        bob.hangs_up()
        await until(lambda: bob.id not in online)
        parts = msgspec.Raw(b'[{"kind":"text","text":"x"}]')
        sent = Send(target=RoomTarget(room=room), parts=parts)
        await ann.asks(sent, Sent)
        hub.clock.advance(6 * MINUTE)
        gone = await seen()
        assert (gone.status, gone.delivered) == ("offline", 0)

        person = await hub.sign_in("a person", bob.keypair, look=True)
        hub.clock.advance(MINUTE)
        await person.asks(Ping(), Pong)
        pulled = await person.asks(Pull(room=room, since=0), Pulled)
        assert len(pulled.messages) == 1
        await hub.hub.services.receipts.flush()
        assert await seen() == gone
        assert bob.id not in online
        person.hangs_up()

        back = await hub.sign_in("bob", bob.keypair)
        assert (await seen()).status == "idle"
        back.hangs_up()
        await until(lambda: bob.id not in online)


async def test_nobody_is_without_a_name_who_was_never_there_but_to_look(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        invited = await ann.asks(
            Invite(kind=RoomKind.CHANNEL, require_approval=True), Invited
        )
        mallory = await hub.sign_in("mallory", look=True)
        await mallory.asks(Redeem(code=Code(invited.code)), JoinPending)
        asked = JoinRequests(room=invited.room)
        [knock] = (await ann.asks(asked, JoinRequestList)).requests
        assert knock.name == "mallory"
        resolved = ResolveJoin(room=invited.room, agent=mallory.id, approve=True)
        await ann.asks(resolved, JoinResolved)
        listed = await ann.asks(Roster(room=invited.room), RosterList)
        [seen] = [one for one in listed.entries if one.id == mallory.id]
        assert (seen.name, seen.status) == ("mallory", "offline")

        await hub.sign_in("somebody else", mallory.keypair, look=True)
        listed = await ann.asks(Roster(room=invited.room), RosterList)
        assert seen in listed.entries
