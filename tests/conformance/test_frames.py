"""Frames as such: protocol 1.1, 1.2, 1.3 and the order of checks of 3.2."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from tests._support.polling import WAIT
from tests.conformance.steps import Mesh, fresh_name, open_room

MALFORMED = {
    "empty": "",
    "blank": " ",
    "truncated": '{"op":"ping"',
    "garbage after": '{"op":"ping"} x',
    "two objects": '{"op":"ping"}{"op":"ping"}',
    "array": '["redeem","ABCDEFGH"]',
    "string": '"ping"',
    "number": "1",
    "null": "null",
    "no op": '{"room":"x"}',
    "null op": '{"op":null}',
    "number as op": '{"op":1}',
    "unknown op": '{"op":"dance"}',
    "op in capitals": '{"op":"PING"}',
    "duplicate op": '{"op":"ping","op":"ping"}',
    "duplicate field": '{"op":"roster","room":"a","room":"b"}',
    "NaN": '{"op":"presence","status":"x","y":NaN}',
    "Infinity": '{"op":"pull","room":"x","since":Infinity}',
    "lone surrogate": '{"op":"presence","status":"\\ud83d"}',
    "swapped surrogates": '{"op":"presence","status":"\\ude80\\ud83d"}',
    "single quotes": "{'op':'ping'}",
    "trailing comma": '{"op":"ping",}',
    "comment": '{"op":"ping"/**/}',
    "raw control character": '{"op":"presence","status":"a\nb"}',
    "leading zero": '{"op":"pull","room":"x","since":01}',
    "required field missing": '{"op":"pull"}',
    "required field null": '{"op":"pull","room":null}',
    "wrong type": '{"op":"pull","room":7}',
    "object for a string": '{"op":"pull","room":{}}',
    "float for an integer": '{"op":"pull","room":"x","limit":30.0}',
    "exponent for an integer": '{"op":"pull","room":"x","limit":3e1}',
    "string for an integer": '{"op":"pull","room":"x","limit":"30"}',
    "bool for an integer": '{"op":"pull","room":"x","limit":true}',
    "negative u32": '{"op":"pull","room":"x","limit":-1}',
    "overlong u32": '{"op":"pull","room":"x","limit":4294967296}',
    "negative u64": '{"op":"invite","kind":"channel","ttlSecs":-1}',
    "overlong i64": '{"op":"pull","room":"x","since":9223372036854775808}',
    "integer for a bool": '{"op":"invite","kind":"channel","requireApproval":1}',
    "unknown room kind": '{"op":"invite","kind":"party"}',
    "unknown attention": '{"op":"set_attention","attention":"asleep"}',
    "null requireApproval": '{"op":"invite","kind":"channel","requireApproval":null}',
    "null scope": '{"op":"discover","scope":null}',
    "null visibility": (
        '{"op":"register","visibility":null,'
        '"card":{"id":"x","name":"x","kind":"agent"}}'
    ),
    "unknown target kind": '{"op":"send","parts":[],"target":{"kind":"all"}}',
    "target without its name": '{"op":"send","parts":[],"target":{"kind":"room"}}',
    "target as a string": '{"op":"send","parts":[],"target":"room"}',
    "parts missing": '{"op":"send","target":{"kind":"room","room":"x"}}',
    "mentions as a string": (
        '{"op":"send","target":{"kind":"room","room":"x"},"parts":[],"mentions":"bob"}'
    ),
    "number among mentions": (
        '{"op":"send","target":{"kind":"room","room":"x"},"parts":[],"mentions":[1]}'
    ),
    "approve missing": '{"op":"resolve_join","room":"x","agent":"y"}',
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_frame_is_refused_and_the_connection_stays(
    mesh: Mesh, name: str
) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_raw_error("bad_frame", MALFORMED[name])
        await ann.ask("pong", "ping")


async def test_a_frame_nested_too_deeply_is_refused(mesh: Mesh) -> None:
    deep = "[" * 50_000 + "]" * 50_000
    target = '"target":{"kind":"room","room":"x"}'
    async with mesh.link("ann") as ann:
        for text in (
            deep,
            f'{{"op":"ping","x":{deep}}}',
            f'{{"op":"send",{target},"parts":[{{"kind":"data","data":{deep}}}]}}',
        ):
            # An unknown field need not be looked into, so `pong` is fine there.
            await ann.raw(text)
            reply = await ann.next_reply()
            assert reply["type"] in ("error", "pong")
            if reply["type"] == "error":
                assert reply["code"] in ("bad_frame", "not_member")
        await ann.ask("pong", "ping")


async def test_text_that_is_not_utf8_harms_nobody_else(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        await ann.raw_as_text(b'{"op":"presence","status":"\xff\xfe"}')
        try:
            reply = await ann.next_reply()
        except ConnectionClosed:
            assert await ann.closed() == 1007  # what RFC 6455 asks for is as good
        else:
            assert reply["code"] == "bad_frame"
        await bob.ask("pong", "ping")


async def test_unknown_fields_are_ignored(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.ask("pong", "ping", room=3, extra={"a": [1, None]}, status="x")
        await ann.ask("rooms", "rooms", kind="channel")
        await ann.ask("presence_ok", "presence", status="idle", mood="fine")


async def test_whitespace_and_the_place_of_the_tag_do_not_matter(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        text = f'\r\n\t {{ "room" : {json.dumps(room)} ,\n "op"\t: "roster" }} \n'
        await ann.raw(text)
        assert (await ann.next_reply())["type"] == "roster"


async def test_escaped_keys_and_values_mean_what_they_spell(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.raw(r'{"\u006fp":"p\u0069ng"}')
        assert (await ann.next_reply())["type"] == "pong"


async def test_optional_null_is_the_same_as_absent(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        invited = await open_room(ann, room=None, ttlSecs=None, maxUses=None)
        room = invited["room"]
        await ann.ask(
            "sent",
            "send",
            target={"kind": "room", "room": room},
            parts=[{"kind": "text", "text": "hi"}],
            mentions=None,
            replyTo=None,
            clientId=None,
        )
        nulls = {"since": None, "limit": None, "waitSecs": None, "ack": None}
        first = await ann.ask("pulled", "pull", room=room, **nulls)
        assert len(first["messages"]) == 1
        again = await ann.ask("pulled", "pull", room=room, **nulls)
        assert again["messages"] == []
        await ann.ask(
            "presence_ok", "presence", status="idle", activity=None, attention=None
        )


async def test_absent_optionals_are_omitted_not_null(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        target = {"kind": "room", "room": room}
        await ann.ask("sent", "send", target=target, parts=[])
        pulled = await ann.ask("pulled", "pull", room=room, since=0)
        assert "null" not in ann.last_text
        assert set(pulled["messages"][0]) == {
            *("seq", "id", "room", "from", "parts", "ts")
        }
        entries = (await ann.ask("roster", "roster", room=room))["entries"]
        assert "null" not in ann.last_text
        assert set(entries[0]) >= {"id", "name", "status", "lastSeen"}


async def test_pipelined_requests_are_answered_in_order(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        asked = ["ping", "rooms", "roster", "dance", "ping", "subscribe", "pull"]
        for op in asked * 3:
            await ann.post(op, room=room)
        heard = [(await ann.next_reply())["type"] for _ in asked * 3]
        once = ["pong", "rooms", "roster", "error", "pong", "subscribed", "pulled"]
        assert heard == once * 3


async def test_deliveries_never_stand_for_a_reply(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        sends = [
            {
                "target": {"kind": "room", "room": room},
                "parts": [{"kind": "text", "text": str(number)}],
            }
            for number in range(30)
        ]
        for fields in sends:
            await ann.post("send", **fields)
            await bob.post("roster", room=room)
            await bob.post("ping")
        for _ in sends:
            assert (await ann.next_reply())["type"] == "sent"
            assert (await bob.next_reply())["type"] == "roster"
            assert (await bob.next_reply())["type"] == "pong"
        heard = [await bob.next_delivery() for _ in sends]
        assert [part["parts"][0]["text"] for part in heard] == [
            str(number) for number in range(30)
        ]


async def test_binary_nobody_reserved_ends_the_connection(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        await ann.expect_raw_error("protocol", b"bytes")
        await ann.closed()
        await bob.ask("pong", "ping")


@pytest.mark.parametrize("signed_in", [True, False])
async def test_an_oversized_text_frame_ends_the_connection(
    mesh: Mesh, signed_in: bool
) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another limit")
    async with mesh.link("ann", sign_in=signed_in) as ann:
        await ann.raw('{"op":"ping","x":"' + "x" * (2 * 1024 * 1024) + '"}')
        reply = await ann.next_reply()
        assert reply["code"] == "too_large"
        await ann.closed()
    async with mesh.link("bob") as bob:
        await bob.ask("pong", "ping")


async def test_a_text_frame_of_two_mebibytes_is_read(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("that hub may be configured with another limit")
    head, tail = '{"op":"ping","x":"', '"}'
    filler = "x" * (2 * 1024 * 1024 - len(head) - len(tail))
    async with mesh.link("ann") as ann:
        await ann.raw(head + filler + tail)
        assert (await ann.next_reply())["type"] == "pong"


async def test_a_websocket_ping_is_answered(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        pong = await ann.websocket.ping(b"still there?")
        await asyncio.wait_for(pong, WAIT)


async def test_the_socket_address_wants_an_upgrade(mesh: Mesh) -> None:
    address = urlsplit(mesh.hub.url)
    if address.scheme != "ws":
        pytest.skip("plain HTTP is only spoken to a plain hub")
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port or 80
        )
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: hub.localhost\r\nConnection: close\r\n\r\n"
        )
        await writer.drain()
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert status.split()[1] == b"400"


async def test_checks_come_in_the_documented_order(mesh: Mesh) -> None:
    long = "x" * 4097
    async with mesh.link("ann", sign_in=False) as ann:
        await ann.expect_raw_error("bad_frame", '{"op":"pull","room":')
        await ann.expect_error("unauthenticated", "pull", room=long)
        await ann.sign_in()
        await ann.expect_error("too_large", "pull", room=long)
        await ann.expect_error("not_member", "pull", room=fresh_name())


async def test_an_error_names_itself(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        error = await ann.expect_error("not_member", "roster", room=fresh_name())
        assert set(error) <= {"type", "message", "code"}
