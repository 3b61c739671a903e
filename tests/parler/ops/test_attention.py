"""Setting what may interrupt us: the mode is shown to others, rooms are not."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from parler.errors import HubError, UsageError
from parler.identity.identity import load_identity
from parler.ops.attention import (
    ModeParams,
    RoomAttention,
    RoomParams,
    parse_mode,
    parse_room_attention,
    set_mode,
    set_room,
    show_attention,
)
from parler.ops.receipts import StatusParams, status
from parler.ops.rooms import roster
from parler.ops.session import OpenParams, join_session, open_session
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.parts import TextPart
from parler.wire.records import Attention, DeliveryState, RoomTarget
from tests._support.actors import stage

TEAM, NOISE = RoomName("team"), RoomName("noise")


async def test_the_mode_is_kept_here_and_shown_to_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams())
        assert show_attention(alice.identity).mode is Attention.OPEN
        set_room(alice.identity, RoomParams(room=TEAM, attention=RoomAttention.QUIET))
        result = await set_mode(alice, ModeParams(mode=Attention.FOCUS))
        assert (result.mode, result.quiet_rooms) == (Attention.FOCUS, [TEAM])
        kept = load_identity(alice.identity.home).attention
        assert (kept.mode, kept.quiet_rooms) == (Attention.FOCUS, (TEAM,))
        [me] = (await roster(alice, opened.room)).entries
        assert me.attention is Attention.FOCUS


async def test_a_room_has_one_setting_and_only_we_know_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")

        def choose(attention: RoomAttention, room: RoomName = TEAM) -> None:
            result = set_room(
                alice.identity, RoomParams(room=room, attention=attention)
            )
            assert (result.room, result.attention) == (room, attention)

        choose(RoomAttention.QUIET)
        choose(RoomAttention.MUTED, NOISE)
        choose(RoomAttention.MUTED)
        shown = show_attention(alice.identity, room=TEAM)
        assert (shown.quiet_rooms, shown.muted_rooms) == ([], [NOISE, TEAM])
        assert shown.attention is RoomAttention.MUTED
        choose(RoomAttention.INHERIT)
        assert show_attention(alice.identity).muted_rooms == [NOISE]
        assert show_attention(alice.identity, room=TEAM).attention == "inherit"
        with pytest.raises(UsageError):
            choose(RoomAttention.QUIET, RoomName(" "))


def test_words_for_modes_and_rooms_are_told_apart() -> None:
    assert parse_mode(" DND ") is Attention.DND
    for typed in ("open", "default", "inherit"):
        assert parse_room_attention(typed) is RoomAttention.INHERIT
    with pytest.raises(UsageError) as refused:
        parse_mode("muted")
    assert "--room" in (refused.value.next_step or "")
    for typed in ("", "loud", "inherited"):
        with pytest.raises(UsageError):
            parse_mode(typed)
        with pytest.raises(UsageError):
            parse_room_attention(typed)


async def test_a_message_is_stored_then_seen(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        room = opened.room
        sent = await alice.client.send(RoomTarget(room=room), [TextPart(text="hi")])
        [before] = (await status(alice, StatusParams(room=room, seq=sent.seq))).members
        assert (before.name, before.state) == ("bob", DeliveryState.STORED)
        await bob.client.pull(room)
        [handed] = (await status(alice, StatusParams(room=room, seq=sent.seq))).members
        assert handed.state is DeliveryState.DELIVERED
        await bob.client.ack(room, sent.seq)
        [after] = (await status(alice, StatusParams(room=room, seq=sent.seq))).members
        assert after.state is DeliveryState.SEEN
        for seq in (sent.seq - 1, sent.seq + 1):
            with pytest.raises(UsageError):
                await status(alice, StatusParams(room=room, seq=seq))


async def test_a_hub_without_receipts_is_not_asked_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.connection.connection.FEATURES", [])
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams(context="hi"))
        with pytest.raises(HubError, match="does not say"):
            await status(alice, StatusParams(room=opened.room, seq=1))


async def test_rooms_set_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        rooms = [RoomName(f"room-{number}") for number in range(24)]

        def mute(room: RoomName) -> None:
            set_room(
                alice.identity, RoomParams(room=room, attention=RoomAttention.MUTED)
            )

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(mute, rooms))
        assert set(show_attention(alice.identity).muted_rooms) == set(rooms)
