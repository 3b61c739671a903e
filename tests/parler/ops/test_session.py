"""Opening, joining, deciding and leaving, against the real hub."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from parler.cli import _format
from parler.errors import InvalidInvite, NotMember, UsageError
from parler.identity.identity import active_session
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops import session
from parler.ops.admission import decide, join_requests
from parler.ops.context import OpContext
from parler.ops.invites import InviteParams, invite
from parler.ops.messages import ReceiveParams, SendParams, receive, send
from parler.ops.session import JoinState, OpenParams, join_session, open_session
from parler.text.transcript import body
from parler.wire.base import RoomName
from parler.wire.joinkey import JoinKey, parse_join_key
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import InviteRevoked, RoomList
from parler.wire.requests import RevokeInvite, Rooms
from tests._support.actors import HUB, Stage, stage
from tests._support.polling import FOREVER, WAIT


async def test_opening_is_gated_and_seeds_the_recap_first(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams(topic="login", context="a\nb"))
        assert opened.gated
        assert opened.portable == f"{opened.key}@{HUB}"
        assert active_session(alice.identity.home) == opened.room
        params = ReceiveParams(room=opened.room, everything=True)
        [seed] = (await receive(alice, params)).messages
        said = "📋 session context (from alice):\n  | Topic: login\n  | \n  | a\n  | b"
        assert body(seed) == said
        assert seed.signature is Signature.VALID


async def test_a_model_makes_no_key_past_the_question_its_user_is_asked(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        model = replace(alice, for_model=lambda: True)
        opened = await open_session(model, OpenParams())
        key = InviteParams(kind=RoomKind.CHANNEL, name=opened.room)
        with pytest.raises(UsageError, match="for your user to decide"):
            await invite(model, key)
        assert (await invite(model, replace(key, require_approval=True))).code
        assert (await invite(model, replace(key, name="market"))).code
        assert (await invite(model, replace(key, name="market"))).code
        assert (await invite(alice, key)).room == opened.room


async def test_a_session_without_recap_starts_empty(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams(context="  \n"))
        params = ReceiveParams(room=opened.room, everything=True)
        assert (await receive(alice, params)).messages == []


async def test_too_long_a_recap_opens_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        recap = "x" * (session.MAX_CONTEXT_BYTES + 1)
        with pytest.raises(UsageError):
            await open_session(alice, OpenParams(context=recap))
        assert (await alice.client.request(Rooms(), RoomList)).rooms == []


async def test_a_recap_the_hub_refuses_leaves_no_room_behind(tmp_path: Path) -> None:
    async with stage(tmp_path, max_message_bytes=1000) as at:
        alice = await at.enter("alice")
        with pytest.raises(Exception, match="large"):
            await open_session(alice, OpenParams(context="x" * 2000))
        assert (await alice.client.request(Rooms(), RoomList)).rooms == []
        assert active_session(alice.identity.home) is None


async def test_a_joiner_waits_reads_nothing_and_lands_with_the_context(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob", "webdev")
        opened = await open_session(alice, OpenParams(context="the recap"))
        key = parse_join_key(opened.portable)
        knock = await join_session(bob, key)
        assert (knock.state, knock.messages) == (JoinState.PENDING, [])
        assert active_session(bob.identity.home) is None
        with pytest.raises(NotMember):
            await receive(bob, ReceiveParams(room=opened.room, everything=True))
        [waiting] = (await join_requests(alice, opened.room)).requests
        assert waiting.role == "webdev"
        assert waiting.fingerprint == fingerprint(bob.client.agent_id)
        await decide(alice, opened.room, "bob", approve=True)
        joined = await join_session(bob, key)
        assert joined.state is JoinState.JOINED
        assert [body(message) for message in joined.messages]
        assert active_session(bob.identity.home) == opened.room


async def test_a_rejected_joiner_is_told_so_and_how_it_could_still_get_in(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, eve = await at.enter("alice"), await at.enter("eve")
        opened = await open_session(alice, OpenParams())
        key = JoinKey(parse_join_key(opened.key).code)
        await join_session(eve, key)
        await decide(alice, opened.room, "eve", approve=False)
        for _ in range(2):
            with pytest.raises(InvalidInvite) as refused:
                await join_session(eve, key)
            assert refused.value.next_step
            assert eve.client.agent_id in refused.value.next_step
        await decide(alice, opened.room, eve.client.agent_id, approve=True)
        assert (await join_session(eve, key)).state is JoinState.JOINED


@pytest.mark.parametrize("approve", [True, False])
async def test_waiting_ends_with_the_decision(tmp_path: Path, approve: bool) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams())
        key = parse_join_key(opened.key)
        await join_session(bob, key)

        async def wait() -> session.JoinResult | InvalidInvite:
            try:
                return await join_session(bob, key, wait_secs=FOREVER)
            except InvalidInvite as refused:
                return refused

        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(wait())
            await decide(alice, opened.room, "bob", approve=approve)
        outcome = waiting.result()
        assert isinstance(outcome, session.JoinResult) is approve


class Porch:
    """Somebody who follows the wait."""

    def __init__(self) -> None:
        self.waits, self.key_is_gone = asyncio.Event(), asyncio.Event()

    def waiting(self, room: RoomName) -> None:
        self.waits.set()

    def key_gone(self, room: RoomName) -> None:
        self.key_is_gone.set()


async def lose_key(at: Stage, alice: OpContext, key: JoinKey, how: str) -> None:
    """Nobody can redeem the key any more; the knock still stands."""
    if how == "revoked":  # the hub says of a swept key what it says of this one
        await alice.client.request(RevokeInvite(code=key.code), InviteRevoked)
    else:
        at.hub.clock.advance(86_400 * 2)


@pytest.mark.parametrize("how", ["expired", "revoked"])
@pytest.mark.parametrize("approve", [True, False])
async def test_waiting_outlives_the_key(
    tmp_path: Path, how: str, approve: bool
) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(context="the recap"))
        key, porch = parse_join_key(opened.key), Porch()

        async def wait() -> session.JoinResult | InvalidInvite:
            try:
                return await join_session(bob, key, wait_secs=FOREVER, watcher=porch)
            except InvalidInvite as refused:
                return refused

        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(wait())
            await porch.waits.wait()
            await lose_key(at, alice, key, how)
            await porch.key_is_gone.wait()
            await decide(alice, opened.room, "bob", approve=approve)
        outcome = waiting.result()
        if isinstance(outcome, InvalidInvite):
            assert not approve
            assert "rejected" in outcome.message
            assert bob.client.agent_id in (outcome.next_step or "")
        else:
            assert (approve, outcome.state) == (True, JoinState.JOINED)
            assert len(outcome.messages) == 1


async def test_waiting_for_a_lost_key_ends_in_time_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_POLL_SECS", 0.01)
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams())
        key, porch = parse_join_key(opened.key), Porch()
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            joining = join_session(bob, key, wait_secs=0.5, watcher=porch)
            waiting = tasks.create_task(joining)
            await porch.waits.wait()
            await lose_key(at, alice, key, "revoked")
        result = waiting.result()
        assert (result.state, result.key_gone) == (JoinState.PENDING, True)
        assert bob.known_rooms.hub_of(opened.room) == HUB
        said = "\n".join(_format.pending(result, "parler session join X"))
        assert f"parler recv --room {opened.room}" in said
        assert "session join" not in said


async def test_a_key_that_opened_nothing_from_the_start_is_not_waited_for(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        bob = await at.enter("bob")
        async with asyncio.timeout(WAIT):
            with pytest.raises(InvalidInvite):
                await join_session(bob, parse_join_key("ABCDEFGH"), wait_secs=FOREVER)


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams())
        result = await join_session(bob, parse_join_key(opened.key), wait_secs=0.01)
        assert result.state is JoinState.PENDING


async def test_a_key_of_another_hub_is_explained(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        bob = await at.enter("bob")
        with pytest.raises(InvalidInvite) as refused:
            await join_session(bob, parse_join_key("ABCDEFGH"))
        assert HUB in refused.value.message
        assert "ABCDEFGH@HUB" in (refused.value.next_step or "")


async def test_a_long_backlog_keeps_the_context_and_the_tail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parler.ops.message_view.MAX_SHOWN_MESSAGES", 4)
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(context="c", gated=False))
        for number in range(10):
            target = RoomTarget(room=opened.room)
            await send(alice, SendParams(target=target, text=str(number)))
        joined = await join_session(bob, parse_join_key(opened.key))
        said = [body(message) for message in joined.messages]
        assert said[0].startswith("📋")
        assert said[1:] == ["7", "8", "9"]
        assert joined.omitted == 7


async def test_who_was_named_beforehand_is_let_in_when_it_knocks(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        carol, eve = await at.enter("carol"), await at.enter("bob")
        approvals = [bob.client.agent_id, fingerprint(carol.client.agent_id).lower()]
        opened = await open_session(alice, OpenParams(preapprove=approvals))
        key = parse_join_key(opened.key)
        for joiner in (bob, carol, eve):
            assert (await join_session(joiner, key)).state is JoinState.PENDING
        result = await join_requests(alice, opened.room)
        assert {one.agent for one in result.admitted} == {
            bob.client.agent_id,
            carol.client.agent_id,
        }
        assert [one.agent for one in result.requests] == [eve.client.agent_id]
        assert alice.known_rooms.preapproved(HUB, opened.room) == []


async def test_nobody_is_let_in_beforehand_by_name(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        with pytest.raises(UsageError):
            await open_session(alice, OpenParams(preapprove=["bob"]))


async def test_names_that_two_who_wait_share_are_not_decided(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        twins = [await at.enter("bob"), await at.enter("Bob")]
        opened = await open_session(alice, OpenParams())
        for twin in twins:
            await join_session(twin, parse_join_key(opened.key))
        with pytest.raises(UsageError) as refused:
            await decide(alice, opened.room, "bob", approve=True)
        for twin in twins:
            assert fingerprint(twin.client.agent_id) in refused.value.message
        short = fingerprint(twins[1].client.agent_id)[:9]
        decided = await decide(alice, opened.room, short, approve=True)
        assert decided.agent == twins[1].client.agent_id


async def test_leaving_forgets_the_active_session(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        await session.leave_session(bob, opened.room)
        assert active_session(bob.identity.home) is None
        assert bob.known_rooms.hub_of(opened.room) is None
        with pytest.raises(NotMember):
            await receive(bob, ReceiveParams(room=opened.room))
