"""Service queues: protocol 10.4; `serve`, `queue`, `claim`, `complete` of 3.4.

That a lease ends, and that a presence turns stale, is left to tests with the hub's
clock: the shortest lease is 15 s.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests._support.plainclient import Frame, Link, UnexpectedFrame, texts
from tests.conformance.steps import (
    Mesh,
    backlog,
    event_named,
    fresh_name,
    join,
    open_room,
    room_info,
    roster,
)


async def serve(link: Link, service: str) -> str:
    """Become a worker; returns the room."""
    room: str = (await link.ask("joined", "serve", service=service))["room"]
    return room


async def dispatch(link: Link, service: str, role: str, text: str = "do it") -> str:
    """Send work for a role; returns the message's id."""
    parts = [{"kind": "text", "text": text}]
    parts.append({"kind": "com.parler.dispatch", "role": role})
    target = {"kind": "service", "service": service}
    message: str = (await link.send(target, parts))["id"]
    return message


async def queued(link: Link, room: str, role: str, **fields: Any) -> list[Frame]:
    reply = await link.ask("queued", "queue", room=room, role=role, **fields)
    assert reply["room"] == room
    messages: list[Frame] = reply["messages"]
    return messages


async def ids(link: Link, room: str, role: str, **fields: Any) -> list[str]:
    return [message["id"] for message in await queued(link, room, role, **fields)]


async def claim(link: Link, room: str, message: str, **fields: Any) -> Frame:
    return await link.ask("claimed", "claim", room=room, message=message, **fields)


async def complete(link: Link, room: str, message: str, status: str = "done") -> bool:
    fields = {"room": room, "message": message, "status": status}
    reply = await link.ask("completed", "complete", **fields)
    assert {key: reply[key] for key in ("room", "message")} == {
        "room": room,
        "message": message,
    }
    done: bool = reply["completed"]
    return done


async def is_doing(link: Link, status: str) -> None:
    await link.ask("presence_ok", "presence", status=status)


@asynccontextmanager
async def service_of(
    mesh: Mesh, *workers: str
) -> AsyncIterator[tuple[list[Link], str]]:
    """Ann, who asks, and workers of a fresh service; its name is its role."""
    async with mesh.links("ann", *workers) as links:
        service = fresh_name("svc")
        for worker in links[1:]:
            await serve(worker, service)
        yield links, service


# -- serve


async def test_the_first_who_serves_owns_the_room(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        service = fresh_name("Code Review")
        room = "svc." + service.replace(" ", "_")
        for worker in (ann, bob):
            reply = await worker.ask("joined", "serve", service=service)
            assert (reply["room"], reply["kind"]) == (room, "service")
        assert set(await roster(ann, room)) == {ann.id, bob.id}
        await bob.expect_error(mesh.coded("not_owner"), "delete_room", room=room)
        await ann.ask("room_deleted", "delete_room", room=room)


async def test_the_roster_shows_the_role_as_it_was_last_served(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        service = fresh_name("Review")
        room = await serve(ann, service)
        assert await serve(ann, f"  {service} ") == room
        await bob.send_text({"kind": "service", "service": service}, "hello")
        shown = await roster(ann, room)
        assert shown[ann.id]["serviceRole"] == f"  {service} "
        assert "serviceRole" not in shown[bob.id]


async def test_a_service_is_listed_as_one(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        room = await serve(ann, fresh_name("svc"))
        info = await room_info(ann, room)
        assert info is not None
        assert (info["kind"], info["members"]) == ("service", 1)


@pytest.mark.extension("membership")
async def test_a_removed_worker_cannot_slip_back(mesh: Mesh) -> None:
    async with service_of(mesh, "boss", "bob") as ([ann, boss, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        await boss.ask("member_removed", "remove_member", room=room, agent=bob.id)
        await bob.expect_error("not_member", "serve", service=service)
        await bob.expect_error("not_member", "queue", room=room, role=service)
        await bob.expect_error("not_member", "claim", room=room, message=task)
        assert bob.id not in await roster(boss, room)


@pytest.mark.extension("membership")
@pytest.mark.parametrize("leaves", [True, False])
async def test_what_a_worker_held_is_free_once_it_is_out(
    mesh: Mesh, leaves: bool
) -> None:
    async with service_of(mesh, "boss", "bob") as ([ann, boss, bob], service):
        room = f"svc.{service}"
        for worker in (boss, bob):
            await is_doing(worker, "idle")
        task = await dispatch(ann, service, service)
        assert (await claim(bob, room, task, leaseSecs=3600))["claimed"]
        assert not (await claim(boss, room, task))["claimed"]
        if leaves:
            await bob.ask("left", "leave", room=room)
            await serve(bob, service)  # back, it holds nothing any more
            assert not await complete(bob, room, task)
        else:
            await boss.ask("member_removed", "remove_member", room=room, agent=bob.id)
            await bob.expect_error(
                "not_member", "complete", room=room, message=task, status="done"
            )
        assert await ids(boss, room, service) == [task]
        assert (await claim(boss, room, task))["claimed"]
        assert await complete(boss, room, task)


@pytest.mark.extension("events")
async def test_members_hear_of_a_new_worker(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob") as (ann, bob):
        service = fresh_name("svc")
        room = await serve(ann, service)
        await ann.ask("subscribed", "subscribe", events=["member"])
        await serve(bob, service)
        event = await event_named(ann, "member", agent=bob.id)
        assert (event["room"], event["change"]) == (room, "joined")


# -- queue


async def test_work_waits_in_the_order_it_was_sent(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        sent = [await dispatch(ann, service, service, f"t{n}") for n in range(3)]
        await ann.send_text({"kind": "room", "room": room}, "no work")
        found = await queued(bob, room, service)
        assert [message["id"] for message in found] == sent
        assert texts(found) == ["t0", "t1", "t2"]
        assert await ids(bob, room, service, limit=2) == sent[:2]
        assert await ids(bob, room, service, limit=None) == sent


async def test_queued_messages_are_the_ones_a_pull_shows(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        await dispatch(ann, service, service, "1.10 ünï")
        room = f"svc.{service}"
        assert await queued(bob, room, service) == await backlog(bob, room)


async def test_the_queue_has_nothing_to_do_with_the_cursor(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        assert (await bob.ask("pulled", "pull", room=room))["messages"]
        assert await ids(bob, room, service) == [task]


async def test_roles_ignore_ascii_case_but_room_names_do_not(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "eve") as (ann, bob, eve):
        lower = fresh_name("review")
        upper = lower.upper()
        room = await serve(bob, lower)
        assert await serve(eve, upper) != room
        task = await dispatch(ann, lower, upper)
        assert await ids(bob, room, lower) == await ids(bob, room, upper) == [task]


async def test_the_queue_is_empty_for_who_does_not_serve_the_role(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        await dispatch(ann, service, service)
        await dispatch(ann, service, "other")
        assert await ids(ann, room, service) == []
        assert await ids(bob, room, "other") == []


async def test_the_queue_is_empty_for_who_is_busy(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        for status in ("working", "online", "Idle"):
            await is_doing(bob, status)
            assert await ids(bob, room, service) == []
            assert not (await claim(bob, room, task))["claimed"]
        for status in ("waiting", "idle"):
            await is_doing(bob, status)
            assert await ids(bob, room, service) == [task]


async def test_one_message_may_be_work_for_several_roles(mesh: Mesh) -> None:
    async with mesh.links("ann", "bob", "eve") as (ann, bob, eve):
        service = fresh_name("svc")
        spaced = f"{service} "  # another role, but the same room once it is cleaned
        room = await serve(bob, service)
        assert await serve(eve, spaced) == room
        roles = (service, spaced)
        parts = [{"kind": "com.parler.dispatch", "role": role} for role in roles]
        task = (await ann.send({"kind": "service", "service": service}, parts))["id"]
        assert await ids(bob, room, service) == [task]
        assert await ids(eve, room, spaced) == [task]
        assert (await claim(eve, room, task))["claimed"]
        assert await ids(bob, room, service) == []
        assert not (await claim(bob, room, task))["claimed"]


@pytest.mark.parametrize("role", [None, 7, ["x"], {"role": "x"}])
async def test_a_dispatch_without_a_role_is_just_a_part(mesh: Mesh, role: Any) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        part = {"kind": "com.parler.dispatch"}
        parts = [part, part | {"role": role}]
        sent = await ann.send({"kind": "service", "service": service}, parts)
        room = f"svc.{service}"
        assert await ids(bob, room, service) == []
        assert not (await claim(bob, room, sent["id"]))["claimed"]


async def test_work_sent_twice_under_one_client_id_is_one_task(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        parts = [{"kind": "com.parler.dispatch", "role": service}]
        target = {"kind": "service", "service": service}
        one = await ann.send(target, parts, clientId="c")
        two = await ann.send(target, parts, clientId="c")
        assert one == two
        assert await ids(bob, f"svc.{service}", service) == [one["id"]]


# -- claim


async def test_exactly_one_of_two_racing_workers_gets_a_task(mesh: Mesh) -> None:
    async with service_of(mesh, "bob", "eve") as ([ann, bob, eve], service):
        room = f"svc.{service}"
        for _ in range(10):
            task = await dispatch(ann, service, service)
            got = await asyncio.gather(claim(bob, room, task), claim(eve, room, task))
            assert sorted(reply["claimed"] for reply in got) == [False, True]
            winner, loser = (bob, eve) if got[0]["claimed"] else (eve, bob)
            assert await ids(winner, room, service) == []
            assert await ids(loser, room, service) == []
            assert not await complete(loser, room, task)
            assert await complete(winner, room, task)


async def test_two_connections_of_one_worker_hold_one_lease(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        async with mesh.link(bob.agent) as again:
            assert (await claim(bob, room, task))["claimed"]
            assert (await claim(again, room, task))["claimed"]
            assert await complete(again, room, task)
            assert not await complete(bob, room, task)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({}, 300),
        ({"leaseSecs": None}, 300),
        ({"leaseSecs": 0}, 15),
        ({"leaseSecs": 60}, 60),
        ({"leaseSecs": 2**63}, 3600),
    ],
)
async def test_a_lease_lasts_as_long_as_asked_within_bounds(
    mesh: Mesh, asked: dict[str, int | None], seconds: int
) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        before = time.time_ns() // 1_000_000
        reply = await claim(bob, room, task, **asked)
        after = time.time_ns() // 1_000_000
        assert (reply["room"], reply["message"]) == (room, task)
        if mesh.hub.managed:  # elsewhere the hub's clock is not ours
            assert before <= reply["leaseUntil"] - seconds * 1000 <= after


async def test_a_worker_renews_its_lease_while_it_works(mesh: Mesh) -> None:
    async with service_of(mesh, "bob", "eve") as ([ann, bob, eve], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        first = await claim(bob, room, task, leaseSecs=60)
        await is_doing(bob, "working")
        renewed = await claim(bob, room, task, leaseSecs=600)
        assert renewed["leaseUntil"] > first["leaseUntil"]
        lost = await claim(eve, room, task)
        assert not lost["claimed"]
        assert "leaseUntil" not in lost


async def test_what_is_no_work_for_the_caller_is_not_claimed(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        other = await dispatch(ann, service, "other")
        chat = (await ann.send_text({"kind": "room", "room": room}, "hi"))["id"]
        for link, message in [
            (bob, other),
            (bob, chat),
            (bob, "unknown"),
            (bob, ""),
            (ann, task),
        ]:
            assert not (await claim(link, room, message))["claimed"]


# -- complete


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
async def test_a_completed_task_never_comes_back(mesh: Mesh, status: str) -> None:
    async with service_of(mesh, "bob", "eve") as ([ann, bob, eve], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        await claim(bob, room, task)
        assert await complete(bob, room, task, status)
        for worker in (bob, eve):
            assert await ids(worker, room, service) == []
            assert not (await claim(worker, room, task))["claimed"]
            assert not await complete(worker, room, task)


async def test_nobody_completes_what_it_has_not_claimed(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service)
        assert not await complete(bob, room, task)
        assert not await complete(ann, room, task)
        assert not await complete(bob, room, "unknown")
        assert await ids(bob, room, service) == [task]


@pytest.mark.parametrize("status", ["accepted", "working", "awaiting"])
async def test_a_task_ends_only_with_a_final_status(mesh: Mesh, status: str) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        fields = {"room": f"svc.{service}"}
        fields["message"] = await dispatch(ann, service, service)
        await claim(bob, **fields)
        await bob.expect_error("not_authorized", "complete", status=status, **fields)
        await bob.expect_error("bad_frame", "complete", status="canceled", **fields)
        assert await complete(bob, **fields)


async def test_the_requester_reads_the_result_in_the_room(mesh: Mesh) -> None:
    async with service_of(mesh, "bob") as ([ann, bob], service):
        room = f"svc.{service}"
        task = await dispatch(ann, service, service, "please")
        await claim(bob, room, task)
        await bob.send_text({"kind": "room", "room": room}, "result", replyTo=task)
        await complete(bob, room, task)
        assert texts(await backlog(ann, room)) == ["please", "result"]


# -- who may


OPS = {
    "queue": {"role": "x"},
    "claim": {"message": "x"},
    "complete": {"message": "x", "status": "done"},
}


@pytest.mark.parametrize("op", OPS)
async def test_a_stranger_learns_nothing_of_a_service(mesh: Mesh, op: str) -> None:
    async with service_of(mesh, "bob") as (_, service), mesh.link("eve") as eve:
        for room in (f"svc.{service}", fresh_name("svc.no")):
            await eve.expect_error("not_member", op, room=room, **OPS[op])


@pytest.mark.parametrize("op", OPS)
async def test_a_room_that_is_no_service_has_no_queue(mesh: Mesh, op: str) -> None:
    async with mesh.room_of("ann") as ([ann], room):
        await ann.expect_error("not_authorized", op, room=room, **OPS[op])


async def test_a_dispatch_in_a_plain_room_is_just_a_message(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann, mesh.link("bob") as bob:
        invited = await open_room(ann)
        await join(bob, invited["code"])
        parts = [{"kind": "com.parler.dispatch", "role": "x"}]
        await ann.send({"kind": "room", "room": invited["room"]}, parts)
        [message] = await backlog(bob, invited["room"])
        assert message["parts"][0] == parts[0]


async def test_work_for_a_service_nobody_ever_served_is_refused(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        with pytest.raises(UnexpectedFrame, match="unknown_service"):
            await dispatch(ann, fresh_name("svc"), "x")
