"""Presence and attention: protocol 10.2; `ping`, `presence`, `set_attention`.

That presence turns `offline` after five minutes is left to tests with the hub's clock.
"""

import pytest

from tests._support.plainclient import Frame, Link
from tests._support.polling import comes
from tests.conformance.steps import Mesh, join, open_room, room_info, roster


async def entry(link: Link, room: str) -> Frame:
    """The caller's own roster entry without its times."""
    found = (await roster(link, room))[link.id]
    return {
        key: found[key] for key in ("status", "activity", "attention") if key in found
    }


async def test_a_newcomer_is_idle_without_activity_or_attention(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        shown = await entry(ann, room)
        assert shown["status"] == "idle"
        assert "activity" not in shown
        assert shown.get("attention", "open") == "open"


async def test_presence_is_free_text_that_others_see(mesh: Mesh) -> None:
    async with mesh.room_of("ann", "bob") as ((ann, bob), room):
        fields = {"status": "Kaffee ☕", "activity": "reading", "attention": "focus"}
        await ann.ask("presence_ok", "presence", **fields)
        shown = (await roster(bob, room))[ann.id]
        assert shown == shown | fields


async def test_presence_replaces_activity_and_keeps_attention(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.ask(
            "presence_ok", "presence", status="working", activity="x", attention="dnd"
        )
        await ann.ask("presence_ok", "presence", status="waiting")
        assert await entry(ann, room) == {"status": "waiting", "attention": "dnd"}


async def test_set_attention_touches_nothing_else(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.ask("presence_ok", "presence", status="working", activity="x")
        for mode in ("open", "dnd", "focus"):
            await ann.ask("attention_ok", "set_attention", attention=mode)
            shown = {"status": "working", "activity": "x", "attention": mode}
            assert await entry(ann, room) == shown


async def test_ping_touches_nothing_but_the_time(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        fields = {"status": "working", "activity": "x", "attention": "dnd"}
        await ann.ask("presence_ok", "presence", **fields)
        before = (await roster(ann, room))[ann.id]["lastSeen"]
        assert await ann.ask("pong", "ping") == {"type": "pong"}
        assert await entry(ann, room) == fields
        assert (await roster(ann, room))[ann.id]["lastSeen"] >= before


@pytest.mark.extension
async def test_who_is_there_while_connected_has_ended_with_the_last_connection(
    mesh: Mesh,
) -> None:
    ann = mesh.agent("ann")
    working = {"status": "working", "activity": "x", "whileConnected": True}

    async with mesh.room_of("bob") as ([bob], room):
        invited = await bob.ask("invited", "invite", kind="channel", room=room)

        async def shown(status: str) -> Frame:
            async def look() -> Frame | None:
                found = (await roster(bob, room))[ann.id]
                return found if found["status"] == status else None

            return await comes(look)

        async with mesh.link(ann) as first:
            await join(first, invited["code"])
            await first.ask("presence_ok", "presence", **working)
            async with mesh.link(ann) as second:
                await second.ask("presence_ok", "presence", **working)
            await second.closed()
            assert (await shown("working"))["activity"] == "x"
            before = (await roster(bob, room))[ann.id]["lastSeen"]
        ended = await shown("offline")
        assert ended["activity"] == "ended"
        assert ended["lastSeen"] >= before
        async with mesh.link(ann):
            assert "activity" not in await shown("idle")
        assert await shown("offline") == ended
        async with mesh.link(ann) as back:
            await back.ask("presence_ok", "presence", **working)
            await back.ask("presence_ok", "presence", status="waiting")
        assert await shown("waiting")


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("presence", {}),
        ("presence", {"status": None}),
        ("presence", {"status": 1}),
        ("presence", {"status": "idle", "attention": "loud"}),
        ("set_attention", {}),
        ("set_attention", {"attention": None}),
        ("set_attention", {"attention": "Open"}),
    ],
    ids=["absent", "null", "number", "attention", "no mode", "null mode", "capital"],
)
async def test_malformed_presence_changes_nothing(
    mesh: Mesh, op: str, fields: dict[str, object]
) -> None:
    async with mesh.link("ann") as ann:
        room = (await open_room(ann))["room"]
        await ann.ask("presence_ok", "presence", status="working", attention="dnd")
        await ann.expect_error("bad_frame", op, **fields)
        assert await entry(ann, room) == {"status": "working", "attention": "dnd"}


@pytest.mark.extension("look")
async def test_a_look_hides_nothing_of_an_agent_at_work(mesh: Mesh) -> None:
    ann = mesh.agent("ann", "webdev")
    async with mesh.link(ann) as at_work, mesh.link("bob") as bob:
        invited = await open_room(bob)
        await join(at_work, invited["code"])
        await at_work.ask("presence_ok", "presence", status="working", activity="x")
        before = (await roster(bob, invited["room"]))[ann.id]
        looking = mesh.agent("a person", seed=ann.seed)
        async with mesh.link(looking, sign_in=False) as person:
            await person.sign_in(look=True)
            await person.ask("pong", "ping")
            assert await room_info(person, invited["room"])
            after = (await roster(bob, invited["room"]))[ann.id]
        assert after | {"lastSeen": 0} == before | {"lastSeen": 0}
