"""A worker in a room: what it does once, tells, leaves alone and survives."""

import asyncio
import json
from pathlib import Path

import pytest

from parler.errors import UsageError
from parler.identity.identity import AttentionPolicy, update_identity
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext
from parler.ops.messages import HandoffParams, SendParams, SendResult, handoff, send
from parler.ops.queue import serve
from parler.ops.session import OpenParams, join_session, open_session
from parler.ops.work import Limits, Step, WorkParams, work
from parler.text.transcript import Reader, handoff_for
from parler.wire.base import RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.parts import HandoffPart, OtherPart, TaskPart
from parler.wire.records import Attention, RoomTarget, ServiceTarget, TaskStatus
from parler.workers.budget import MAX_HOPS
from parler.workers.ledger import Ledger
from tests._support.actors import Stage, stage
from tests._support.processes import Agent, running_hub
from tests._support.workers import (
    WAIT,
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

ACCEPTED, WORKING = TaskStatus.ACCEPTED, TaskStatus.WORKING
DONE, FAILED = TaskStatus.DONE, TaskStatus.FAILED


async def room_of(at: Stage, *names: str) -> tuple[RoomName, list[OpContext]]:
    """A room with these agents in it."""
    owner, *others = [await enter(at, name) for name in names]
    opened = await open_session(owner, OpenParams(gated=False))
    for other in others:
        await join_session(other, parse_join_key(opened.key))
    return opened.room, [owner, *others]


async def ask(
    ctx: OpContext, room: RoomName, text: str = "fix it", to: str | None = "bob"
) -> SendResult:
    params = HandoffParams(target=RoomTarget(room=room), next=text, to=to)
    return await handoff(ctx, params)


def params(room: RoomName, runner: str, **changes: object) -> WorkParams:
    limits = Limits(timeout_secs=WAIT)
    return WorkParams(room=room, runner=runner, **{"limits": limits} | changes)  # type: ignore[arg-type]


def working(
    ctx: OpContext, wanted: WorkParams, audience: Audience, folder: Path
) -> Working:
    return Working(
        work(
            ctx,
            wanted,
            surroundings=surroundings(folder),
            watcher=audience,
            done=audience.done,
        )
    )


async def once(
    ctx: OpContext, wanted: WorkParams, folder: Path, audience: Audience | None = None
) -> Audience:
    """Let a worker do one task."""
    seen = audience or Audience()
    async with working(ctx, wanted, seen, folder):
        await seen.until(lambda it: it.ends)
    return seen


async def read_up_to(ctx: OpContext, room: RoomName, seq: int) -> None:
    """Wait until an agent's cursor is at a message."""
    async with asyncio.timeout(WAIT):
        while (await ctx.client.pull(room, limit=0)).cursor < seq:
            continue  # each look waits for the hub


async def test_a_handoff_is_done_once_and_told(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room)
        runner = counting(tmp_path, "all green")
        seen = await once(bob, params(room, runner), tmp_path)
        [end] = seen.ends
        assert (end.status, end.task, end.author) == (
            DONE,
            asked.id,
            ann.client.agent_id,
        )
        assert runs(tmp_path) == [asked.id]
        assert await receipts(ann, room) == [ACCEPTED, WORKING, DONE]
        last = (await said(ann, room))[-1]
        assert last.text == "all green"
        assert last.stored.reply_to == asked.id
        [part] = [part for part in last.parts if isinstance(part, TaskPart)]
        assert part.elapsed_ms is not None
        assert b"all green" in seen.printed
        cursor = (await bob.client.pull(room, limit=0)).cursor
        assert cursor >= asked.seq
        again = Audience()
        async with working(bob, params(room, runner), again, tmp_path):
            await ask(ann, room, "second")
            await again.until(lambda it: it.ends)
        assert len(runs(tmp_path)) == 2


async def test_the_turn_comes_back_with_the_result_and_between_workers_only_once(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room)
        runner = counting(tmp_path)
        await once(bob, params(room, runner), tmp_path)
        result = (await said(ann, room))[-1]
        reader = Reader(agent=ann.client.agent_id, name="ann", role=None)
        returned = handoff_for(reader, result.stored, result.signature)
        assert returned is not None
        assert returned.to == ann.client.agent_id
        await once(ann, params(room, runner), tmp_path)
        assert runs(tmp_path) == sorted([asked.id, result.id])
        ended = (await said(ann, room))[-1]
        assert ended.stored.reply_to == result.id
        assert not any(isinstance(part, HandoffPart) for part in ended.parts)


async def test_the_command_is_told_who_asks_and_not_who_we_are(
    tmp_path: Path,
) -> None:
    runner = script(
        tmp_path,
        """
        import json, os, sys
        print(json.dumps({"in": json.load(sys.stdin), "env": dict(os.environ),
                          "argv": sys.argv[1:]}))
        """,
    )
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room, "$(touch pwned); `touch pwned`")
        around = surroundings(
            tmp_path, PARLER_JOIN_SECRET="hunter22", OPENAI_API_KEY="sk", HOME="/h"
        )
        seen = Audience()
        async with Working(
            work(
                bob,
                params(room, runner),
                surroundings=around,
                watcher=seen,
                done=seen.done,
            )
        ):
            await seen.until(lambda it: it.ends)
        told = json.loads((await said(ann, room))[-1].text)
        me = ann.client.agent_id
        assert told["in"]["from"]["fingerprint"] == fingerprint(me)
        assert told["in"]["parts"][0]["next"] == "$(touch pwned); `touch pwned`"
        assert told["argv"] == []
        ours = {k: v for k, v in told["env"].items() if k.startswith("PARLER_")}
        assert ours.pop("PARLER_HOME").startswith("/dev/null")
        assert ours == {
            "PARLER_TASK_ID": asked.id,
            "PARLER_ROOM": room,
            "PARLER_FROM": me,
            "PARLER_FROM_NAME": "ann",
            "PARLER_ROLE": "",
        }
        assert told["env"]["HOME"] == "/h"
        assert "OPENAI_API_KEY" not in told["env"]
        assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "opencode"])
async def test_a_known_agent_gets_the_words_on_stdin_and_never_as_arguments(
    tmp_path: Path, name: str
) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / name).write_text(
        '#!/bin/sh\nprintf "argv: %s\\n" "$*"\ncat\n', encoding="utf-8"
    )
    (bin_ / name).chmod(0o755)
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        await ask(ann, room, "--dangerous flag")
        seen = Audience()
        async with Working(
            work(
                bob,
                params(room, name),
                surroundings=surroundings(tmp_path, PATH=f"{bin_}:/usr/bin:/bin"),
                watcher=seen,
                done=seen.done,
            )
        ):
            await seen.until(lambda it: it.ends)
        first, *rest = (await said(ann, room))[-1].text.splitlines()
        assert first.startswith("argv: ")
        assert "dangerous" not in first
        assert any("--dangerous flag" in line for line in rest)
        assert any(fingerprint(ann.client.agent_id) in line for line in rest)


async def test_a_missing_runner_is_an_error_before_anything_is_taken(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        await ask(ann, room)
        seen = Audience()
        for runner in ("claude", "no-such-command --x"):
            with pytest.raises(UsageError):
                await work(
                    bob,
                    params(room, runner),
                    surroundings=surroundings(tmp_path, PATH="/usr/bin:/bin"),
                    watcher=seen,
                    done=seen.done,
                )
        assert await receipts(ann, room) == []
        assert not (bob.identity.home / "autonomous-replay").exists()


async def test_a_runner_that_fails_is_told_as_failed(tmp_path: Path) -> None:
    runner = script(
        tmp_path,
        'import sys; print("half"); print("no disk", file=sys.stderr); sys.exit(7)',
    )
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        await ask(ann, room)
        [end] = (await once(bob, params(room, runner), tmp_path)).ends
        assert end.status is FAILED
        assert end.note == "exit status 7: no disk"
        assert (await said(ann, room))[-1].text == "half"


async def test_a_runner_that_hangs_is_ended_and_told_as_failed(
    tmp_path: Path,
) -> None:
    runner = script(tmp_path, "import time; time.sleep(1000)")
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        await ask(ann, room)
        hasty = params(room, runner, limits=Limits(timeout_secs=0.5))
        [end] = (await once(bob, hasty, tmp_path)).ends
        assert end.status is FAILED
        assert "time limit" in (end.note or "")


async def test_a_runner_that_prints_without_end_is_cut(tmp_path: Path) -> None:
    runner = script(
        tmp_path,
        'import sys\nfor _ in range(100): sys.stdout.write("\\0" * 2**20)',
    )
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        await ask(ann, room)
        limits = Limits(timeout_secs=WAIT, max_output_bytes=2**20)
        [end] = (await once(bob, params(room, runner, limits=limits), tmp_path)).ends
        assert end.status is DONE  # told in a shorter form: it would not fit a message
        assert len((await said(ann, room))[-1].text) <= 2**20


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
async def test_a_worker_killed_at_any_step_tells_one_end_and_repeats_nothing(
    tmp_path: Path, step: Step, status: TaskStatus, times: int
) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room)
        runner = counting(tmp_path)
        with pytest.raises(BaseExceptionGroup) as died:
            async with asyncio.timeout(WAIT):
                await work(
                    bob,
                    params(room, runner),
                    surroundings=surroundings(tmp_path),
                    watcher=Audience(dies_after=step),
                    done=lambda _: None,
                )
        assert died.group_contains(Killed)
        second = Audience()
        async with working(bob, params(room, runner), second, tmp_path):
            await ask(ann, room, "the next")
            await second.until(lambda it: len(runs(tmp_path)) > times and it.ends)
        told = await receipts(ann, room, asked.id)
        assert [one for one in told if one.final] == [status]
        assert runs(tmp_path).count(asked.id) == times
        assert (
            Ledger(bob.identity.home, bob.client.agent_id, now=bob.now).unfinished(room)
            == []
        )


async def test_of_two_workers_the_first_that_accepts_has_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob, cat] = await room_of(at, "ann", "bob", "cat")
        runner = counting(tmp_path)
        one, two = Audience(), Audience()
        async with (
            working(bob, params(room, runner), one, tmp_path),
            working(cat, params(room, runner), two, tmp_path),
        ):
            asked = [(await ask(ann, room, f"task {n}", to=None)).id for n in range(6)]
            await until(lambda: len(one.ends) + len(two.ends) == len(asked))
        assert runs(tmp_path) == sorted(asked)
        for task in asked:
            told = await receipts(ann, room, task)
            assert [status for status in told if status in (DONE, FAILED)] == [DONE]


async def test_a_second_worker_of_the_same_identity_is_refused(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        room, [_, bob] = await room_of(at, "ann", "bob")
        seen = Audience()
        async with working(bob, params(room, "cat"), seen, tmp_path):
            await asyncio.sleep(0)
            with pytest.raises(UsageError) as refused:
                await work(
                    bob,
                    params(room, "cat"),
                    surroundings=surroundings(tmp_path),
                    watcher=seen,
                    done=seen.done,
                )
        assert "PARLER_AGENT_SESSION" in (refused.value.next_step or "")


async def test_chatter_strangers_and_receipts_start_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob, eve] = await room_of(at, "ann", "bob", "eve")
        to_room = RoomTarget(room=room)
        await send(ann, SendParams(target=to_room, text="hello bob"))
        await ask(ann, room, to="carol")
        await ask(eve, room)
        await ann.client.send(
            to_room, [HandoffPart(next="loop"), TaskPart(status=DONE, task="x")]
        )
        runner = counting(tmp_path)
        only_ann = params(room, runner, allow_from=[ann.client.agent_id])
        seen = Audience()
        async with working(bob, only_ann, seen, tmp_path):
            asked = await ask(ann, room)
            await seen.until(lambda it: it.ends)
        assert runs(tmp_path) == [asked.id]
        [warning] = [note for note in seen.notes if "starts no work" in note]
        assert fingerprint(eve.client.agent_id) in warning


async def test_only_ids_and_fingerprints_name_who_may_ask(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [_, bob] = await room_of(at, "ann", "bob")
        with pytest.raises(UsageError):
            await work(
                bob,
                params(room, "cat", allow_from=["ann"]),
                surroundings=surroundings(tmp_path),
                watcher=Audience(),
                done=lambda _: None,
            )


async def test_a_service_needs_to_know_who_may_ask(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        bob = await enter(at, "bob")
        wanted = WorkParams(
            service="review", runner="cat", limits=Limits(timeout_secs=WAIT)
        )
        with pytest.raises(UsageError):
            await work(
                bob,
                wanted,
                surroundings=surroundings(tmp_path),
                watcher=Audience(),
                done=lambda _: None,
            )


async def test_plain_text_to_a_service_is_work(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await enter(at, "ann"), await enter(at, "bob")
        await serve(bob, "review")
        to_service = SendParams(target=ServiceTarget(service="review"), text="PR 42")
        asked = await send(ann, to_service)
        wanted = WorkParams(
            service="review",
            runner=counting(tmp_path),
            allow_from=[fingerprint(ann.client.agent_id)],
            limits=Limits(timeout_secs=WAIT),
        )
        await once(bob, wanted, tmp_path)
        assert runs(tmp_path) == [asked.id]


async def test_an_hourly_budget_outlives_a_restart(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        frugal = params(
            room, counting(tmp_path), limits=Limits(timeout_secs=WAIT, per_hour=2)
        )
        for expected in (DONE, DONE, FAILED):
            await ask(ann, room)
            seen = await once(bob, frugal, tmp_path)
            assert [end.status for end in seen.ends] == [expected]
        assert len(runs(tmp_path)) == 2


@pytest.mark.parametrize("step", [Step.TOLD, Step.HANDED_ON])
async def test_a_turn_is_handed_on_once_whatever_happens(
    tmp_path: Path, step: Step
) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room)
        wanted = {"to": "ann", "next": "look"}
        runner = script(
            tmp_path, f"print('ok'); print('PARLER_HANDOFF', {json.dumps(wanted)!r})"
        )
        with pytest.raises(BaseExceptionGroup):
            async with asyncio.timeout(WAIT):
                await work(
                    bob,
                    params(room, runner),
                    surroundings=surroundings(tmp_path),
                    watcher=Audience(dies_after=step),
                    done=lambda _: None,
                )
        await once(bob, params(room, runner), tmp_path)
        ours = [
            message
            for message in await said(ann, room)
            if message.author.id == bob.client.agent_id
        ]
        handed = [
            (message.stored.reply_to, part.to, part.next)
            for message in ours
            for part in message.parts
            if isinstance(part, HandoffPart)
        ]
        assert handed == [(asked.id, "ann", "look")]
        assert [one.text for one in ours if one.text] == ["ok"]


async def test_workers_that_hand_on_forever_are_stopped(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob, cat] = await room_of(at, "ann", "bob", "cat")

        def to(name: str) -> str:
            said = {"to": name, "next": "your turn"}
            source = f"print('done'); print('PARLER_HANDOFF', {json.dumps(said)!r})"
            return script(tmp_path, source, name=f"to_{name}.py")

        one, two = Audience(), Audience()
        free = Limits(timeout_secs=WAIT, per_hour=0)
        async with (
            working(bob, params(room, to("cat"), limits=free), one, tmp_path),
            working(cat, params(room, to("bob"), limits=free), two, tmp_path),
        ):
            await ask(ann, room)
            await until(lambda: FAILED in [end.status for end in one.ends + two.ends])
        turns = [end.status for end in [*one.ends, *two.ends]]
        assert turns.count(DONE) <= MAX_HOPS


async def test_a_handoff_that_went_through_too_many_workers_is_declined(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        fields = {"next": "again", "hops": MAX_HOPS}
        part = OtherPart(kind="com.parler.handoff", fields=fields)
        await ann.client.send(RoomTarget(room=room), [part])
        seen = await once(bob, params(room, counting(tmp_path)), tmp_path)
        assert [end.status for end in seen.ends] == [FAILED]
        assert runs(tmp_path) == []


async def test_what_attention_holds_back_stays_unread(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        update_identity(
            bob.identity.home, attention=AttentionPolicy(mode=Attention.FOCUS)
        )
        runner = counting(tmp_path)
        eager = params(room, runner, everything=True)
        before = (await bob.client.pull(room, limit=0)).cursor
        held = await send(
            ann, SendParams(target=RoomTarget(room=room), text="when you have time")
        )
        seen = Audience()
        async with working(bob, eager, seen, tmp_path):
            asked = await ask(ann, room)
            await seen.until(lambda it: it.ends)
            assert (await bob.client.pull(room, limit=0)).cursor == before
            assert runs(tmp_path) == [asked.id]
            update_identity(bob.identity.home, attention=AttentionPolicy())
            later = await ask(ann, room, "one more")
            await seen.until(lambda it: len(it.ends) == 3)
            await read_up_to(bob, room, later.seq)
        assert runs(tmp_path) == sorted([asked.id, held.id, later.id])


async def test_a_muted_room_starts_nothing_and_is_read(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        update_identity(
            bob.identity.home, attention=AttentionPolicy(muted_rooms=(room,))
        )
        asked = await ask(ann, room)
        seen = Audience()
        async with working(bob, params(room, "cat"), seen, tmp_path):
            await read_up_to(bob, room, asked.seq)
        assert seen.steps == []


async def test_a_worker_that_is_stopped_says_so(tmp_path: Path) -> None:
    runner = script(tmp_path, "import time; print('begun', flush=True); time.sleep(99)")
    async with stage(tmp_path) as at:
        room, [ann, bob] = await room_of(at, "ann", "bob")
        asked = await ask(ann, room)
        seen = Audience()
        async with working(bob, params(room, runner), seen, tmp_path):
            await seen.until(lambda it: b"begun" in it.printed)
        assert (await receipts(ann, room, asked.id))[-1] is FAILED


def test_work_is_a_command(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        ann = Agent(tmp_path, "ann", hub.url)
        bob = Agent(tmp_path, "bob", hub.url)
        opened = ann("session", "open", "--json", "--no-approval").json
        bob("session", "join", opened["portable"], "--json")
        ann("handoff", "--for", "bob", "--next", "count to three")
        bob.environment["PATH"] = "/usr/bin:/bin"
        missing = bob("work", "--runner", "no-such-runner", "--json")
        assert (missing.status, missing.error["code"]) == (2, "usage")
        ended = bob("work", "--runner", "echo one two three", "--once", "--json").json
        assert ended["status"] == "done"
        got = ann("recv", "--json").json["messages"]
        kinds = [message["parts"][0]["kind"] for message in got]
        assert kinds == ["com.parler.task", "com.parler.task", "text"]
        assert got[-1]["parts"][0]["text"] == "one two three"
        assert {message["signature"] for message in got} == {"valid"}


def test_who_joins_to_work_does_so_at_once_and_nobody_else_does(
    tmp_path: Path,
) -> None:
    runner = counting(tmp_path, "all green")
    with running_hub(tmp_path / "hub") as hub:
        ann, bob = (Agent(tmp_path, name, hub.url) for name in ("ann", "bob"))
        gated = ann("session", "open", "--approval", "--json").json
        assert gated["gated"]
        both = ann("session", "open", "--approval", "--no-approval")
        assert both.status == 2
        key = ann("session", "open", "--no-approval", "--json").json["portable"]
        assert bob("session", "join", key, "--passive", "--once").status == 0
        ann("handoff", "--for", "bob", "--next", "test it")
        waits = bob("join", gated["portable"], "--active")
        assert (waits.status, "no work" in waits.err) == (0, True)
        assert bob("join", key, "--active", "--passive").status == 2
        # What was handed over before is read, and starts no work.
        with bob.running("join", key, "--runner", runner, "--once") as worker:
            worker.until("working in", worker.stderr)
            ann("handoff", "--for", "bob", "--next", "test it again")
            assert worker.process.wait(WAIT) == 0
        assert len(runs(tmp_path)) == 1
