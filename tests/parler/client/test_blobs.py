"""Bytes over the client: uploading, fetching, and what a hub may do wrong meanwhile."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from parler.client.client import Client
from parler.client.transport import UPLOAD_FRAGMENT_BYTES, dial_websocket
from parler.errors import (
    ConnectionLost,
    DigestMismatch,
    LocalProtocolError,
    NotMember,
    RemoteProtocolError,
    TooManyBytes,
    UsageError,
)
from parler.wire import replies, requests
from parler.wire.base import Digest, RoomName
from parler.wire.records import RoomKind, RoomTarget
from tests._support.actors import stage
from tests._support.transports import WAIT, Peer, Wire, connected, refusal_of, stored

DEN = RoomTarget(room=RoomName("den"))
DATA = b"some bytes"
SHA = Digest(hashlib.sha256(DATA).hexdigest())
STORED = replies.BlobStored(id=SHA, size=len(DATA))
READY = replies.BlobReady(id=SHA)
INCOMING = replies.BlobIncoming(id=SHA, size=len(DATA), media_type="text/plain")


async def take_upload(peer: Peer) -> bytes:
    """Play a hub that stores what it is given."""
    put = await peer.hears(requests.PutBlob)
    assert (put.sha256, put.size) == (SHA, len(DATA))
    await peer.says(READY, to=put)
    data = await peer.hears_bytes()
    await peer.says(STORED, to=put)
    return data


# ------------------------------------------------------------------------------ upload


@pytest.mark.parametrize("features", [(), ("rid",)])
async def test_an_upload_sends_its_bytes_when_the_hub_is_ready(
    features: tuple[str, ...],
) -> None:
    told: list[tuple[int, int]] = []
    wire = Wire()
    async with (
        connected(wire, *features) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        put = client.put_blob(
            DEN, DATA, media_type="text/plain", progress=lambda *n: told.append(n)
        )
        putting = group.create_task(put)
        assert await take_upload(peer) == DATA
        assert (await putting).size == len(DATA)
    assert told[-1] == (len(DATA), len(DATA))


async def test_a_file_is_uploaded_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(client.put_blob(DEN, path))
        assert await take_upload(peer) == DATA
        await putting


async def test_nothing_of_ours_comes_between_where_replies_come_in_order() -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        group.create_task(client.put_blob(DEN, DATA))
        await peer.hears(requests.PutBlob)
        group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(READY)
        assert await peer.hears_bytes() == DATA
        await peer.says(STORED)
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))


async def test_a_delivery_in_the_middle_of_an_upload_disturbs_nothing() -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(client.put_blob(DEN, DATA))
        await peer.hears(requests.PutBlob)
        await peer.says(replies.Delivery(message=stored(1)))
        await peer.says(READY)
        await peer.says(replies.Delivery(message=stored(2)))
        assert await peer.hears_bytes() == DATA
        await peer.says(replies.Delivery(message=stored(3)))
        await peer.says(STORED)
        assert (await putting).id == SHA


async def test_two_uploads_go_one_after_the_other() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer), asyncio.TaskGroup() as group:
        group.create_task(client.put_blob(DEN, DATA))
        group.create_task(client.put_blob(DEN, DATA))
        put = await peer.hears(requests.PutBlob)
        group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))
        await peer.says(READY, to=put)
        assert await peer.hears_bytes() == DATA
        await peer.says(STORED, to=put)
        await take_upload(peer)


async def test_a_refused_upload_sends_no_bytes() -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(refusal_of(client.put_blob(DEN, DATA)))
        await peer.hears(requests.PutBlob)
        await peer.says(replies.Error(message="no", code="not_member"))
        assert isinstance(await putting, NotMember)
        group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))


async def test_an_upload_starts_anew_over_a_new_connection() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(client.put_blob(DEN, DATA))
        put = await peer.hears(requests.PutBlob)
        await peer.says(READY, to=put)
        await peer.hears_bytes()
        await peer.drops()
        assert await take_upload(await wire.admitted("rid")) == DATA
        await putting


async def test_bytes_whose_caller_went_away_are_sent_all_the_same() -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(client.put_blob(DEN, DATA))
        await peer.hears(requests.PutBlob)
        putting.cancel()
        await peer.says(READY)
        assert await peer.hears_bytes() == DATA
        await peer.says(STORED)
        group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))


@pytest.mark.parametrize(
    "lie",
    [
        replies.BlobStored(id=Digest("1" * 64), size=len(DATA)),
        replies.BlobStored(id=SHA, size=1),
    ],
)
async def test_a_hub_that_confirms_another_upload_is_noticed(
    lie: replies.BlobStored,
) -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        putting = group.create_task(refusal_of(client.put_blob(DEN, DATA)))
        await peer.hears(requests.PutBlob)
        await peer.says(READY)
        await peer.hears_bytes()
        await peer.says(lie)
        assert isinstance(await putting, RemoteProtocolError)


async def test_a_file_larger_than_any_hub_takes_is_not_read_whole(
    tmp_path: Path,
) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**30)
    async with connected(Wire()) as (client, _):
        assert isinstance(await refusal_of(client.put_blob(DEN, path)), TooManyBytes)


# ---------------------------------------------------------------------------- download


async def get(client: Client, **options: int) -> bytes:
    return (await client.get_blob(SHA, **options)).data


@pytest.mark.parametrize("features", [(), ("rid",)])
async def test_a_download_is_what_was_asked_for(features: tuple[str, ...]) -> None:
    told: list[tuple[int, int]] = []
    wire = Wire()
    async with (
        connected(wire, *features) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        getting = group.create_task(
            client.get_blob(SHA, progress=lambda *n: told.append(n))
        )
        frame = await peer.hears(requests.GetBlob)
        assert frame.id == SHA
        await peer.says(INCOMING, to=frame)
        await peer.says(replies.Delivery(message=stored(1)))
        await peer.says_text(DATA)
        blob = await getting
    assert (blob.digest, blob.data, blob.media_type) == (SHA, DATA, "text/plain")
    assert told[-1] == (len(DATA), len(DATA))


@pytest.mark.parametrize(
    ("announced", "sent"),
    [
        (len(DATA), DATA[::-1]),  # swapped for others of the same length
        (len(DATA), DATA + b"!"),
        (len(DATA), DATA[:-1]),
        (len(DATA), b""),
        (len(DATA) + 1, DATA),
    ],
)
async def test_a_hub_that_swaps_a_blob_is_noticed(announced: int, sent: bytes) -> None:
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        getting = group.create_task(refusal_of(get(client)))
        await peer.hears(requests.GetBlob)
        await peer.says(replies.BlobIncoming(id=SHA, size=announced))
        await peer.says_text(sent)
        error = await getting
        assert isinstance(error, DigestMismatch)
        assert error.exit_status == 7
        assert not error.retryable


async def test_a_blob_larger_than_wanted_is_read_over_and_the_connection_stays() -> (
    None
):
    async with connected(Wire()) as (client, peer), asyncio.TaskGroup() as group:
        getting = group.create_task(refusal_of(get(client, max_bytes=3)))
        await peer.hears(requests.GetBlob)
        await peer.says(INCOMING)
        assert isinstance(await getting, TooManyBytes)
        await peer.says_text(DATA)
        group.create_task(client.request(requests.Ping(), replies.Pong))
        await peer.says(replies.Pong(), to=await peer.hears(requests.Ping))


async def test_a_download_starts_anew_over_a_new_connection() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        getting = group.create_task(get(client))
        await peer.hears(requests.GetBlob)
        await peer.says(INCOMING)
        await peer.drops()
        peer = await wire.admitted()
        await peer.hears(requests.GetBlob)
        await peer.says(INCOMING)
        await peer.says_text(DATA)
        assert await getting == DATA


async def test_without_reconnect_a_lost_download_says_that_it_can_be_asked_again() -> (
    None
):
    wire = Wire()
    async with (
        connected(wire, reconnect=False) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        getting = group.create_task(refusal_of(get(client)))
        await peer.hears(requests.GetBlob)
        await peer.says(INCOMING)
        await peer.drops()
        error = await getting
        assert isinstance(error, ConnectionLost)
        assert "asked again" in error.message


@pytest.mark.parametrize("word", ["", "0" * 63, "A" * 64, "../../etc/passwd", "0" * 65])
async def test_what_is_no_digest_is_not_asked_for(word: str) -> None:
    async with connected(Wire()) as (client, peer):
        assert isinstance(await refusal_of(client.get_blob(word)), UsageError)
        assert not peer.transport.other.sent[2:]


async def test_blobs_are_no_plain_requests() -> None:
    frame = requests.GetBlob(id=SHA)
    async with connected(Wire()) as (client, _):
        error = await refusal_of(client.request(frame, replies.BlobIncoming))
        assert isinstance(error, LocalProtocolError)


# ------------------------------------------------------------------- over the real hub


@pytest.mark.parametrize("size", [0, 1, 5 * 2**20 + 3])
async def test_the_real_hub_gives_back_what_it_got(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    async with stage(tmp_path) as scene:
        ann, bob = await scene.enter("ann"), await scene.enter("bob")
        invited = await ann.client.request(
            requests.Invite(kind=RoomKind.CHANNEL), replies.Invited
        )
        await bob.client.request(
            requests.Redeem(code=invited.code), (replies.Joined, replies.JoinPending)
        )
        target = RoomTarget(room=invited.room)
        put = await ann.client.put_blob(target, data, media_type="application/pdf")
        blob = await bob.client.get_blob(put.id)
        assert (blob.data, blob.media_type) == (data, "application/pdf")


async def test_a_large_message_goes_out_in_fragments_and_comes_back_in_fragments() -> (
    None
):
    data = bytes(range(256)) * (UPLOAD_FRAGMENT_BYTES // 256 * 3) + b"end"
    heard: list[int] = []

    async def echo(socket: ServerConnection) -> None:
        pieces = [bytes(piece) async for piece in socket.recv_streaming()]
        heard.append(len(pieces))
        await socket.send(pieces)
        await socket.send("done")
        await socket.wait_closed()

    gone: list[int] = []
    come: list[int] = []
    async with (
        serve(echo, "127.0.0.1", 0, compression=None) as server,
        asyncio.timeout(WAIT),
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        transport = await dial_websocket(f"ws://127.0.0.1:{port}/ws")
        await transport.send_bytes(data, gone.append)
        assert await transport.receive(come.append) == data
        assert await transport.receive() == "done"
        await transport.close()
    assert heard[0] > 3
    assert gone == sorted(gone)
    assert come == sorted(come)
    assert gone[-1] == come[-1] == len(data)


async def test_empty_bytes_are_a_message_too() -> None:
    async def echo(socket: ServerConnection) -> None:
        await socket.send(await socket.recv())
        await socket.wait_closed()

    async with (
        serve(echo, "127.0.0.1", 0, compression=None) as server,
        asyncio.timeout(WAIT),
    ):
        port = next(iter(server.sockets)).getsockname()[1]
        transport = await dial_websocket(f"ws://127.0.0.1:{port}/ws")
        await transport.send_bytes(b"", lambda count: None)
        assert await transport.receive() == b""
        await transport.close()


async def test_a_heartbeat_does_not_cut_a_slow_download() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid", heartbeat=0.02) as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        getting = group.create_task(get(client))
        frame = await peer.hears(requests.GetBlob)
        await peer.says(INCOMING, to=frame)
        # Nothing that the hub could answer in the middle of its bytes is asked.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.transport.receive()
        await peer.says_text(DATA)
        assert await getting == DATA
