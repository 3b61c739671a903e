"""Blobs: announcing, uploading, fetching (protocol 8)."""

import hashlib
import secrets
from collections.abc import Awaitable, Callable

import pytest

from tests._support.plainclient import Frame, Link
from tests.conformance.steps import Mesh, join, open_room

MAX_BLOB = 25 * 2**20


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def announce(link: Link, room: str, data: bytes, **fields: object) -> Frame:
    return await link.ask(
        "blob_ready",
        "put_blob",
        target={"kind": "room", "room": room},
        **({"sha256": digest(data), "size": len(data)} | fields),
    )


async def upload(link: Link, room: str, data: bytes, **fields: object) -> Frame:
    ready = await announce(link, room, data, **fields)
    assert ready["id"] == digest(data)
    await link.raw(data)
    stored = await link.next_reply()
    assert stored == {"type": "blob_stored", "id": digest(data), "size": len(data)}
    return stored


async def fetch(link: Link, blob: str) -> tuple[Frame, bytes]:
    incoming = await link.ask("blob_incoming", "get_blob", id=blob)
    return incoming, await link.next_binary()


@pytest.mark.parametrize("size", [0, 1, 70_000, 5 * 2**20 + 3, MAX_BLOB])
async def test_a_blob_comes_back_as_it_was(mesh: Mesh, size: int) -> None:
    data = secrets.token_bytes(size)
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await upload(ann, room, data, mediaType="application/pdf")
        incoming, received = await fetch(bob, digest(data))
        assert incoming["size"] == size
        assert incoming["mediaType"] == "application/pdf"
        assert digest(received) == digest(data)


async def test_a_blob_over_the_limit_is_refused(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await ann.expect_error(
            "too_large",
            "put_blob",
            target={"kind": "room", "room": room},
            sha256="0" * 64,
            size=MAX_BLOB + 1,
        )


async def test_bytes_of_another_length_are_refused_and_the_connection_stays(
    mesh: Mesh,
) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await announce(ann, room, b"abc")
        await ann.expect_raw_error("protocol", b"abcd")
        await upload(ann, room, b"abc")


async def test_bytes_of_another_digest_are_refused(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await announce(ann, room, b"abc")
        await ann.expect_raw_error("protocol", b"abd")
        await ann.ask("pong", "ping")


async def test_an_upper_case_digest_never_matches(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await announce(ann, room, b"abc", sha256=digest(b"abc").upper())
        await ann.expect_raw_error("protocol", b"abc")


async def test_requests_may_come_between_announcing_and_the_bytes(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, _bob), room):
        await announce(ann, room, b"abc")
        await ann.ask("pong", "ping")
        await ann.send_text(room, "meanwhile")
        await ann.raw(b"abc")
        assert (await ann.next_reply())["type"] == "blob_stored"


async def test_a_second_announcement_replaces_the_first(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await announce(ann, room, b"first")
        await announce(ann, room, b"second")
        await ann.raw(b"second")
        assert (await ann.next_reply())["id"] == digest(b"second")


async def test_bytes_nobody_announced_end_the_connection(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        await upload(ann, room, b"abc")
        await ann.expect_raw_error("protocol", b"abc")
        await ann.closed()


async def test_a_stranger_cannot_upload_into_a_room(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as (_, room), mesh.link("eve") as eve:
        await eve.expect_error(
            "not_member",
            "put_blob",
            target={"kind": "room", "room": room},
            sha256=digest(b"abc"),
            size=3,
        )


async def test_a_stranger_cannot_fetch_a_blob_by_its_digest(mesh: Mesh) -> None:
    data = secrets.token_bytes(100)
    async with mesh.room_of("ann") as ((ann,), room), mesh.link("eve") as eve:
        await upload(ann, room, data)
        await eve.expect_error(
            ("unknown_blob", "not_authorized"), "get_blob", id=digest(data)
        )


@pytest.mark.extension
async def test_a_stranger_does_not_learn_whether_a_blob_exists(mesh: Mesh) -> None:
    data = secrets.token_bytes(100)
    async with mesh.room_of("ann") as ((ann,), room), mesh.link("eve") as eve:
        await upload(ann, room, data)
        there = await eve.request("get_blob", id=digest(data))
        nowhere = await eve.request("get_blob", id=digest(data + b"x"))
        assert there == nowhere


async def test_a_former_member_cannot_fetch(mesh: Mesh) -> None:
    data = secrets.token_bytes(100)
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await upload(ann, room, data)
        await ann.ask("room_deleted", "delete_room", room=room)
        await bob.expect_error(
            ("unknown_blob", "not_authorized"), "get_blob", id=digest(data)
        )


async def test_one_blob_may_belong_to_several_rooms(mesh: Mesh) -> None:
    data = secrets.token_bytes(100)
    async with mesh.room_of("ann") as ((ann,), room), mesh.link("bob") as bob:
        await upload(ann, room, data, mediaType="text/plain")
        other = await open_room(ann)
        await join(bob, other["code"])
        await upload(ann, other["room"], data, mediaType="image/png")
        incoming, received = await fetch(bob, digest(data))
        assert received == data
        assert incoming["mediaType"] == "image/png"


async def test_unknown_blobs_are_said_to_be_unknown(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error("unknown_blob", "get_blob", id="0" * 64)
        await ann.expect_error("unknown_blob", "get_blob", id="../../etc/passwd")


async def test_a_delivery_never_comes_between_a_blob_and_its_bytes(mesh: Mesh) -> None:
    data = secrets.token_bytes(3 * 2**20)
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await upload(ann, room, data)
        await bob.ask("subscribed", "subscribe")
        await bob.post("get_blob", id=digest(data))
        for number in range(5):
            await ann.send_text(room, str(number))
        assert (await bob.next_reply())["type"] == "blob_incoming"
        if not bob.binaries:  # the very next frame must be the bytes
            received = await bob.websocket.recv()
        else:
            received = bob.binaries.popleft()
        assert received == data
        assert (await bob.next_delivery())["seq"] > 0


@pytest.mark.extension
async def test_both_replies_to_an_upload_carry_its_rid(mesh: Mesh) -> None:
    async with mesh.room_of("ann") as ((ann,), room):
        ready = await announce(ann, room, b"abc", rid="up")
        assert ready["rid"] == "up"
        await ann.raw(b"abc")
        assert (await ann.next_reply())["rid"] == "up"


Ends = Callable[[Link, Link, str], Awaitable[object]]


async def _is_removed(owner: Link, link: Link, room: str) -> None:
    await owner.ask("member_removed", "remove_member", room=room, agent=link.id)


async def _leaves(owner: Link, link: Link, room: str) -> None:
    await link.ask("left", "leave", room=room)


async def _loses_the_room(owner: Link, link: Link, room: str) -> None:
    await owner.ask("room_deleted", "delete_room", room=room)


ENDS = [_is_removed, _leaves, _loses_the_room]


@pytest.mark.extension("membership")
@pytest.mark.parametrize("ends", ENDS)
async def test_a_download_ends_with_the_right_to_it(mesh: Mesh, ends: Ends) -> None:
    data = secrets.token_bytes(MAX_BLOB)
    agent = mesh.agent("bob")
    async with (
        mesh.link("ann") as ann,
        mesh.link(agent) as bob,
        mesh.link(agent) as other,
    ):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        await upload(ann, invited["room"], data)
        await bob.ask("blob_incoming", "get_blob", id=digest(data))
        bob.websocket.transport.pause_reading()
        await bob.post("get_blob", id=digest(data))  # a second one waits behind it
        await ends(ann, other, invited["room"])
        bob.websocket.transport.resume_reading()
        assert await bob.closed() in (1006, 1008)
        assert not bob.binaries
        await other.expect_error("unknown_blob", "get_blob", id=digest(data))


@pytest.mark.extension("membership")
async def test_a_download_goes_on_while_another_room_gives_the_right(
    mesh: Mesh,
) -> None:
    data = secrets.token_bytes(MAX_BLOB)
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        second = await open_room(ann)
        await join(bob, second["code"])
        await upload(ann, room, data)
        await upload(ann, second["room"], data)
        await bob.ask("blob_incoming", "get_blob", id=digest(data))
        bob.websocket.transport.pause_reading()
        await _is_removed(ann, bob, room)
        bob.websocket.transport.resume_reading()
        assert digest(await bob.next_binary()) == digest(data)


@pytest.mark.extension("membership")
@pytest.mark.parametrize("ends", ENDS)
async def test_an_upload_of_who_is_out_is_not_stored(mesh: Mesh, ends: Ends) -> None:
    data = secrets.token_bytes(70_000)
    agent = mesh.agent("bob")
    async with (
        mesh.link("ann") as ann,
        mesh.link(agent) as bob,
        mesh.link(agent) as other,
    ):
        invited = await open_room(ann)
        await join(bob, invited["code"])
        await announce(bob, invited["room"], data)
        await ends(ann, other, invited["room"])
        await bob.expect_raw_error("not_member", data)
        await ann.expect_error("unknown_blob", "get_blob", id=digest(data))
