"""What a session is about, and who says so."""

from pathlib import Path

import pytest

from parler.client.client import Message
from parler.errors import HubError, UsageError
from parler.ops.context import OpContext
from parler.ops.rooms import rooms_with_topics
from parler.ops.session import OpenParams, join_session, open_session, rename_session
from parler.ops.topics import new_topic, where_said
from parler.text.transcript import body
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.parts import TOPIC_KIND, OtherPart
from parler.wire.records import RoomTarget
from parler.wire.replies import Remembered
from tests._support.actors import stage


async def opened(ann: OpContext, bob: OpContext, topic: str | None) -> RoomName:
    session = await open_session(ann, OpenParams(topic=topic, gated=False))
    await join_session(bob, parse_join_key(session.portable))
    return session.room


async def topic_of(ctx: OpContext, room: RoomName) -> str | None:
    [found] = [one for one in await rooms_with_topics(ctx) if one.name == room]
    return found.topic


async def say(ctx: OpContext, room: RoomName, topic: str) -> None:
    """Name a topic as anybody can."""
    sent = await ctx.client.send(RoomTarget(room=room), new_topic(topic))
    await ctx.client.request(where_said(room, topic, sent.seq), Remembered)


async def last(ctx: OpContext, room: RoomName) -> Message:
    return (await ctx.client.pull(room, since=0)).messages[-1]


async def test_the_newest_topic_of_the_owner_is_shown_to_all(tmp_path: Path) -> None:
    async with stage(tmp_path) as actors:
        ann, bob = await actors.enter("ann"), await actors.enter("bob")
        room = await opened(ann, bob, "cart split")
        assert await topic_of(bob, room) == "cart split"
        await rename_session(ann, room, "cart and\n checkout")
        await rename_session(ann, room, "checkout")
        assert [await topic_of(one, room) for one in (ann, bob)] == ["checkout"] * 2
        said = await last(bob, room)
        assert said.text == "The topic is now: checkout"
        assert body(said.stored) == "[new topic] checkout"
        [part] = [one for one in said.parts if isinstance(one, OtherPart)]
        assert (part.kind, part.fields["topic"]) == (TOPIC_KIND, "checkout")


async def test_what_others_call_a_session_is_not_its_topic(tmp_path: Path) -> None:
    async with stage(tmp_path) as actors:
        ann, bob = await actors.enter("ann"), await actors.enter("bob")
        room = await opened(ann, bob, "cart split")
        with pytest.raises(HubError):
            await rename_session(bob, room, "mine")
        await say(bob, room, "mine")
        assert [await topic_of(one, room) for one in (ann, bob)] == ["cart split"] * 2
        # Nor is one that a fact alone names, or points to another message for.
        await say(ann, room, "checkout")
        seq = (await last(ann, room)).seq
        await ann.client.request(where_said(room, "nothing", seq + 5), Remembered)
        await bob.client.request(where_said(room, "mine", seq), Remembered)
        assert await topic_of(bob, room) == "cart split"
        plain = await opened(ann, bob, None)
        assert await topic_of(bob, plain) is None
        await rename_session(ann, plain, "ours")  # nothing was said before
        await say(bob, plain, "mine")
        assert [await topic_of(one, plain) for one in (ann, bob)] == ["ours"] * 2
        begun = await opened(ann, bob, None)
        await say(bob, begun, "mine")
        with pytest.raises(UsageError, match="opened without a topic"):
            await rename_session(ann, begun, "ours")  # it would be ours alone
        assert [await topic_of(one, begun) for one in (ann, bob)] == [None] * 2


@pytest.mark.parametrize("topic", [" \n", "x" * 201, "\udcff"])
async def test_a_topic_is_one_short_line(tmp_path: Path, topic: str) -> None:
    async with stage(tmp_path) as actors:
        ann, bob = await actors.enter("ann"), await actors.enter("bob")
        room = await opened(ann, bob, "cart split")
        with pytest.raises(UsageError):
            await rename_session(ann, room, topic)
