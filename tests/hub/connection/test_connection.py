"""One connection from handshake to goodbye, over a pipe in memory.

Handlers, store and database are the real ones. What strangers, slow readers and ends
of all kinds do to a connection is here; what the ops mean is in `tests/conformance`.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.connection import connection
from hub.delivery.outbox import MAX_BYTES, MAX_PUSHES
from hub.store.engine import Store, Write
from parler.identity.signing import Keypair
from parler.wire import requests
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_IN_FLIGHT
from parler.wire.records import RoomKind, RoomTarget
from parler.wire.replies import (
    Challenge,
    Delivery,
    Error,
    Event,
    Invited,
    Joined,
    JoinPending,
    JoinResolved,
    MemberRemoved,
    Pong,
    PresenceOk,
    Pulled,
    Reply,
    RoomList,
    RosterList,
    Sent,
    Subscribed,
)
from tests._support.memory_hub import MemoryHub, Peer, memory_hub, until
from tests._support.polling import WAIT, in_time

MIB = 2**20


def text(words: str) -> msgspec.Raw:
    return msgspec.Raw(json.dumps([{"kind": "text", "text": words}]).encode())


def send(room: str, words: str = "hi", **fields: Any) -> requests.Send:
    target = RoomTarget(room=RoomName(room))
    return requests.Send(target=target, parts=text(words), **fields)


def pull(room: str, **fields: Any) -> requests.Pull:
    return requests.Pull(room=RoomName(room), **fields)


def sends_waiting(store: Store) -> int:
    """How many sends wait for the writer; it must be held up."""
    waiting: list[list[Write]] = []
    while not store._queue.empty():
        waiting.append(store._queue.get())
    for writes in waiting:
        store._queue.put(writes)
    return sum(write.name == "send" for writes in waiting for write in writes)


async def open_room(owner: Peer, **fields: Any) -> Invited:
    invite = requests.Invite(kind=RoomKind.CHANNEL, **fields)
    return await owner.asks(invite, Invited)


async def two_in_a_room(hub: MemoryHub) -> tuple[Peer, Peer, str]:
    ann, bob = await hub.sign_in("ann"), await hub.sign_in("bob")
    invited = await open_room(ann)
    await bob.asks(requests.Redeem(code=invited.code), Joined)  # type: ignore[arg-type]
    return ann, bob, invited.room


async def parked(hub: MemoryHub, peer: Peer, room: str, **fields: Any) -> None:
    """Start a long poll; returns when the hub really waits."""
    before = _waiting(hub, room)
    peer.says(pull(room, wait_secs=30, **fields))
    await until(lambda: _waiting(hub, room) > before)


def _waiting(hub: MemoryHub, room: str) -> int:
    return len(hub.hub.services.notifier._waiting.get(RoomName(room), ()))


# --------------------------------------------------------------------------- handshake


@asynccontextmanager
async def writer_held(store: Store) -> AsyncIterator[None]:
    """Have all that is written meanwhile wait until the block ends."""
    entered, opened = threading.Event(), threading.Event()

    def gate(connection: sa.Connection) -> None:
        entered.set()
        assert opened.wait(WAIT)

    async with asyncio.TaskGroup() as group:
        group.create_task(store.write("gate", gate))
        assert await asyncio.to_thread(entered.wait, WAIT)
        try:
            yield
        finally:
            opened.set()


async def test_an_agent_proves_who_it_is_and_is_welcomed(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        peer = hub.dial()
        welcome = await peer.proves(name="ann", role="dev")
        assert (welcome.id, welcome.name) == (peer.id, "ann")
        assert {"rid", "events", "membership"} <= set(welcome.features or ())
        await peer.asks(requests.Ping(), Pong)


async def test_a_stranger_gets_nothing_but_the_way_in(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in("ann")
        invited = await open_room(ann)
        peer = hub.dial()
        for request in (
            requests.Ping(),
            requests.Rooms(),
            pull(invited.room, since=0),
            pull(invited.room, wait_secs=30, rid="1"),
            send(invited.room),
            requests.Redeem(code=invited.code),  # type: ignore[arg-type]
            requests.Subscribe(),
            requests.Lookup(id=ann.id),
        ):
            assert await peer.is_refused(request) == "unauthenticated"
        assert await peer.is_refused("{") == "bad_frame"
        assert (await ann.asks(pull(invited.room, since=0), Pulled)).messages == []


async def test_the_secret_is_asked_for_and_the_fifth_hello_is_refused(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, join_secret="correct horse") as hub:
        peer = hub.dial()
        challenge = await peer.asks(
            requests.Hello(id=peer.id, name="ann", secret="correct horse"), Challenge
        )
        sig = peer.keypair.sign(challenge.nonce.encode())
        for secret in (None, "wrong", "Correct horse"):
            proof = requests.Hello(id=peer.id, name="ann", sig=sig, secret=secret)
            assert await peer.is_refused(proof) == "not_authorized"
        proof.secret = "correct horse"
        assert await peer.is_refused(proof) == "rate_limited"
        assert await peer.is_refused(requests.Ping()) == "unauthenticated"
        await hub.sign_in("ann", secret="correct horse")


@pytest.mark.parametrize(
    ("field", "bound"),
    [("id", 256), ("name", 256), ("role", 256), ("sig", 512), ("secret", 4096)],
)
async def test_a_hello_is_bounded_and_an_oversized_one_counts(
    tmp_path: Path, field: str, bound: int
) -> None:
    async with memory_hub(tmp_path) as hub:
        peer = hub.dial()
        fields: dict[str, Any] = {"id": peer.id, "name": "ann"}
        fields[field] = "x" * (bound + 1)
        for _ in range(4):
            assert await peer.is_refused(requests.Hello(**fields)) == "too_large"
        assert await peer.is_refused(requests.Hello(**fields)) == "rate_limited"


async def test_the_deadline_of_the_handshake_is_not_put_off_by_talking(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, handshake_timeout_secs=0.1) as hub:
        peer = hub.dial()
        said = 0
        while not peer.transport.closed.done():
            peer.says(requests.Ping())
            said += 1
            await asyncio.wait({peer.transport.closed}, timeout=0.005)
            assert said < 60
        assert (await peer.sees_close())[0] == 1008
        codes = [(await peer.hears(Error)).code for _ in range(peer.unread)]
        assert codes[-1] == "timeout"
        assert set(codes[:-1]) == {"unauthenticated"}


async def test_a_stranger_that_sends_only_garbage_is_closed_soon(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        peer = hub.dial()
        for _ in range(1000):
            peer.says("{")
        assert (await peer.sees_close())[0] == 1008
        assert peer.unread < 100


async def test_a_silent_stranger_is_told_and_closed(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, handshake_timeout_secs=0.02) as hub:
        peer = hub.dial()
        error = await peer.hears(Error)
        assert (error.code, error.message) == ("timeout", "handshake timed out")
        assert (await peer.sees_close())[0] == 1008


async def test_the_deadline_is_for_strangers_only(tmp_path: Path) -> None:
    async def story(secs: float) -> None:
        async with memory_hub(tmp_path, handshake_timeout_secs=secs) as hub:
            ann = await hub.sign_in("ann")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3 * secs):
                    await ann.transport.closed
            await ann.asks(requests.Ping(), Pong)

    await in_time(story, 0.05)


async def test_a_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        peer = hub.dial()
        peer.connection.refuse(ErrorCode.AT_CAPACITY, "hub at capacity")
        assert (await peer.hears(Error)).code == "at_capacity"
        assert (await peer.sees_close())[0] == 1013


async def test_on_a_full_disk_one_may_still_sign_in_and_read(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await ann.asks(send(room, "kept"), Sent)
        raw: Any = hub.hub.store._connection.connection.driver_connection
        raw.execute("PRAGMA query_only = on")
        again = await hub.sign_in("bob", bob.keypair)
        stranger = await hub.sign_in("cid")
        assert len((await again.asks(pull(room, since=0), Pulled)).messages) == 1
        assert await again.is_refused(send(room)) == "storage_full"
        assert await stranger.is_refused(pull(room, since=0)) == "not_member"
        raw.execute("PRAGMA query_only = off")
        await again.asks(send(room), Sent)
        await stranger.asks(requests.Ping(), Pong)


# ------------------------------------------------------------------------------- order


async def test_replies_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, _, room = await two_in_a_room(hub)
        for number in range(10):
            ann.says(send(room, str(number)))
            ann.says("{")
            ann.says(pull(room, since=0, limit=1, rid=str(number)))
            ann.says(requests.Roster(room=RoomName("elsewhere")))
            ann.says(requests.Ping(rid=f"p{number}"))
        for number in range(10):
            await ann.hears(Sent)
            assert (await ann.hears(Error)).code == "bad_frame"
            assert (await ann.hears(Pulled)).rid == str(number)
            assert (await ann.hears(Error)).code == "not_member"
            assert (await ann.hears(Pong)).rid == f"p{number}"


async def test_a_parked_pull_is_overtaken_if_it_has_a_rid(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await parked(hub, bob, room, rid="wait")
        assert (await bob.asks(requests.Ping(rid="1"), Pong)).rid == "1"
        await bob.asks(requests.Rooms(), RoomList)
        await ann.asks(send(room, "now"), Sent)
        pulled = await bob.hears(Pulled)
        assert (pulled.rid, len(pulled.messages)) == ("wait", 1)


async def test_a_parked_pull_without_rid_holds_up_what_follows(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await parked(hub, bob, room)
        bob.says(requests.Ping(rid="1"))
        await ann.asks(requests.Ping(), Pong)
        assert bob.unread == 0
        await ann.asks(send(room, "now"), Sent)
        await bob.hears(Pulled)
        await bob.hears(Pong)


async def test_pushes_pass_a_parked_pull(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        other = await open_room(ann)
        await bob.asks(requests.Redeem(code=other.code), Joined)  # type: ignore[arg-type]
        await bob.asks(requests.Subscribe(), Subscribed)
        await parked(hub, bob, room)
        await ann.asks(send(other.room, "elsewhere"), Sent)
        assert (await bob.hears(Delivery)).message.room == other.room
        assert _waiting(hub, room) == 1


async def test_beyond_the_bound_reading_pauses_and_goes_on_later(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        for number in range(MAX_IN_FLIGHT):
            bob.says(pull(room, wait_secs=30, ack=0, rid=str(number)))
        await until(lambda: _waiting(hub, room) == MAX_IN_FLIGHT)
        for number in range(200):
            bob.says(requests.Ping(rid=f"p{number}"))
        for _ in range(3):
            await ann.asks(requests.Ping(), Pong)
        assert bob.unread == 0
        assert bob.transport.to_hub.qsize() > 100, "the rest was not even read"
        await ann.asks(send(room), Sent)
        heard = [(await bob.hears(Reply)).rid for _ in range(MAX_IN_FLIGHT + 200)]
        pings = [rid for rid in heard if rid and rid.startswith("p")]
        assert pings == [f"p{number}" for number in range(200)]
        assert len(set(heard)) == len(heard)


async def test_who_is_removed_while_waiting_hears_so_at_once(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await parked(hub, bob, room, rid="wait")
        removal = requests.RemoveMember(room=RoomName(room), agent=bob.id)
        await ann.asks(removal, MemberRemoved)
        error = await bob.hears(Error)
        assert (error.code, error.rid) == ("not_member", "wait")
        assert _waiting(hub, room) == 0


async def test_who_waits_at_the_gate_reads_nothing_and_hears_nothing(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob = await hub.sign_in("ann"), await hub.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        redeem = requests.Redeem(code=invited.code)  # type: ignore[arg-type]
        await bob.asks(requests.Subscribe(events=["member", "room"]), Subscribed)
        await bob.asks(redeem, JoinPending)
        await ann.asks(send(invited.room, "secret"), Sent)
        for request in (
            pull(invited.room, since=0),
            pull(invited.room, wait_secs=30),
            send(invited.room),
            requests.Roster(room=invited.room),
            requests.Invites(room=invited.room),
            requests.JoinRequests(room=invited.room),
            requests.Receipts(room=invited.room, seq=1),
            requests.Invite(kind=RoomKind.CHANNEL, room=invited.room),
            requests.ResolveJoin(room=invited.room, agent=bob.id, approve=True),
        ):
            assert await bob.is_refused(request) in ("not_member", "not_owner")
        assert (bob.deliveries, bob.events) == ([], [])
        approval = requests.ResolveJoin(room=invited.room, agent=bob.id, approve=True)
        await ann.asks(approval, JoinResolved)
        assert len((await bob.asks(pull(invited.room), Pulled)).messages) == 1


# --------------------------------------------------------------------------- deliveries


async def test_the_authors_other_connections_get_no_delivery(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        twin = await hub.sign_in("ann", ann.keypair)
        for peer in (ann, bob, twin):
            await peer.asks(requests.Subscribe(), Subscribed)
        await ann.asks(send(room), Sent)
        for peer in (ann, bob, twin):
            await peer.asks(requests.Ping(), Pong)
        assert [len(p.deliveries) for p in (ann, bob, twin)] == [0, 1, 0]


async def test_a_removed_member_gets_no_further_push(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(requests.Subscribe(events=["member"]), Subscribed)
        await ann.asks(send(room, "first"), Sent)
        removal = requests.RemoveMember(room=RoomName(room), agent=bob.id)
        await ann.asks(removal, MemberRemoved)
        assert (await bob.hears(Event)).change == "removed"
        await ann.asks(send(room, "second"), Sent)
        await bob.asks(requests.Ping(), Pong)
        assert len(bob.deliveries) == 1


async def test_a_slow_reader_loses_pushes_but_no_message_and_little_memory(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(requests.Subscribe(), Subscribed)
        bob.stops_reading()
        for number in range(40):
            await ann.asks(send(room, f"{number} " + "x" * 50_000), Sent)
        assert bob.connection.outbox_bytes < MAX_BYTES + 60_000
        assert hub.hub.services.notifier.dropped > 0
        bob.reads_on()
        pulled = await bob.asks(pull(room, limit=1000), Pulled)
        assert len(pulled.messages) == 40
        assert 0 < len(bob.deliveries) < 40


async def test_small_pushes_are_bounded_in_number(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(requests.Subscribe(), Subscribed)
        bob.stops_reading()
        for number in range(MAX_PUSHES + 50):
            ann.says(send(room, str(number)))
        for _ in range(MAX_PUSHES + 50):
            await ann.hears(Sent)
        bob.reads_on()
        await bob.asks(requests.Ping(), Pong)
        assert MAX_PUSHES - 1 <= len(bob.deliveries) <= MAX_PUSHES + 1


async def test_a_reader_that_takes_no_replies_gets_no_more_of_them_made(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        for _ in range(3):
            await ann.asks(send(room, "x" * (MIB - 1000)), Sent)
        bob.stops_reading()
        for _ in range(8):
            bob.says(pull(room, since=0))
        await until(lambda: bob.connection.outbox_bytes >= MAX_BYTES)
        for _ in range(5):
            await ann.asks(requests.Ping(), Pong)
        assert bob.connection.outbox_bytes < 5 * MIB
        bob.reads_on()
        for _ in range(8):
            assert len((await bob.hears(Pulled)).messages) == 3


async def test_what_waits_to_be_worked_off_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Thirty-two frames of the largest size would be 64 MiB for each stranger."""
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await parked(hub, bob, room)  # without rid: what follows waits
        for _ in range(MAX_IN_FLIGHT):
            bob.says('{"op":"ping","x":"' + "x" * (2 * MIB - 100) + '"}')
        for _ in range(5):
            await ann.asks(requests.Ping(), Pong)
        taken = MAX_IN_FLIGHT - bob.transport.to_hub.qsize()
        assert taken <= 3
        await ann.asks(send(room), Sent)
        await bob.hears(Pulled)
        for _ in range(MAX_IN_FLIGHT):
            await bob.hears(Pong)


# ----------------------------------------------------------------------------- refusals


async def test_a_frame_just_too_large_ends_the_connection_with_a_word(
    tmp_path: Path,
) -> None:
    frame = '{"op":"ping","x":"%s"}'
    room = 2 * MIB - len(frame % "")
    async with memory_hub(tmp_path) as hub:
        ann = await hub.sign_in("ann")
        await ann.asks_text(frame % ("x" * room), Pong)
        await ann.asks_text(frame % ("é" * (room // 2)), Pong)
        for filler in ("x" * (room + 1), "é" * (room // 2 + 1)):
            for peer in (hub.dial(), await hub.sign_in("bob")):
                assert await peer.is_refused(frame % filler) == "too_large"
                assert (await peer.sees_close())[0] == 1009
        await ann.asks(requests.Ping(), Pong)


@pytest.mark.parametrize("signed_in", [True, False])
async def test_bytes_nobody_announced_end_the_connection_with_a_word(
    tmp_path: Path, signed_in: bool
) -> None:
    async with memory_hub(tmp_path) as hub:
        peer = await hub.sign_in("ann") if signed_in else hub.dial()
        peer.says(b"bytes")
        peer.says(requests.Ping())
        assert (await peer.hears(Error)).code == "protocol"
        assert (await peer.sees_close())[0] == 1008
        assert peer.unread == 0


async def test_the_budget_holds_for_every_kind_of_frame(tmp_path: Path) -> None:
    """A long poll is a request like any other (protocol 13.4)."""
    async with memory_hub(tmp_path, max_ops_per_min=6) as hub:
        ann = await hub.sign_in("ann")
        invited = await open_room(ann)
        await ann.asks(requests.Ping(), Pong)
        await ann.asks(pull(invited.room, since=0, wait_secs=0), Pulled)
        assert await ann.is_refused(requests.Roster(room=RoomName("x"))) == "not_member"
        assert await ann.is_refused(pull("x" * 5000, wait_secs=1)) == "too_large"
        await ann.asks(pull(invited.room, wait_secs=0, rid="p"), Pulled)
        for request in (
            requests.Ping(rid="r"),
            pull(invited.room, wait_secs=30, rid="r"),
            pull(invited.room, since=0, rid="r"),
        ):
            ann.says(request)
            error = await ann.hears(Error)
            assert (error.code, error.rid) == ("rate_limited", "r")
        twin = await hub.sign_in("ann", ann.keypair)
        assert await twin.is_refused(requests.Ping()) == "rate_limited"
        await (await hub.sign_in("bob")).asks(requests.Ping(), Pong)


async def test_an_internal_error_says_where_to_look_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, _, room = await two_in_a_room(hub)

        def sabotage(connection: sa.Connection) -> None:
            connection.exec_driver_sql("ALTER TABLE agents RENAME TO hidden_agents")

        await hub.hub.store.write("sabotage", sabotage)
        ann.says(requests.Roster(room=RoomName(room), rid="r"))
        error = await ann.hears(Error)
        assert (error.code, error.rid) == ("internal", "r")
        for secret in ("agents", "SELECT", "sqlite", "Traceback", room):
            assert secret not in error.message
        reference = error.message.rpartition(" ")[2]
        assert f"internal error {reference}" in caplog.text
        assert "no such table" in caplog.text
        await ann.asks(requests.Ping(), Pong)
        assert await hub.dial().is_refused(requests.Ping()) == "unauthenticated"


async def test_what_cannot_be_stored_is_refused_and_what_was_said_stays(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await ann.asks(send(room, "kept"), Sent)
        raw: Any = hub.hub.store._connection.connection.driver_connection
        (pages,) = raw.execute("PRAGMA page_count").fetchone()
        raw.execute(f"PRAGMA max_page_count = {pages + 2}")
        stored, refused = ["kept"], 0
        for number in range(12):
            words = f"{number} " + "x" * (3000 if number % 2 else 100_000)
            ann.says(send(room, words))
            reply = await ann.hears(Reply)
            if isinstance(reply, Sent):
                stored.append(words)
            else:
                assert isinstance(reply, Error)
                assert reply.code == "storage_full"
                refused += 1
        assert refused >= 6
        pulled = await bob.asks(pull(room, since=0), Pulled)
        found = [json.loads(bytes(m.parts))[0]["text"] for m in pulled.messages]
        assert found == stored


# --------------------------------------------------------------------------------- ends


async def test_who_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(requests.Subscribe(), Subscribed)
        await parked(hub, bob, room, rid="1")
        await parked(hub, bob, room)
        services = hub.hub.services
        assert services.online[bob.id] == 1
        bob.hangs_up()
        await bob.sees_close()
        await until(lambda: hub.tasks[1].done())
        assert _waiting(hub, room) == 0
        assert not services.notifier._listeners
        assert bob.id not in services.online
        await ann.asks(send(room), Sent)


async def test_who_vanishes_before_the_reply_may_say_it_again_and_is_heard_once(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(send(room, "warm-up"), Sent)
        store = hub.hub.store
        async with writer_held(store):
            ann.says(send(room, "once", client_id="c1"))
            await until(lambda: not store._queue.empty())
            ann.hangs_up()
            await ann.sees_close()
        again = await hub.sign_in("ann", ann.keypair)
        sent = await again.asks(send(room, "once", client_id="c1"), Sent)
        pulled = await bob.asks(pull(room, since=0), Pulled)
        found = [json.loads(bytes(m.parts))[0]["text"] for m in pulled.messages]
        assert found == ["warm-up", "once"]
        assert pulled.messages[-1].seq == sent.seq


async def test_a_silent_agent_is_let_go_without_an_error(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, idle_timeout_secs=0.05) as hub:
        ann = await hub.sign_in("ann")
        assert (await ann.sees_close())[0] == 1001
        assert ann.unread == 0


async def test_an_agent_that_is_there_while_connected_has_ended_once_it_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PRESENT_SECS", 0.05)
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        working = requests.Presence(status="working", while_connected=True)
        await bob.asks(working, PresenceOk)
        assert (await bob.sees_close())[0] == 1001
        await until(lambda: hub.tasks[1].done())
        roster = await ann.asks(requests.Roster(room=RoomName(room)), RosterList)
        shown = {entry.id: (entry.status, entry.activity) for entry in roster.entries}
        assert shown[bob.id] == ("offline", "ended")


async def test_an_agent_that_talks_is_not_idle(tmp_path: Path) -> None:
    async def story(secs: float) -> None:
        async with memory_hub(tmp_path, idle_timeout_secs=secs) as hub:
            ann = await hub.sign_in("ann")
            loop = asyncio.get_running_loop()
            until_then = loop.time() + 2.5 * secs
            while loop.time() < until_then:
                await ann.asks(requests.Ping(), Pong)
            assert not ann.transport.closed.done()
            assert (await ann.sees_close())[0] == 1001

    await in_time(story, 0.2)


@pytest.mark.parametrize("rid", ["wait", None])
async def test_a_stopping_hub_answers_parked_pulls_then_says_goodbye(
    tmp_path: Path, rid: str | None
) -> None:
    async with memory_hub(tmp_path) as hub:
        _, bob, room = await two_in_a_room(hub)
        await parked(hub, bob, room, rid=rid)
        bob.connection.stop()
        pulled = await bob.hears(Pulled)
        assert (pulled.rid, pulled.messages) == (rid, [])
        code, _ = await bob.sees_close()
        assert code == 1012
        assert bob.unread == 0


async def test_a_stopping_hub_finishes_what_it_works_on_and_starts_nothing_new(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, _, room = await two_in_a_room(hub)
        await ann.asks(send(room, "first"), Sent)
        store = hub.hub.store
        async with writer_held(store):
            ann.says(send(room, "in flight"))
            ann.says(send(room, "beside it"))
            ann.says(requests.Ping())
            await until(lambda: not store._queue.empty())
            ann.connection.stop()
        await ann.hears(Sent)
        await ann.hears(Sent)
        assert (await ann.sees_close())[0] == 1012
        assert ann.unread == 0
        bob = await hub.sign_in("ann", ann.keypair)
        pulled = await bob.asks(pull(room, since=0), Pulled)
        assert len(pulled.messages) == 3


async def test_sends_follow_each_other_to_the_store_and_nothing_overtakes_them(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, _, room = await two_in_a_room(hub)
        await ann.asks(send(room, "first"), Sent)
        store = hub.hub.store
        async with writer_held(store):
            before = store.commits
            for number in range(10):
                ann.says(send(room, f"{number}"))
            ann.says(requests.Ping())
            ann.says(pull(room, since=0))
            ann.says(send("room.of-others", "refused"))
            ann.says(send(room, "last"))
            await until(lambda: sends_waiting(store) == 10)
        seqs = [(await ann.hears(Sent)).seq for _ in range(10)]
        assert store.commits == before + 1, "they were synced together"
        assert seqs == sorted(seqs)
        await ann.hears(Pong)
        assert len((await ann.hears(Pulled)).messages) == 11
        assert (await ann.hears(Error)).code == ErrorCode.NOT_MEMBER
        assert (await ann.hears(Sent)).seq > seqs[-1]


async def test_a_send_too_many_is_refused_in_its_turn(tmp_path: Path) -> None:
    async with memory_hub(tmp_path, max_sends_per_min=3) as hub:
        ann, _, room = await two_in_a_room(hub)
        await ann.asks(send(room, "first"), Sent)
        for number in range(3):
            ann.says(send(room, f"{number}"))
        await ann.hears(Sent)
        await ann.hears(Sent)
        assert (await ann.hears(Error)).code == ErrorCode.RATE_LIMITED
        assert ann.unread == 0


async def test_a_stopping_hub_lets_go_of_strangers_and_idle_agents(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as hub:
        peers = [hub.dial(), await hub.sign_in("ann")]
        for peer in peers:
            peer.connection.stop()
        for peer in peers:
            assert (await peer.sees_close())[0] == 1012


async def test_a_stopping_hub_does_not_wait_for_a_slow_reader_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FLUSH_SECS", 0.05)
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await ann.asks(send(room, "x" * (MIB - 1000)), Sent)
        bob.stops_reading()
        for _ in range(5):
            bob.says(pull(room, since=0))
        await until(lambda: bob.connection.outbox_bytes >= MAX_BYTES)
        bob.connection.stop()
        assert (await bob.sees_close())[0] == 1012


async def test_a_peer_that_is_gone_while_written_to_ends_quietly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_hub(tmp_path) as hub:
        ann, bob, room = await two_in_a_room(hub)
        await bob.asks(requests.Subscribe(), Subscribed)
        bob.stops_reading()
        await ann.asks(send(room), Sent)
        bob.transport.gone = True
        bob.reads_on()
        await bob.sees_close()
        await ann.asks(send(room), Sent)
        assert "Traceback" not in caplog.text


async def test_a_name_is_taken_anew_from_each_hello(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as hub:
        keypair = Keypair.generate()
        ann = await hub.sign_in("ann", keypair, role="dev")
        room = RoomName((await open_room(ann)).room)
        await hub.sign_in("anna", keypair)
        await ann.asks(send(room), Sent)
        roster = await ann.asks(requests.Roster(room=room), RosterList)
        assert [(entry.name, entry.role) for entry in roster.entries] == [
            ("anna", None)
        ]
        pulled = await ann.asks(pull(room, since=0), Pulled)
        author = pulled.messages[0].author
        assert (author.id, author.name, author.role) == (
            AgentId(keypair.agent_id),
            "ann",
            "dev",
        )
