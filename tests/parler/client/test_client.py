"""What a program gets from a client: sending, reading, following, notifications."""

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from parler.client.client import MAX_NOTES, Client, Gap, connect
from parler.errors import (
    ConfigError,
    LocalProtocolError,
    NotMember,
    RemoteProtocolError,
    UsageError,
)
from parler.identity.known_hubs import KnownHubs, names_one_hub
from parler.identity.message_signing import Signature, check_message, sign_parts
from parler.identity.seen_messages import SeenMessages, Sighting, Standing
from parler.identity.signing import Keypair
from parler.wire import replies, requests
from parler.wire.base import MessageId, RoomName
from parler.wire.parts import TextPart
from parler.wire.records import DmTarget, RoomTarget, StoredMessage
from tests._support.polling import WAIT
from tests._support.transports import (
    HUB,
    ME,
    NONCE,
    Peer,
    Wire,
    connected,
    refusal_of,
    stored,
)

ANN = Keypair(b"a" * 32)
DEN = RoomName("den")
SENT = replies.Sent(id=MessageId("m1"), seq=1, room=DEN)


def pulled(*messages: StoredMessage, cursor: int = 0) -> replies.Pulled:
    last = messages[-1].seq if messages else cursor
    return replies.Pulled(room=DEN, messages=list(messages), cursor=last)


async def answer_pull(peer: Peer, *messages: StoredMessage) -> requests.Pull:
    """Wait for a pull that reads, and answer it."""
    pull = await peer.hears(requests.Pull)
    assert pull.limit != 0, "it acknowledges"
    await peer.says(pulled(*messages), to=pull)
    return pull


async def take_ack(peer: Peer) -> int | None:
    """Wait for an acknowledgement, and confirm it."""
    pull = await peer.hears(requests.Pull)
    assert pull.limit == 0, "it reads"
    await peer.says(pulled(cursor=pull.ack or 0), to=pull)
    return pull.ack


# ----------------------------------------------------------------------------- sending


@pytest.mark.parametrize("target", [RoomTarget(room=DEN), DmTarget(agent=ANN.agent_id)])
async def test_a_send_is_signed_for_its_target_and_has_a_client_id(
    target: RoomTarget | DmTarget,
) -> None:
    wire = Wire()
    async with (
        connected(wire, now=lambda: 4711) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        parts = [TextPart(text="hi")]
        sending = group.create_task(
            client.send(target, parts, mentions=["ann"], reply_to="m0")
        )
        frame = await peer.hears(requests.Send)
        await peer.says(SENT)
        assert await sending == SENT
    assert (frame.target, frame.mentions, frame.reply_to) == (target, ["ann"], "m0")
    assert frame.client_id
    room = "den" if isinstance(target, RoomTarget) else "dm.x"
    message = stored(1, room=room, author=ME.agent_id, parts=frame.parts)
    message.reply_to = "m0"
    here = client.hub_token
    assert here
    assert (
        check_message(message, reader=ANN.agent_id, hub_token=here) is Signature.VALID
    )
    there = check_message(message, reader=ANN.agent_id, hub_token="0" * 12)
    assert there is Signature.REPLAYED
    without = check_message(stripped(message), reader=ANN.agent_id, hub_token=here)
    assert without is Signature.INVALID
    assert b'"ts":4711' in bytes(frame.parts)


async def test_a_bind_address_that_many_hubs_share_is_not_signed_as_a_hub() -> None:
    """Such a hub may be moved, and what was said there is still its authors' word."""
    token = hashlib.sha256(b"parler://127.0.0.1:7070").hexdigest()[:12]
    assert not names_one_hub(token, HUB)
    assert names_one_hub(NONCE.split(":")[2], HUB)
    wire = Wire()
    nonce = NONCE.replace(NONCE.split(":")[2], token)
    block = connect(HUB, ME, name="me", dial=wire.dial, heartbeat=None)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(block.__aenter__())
        peer = await wire.peer()
        await peer.admits(nonce=nonce)
    client = entering.result()
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(client.send(RoomTarget(room=DEN), []))
        frame = await peer.hears(requests.Send)
        await peer.says(SENT)
        await sending
    await block.__aexit__(None, None, None)
    assert client.hub_token == token
    assert b"hub" not in bytes(frame.parts)


async def test_a_callers_client_id_is_kept_and_a_missing_one_is_added() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        target = RoomTarget(room=DEN)
        group.create_task(client.send(target, [], client_id="mine"))
        frame = await peer.hears(requests.Send)
        assert frame.client_id == "mine"
        await peer.says(SENT)
        bare = requests.Send(target=target, parts=frame.parts)
        group.create_task(client.request(bare, replies.Sent))
        assert (await peer.hears(requests.Send)).client_id
        await peer.says(SENT)


async def test_a_request_names_all_the_replies_it_may_get() -> None:
    wire = Wire()
    redeem = requests.Redeem(code="ABCD1234")  # type: ignore[arg-type]
    joined = replies.Joined(room=DEN, kind="channel")  # type: ignore[arg-type]
    async with connected(wire) as (client, peer):
        for wrong in (replies.Joined, replies.Pong):
            error = await refusal_of(client.request(redeem, wrong))
            assert isinstance(error, LocalProtocolError)
        async with asyncio.TaskGroup() as group:
            for both in (
                (replies.Joined, replies.JoinPending),
                replies.Joined | replies.JoinPending,
            ):
                asked = group.create_task(client.request(redeem, both))
                await peer.hears(requests.Redeem)
                await peer.says(joined)
                assert (await asked).room == "den"


# ----------------------------------------------------------------------------- reading


async def test_pulled_messages_are_judged() -> None:
    wire = Wire()
    forged = b'[{"kind":"text","text":"x"},{"kind":"com.parler.sig","sig":"no"}]'
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        pulling = group.create_task(client.pull(DEN))
        await answer_pull(peer, stored(3), stored(5, parts=forged))
        batch = await pulling
    assert [message.signature for message in batch.messages] == [
        Signature.UNSIGNED,
        Signature.INVALID,
    ]
    assert (batch.room, batch.cursor) == ("den", 5)


@pytest.mark.parametrize("named", [False, True], ids=["unnamed", "named"])
async def test_a_copied_message_is_replayed_wherever_it_is_put(
    tmp_path: Path, named: bool
) -> None:
    """Read here, then on another hub, and here again, by three processes."""
    token = NONCE.split(":")[2] if named else None
    parts = sign_parts(
        ANN, RoomTarget(room=DEN), [TextPart(text="go")], ts=7, uid="u", hub_token=token
    )
    original = stored(3, author=ANN.agent_id, parts=parts)
    copy = stored(4, author=ANN.agent_id, parts=parts)

    async def read(*several: StoredMessage, elsewhere: bool = False) -> list[Signature]:
        seen = SeenMessages(tmp_path)
        async with connected(Wire(), seen=seen) as (client, peer):
            if elsewhere:
                client.hub, client.hub_token = "wss://other.example", "f" * 12
            async with asyncio.TaskGroup() as group:
                pulling = group.create_task(client.pull(DEN))
                await answer_pull(peer, *several)
            messages = [*(await pulling).messages, *map(client.judge, several)]
        return [message.signature for message in messages]

    assert await read(original) == [Signature.VALID] * 2
    assert await read(original, elsewhere=True) == [Signature.REPLAYED] * 2
    assert await read(copy) == [Signature.REPLAYED] * 2
    assert await read(original) == [Signature.VALID] * 2


HERE, AT_EVES = (HUB, NONCE.split(":")[2]), ("wss://eve.example", "f" * 12)


@asynccontextmanager
async def reading_at(
    place: tuple[str, str], folder: Path
) -> AsyncIterator[Callable[[StoredMessage], Signature]]:
    """Judge as a new process does that is connected there."""
    async with connected(Wire(), seen=SeenMessages(folder)) as (client, _):
        client.hub, client.hub_token = place
        yield lambda message: client.judge(message).signature


def signed_here(seq: int = 3) -> StoredMessage:
    raw = sign_parts(
        ANN,
        RoomTarget(room=DEN),
        [TextPart(text="go")],
        ts=7,
        uid="u",
        hub_token=HERE[1],
    )
    return stored(seq, author=ANN.agent_id, parts=raw)


def stripped(message: StoredMessage) -> StoredMessage:
    """What anybody who read it can make of it: the hub's name is not in `sig`."""
    *others, sig = json.loads(bytes(message.parts))
    del sig["hub"], sig["hubSig"]
    parts = msgspec.Raw(json.dumps([*others, sig]).encode())
    return msgspec.structs.replace(message, parts=parts)


async def test_a_stripped_copy_that_was_read_first_takes_nothing_from_the_original(
    tmp_path: Path,
) -> None:
    original = signed_here()
    async with reading_at(AT_EVES, tmp_path) as judge:
        assert judge(stripped(original)) is Signature.VALID  # as an older client's
    async with reading_at(HERE, tmp_path) as judge:
        assert judge(original) is Signature.VALID
        assert judge(signed_here(seq=9)) is Signature.REPLAYED
    async with reading_at(AT_EVES, tmp_path) as judge:
        assert judge(stripped(original)) is Signature.REPLAYED
    async with reading_at(HERE, tmp_path) as judge:
        assert judge(original) is Signature.VALID


async def test_a_hub_that_was_given_a_url_keeps_what_was_said_there(
    tmp_path: Path,
) -> None:
    """Its token was of its id, and is of its URL now; both messages were unread."""
    known = KnownHubs(tmp_path / "known_hubs.json")
    of_its_id, of_its_url = "a" * 12, hashlib.sha256(HUB.encode()).hexdigest()[:12]
    raw = sign_parts(ANN, RoomTarget(room=DEN), [], ts=7, uid="u", hub_token=of_its_id)
    unread = stored(3, author=ANN.agent_id, parts=raw)
    foreign = signed_here(seq=4)

    async def read(token: str) -> list[Signature]:
        wire = Wire()
        block = connect(HUB, ME, name="me", dial=wire.dial, known_hubs=known)
        async with asyncio.TaskGroup() as group:
            entering = group.create_task(block.__aenter__())
            peer = await wire.peer()
            await peer.admits(nonce=NONCE.replace(NONCE.split(":")[2], token))
        client = entering.result()
        found = [client.judge(one).signature for one in (unread, foreign)]
        await block.__aexit__(None, None, None)
        return found

    assert await read(of_its_id) == [Signature.VALID, Signature.REPLAYED]
    assert await read(of_its_url) == [Signature.VALID, Signature.REPLAYED]


async def test_what_was_read_on_this_machine_is_a_replay_at_its_other_hubs(
    tmp_path: Path,
) -> None:
    original = signed_here()
    async with reading_at(("ws://127.0.0.1:7070", HERE[1]), tmp_path) as judge:
        assert judge(original) is Signature.VALID
    for other in ("ws://127.0.0.1:9999", "ws://127.0.0.1:7070"):
        async with reading_at((other, "c" * 12), tmp_path) as judge:
            assert judge(original) is Signature.REPLAYED
    async with reading_at(("ws://127.0.0.1:9999", HERE[1]), tmp_path) as judge:
        assert judge(original) is Signature.VALID


async def test_a_pull_that_waits_for_the_memory_holds_up_nothing_else(
    tmp_path: Path,
) -> None:
    """Another process holds it while it writes."""
    let_go = threading.Event()

    class Held(SeenMessages):
        def note(
            self, sightings: Sequence[Sighting], *, token: str, url: str
        ) -> list[Standing]:
            assert let_go.wait(WAIT), "the loop stood still"
            return super().note(sightings, token=token, url=url)

    async with (
        connected(Wire(), seen=Held(tmp_path)) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        pulling = group.create_task(client.pull(DEN))
        await answer_pull(peer, signed_here())
        asking = group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))
        await asking
        let_go.set()
    assert [message.signature for message in pulling.result().messages] == ["valid"]


async def test_a_pull_holds_the_cursor_unless_told_otherwise() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        group.create_task(client.pull(DEN))
        held = await answer_pull(peer)
        group.create_task(client.pull(DEN, ack=7, limit=3, wait_secs=2))
        moved = await answer_pull(peer)
        group.create_task(client.pull(DEN, since=-1, ack=7, wait_secs=2))
        read = await answer_pull(peer)
    assert (held.since, held.wait_secs, held.ack) == (None, None, 0)
    assert (moved.ack, moved.limit, moved.wait_secs) == (7, 3, 2)
    assert (read.since, read.ack, read.wait_secs) == (-1, None, None)


async def test_acknowledging_is_done_when_the_hub_has_confirmed_it() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        pulling = group.create_task(client.pull(DEN))
        await answer_pull(peer, stored(3))
        acking = group.create_task((await pulling).ack())
        pull = await peer.hears(requests.Pull)
        assert (pull.limit, pull.ack) == (0, 3)
        assert not acking.done()
        await peer.says(pulled(cursor=3))
        await acking


@pytest.mark.parametrize(
    "lie",
    [
        replies.Pulled(room=RoomName("attic"), messages=[], cursor=0),
        pulled(stored(3), stored(4, room="attic")),
        pulled(stored(4), stored(3)),
        pulled(stored(4), stored(4)),
        pulled(stored(2)),
        replies.Pulled(room=DEN, messages=[stored(3)], cursor=9),
        replies.Pulled(room=DEN, messages=[stored(3)], cursor=2),
    ],
    ids=["room", "message", "backwards", "twice", "before", "skips", "repeats"],
)
async def test_a_hub_that_answers_with_something_else_is_noticed(
    lie: replies.Pulled,
) -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        pulling = group.create_task(refusal_of(client.pull(DEN, since=2)))
        await peer.hears(requests.Pull)
        await peer.says(lie)
        assert isinstance(await pulling, RemoteProtocolError)


# --------------------------------------------------------------------------- following


async def test_follow_goes_on_from_what_was_acknowledged() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(anext(batches))
        pull = await answer_pull(peer, stored(3), stored(4))
        assert (pull.ack, pull.wait_secs) == (0, 25)
        acking = group.create_task((await first).ack())
        assert await take_ack(peer) == 4
        await acking
        second = group.create_task(anext(batches))
        assert (await answer_pull(peer, stored(6))).ack == 4
        assert (await second).cursor == 6


async def test_a_batch_that_was_not_acknowledged_comes_again() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(3):
            again = group.create_task(anext(batches))
            assert (await answer_pull(peer, stored(3))).ack == 0
            assert (await again).cursor == 3


async def test_follow_asks_again_after_an_empty_parked_pull() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        aclosing(client.follow(DEN, wait_secs=1)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        await answer_pull(peer)
        await answer_pull(peer)
        await answer_pull(peer, stored(1))
        assert (await batch).cursor == 1


async def test_follow_outlives_lost_connections() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        for _ in range(3):
            await peer.hears(requests.Pull)
            await peer.drops()
            peer = await wire.admitted("rid")
        await answer_pull(peer, stored(1))
        assert (await batch).cursor == 1


async def test_follow_tries_again_after_an_error_that_may_pass() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        slow = replies.Error(message="slow down", code="rate_limited")
        await peer.says(slow, to=await peer.hears(requests.Pull))
        await answer_pull(peer, stored(1))
        assert (await batch).cursor == 1


async def test_follow_ends_with_a_refusal() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer), asyncio.TaskGroup() as group:
        batch = group.create_task(refusal_of(anext(client.follow(DEN))))
        gone = replies.Error(message="not a member", code="not_member")
        await peer.says(gone, to=await peer.hears(requests.Pull))
        assert isinstance(await batch, NotMember)


async def test_follow_ends_where_lost_connections_are_not_replaced() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid", reconnect=False) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(refusal_of(anext(client.follow(DEN))))
        await peer.hears(requests.Pull)
        await peer.drops()
        assert "lost" in str(await batch)


async def test_without_rid_follow_waits_for_pushes_and_parks_nothing() -> None:
    wire = Wire()
    async with (
        connected(wire) as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        await peer.hears(requests.Subscribe)
        await peer.says(replies.Subscribed())
        assert (await answer_pull(peer)).wait_secs is None
        await peer.says(replies.Delivery(message=stored(8, room="attic")))
        await peer.says(replies.Delivery(message=stored(9)))
        await answer_pull(peer, stored(9))
        assert (await batch).cursor == 9


async def test_without_rid_follow_looks_again_after_a_new_connection() -> None:
    wire = Wire()
    async with (
        connected(wire, events=["room"]) as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        await answer_pull(peer)
        await peer.drops()
        peer = await wire.admitted(subscribes=True)
        await answer_pull(peer, stored(9))
        assert (await batch).cursor == 9


async def test_without_rid_follow_sees_our_own_messages_at_once() -> None:
    wire = Wire()
    async with (
        connected(wire, events=["room"]) as (client, peer),
        aclosing(client.follow(DEN)) as batches,
        asyncio.TaskGroup() as group,
    ):
        batch = group.create_task(anext(batches))
        await answer_pull(peer)
        group.create_task(client.send(RoomTarget(room=DEN), [TextPart(text="x")]))
        await peer.hears(requests.Send)
        await peer.says(SENT)
        await answer_pull(peer, stored(1))
        assert (await batch).cursor == 1


# ----------------------------------------------------------------------- notifications


async def test_notifications_are_kept_from_the_start_and_end_with_the_block() -> None:
    wire = Wire()
    heard: list[object] = []
    enough = asyncio.Event()

    async def listen(client: Client) -> None:
        async for note in client.notifications():
            heard.append(type(note))
            if len(heard) == 2:
                enough.set()

    async with asyncio.TaskGroup() as group, connected(wire) as (client, peer):
        await peer.says(replies.Delivery(message=stored(1)))
        await peer.says(replies.Event(event="member", room=DEN))
        listening = group.create_task(listen(client))
        await enough.wait()
    assert listening.done()
    assert heard[:2] == [replies.Delivery, replies.Event]


async def test_a_slow_reader_loses_the_oldest_notifications_and_is_told() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer):
        for seq in range(MAX_NOTES + 10):
            await peer.says(replies.Delivery(message=stored(seq)))
        async with asyncio.TaskGroup() as group:  # all of them were read before this
            group.create_task(client.pull(DEN))
            await answer_pull(peer)
        notes = client.notifications()
        assert isinstance(await anext(notes), Gap)
        rest = [await anext(notes) for _ in range(MAX_NOTES - 1)]
        seqs = [n.message.seq for n in rest if isinstance(n, replies.Delivery)]
        assert seqs == list(range(11, MAX_NOTES + 10))


async def test_notifications_have_one_reader() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer):
        await peer.says(replies.Delivery(message=stored(1)))
        async with aclosing(client.notifications()) as notes:
            await anext(notes)
            error = await refusal_of(anext(client.notifications()))
            assert isinstance(error, LocalProtocolError)
        await peer.says(replies.Delivery(message=stored(2)))
        await anext(client.notifications())


async def test_notifications_raise_why_the_connection_is_gone_for_good() -> None:
    wire = Wire()
    async with connected(wire, reconnect=False) as (client, peer):
        await peer.drops()

        async def listen() -> None:
            async for _ in client.notifications():
                pass

        assert "lost" in str(await refusal_of(listen()))


async def test_a_pushed_message_can_be_judged() -> None:
    wire = Wire()
    async with connected(wire) as (client, _):
        assert client.judge(stored(1)).signature is Signature.UNSIGNED


# -------------------------------------------------------------------------- connecting


@pytest.mark.parametrize("hub", ["", "ftp://x", "http://", "ws://a b"])
def test_a_text_that_names_no_hub_is_a_usage_error(hub: str) -> None:
    with pytest.raises(UsageError):
        connect(hub, ME, name="me")


@pytest.mark.parametrize("hub", ["ws://hub.example.org", "hub.example.org", "8.8.8.8"])
def test_nothing_is_dialled_in_the_clear_beyond_this_network(hub: str) -> None:
    with pytest.raises(ConfigError, match="without encryption"):
        connect(hub, ME, name="me")
    connect(hub, ME, name="me", allow_plain=True)


async def test_the_secret_goes_out_with_the_proof_and_the_url_is_normalised() -> None:
    wire = Wire()

    async def admit() -> requests.Hello:
        return await (await wire.peer()).admits("rid", "events")

    async with asyncio.TaskGroup() as group:
        admitting = group.create_task(admit())
        block = connect(
            "http://[::1]:1/", ME, name="me", role="dev", secret="s3", dial=wire.dial
        )
        async with block as client:
            proof = await admitting
            assert client.features == {"rid", "events"}
            assert (client.hub, client.agent_id) == ("http://[::1]:1/", ME.agent_id)
    assert (proof.secret, proof.role, proof.name) == ("s3", "dev", "me")
    assert wire.dialled == ["ws://[::1]:1/ws"]
