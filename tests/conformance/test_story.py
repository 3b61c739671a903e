"""The main job as one story: a gated room, three agents, one conversation.

Everything a user is promised, seen from the wire alone.
"""

import json

from tests._support.plainclient import Link, signature_state, texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    decide,
    join,
    knock,
    open_room,
    pull,
    room_info,
)

RECAP = "We are moving the login page to passkeys; the API is done, the form is not."


class Reader:
    """Follows a room as a careful client does: acknowledges what it has shown."""

    def __init__(self, link: Link, room: str) -> None:
        self.link, self.room, self.cursor = link, room, 0

    async def news(self, **fields: int) -> list[str]:
        pulled = await pull(self.link, self.room, ack=self.cursor, **fields)
        for message in pulled["messages"]:
            assert signature_state(message) == "valid"
        self.cursor = pulled["cursor"]
        return texts(pulled["messages"])


async def test_two_agents_share_one_live_conversation_from_a_single_key(
    mesh: Mesh,
) -> None:
    owner_agent = mesh.agent("olive", "planner")
    joiner_agent = mesh.agent("juno", "webdev")
    async with mesh.link(owner_agent) as owner, mesh.link(joiner_agent) as joiner:
        # 1. The owner opens a session with a recap: a key comes back.
        invited = await open_room(owner, gated=True)
        room, key = invited["room"], invited["code"]
        await owner.send_text(room, RECAP)

        # 2. The joiner redeems it, is told to wait, and can read nothing.
        await joiner.ask("subscribed", "subscribe")
        await knock(joiner, key)
        for fields in ({}, {"since": 0}, {"ack": 0}, {"waitSecs": 60}, {"limit": 0}):
            await joiner.expect_error("not_member", "pull", room=room, **fields)
        await joiner.expect_error("not_member", "roster", room=room)
        target = {"kind": "room", "room": room}
        await joiner.expect_error("not_member", "send", target=target, parts=[])
        assert await room_info(joiner, room) is None

        # 3. The owner sees who knocks and approves; the joiner has the context.
        asked = await owner.ask("join_requests", "join_requests", room=room)
        (request,) = asked["requests"]
        assert request["agent"] == joiner.id
        assert (request["name"], request["role"]) == ("juno", "webdev")
        await decide(owner, room, agent=joiner.id, approve=True)
        assert (await join(joiner, key))["room"] == room
        reading = Reader(joiner, room)
        assert await reading.news() == [RECAP]

        # 4. They talk; each sees only what is new, also over a new connection.
        writing = Reader(owner, room)
        assert await writing.news() == [RECAP]
        await joiner.send_text(room, "Shall I keep the password field?")
        assert await writing.news() == ["Shall I keep the password field?"]
        await owner.send_text(room, "Only behind a link.")
        assert await reading.news() == [
            "Shall I keep the password field?",
            "Only behind a link.",
        ]
        assert await reading.news() == []
        async with mesh.link(joiner_agent) as again:
            resumed = Reader(again, room)
            assert await resumed.news() == []
            assert resumed.cursor == reading.cursor
            await owner.send_text(room, "Still there?")
            assert await resumed.news() == ["Still there?"]
            await resumed.news()
        assert await reading.news() == []

        # 5. A third agent redeems the same key and is rejected for good.
        async with mesh.link("trudy", role="webdev") as third:
            await third.ask("subscribed", "subscribe")
            await knock(third, key)
            await decide(owner, room, agent=third.id, approve=False)
            for _ in range(2):
                await third.expect_error((), "redeem", code=key)
            await third.expect_error("not_member", "pull", room=room, since=0)
            asked = await owner.ask("join_requests", "join_requests", room=room)
            assert asked["requests"] == []

            # 6. The owner hands the turn to the role of the joiner, who is waiting.
            await joiner.post("pull", room=room, ack=reading.cursor, waitSecs=30)
            await owner.ask("pong", "ping")
            handoff = {
                "kind": "com.parler.handoff",
                "summary": "API done, tests green",
                "next": "build the form",
                "to": "webdev",
            }
            sent = await owner.send(room, [handoff], mentions=["webdev"])
            pulled = await joiner.next_reply()
            assert pulled["type"] == "pulled"
            (message,) = pulled["messages"]
            assert message["parts"][0] == handoff
            assert message["mentions"] == ["webdev"]
            assert message["id"] == sent["id"]
            assert signature_state(message) == "valid"

            # The one who was turned away was never told a line.
            own = await open_room(third)
            await join(owner, own["code"])
            await owner.send_text(own["room"], "sentinel")
            assert texts([await third.next_delivery()]) == ["sentinel"]

        # The whole conversation, once each and in order, for both.
        assert await backlog(owner, room) == await backlog(joiner, room)
        assert texts(await backlog(joiner, room)) == [
            RECAP,
            "Shall I keep the password field?",
            "Only behind a link.",
            "Still there?",
        ]


async def test_an_edited_message_shows_as_invalid(mesh: Mesh) -> None:
    """What a reader sees when somebody edits the hub's database."""
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await ann.send_text(room, "pay 10")
        (message,) = await backlog(bob, room)
        assert signature_state(message) == "valid"
        edited = json.loads(json.dumps(message).replace("pay 10", "pay 99"))
        assert signature_state(edited) == "invalid"
        assert signature_state(message | {"room": "room.others"}) == "invalid"
