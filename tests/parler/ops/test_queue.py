"""Serving, dispatching, claiming and completing, against the real hub."""

from pathlib import Path

import pytest

from parler.errors import HubError, NotFound, NotMember, NotOwner, UsageError
from parler.identity.message_signing import Signature
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.identity import presence
from parler.ops.messages import ReceiveParams, receive
from parler.ops.queue import (
    ClaimParams,
    CompleteParams,
    DispatchParams,
    QueueParams,
    admit,
    claim,
    complete,
    dispatch,
    queue,
    serve,
)
from parler.wire.base import MessageId, RoomName
from parler.wire.parts import DispatchPart, TextPart, read_parts
from parler.wire.records import TaskStatus
from tests._support.actors import HUB, stage


async def waiting(ctx: OpContext, service: str = "review") -> list[MessageId]:
    queued = await queue(ctx, QueueParams(service=service))
    return [message.id for message in queued.messages]


async def take(ctx: OpContext, message: MessageId, *, secs: int = 300) -> bool:
    params = ClaimParams(service="review", message=message, lease_secs=secs)
    return (await claim(ctx, params)).claimed


async def end(ctx: OpContext, message: MessageId, status: TaskStatus) -> bool:
    params = CompleteParams(service="review", message=message, status=status)
    return (await complete(ctx, params)).completed


async def test_a_task_goes_to_exactly_one_of_two_workers(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        one, two = await at.enter("one"), await at.enter("two")
        for worker in (one, two):
            served = await serve(worker, " review ")
            assert (served.service, served.room) == ("review", "svc.review")
        task = await dispatch(alice, DispatchParams(role="review", text="PR 43"))
        assert task.room == "svc.review"
        assert await waiting(one) == await waiting(two) == [task.id]
        assert await take(one, task.id)
        assert not await take(two, task.id)
        assert await waiting(two) == []
        assert await take(one, task.id), "the holder renews its lease"
        assert not await end(two, task.id, TaskStatus.DONE)
        assert await end(one, task.id, TaskStatus.DONE)
        assert not await take(two, task.id)


async def test_a_task_carries_its_words_and_its_role_signed(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, worker = await at.enter("alice"), await at.enter("worker")
        await serve(worker, "review")
        await dispatch(alice, DispatchParams(role="review", text="PR 42"))
        [message] = (await queue(worker, QueueParams(service="review"))).messages
        assert message.signature is Signature.VALID
        assert read_parts(message.parts)[:2] == [
            TextPart(text="PR 42"),
            DispatchPart(role="review"),
        ]
        assert alice.known_rooms.hub_of("svc.review") == HUB
        heard = await receive(worker, ReceiveParams(room=RoomName("svc.review")))
        assert [one.id for one in heard.messages] == [message.id]


async def test_a_lease_that_ended_gives_the_task_to_another(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        one, two = await at.enter("one"), await at.enter("two")
        for worker in (one, two):
            await serve(worker, "review")
        task = await dispatch(alice, DispatchParams(role="review", text="PR 42"))
        assert await take(one, task.id, secs=15)
        at.hub.clock.advance(16)
        assert await waiting(two) == [task.id]
        assert await take(two, task.id)
        assert not await end(one, task.id, TaskStatus.DONE)


async def test_whoever_works_sees_no_more_work(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, worker = await at.enter("alice"), await at.enter("worker")
        await serve(worker, "review")
        task = await dispatch(alice, DispatchParams(role="review", text="PR 42"))
        await presence(worker, "working")
        assert await waiting(worker) == []
        await presence(worker, "waiting")
        assert await waiting(worker) == [task.id]


async def test_as_many_tasks_are_listed_as_were_asked_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, worker = await at.enter("alice"), await at.enter("worker")
        await serve(worker, "review")
        sent = [
            await dispatch(alice, DispatchParams(role="review", text=f"PR {number}"))
            for number in range(3)
        ]
        queued = await queue(worker, QueueParams(service="review", limit=2))
        assert [message.id for message in queued.messages] == [
            one.id for one in sent[:2]
        ]


async def test_work_for_a_role_nobody_serves_is_refused_with_advice(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        with pytest.raises(NotFound) as refused:
            await dispatch(alice, DispatchParams(role="re view", text="PR 42"))
        assert "parler serve 're view'" in (refused.value.next_step or "")


async def test_strangers_see_and_take_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, worker = await at.enter("alice"), await at.enter("worker")
        eve = await at.enter("eve")
        await serve(worker, "review")
        task = await dispatch(alice, DispatchParams(role="review", text="PR 42"))
        for attempt in (
            queue(eve, QueueParams(service="review")),
            claim(eve, ClaimParams(service="review", message=task.id)),
        ):
            with pytest.raises(NotMember):
                await attempt
        assert await waiting(alice) == [], "who asks is no worker"
        assert not await take(alice, task.id)


async def test_nothing_unfinished_or_nameless_reaches_the_hub(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        for attempt in (
            serve(alice, "  "),
            dispatch(alice, DispatchParams(role="", text="x")),
            dispatch(alice, DispatchParams(role="review", text=" ")),
            dispatch(alice, DispatchParams(role="review", text="\udc80")),
            queue(alice, QueueParams(service="")),
            complete(
                alice,
                CompleteParams(
                    service="review",
                    message=MessageId("m"),
                    status=TaskStatus.WORKING,
                ),
            ),
        ):
            with pytest.raises(UsageError):
                await attempt


async def test_whom_we_admit_is_looked_for_among_those_who_wait_first(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, public=True) as at:
        boss, bob, other = [await at.enter(name) for name in ("boss", "bob", "bob")]
        await register(other, RegisterParams())
        await serve(boss, "review")
        assert not (await serve(bob, "review")).admitted
        admitted = await admit(boss, "review", " BOB ")
        assert admitted.agent == bob.client.agent_id
        assert (await serve(bob, "review")).admitted
        with pytest.raises(NotOwner):
            await admit(bob, "review", other.client.agent_id)
        # Somebody who has not come yet, by its card.
        later = await at.enter("later")
        await register(later, RegisterParams())
        assert (await admit(boss, "review", "later")).name == "later"
        assert (await serve(later, "review")).admitted


async def test_where_nobody_admits_a_service_is_open_and_stays_so(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        boss, bob = await at.enter("boss"), await at.enter("bob")
        assert (await serve(boss, "review", open_=True)).admitted
        assert (await serve(bob, "review")).admitted
        with pytest.raises(HubError):
            await serve(boss, "review", closed=True)
        with pytest.raises(HubError):
            await admit(boss, "review", bob.client.agent_id)
        with pytest.raises(UsageError):
            await serve(boss, "review", open_=True, closed=True)
