"""A clock that is set forward or back: what is about time goes on making sense."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from hub.admin.pruning import Pruner
from hub.store import blobs
from hub.store.schema import blobs as blob_table
from hub.store.schema import messages as message_table
from parler.wire.base import Digest, RoomName
from parler.wire.records import Fact, RoomKind, RoomTarget, TaskStatus
from parler.wire.replies import (
    Claimed,
    Completed,
    Invited,
    Joined,
    JoinPending,
    JoinResolved,
    Pong,
    PresenceOk,
    Pulled,
    Queued,
    Recalled,
    Remembered,
    RosterList,
    Sent,
)
from parler.wire.requests import (
    Claim,
    Complete,
    Invite,
    Ping,
    Presence,
    Pull,
    Queue,
    Recall,
    Redeem,
    Remember,
    ResolveJoin,
    Roster,
    Send,
    Serve,
)
from tests._support.memory_hub import MemoryHub, Peer, memory_hub, until

MINUTE, HOUR, DAY = 60, 3600, 86_400
JUMPS = pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])
TASK = {"kind": "com.parler.dispatch", "role": "review", "task": "t", "text": "do"}


def said(room: RoomName, text: str = "hi") -> Send:
    parts = msgspec.Raw(json.dumps([{"kind": "text", "text": text}]).encode())
    return Send(target=RoomTarget(room=room), parts=parts)


async def channel(owner: Peer, *others: Peer, **fields: object) -> RoomName:
    invite = Invite(kind=RoomKind.CHANNEL, **fields)  # type: ignore[arg-type]
    invited = await owner.asks(invite, Invited)
    for other in others:
        await other.asks(Redeem(code=invited.code), Joined)
    return invited.room


# ---------------------------------------------------------------- windows and waiting


@JUMPS
async def test_a_jump_opens_no_window_of_a_rate_early(
    tmp_path: Path, jump: int
) -> None:
    async with memory_hub(tmp_path, max_sends_per_min=2) as hub:
        ann = await hub.sign_in()
        room = await channel(ann)
        for _ in range(2):
            await ann.asks(said(room), Sent)
        hub.clock.advance(jump)
        assert await ann.is_refused(said(room)) == "rate_limited"


@JUMPS
async def test_a_jump_ends_no_connection_and_no_wait(tmp_path: Path, jump: int) -> None:
    async with memory_hub(tmp_path, idle_timeout_secs=HOUR) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        stranger = hub.dial()
        room = await channel(ann, bob)
        bob.says(Pull(room=room, wait_secs=30))
        await until(lambda: room in hub.hub.services.notifier._waiting)
        hub.clock.advance(jump)
        await ann.asks(Ping(), Pong)
        assert bob.unread == 0
        await ann.asks(said(room), Sent)
        assert len((await bob.hears(Pulled)).messages) == 1
        await stranger.proves(name="late")


# ------------------------------------------------------------------------------ queues


@asynccontextmanager
async def claimed_work(
    folder: Path,
) -> AsyncIterator[tuple[MemoryHub, Peer, Peer, Claim]]:
    """Ann holds a task for a minute, and Bob could take it."""
    async with memory_hub(folder) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        room = (await ann.asks(Serve(service="review"), Joined)).room
        await bob.asks(Serve(service="review"), Joined)
        parts = msgspec.Raw(json.dumps([TASK]).encode())
        sent = await bob.asks(Send(target=RoomTarget(room=room), parts=parts), Sent)
        claim = Claim(room=room, message=sent.id, lease_secs=MINUTE)
        assert (await ann.asks(claim, Claimed)).claimed
        yield hub, ann, bob, claim


async def gets(peer: Peer, claim: Claim) -> bool:
    """Whether somebody who is at hand is given the task."""
    await peer.asks(Presence(status="idle"), PresenceOk)
    return (await peer.asks(claim, Claimed)).claimed


async def is_done(peer: Peer, claim: Claim) -> bool:
    done = Complete(room=claim.room, message=claim.message, status=TaskStatus.DONE)
    return (await peer.asks(done, Completed)).completed


async def test_a_lease_ends_by_a_clock_set_forward_and_one_alone_completes(
    tmp_path: Path,
) -> None:
    async with claimed_work(tmp_path) as (hub, ann, bob, claim):
        hub.clock.advance(DAY)
        assert await gets(bob, claim)
        assert not await is_done(ann, claim)
        assert await is_done(bob, claim)


async def test_a_lease_outlives_a_clock_set_back_a_little_and_is_nobody_elses(
    tmp_path: Path,
) -> None:
    async with claimed_work(tmp_path) as (hub, ann, bob, claim):
        hub.clock.advance(-10 * MINUTE)
        assert not await gets(bob, claim)
        await ann.asks(Presence(status="working"), PresenceOk)
        assert (await ann.asks(claim, Claimed)).claimed
        hub.clock.advance(MINUTE + 1)
        assert await gets(bob, claim)


async def test_no_lease_holds_work_up_for_as_long_as_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    async with claimed_work(tmp_path) as (hub, ann, bob, claim):
        hub.clock.advance(-DAY)
        await bob.asks(Presence(status="idle"), PresenceOk)
        offered = await bob.asks(Queue(room=claim.room, role="review"), Queued)
        assert [message.id for message in offered.messages] == [claim.message]
        assert await gets(bob, claim)
        assert not await is_done(ann, claim)


async def test_the_holder_keeps_its_work_over_a_clock_set_back(tmp_path: Path) -> None:
    async with claimed_work(tmp_path) as (hub, ann, bob, claim):
        hub.clock.advance(-DAY)
        await ann.asks(Presence(status="working"), PresenceOk)
        assert (await ann.asks(claim, Claimed)).claimed
        assert not await gets(bob, claim)
        assert await is_done(ann, claim)


# ---------------------------------------------------------------------------- presence


async def status_of(asker: Peer, room: RoomName, name: str) -> str:
    roster = await asker.asks(Roster(room=room), RosterList)
    [status] = [entry.status for entry in roster.entries if entry.name == name]
    return status


async def test_nobody_who_is_gone_seems_present_after_a_clock_is_set_back(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        room = await channel(ann, bob)
        bob.hangs_up()
        await until(lambda: bob.id not in hub.hub.services.online)
        assert await status_of(ann, room, "bob") == "idle"
        hub.clock.advance(-DAY)
        assert await status_of(ann, room, "bob") == "offline"
        assert await status_of(ann, room, "ann") == "idle"


async def test_a_worker_that_pings_is_offered_work_after_a_clock_is_set_back(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in()
        room = (await ann.asks(Serve(service="review"), Joined)).room
        parts = msgspec.Raw(json.dumps([TASK]).encode())
        await ann.asks(Send(target=RoomTarget(room=room), parts=parts), Sent)
        hub.clock.advance(-DAY)
        await ann.asks(Ping(), Pong)
        queue = await ann.asks(Queue(room=room, role="review"), Queued)
        assert len(queue.messages) == 1


# ------------------------------------------------------------- keys, history, retention


async def test_a_key_that_a_jump_made_expire_opens_again_when_the_clock_is_right(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        invite = Invite(kind=RoomKind.CHANNEL, ttl_secs=HOUR)
        invited = await ann.asks(invite, Invited)
        pruner = Pruner(hub.hub.services)
        hub.clock.advance(30 * DAY)
        await pruner.tidy()
        assert await bob.is_refused(Redeem(code=invited.code)) == "invalid_invite"
        hub.clock.advance(-30 * DAY)
        await bob.asks(Redeem(code=invited.code), Joined)


async def test_what_was_remembered_before_the_clock_was_set_back_stays_history(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob = await hub.sign_in(), await hub.sign_in("bob")
        invite = Invite(kind=RoomKind.CHANNEL, require_approval=True)
        invited = await ann.asks(invite, Invited)
        room = invited.room
        before = Fact(text="plan before", room=room)
        await ann.asks(Remember(fact=before), Remembered)
        hub.clock.advance(-HOUR)
        await bob.asks(Redeem(code=invited.code), JoinPending)
        approval = ResolveJoin(room=room, agent=bob.id, approve=True, history="none")
        await ann.asks(approval, JoinResolved)
        assert (await bob.asks(Recall(query="plan"), Recalled)).hits == []


class Elapsed:
    """Seconds that only the test lets pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def old_things(folder: Path) -> AsyncIterator[tuple[MemoryHub, Pruner, Elapsed]]:
    """A hub with messages and a blob that are too old 60 days from now."""
    settings = {"retention_days": 30.0, "keep_messages_per_room": 1}
    async with memory_hub(folder, blob_ttl_days=30.0, **settings) as hub:
        ann = await hub.sign_in()
        room = await channel(ann)
        for number in range(5):
            await ann.asks(said(room, str(number)), Sent)
        await ann.asks(Pull(room=room), Pulled)
        live = await hub.hub.services.rooms.get(room)
        assert live is not None
        bind = partial(
            blobs.bind,
            digest=Digest("0" * 64),
            size=1,
            room=live.room.id,
            author=ann.id,
            media_type=None,
            now=hub.clock(),
        )
        await hub.hub.store.write("bind", bind)
        elapsed = Elapsed()
        yield hub, Pruner(hub.hub.services, elapsed), elapsed


async def held(hub: MemoryHub) -> tuple[int, int]:
    """How many messages and blobs there are."""
    found = []
    for table in (message_table, blob_table):
        query = sa.select(sa.func.count()).select_from(table)
        look = partial(sa.Connection.scalar, statement=query)
        found.append(await hub.hub.store.read("count", look))
    return found[0], found[1]


async def test_a_clock_set_forward_by_mistake_deletes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with old_things(tmp_path) as (hub, pruner, elapsed):
        elapsed.seconds += HOUR
        hub.clock.advance(60 * DAY)
        await pruner.tidy()
        assert await held(hub) == (5, 1)
        assert "the clock jumped by" in caplog.text
        elapsed.seconds += HOUR
        hub.clock.advance(HOUR - 60 * DAY)  # set right again
        await pruner.tidy()
        assert await held(hub) == (5, 1)


async def test_time_that_passed_indeed_deletes_what_is_old(tmp_path: Path) -> None:
    async with old_things(tmp_path) as (hub, pruner, elapsed):
        elapsed.seconds += 60 * DAY
        hub.clock.advance(60 * DAY)
        await pruner.tidy()
        assert await held(hub) == (1, 0)


async def test_a_clock_that_stays_ahead_is_believed_an_interval_later(
    tmp_path: Path,
) -> None:
    async with old_things(tmp_path) as (hub, pruner, elapsed):
        hub.clock.advance(60 * DAY)
        await pruner.tidy()
        elapsed.seconds += HOUR
        hub.clock.advance(HOUR)
        await pruner.tidy()
        assert await held(hub) == (1, 0)
