"""Sending to rooms: protocol 5.1, 5.2, the parts of 3.1, and `clientId`."""

import json
import uuid
from typing import Any

import pytest

from tests._support.plainclient import signature_state, texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    fresh_name,
    join,
    open_room,
    pull,
    room_info,
    stored_cursor,
)


async def test_sent_names_the_stored_message(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        sent = await ann.send_text(room, "hi")
        assert sent["room"] == room
        (message,) = await backlog(bob, room)
        assert (message["id"], message["seq"]) == (sent["id"], sent["seq"])
        assert message["room"] == room
        assert uuid.UUID(message["id"]).version == 7
        assert type(message["ts"]) is int
        assert message["from"] == {"id": ann.id, "name": "ann"}
        assert signature_state(message) == "valid"


async def test_seq_is_one_rising_counter_over_all_rooms(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        rooms = [(await open_room(ann))["room"] for _ in range(3)]
        seqs = [(await ann.send_text(room, "x"))["seq"] for room in rooms * 3]
        assert seqs == sorted(set(seqs))


async def test_a_message_carries_name_and_role_of_the_hello_it_was_sent_under(
    mesh: Mesh,
) -> None:
    agent = mesh.agent("ann", "planner")
    renamed = mesh.agent("anna", seed=agent.seed)
    async with mesh.link(agent) as one:
        room = (await open_room(one))["room"]
        await one.send_text(room, "as ann")
        async with mesh.link(renamed) as two:
            await two.send_text(room, "as anna")
        await one.send_text(room, "as ann again")
        authors = [message["from"] for message in await backlog(one, room)]
    named = {"id": agent.id, "name": "ann", "role": "planner"}
    assert authors == [named, {"id": agent.id, "name": "anna"}, named]


@pytest.mark.parametrize("known", [True, False], ids=["foreign", "unknown"])
async def test_only_members_send_to_a_room(mesh: Mesh, known: bool) -> None:
    async with mesh.links("ann", "mallory") as (ann, mallory):
        room = (await open_room(ann))["room"] if known else fresh_name()
        target = {"kind": "room", "room": room}
        await mallory.expect_error("not_member", "send", target=target, parts=[])


async def test_own_messages_come_back_unread_and_do_not_move_the_cursor(
    mesh: Mesh,
) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.send_text(room, "note to myself")
        info = await room_info(ann, room)
        assert info is not None
        assert info["unread"] == 1
        if mesh.hub.ours:
            assert info["unreadOwn"] == 1
        assert await stored_cursor(ann, room) == 0
        assert texts((await pull(ann, room))["messages"]) == ["note to myself"]


# ------------------------------------------------------------------------------- parts

KEPT: dict[str, list[Any]] = {
    "none": [],
    "text": [{"kind": "text", "text": 'héllo 👋\n\u2028 \x7f " \\ /'}],
    "empty text": [{"kind": "text", "text": ""}],
    "nul": [{"kind": "text", "text": "a\x00b"}],
    "data object": [{"kind": "data", "data": {"b": [1, None, True], "a": {"é": ""}}}],
    "data null": [{"kind": "data", "data": None}],
    "data scalar": [{"kind": "data", "data": 7}],
    "numbers": [
        {"kind": "data", "data": [0, -1, 1.5, 1e21, 2**64 - 1, -(2**63), 1e-7]}
    ],
    "extension": [{"kind": "com.example.thing", "x": {"y": [None]}, "kind2": "a"}],
    "bare extension": [{"kind": "a.b"}],
    "extension with capitals": [{"kind": "Com.Ex-Ample.9", "text": 5}],
    "unknown of ours": [{"kind": "com.parler.nothing-yet", "data": None}],
    "several": [
        {"kind": "text", "text": "1"},
        {"kind": "text", "text": "1"},
        {"kind": "com.parler.handoff", "next": "build", "summary": "done", "to": "web"},
    ],
    "false signature": [
        {"kind": "text", "text": "x"},
        {"kind": "com.parler.sig", "sig": "no"},
    ],
}


@pytest.mark.parametrize("name", KEPT)
async def test_parts_come_back_as_they_were_sent(mesh: Mesh, name: str) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        target = {"kind": "room", "room": room}
        await ann.ask("sent", "send", target=target, parts=KEPT[name])
        (message,) = await backlog(bob, room)
        assert message["parts"] == KEPT[name]


REFUSED: dict[str, Any] = {
    "no kind": {"text": "x"},
    "null kind": {"kind": None, "text": "x"},
    "number as kind": {"kind": 1},
    "unknown bare kind": {"kind": "image", "url": "x"},
    "capital Text": {"kind": "Text", "text": "x"},
    "empty kind": {"kind": ""},
    "underscore": {"kind": "com.some_thing"},
    "leading dot": {"kind": ".com"},
    "trailing dot": {"kind": "com."},
    "double dot": {"kind": "com..x"},
    "space": {"kind": "com.a b"},
    "newline": {"kind": "com.a\n"},
    "not ascii": {"kind": "com.ü"},
    "text without text": {"kind": "text"},
    "text is null": {"kind": "text", "text": None},
    "text is a number": {"kind": "text", "text": 1},
    "data without data": {"kind": "data"},
    "a string": "hello",
    "null": None,
    "a list": ["text", "x"],
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_bad_part_spoils_the_whole_frame(mesh: Mesh, name: str) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        parts = [{"kind": "text", "text": "good"}, REFUSED[name]]
        target = {"kind": "room", "room": room}
        await ann.expect_error("bad_frame", "send", target=target, parts=parts)
        assert await backlog(ann, room) == []


async def test_unknown_fields_of_text_and_data_do_no_harm(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        parts = [
            {"kind": "text", "text": "x", "lang": "en"},
            {"data": 1, "kind": "data", "text": None},
        ]
        await ann.ask(
            "sent", "send", target={"kind": "room", "room": room}, parts=parts
        )
        (message,) = await backlog(ann, room)
        text, data = message["parts"]
        assert (text["kind"], text["text"]) == ("text", "x")
        assert (data["kind"], data["data"]) == ("data", 1)


async def test_the_last_of_duplicate_keys_inside_free_json_wins(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.raw(
            f'{{"op":"send","target":{{"kind":"room","room":{json.dumps(room)}}},'
            '"parts":[{"kind":"com.example.x","a":1,"a":2},'
            '{"kind":"data","data":{"b":1,"b":{"c":1,"c":2}}}]}'
        )
        assert (await ann.next_reply())["type"] == "sent"
        (message,) = await backlog(ann, room)
        assert message["parts"][0] == {"kind": "com.example.x", "a": 2}
        assert message["parts"][1] == {"kind": "data", "data": {"b": {"c": 2}}}


@pytest.mark.extension
@pytest.mark.parametrize(
    "number",
    ["1.0", "0.12345678901234567", "1e5", "-0", "1E+2", "100000000000000000000"],
)
async def test_numbers_in_parts_are_not_printed_anew(mesh: Mesh, number: str) -> None:
    """Protocol 13.19: a number printed anew may break the author's signature."""
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        await bob.ask("subscribed", "subscribe")
        await ann.raw(
            f'{{"op":"send","target":{{"kind":"room","room":{json.dumps(room)}}},'
            f'"parts":[{{"kind":"com.example.x","planted":{number}}}]}}'
        )
        assert (await ann.next_reply())["type"] == "sent"
        await bob.next_delivery()
        assert f'"planted":{number}}}' in bob.last_text.replace(" ", "")
        await pull(bob, room)
        assert f'"planted":{number}}}' in bob.last_text.replace(" ", "")


# ------------------------------------------------------------- mentions, reply, target


async def test_mentions_are_trimmed_lowered_and_unique(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        given = ["  Bob ", "", "ÄRZTE", "bob", " \t", "BOB\n", "cas"]
        await ann.send_text(room, "x", mentions=given)
        await ann.send_text(room, "y", mentions=["", "  "])
        await ann.send_text(room, "z", mentions=[])
        messages = await backlog(ann, room)
        assert messages[0]["mentions"] == ["bob", "ärzte", "cas"]
        assert "mentions" not in messages[1]
        assert "mentions" not in messages[2]


@pytest.mark.parametrize("reply", ["018f1d0a-0000-7000-9000-0000000000aa", "?", ""])
async def test_reply_to_is_any_text(mesh: Mesh, reply: str) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.send_text(room, "x", replyTo=reply)
        (message,) = await backlog(ann, room)
        assert message["replyTo"] == reply
        assert signature_state(message) == "valid"


async def test_unknown_fields_of_a_target_are_ignored(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        target = {"agent": 3, "room": room, "x": None, "kind": "room"}
        sent = await ann.ask("sent", "send", target=target, parts=[])
        assert sent["room"] == room


# ---------------------------------------------------------------------------- clientId


async def test_a_repeated_client_id_answers_with_the_original(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        first = await ann.send_text(room, "once", clientId="c1")
        again = await ann.send_text(room, "other words", clientId="c1")
        assert again == first
        assert texts(await backlog(bob, room)) == ["once"]
        info = await room_info(bob, room)
        assert info is not None
        assert info["unread"] == 1


async def test_a_client_id_counts_per_room_and_author(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        other = (await open_room(ann))["room"]
        seqs = {
            (await ann.send_text(room, "a", clientId="c1"))["seq"],
            (await bob.send_text(room, "b", clientId="c1"))["seq"],
            (await ann.send_text(other, "c", clientId="c1"))["seq"],
            (await ann.send_text(room, "d", clientId="c2"))["seq"],
        }
        assert len(seqs) == 4
        assert texts(await backlog(ann, room)) == ["a", "b", "d"]


async def test_without_a_client_id_nothing_is_taken_for_a_repeat(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        fields = {
            "target": {"kind": "room", "room": room},
            "parts": [{"kind": "text", "text": "same"}],
        }
        for _ in range(2):
            await ann.ask("sent", "send", **fields)
        assert texts(await backlog(ann, room)) == ["same", "same"]


async def test_a_repeat_over_a_new_connection_is_still_a_repeat(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with mesh.link(agent) as one:
        room = (await open_room(one))["room"]
        first = await one.send_text(room, "x", clientId="c1")
    async with mesh.link(agent) as two:
        assert await two.send_text(room, "x", clientId="c1") == first
        assert len(await backlog(two, room)) == 1


async def test_simultaneous_repeats_are_stored_once(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with mesh.link(agent) as one, mesh.link(agent) as two:
        room = (await open_room(one))["room"]
        fields = {"target": {"kind": "room", "room": room}, "parts": []}
        for number in range(10):
            for link in (one, two):
                await link.post("send", **fields, clientId=f"c{number}")
        heard = [
            [(await link.next_reply())["seq"] for _ in range(10)] for link in (one, two)
        ]
        assert heard[0] == heard[1]
        assert len(await backlog(one, room)) == 10


async def test_a_repeat_is_refused_to_one_who_is_no_member_any_more(mesh: Mesh) -> None:
    name = fresh_name()
    async with mesh.links("ann", "bob") as (ann, bob):
        await join(bob, (await open_room(ann, room=name))["code"])
        await bob.send_text(name, "x", clientId="c1")
        await ann.ask("room_deleted", "delete_room", room=name)
        fields = {"target": {"kind": "room", "room": name}, "parts": []}
        await bob.expect_error("not_member", "send", **fields, clientId="c1")
