"""A worker of a queue: exactly one takes each task, and each ends exactly once."""

import asyncio
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from hub.store.schema import claims
from parler.errors import NotMember, UsageError
from parler.identity.homes import machine_home
from parler.identity.identity import AttentionPolicy, update_identity
from parler.identity.message_signing import sign_parts
from parler.ops.context import OpContext
from parler.ops.messages import SendResult
from parler.ops.queue import DispatchParams, QueueParams, dispatch, queue, serve
from parler.ops.supervise import SuperviseParams, supervise
from parler.ops.tasks import TaskParams, task
from parler.ops.work import Limits, Step
from parler.peers.presence import Kind, read_live
from parler.wire.base import RoomName
from parler.wire.parts import DispatchPart, TextPart
from parler.wire.records import RoomTarget, ServiceTarget, TaskStatus
from parler.wire.replies import Claimed, PresenceOk, Sent
from parler.wire.requests import Claim, Presence, Send
from parler.workers.ledger import Ledger
from tests._support.actors import Stage, stage
from tests._support.polling import WAIT
from tests._support.processes import Agent, running_hub
from tests._support.workers import (
    Audience,
    Killed,
    Working,
    counting,
    enter,
    receipts,
    runs,
    said,
    script,
    surroundings,
    until,
)

ROLE = "review"
ROOM = RoomName("svc.review")
DONE, FAILED = TaskStatus.DONE, TaskStatus.FAILED
HOLDING = "import time; print('begun', flush=True); time.sleep(1000)"


async def ask(ctx: OpContext, text: str = "PR 42") -> SendResult:
    return await dispatch(ctx, DispatchParams(role=ROLE, text=text))


def params(runner: str, **changes: object) -> SuperviseParams:
    limits = Limits(timeout_secs=WAIT, per_hour=0, per_conversation=0)
    wanted: dict[str, object] = {"role": ROLE, "limits": limits} | changes
    return SuperviseParams(runner=runner, **wanted)  # type: ignore[arg-type]


def working(
    ctx: OpContext, wanted: SuperviseParams, audience: Audience, folder: Path
) -> Working:
    return Working(
        supervise(
            ctx,
            wanted,
            surroundings=surroundings(folder),
            watcher=audience,
            done=audience.done,
        )
    )


async def dies(ctx: OpContext, runner: str, folder: Path, step: Step) -> None:
    """Let a worker die after a step."""
    with pytest.raises(BaseExceptionGroup) as died:
        async with asyncio.timeout(WAIT):
            await supervise(
                ctx,
                params(runner),
                surroundings=surroundings(folder),
                watcher=Audience(dies_after=step),
                done=lambda _: None,
            )
    assert died.group_contains(Killed)


def tasks_of(*audiences: Audience) -> list[str]:
    return [end.task for one in audiences for end in one.ends]


async def waiting(ctx: OpContext) -> list[str]:
    """The tasks nobody holds, as an available worker sees them."""
    await ctx.client.request(Presence(status="idle"), PresenceOk)
    return [one.id for one in (await queue(ctx, QueueParams(service=ROLE))).messages]


async def test_a_task_is_claimed_done_told_and_completed(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, ROLE)
        asked = await ask(ann)
        seen = Audience()
        async with working(bob, params(counting(tmp_path, "lgtm")), seen, tmp_path):
            await seen.until(lambda it: it.ends)
            [shown] = read_live(machine_home(bob.identity.home))
            assert (shown.kind, shown.room) == (Kind.WORKER, ROOM)
        assert [end.status for end in seen.ends] == [DONE]
        told = await receipts(ann, ROOM)
        assert told == [TaskStatus.ACCEPTED, TaskStatus.WORKING, DONE]
        assert (await said(ann, ROOM))[-1].text == "lgtm"
        assert runs(tmp_path) == [asked.id]
        assert await waiting(bob) == []


async def test_of_two_workers_exactly_one_takes_each_task(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob, cat = [await enter(at, name) for name in ("ann", "bob", "cat")]
        await serve(bob, ROLE)
        tasks = [(await ask(ann, f"PR {n}")).id for n in range(8)]
        runner = counting(tmp_path)
        one, two = Audience(), Audience()
        async with (
            working(bob, params(runner), one, tmp_path),
            working(cat, params(runner), two, tmp_path),
        ):
            await until(lambda: len(one.ends) + len(two.ends) == len(tasks))
        assert runs(tmp_path) == sorted(tasks)
        ended = [status for status in await receipts(ann, ROOM) if status.final]
        assert ended == [DONE] * len(tasks)


@pytest.mark.parametrize(
    ("step", "status", "times"),
    [
        (Step.RESERVED, DONE, 1),
        (Step.TAKEN, DONE, 1),
        (Step.WORKING, DONE, 1),
        (Step.STARTED, FAILED, 0),
        (Step.RAN, FAILED, 1),
        (Step.ENDED, DONE, 1),
        (Step.CONFIRMED, DONE, 1),
        (Step.TOLD, DONE, 1),
        (Step.CLOSED, DONE, 1),
        (Step.FINISHED, DONE, 1),
    ],
)
async def test_a_killed_worker_that_comes_back_tells_one_end(
    tmp_path: Path, step: Step, status: TaskStatus, times: int
) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, ROLE)
        asked = await ask(ann)
        runner = counting(tmp_path)
        await dies(bob, runner, tmp_path, step)
        again = Audience()
        async with working(bob, params(runner), again, tmp_path):
            other = await ask(ann, "another")
            await again.until(lambda it: other.id in [end.task for end in it.ends])
        ended = [one for one in await receipts(ann, ROOM, asked.id) if one.final]
        assert ended == [status]
        assert runs(tmp_path).count(asked.id) == times
        assert await waiting(bob) == []
        ledger = Ledger(bob.identity.home, bob.client.agent_id, now=bob.now)
        assert ledger.unfinished(ROOM) == []


@pytest.mark.parametrize("step", [Step.TAKEN, Step.STARTED, Step.RAN, Step.TOLD])
async def test_the_task_of_a_worker_that_never_comes_back_is_anothers(
    tmp_path: Path, step: Step
) -> None:
    async with stage(tmp_path) as at:
        ann, bob, cat = [await enter(at, name) for name in ("ann", "bob", "cat")]
        await serve(bob, ROLE)
        asked = await ask(ann)
        runner = counting(tmp_path)
        await dies(bob, runner, tmp_path, step)
        at.hub.clock.advance(301)
        other = Audience()
        async with working(cat, params(runner), other, tmp_path):
            later = await ask(ann, "another")
            await other.until(lambda it: later.id in [end.task for end in it.ends])
            # The first one comes back to a task that is not its own any more.
            late = Audience()
            async with working(bob, params(runner), late, tmp_path):
                last = await ask(ann, "the last")
                await until(lambda: last.id in tasks_of(other, late))
        ended = [one for one in await receipts(ann, ROOM, asked.id) if one.final]
        assert ended == [DONE]
        assert await waiting(cat) == []


async def test_a_lost_lease_kills_the_program_and_drops_its_result(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        ann, bob, cat = [await enter(at, name) for name in ("ann", "bob", "cat")]
        await serve(bob, ROLE)
        await serve(cat, ROLE)
        asked = await ask(ann)
        seen = Audience()
        wanted = params(script(tmp_path, HOLDING), renew_secs=0.05)
        async with working(bob, wanted, seen, tmp_path):
            await seen.until(lambda it: b"begun" in it.printed)
            at.hub.clock.advance(301)
            await cat.client.request(Presence(status="idle"), PresenceOk)
            # Its renewals keep coming, so this may take more than one attempt.
            async with asyncio.timeout(WAIT):
                while True:
                    frame = Claim(room=ROOM, message=asked.id)
                    if (await cat.client.request(frame, Claimed)).claimed:
                        break
                    at.hub.clock.advance(301)
                    await cat.client.request(Presence(status="idle"), PresenceOk)
            await seen.until(lambda it: any("lease" in note for note in it.notes))
        assert [one for one in await receipts(ann, ROOM) if one.final] == []
        assert seen.ends == []


async def test_a_lease_is_renewed_while_the_program_runs(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob, cat = [await enter(at, name) for name in ("ann", "bob", "cat")]
        await serve(bob, ROLE)
        await serve(cat, ROLE)
        asked = await ask(ann)
        go = tmp_path / "go"
        runner = script(
            tmp_path,
            f"""
            import pathlib, time
            print("begun", flush=True)
            while not pathlib.Path({str(go)!r}).exists():
                time.sleep(0.01)
            print("finished")
            """,
        )
        seen = Audience()
        async with working(bob, params(runner, renew_secs=0.01), seen, tmp_path):
            await seen.until(lambda it: b"begun" in it.printed)
            for _ in range(5):
                at.hub.clock.advance(200)
                async with asyncio.timeout(WAIT):
                    while await lease_ends(at, asked) < at.hub.clock() + 299_000:
                        continue  # each look waits for the hub
            assert await waiting(cat) == []
            go.touch()
            await seen.until(lambda it: it.ends)
        assert [end.status for end in seen.ends] == [DONE]


async def lease_ends(at: Stage, asked: SendResult) -> int:
    """Until when the hub holds a task for its worker."""

    def look(connection: sa.Connection) -> int:
        query = sa.select(claims.c.lease_until).where(claims.c.message == asked.id)
        return int(connection.execute(query).scalar_one())

    return await at.hub.hub.store.read("test", look)


async def test_an_unsigned_task_is_declined(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, ROLE)
        plain = msgspec.Raw(
            b'[{"kind":"text","text":"x"},'
            b'{"kind":"com.parler.dispatch","role":"review"}]'
        )
        target = ServiceTarget(service=ROLE)
        asked = await ann.client.request(Send(target=target, parts=plain), Sent)
        seen = Audience()
        async with working(bob, params(counting(tmp_path)), seen, tmp_path):
            await seen.until(lambda it: it.ends)
        assert [end.status for end in seen.ends] == [FAILED]
        assert "unsigned" in (seen.ends[0].note or "")
        assert runs(tmp_path) == []
        assert await waiting(bob) == []
        assert (await receipts(ann, ROOM, asked.id))[-1] is FAILED


async def test_a_replayed_task_is_declined(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, ROLE)
        target = ServiceTarget(service=ROLE)
        parts = sign_parts(
            ann.identity.keypair,
            target,
            [TextPart(text="pay"), DispatchPart(role=ROLE)],
            ts=ann.now(),
            uid="the-one",
        )
        first = await ann.client.request(Send(target=target, parts=parts), Sent)
        seen = Audience()
        async with working(bob, params(counting(tmp_path)), seen, tmp_path):
            await seen.until(lambda it: it.ends)
            second = await ann.client.request(Send(target=target, parts=parts), Sent)
            await seen.until(lambda it: len(it.ends) == 2)
        assert [end.task for end in seen.ends] == [first.id, second.id]
        assert [end.status for end in seen.ends] == [DONE, FAILED]
        assert runs(tmp_path) == [first.id]


async def test_a_withdrawn_task_is_not_done(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, ROLE)
        asked = await ask(ann)
        gone = TaskParams(
            target=RoomTarget(room=ROOM), status=TaskStatus.CANCELLED, task=asked.id
        )
        await task(ann, gone)
        later = await ask(ann, "still wanted")
        seen = Audience()
        async with working(bob, params(counting(tmp_path)), seen, tmp_path):
            await seen.until(lambda it: it.ends)
        assert runs(tmp_path) == [later.id]
        assert await waiting(bob) == []


async def test_a_strangers_receipt_ends_no_task(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob, eve = [await enter(at, name) for name in ("ann", "bob", "eve")]
        await serve(bob, ROLE)
        asked = await ask(ann)
        target = ServiceTarget(service=ROLE)
        await eve.client.send(target, [TextPart(text="I only ask")])
        await task(eve, TaskParams(target=target, status=DONE, task=asked.id))
        seen = Audience()
        async with working(bob, params(counting(tmp_path)), seen, tmp_path):
            await seen.until(lambda it: it.ends)
        assert runs(tmp_path) == [asked.id]


async def test_only_whose_tasks_are_allowed_are_taken(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob, eve = [await enter(at, name) for name in ("ann", "bob", "eve")]
        await serve(bob, ROLE)
        refused = await ask(eve)
        asked = await ask(ann)
        seen = Audience()
        wanted = params(counting(tmp_path), allow_from=[ann.client.agent_id])
        async with working(bob, wanted, seen, tmp_path):
            await seen.until(lambda it: it.ends)
        assert runs(tmp_path) == [asked.id]
        assert await waiting(bob) == [refused.id]


async def test_a_muted_service_is_left_to_others(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob, cat = [await enter(at, name) for name in ("ann", "bob", "cat")]
        await serve(bob, ROLE)
        update_identity(
            bob.identity.home, attention=AttentionPolicy(muted_rooms=(ROOM,))
        )
        quiet, other = Audience(), Audience()
        async with (
            working(bob, params(counting(tmp_path)), quiet, tmp_path),
            working(cat, params(counting(tmp_path)), other, tmp_path),
        ):
            await ask(ann)
            await other.until(lambda it: it.ends)
        assert quiet.steps == []


async def test_what_is_said_in_a_room_is_work_for_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, "chat")
        room = RoomName("svc.chat")
        sent = await ann.client.send(
            ServiceTarget(service="chat"), [TextPart(text="hello")]
        )
        seen = Audience()
        wanted = params(counting(tmp_path), role=None, room=room)
        async with working(bob, wanted, seen, tmp_path):
            await seen.until(lambda it: it.ends)
        assert runs(tmp_path) == [sent.id]


@pytest.mark.parametrize("role_and_room", [(None, None), ("review", "room.a")])
async def test_either_a_role_or_a_room_is_named(
    tmp_path: Path, role_and_room: tuple[str | None, str | None]
) -> None:
    role, room = role_and_room
    async with stage(tmp_path) as at:
        bob = await enter(at, "bob")
        with pytest.raises(UsageError):
            await supervise(
                bob,
                params("cat", role=role, room=room),
                surroundings=surroundings(tmp_path),
                watcher=Audience(),
                done=lambda _: None,
            )


async def test_a_worker_of_a_room_it_is_not_in_ends(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        bob = await enter(at, "bob")
        with pytest.raises(BaseExceptionGroup) as ended:
            await supervise(
                bob,
                params("cat", role=None, room="room.x"),
                surroundings=surroundings(tmp_path),
                watcher=Audience(),
                done=lambda _: None,
            )
        assert ended.group_contains(NotMember)


def test_supervise_is_a_command(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        ann = Agent(tmp_path, "ann", hub.url)
        bob = Agent(tmp_path, "bob", hub.url)
        bob("serve", "review")
        ann("send", "--role", "review", "PR 42")
        runner = 'sed -n \'s/.*"text":"\\([^"]*\\)".*/saw \\1/p\''
        command = ("supervise", "--role", "review", "--runner", runner, "--once")
        assert bob(*command, "--json").json["status"] == "done"
        got = ann("recv", "--room", "svc.review", "--json").json["messages"]
        assert got[-1]["parts"][0]["text"] == "saw PR 42"
        both = bob("supervise", "--role", "a", "--room", "b", "--runner", "cat")
        assert both.status == 2
