"""A room as a picture: lanes, arrows, folded rows, and strangers' words as text."""

from pathlib import Path
from xml.etree import ElementTree

from parler.ops.messages import HandoffParams, SendParams, handoff, send
from parler.ops.picture import MAX_LANES, MAX_ROWS, drawn, link_to, picture
from parler.ops.session import OpenParams, join_session, open_session
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.records import RoomTarget
from tests._support.actors import stage

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>hit()</script><a href="javascript:hit()">\u202e\x1b[31m&amp;'


def texts(svg: str) -> str:
    return "\n".join(one.text or "" for one in ElementTree.fromstring(svg).iter())


async def test_a_handoff_is_an_arrow_and_every_word_is_text(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await at.enter("ann"), await at.enter("bob")
        opened = await open_session(ann, OpenParams(topic="login", gated=False))
        room, target = opened.room, RoomTarget(room=opened.room)
        await join_session(bob, parse_join_key(opened.key))
        await send(bob, SendParams(text=HOSTILE, target=target))
        await handoff(ann, HandoffParams(next="mend it", to="bob", target=target))
        await handoff(ann, HandoffParams(next="or you", target=target))

        found = await picture(ann, room, link=link_to(ann.hub, room))
        tree = ElementTree.fromstring(found.svg)
        tags = {one.tag.removeprefix(SVG) for one in tree.iter()}
        assert tags <= {"svg", "title", "rect", "line", "text", "a", "circle", "path"}
        assert (found.events, found.rows) == (4, 4)
        assert len(tree.findall(f".//{SVG}path")) == 1
        links = [one.attrib["href"] for one in tree.iter(f"{SVG}a")]
        assert len(links) == found.rows
        assert all(one.startswith("/room?at=") for one in links)
        shown = texts(found.svg)
        assert "<script>hit()</script>" in shown
        assert not {"\u202e", "\x1b"} & {*found.svg}
        for words in ("ann", "bob", "mend it", "Topic: login"):
            assert words in shown


async def test_two_thousand_messages_fold_into_what_can_be_read(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann = await at.enter("ann")
        opened = await open_session(ann, OpenParams(topic="long", gated=False))
        target = RoomTarget(room=opened.room)
        await send(ann, SendParams(text="said", target=target))
        await handoff(ann, HandoffParams(next="go on", target=target))
        pulled = await ann.client.pull(opened.room, since=0)
        from parler.ops.message_view import shown_all

        _, said, handed = shown_all(pulled.messages)
        turns = drawn(opened.room, [said] * 2000)
        assert (turns.events, turns.rows) == (2000, 1)
        assert "2,000 messages" in texts(turns.svg)
        mixed = drawn(opened.room, [*[said] * 300, handed, *[said] * 50, handed] * 6)
        assert (mixed.events, mixed.rows) == (2112, 24)
        handoffs = drawn(opened.room, [handed] * 2000)
        assert handoffs.rows == MAX_ROWS
        assert "1,851 messages" in texts(handoffs.svg)
        empty = drawn(RoomName("room.x"), [])
        assert "Nothing was said here yet." in texts(empty.svg)


async def test_more_agents_than_lanes_share_the_last(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann = await at.enter("ann")
        opened = await open_session(ann, OpenParams(topic="crowd", gated=False))
        for number in range(MAX_LANES + 3):
            one = await at.enter(f"agent{number}")
            await join_session(one, parse_join_key(opened.key))
            said = SendParams(text="hello", target=RoomTarget(room=opened.room))
            await send(one, said)
        found = await picture(ann, opened.room)
        tree = ElementTree.fromstring(found.svg)
        assert len(tree.findall(f"{SVG}line")) == MAX_LANES + 1
        assert "4 others" in texts(found.svg)
