"""Reading and cursors: protocol 5.3 without waiting, and 5.5."""

import pytest

from tests._support.plainclient import Link, texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    fresh_name,
    join,
    open_room,
    pull,
    room_info,
    stored_cursor,
)


async def say(link: Link, room: str, count: int) -> list[int]:
    """Send `1` … `count`; returns the sequence numbers."""
    return [
        (await link.send_text(room, str(number)))["seq"]
        for number in range(1, count + 1)
    ]


async def unread(link: Link, room: str) -> int:
    info = await room_info(link, room)
    assert info is not None
    count: int = info["unread"]
    return count


# --------------------------------------------------------------- neither since nor ack


async def test_a_plain_pull_advances_on_read(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        first = await pull(bob, room)
        assert first["room"] == room
        assert texts(first["messages"]) == ["1", "2", "3"]
        assert first["cursor"] == seqs[-1]
        second = await pull(bob, room)
        assert second["messages"] == []
        assert second["cursor"] == seqs[-1]


async def test_a_plain_pull_advances_only_to_what_it_returned(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 5)
        heard = []
        for _ in range(4):
            batch = await pull(bob, room, limit=2)
            heard.append(texts(batch["messages"]))
        assert heard == [["1", "2"], ["3", "4"], ["5"], []]
        assert await stored_cursor(bob, room) == seqs[-1]


async def test_each_member_has_a_cursor_of_its_own(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob", "cas") as ((ann, bob, cas), room):
        await say(ann, room, 2)
        await pull(bob, room)
        assert len((await pull(cas, room))["messages"]) == 2
        assert len((await pull(ann, room))["messages"]) == 2


async def test_the_cursor_belongs_to_the_agent_not_to_the_connection(
    mesh: Mesh,
) -> None:
    agent = mesh.agent("bob")
    async with mesh.link("ann") as ann:
        invited = await open_room(ann)
        room = invited["room"]
        async with mesh.link(agent) as bob:
            await join(bob, invited["code"])
            await say(ann, room, 1)
            await pull(bob, room)
        async with mesh.link(agent) as bob:
            await say(ann, room, 1)
            assert len((await pull(bob, room))["messages"]) == 1


async def test_an_empty_room_is_at_zero(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        pulled = await pull(ann, room)
        assert pulled == pulled | {"room": room, "messages": [], "cursor": 0}


# --------------------------------------------------------------------------------- ack


async def test_with_ack_the_cursor_stays_where_the_reader_said(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        first = await pull(bob, room, ack=0)
        assert texts(first["messages"]) == ["1", "2", "3"]
        assert first["cursor"] == seqs[2]
        assert await stored_cursor(bob, room) == 0
        again = await pull(bob, room, ack=0)
        assert texts(again["messages"]) == ["1", "2", "3"]
        rest = await pull(bob, room, ack=seqs[0])
        assert texts(rest["messages"]) == ["2", "3"]
        assert await stored_cursor(bob, room) == seqs[0]


async def test_ack_never_moves_the_cursor_back(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        await pull(bob, room, ack=seqs[1])
        for lower in (seqs[0], 0, -1):
            pulled = await pull(bob, room, ack=lower)
            assert texts(pulled["messages"]) == ["3"]
        assert await stored_cursor(bob, room) == seqs[1]


async def test_ack_without_reading_commits(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        committed = await pull(bob, room, limit=0, ack=seqs[2])
        assert committed["messages"] == []
        assert committed["cursor"] == seqs[2]
        assert (await pull(bob, room))["messages"] == []


async def test_an_acknowledged_conversation_loses_and_repeats_nothing(
    mesh: Mesh,
) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        heard, ack = [], 0
        for number in range(6):
            await ann.send_text(room, str(number))
            batch = await pull(bob, room, ack=ack, limit=1)
            heard += texts(batch["messages"])
            ack = batch["cursor"]
        assert heard == [str(number) for number in range(6)]


@pytest.mark.extension
async def test_an_ack_beyond_the_newest_message_hides_nothing_to_come(
    mesh: Mesh,
) -> None:
    """Protocol 5.3: clamp it."""
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 2)
        pulled = await pull(bob, room, ack=2**62)
        assert pulled["messages"] == []
        assert pulled["cursor"] >= seqs[-1]
        await ann.send_text(room, "later")
        assert texts((await pull(bob, room, ack=pulled["cursor"]))["messages"]) == [
            "later"
        ]


@pytest.mark.extension
async def test_an_ack_in_an_empty_room_hides_nothing_to_come(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await pull(bob, room, ack=2**62)
        await ann.send_text(room, "first")
        assert texts((await pull(bob, room))["messages"]) == ["first"]


# ------------------------------------------------------------------------------- since


async def test_since_reads_and_changes_nothing(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        for since, expected in (
            (-7, ["1", "2", "3"]),
            (0, ["1", "2", "3"]),
            (seqs[0], ["2", "3"]),
            (seqs[2], []),
        ):
            pulled = await pull(bob, room, since=since)
            assert texts(pulled["messages"]) == expected
            assert pulled["cursor"] == (seqs[2] if expected else since)
        assert await stored_cursor(bob, room) == 0
        assert await unread(bob, room) == 3


async def test_since_reads_below_the_cursor(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await say(ann, room, 2)
        await pull(bob, room)
        assert texts(await backlog(bob, room)) == ["1", "2"]
        assert (await pull(bob, room))["messages"] == []


async def test_with_since_an_ack_is_ignored(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 2)
        pulled = await pull(bob, room, since=0, ack=seqs[1])
        assert texts(pulled["messages"]) == ["1", "2"]
        assert await stored_cursor(bob, room) == 0


async def test_with_since_nothing_is_waited_for(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        pulled = await pull(ann, room, since=0, waitSecs=60)
        assert pulled["messages"] == []


async def test_since_beyond_the_end_answers_itself(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        pulled = await pull(ann, room, since=2**62)
        assert pulled["messages"] == []
        assert pulled["cursor"] == 2**62
        assert await stored_cursor(ann, room) == 0


# ------------------------------------------------------------------------------- limit


async def test_limit_zero_reads_nothing_and_moves_nothing(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await say(ann, room, 2)
        for fields in ({}, {"ack": 0}, {"since": 0}):
            pulled = await pull(bob, room, limit=0, **fields)
            assert pulled["messages"] == []
            assert pulled["cursor"] == 0
        assert len((await pull(bob, room))["messages"]) == 2


async def test_two_hundred_messages_come_by_default_and_more_when_asked(
    mesh: Mesh,
) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        target = {"kind": "room", "room": room}
        for _ in range(205):
            await ann.post("send", target=target, parts=[])
        seqs = [(await ann.next_reply())["seq"] for _ in range(205)]
        first = await pull(ann, room, since=0)
        assert [message["seq"] for message in first["messages"]] == seqs[:200]
        assert first["cursor"] == seqs[199]
        for limit in (205, 1000, 1001, 4_294_967_295):
            every = await pull(ann, room, since=0, limit=limit)
            assert [message["seq"] for message in every["messages"]] == seqs


# ------------------------------------------------------------------- members and unread


@pytest.mark.parametrize("wait", [{}, {"waitSecs": 60}, {"since": 0}, {"ack": 5}])
async def test_only_members_pull(mesh: Mesh, wait: dict[str, int]) -> None:
    async with mesh.links("ann", "mallory") as (ann, mallory):
        room = (await open_room(ann))["room"]
        await mallory.expect_error("not_member", "pull", room=room, **wait)
        await mallory.expect_error("not_member", "pull", room=fresh_name(), **wait)


async def test_unread_counts_what_lies_above_the_stored_cursor(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        seqs = await say(ann, room, 3)
        await bob.send_text(room, "mine counts too")
        assert await unread(bob, room) == 4
        await pull(bob, room, ack=0)
        assert await unread(bob, room) == 4
        await pull(bob, room, ack=seqs[1], limit=0)
        assert await unread(bob, room) == 2
        await pull(bob, room)
        assert await unread(bob, room) == 0
        assert await unread(ann, room) == 4
