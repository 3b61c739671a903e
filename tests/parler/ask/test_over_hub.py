"""Asking over a hub: by name, with permission, each question answered once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from parler.apps.kit.permission import Permission
from parler.ask import thread
from parler.ask.answerer import Asked, Step
from parler.ask.projects import Project
from parler.ask.thread import Event, Tier
from parler.client.questions import (
    ANSWER_KIND,
    ASK_KIND,
    Ask,
    Status,
    answered_of,
    ask_parts,
)
from parler.errors import UsageError
from parler.identity.message_signing import Signature
from parler.machine.processes import Process
from parler.ops import machine_context as here_module
from parler.ops import projects
from parler.ops.answering import Watcher, serve_answers
from parler.ops.ask import (
    AnswerParams,
    AskParams,
    AskResult,
    Connect,
    answer_question,
    ask,
)
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.machine_context import Here
from parler.ops.messages import SendParams, send
from parler.ops.peers import PeersParams, Reach, Scope, peers
from parler.ops.projects import AddParams, AllowParams, add_project
from parler.ops.receipts import StatusParams, status
from parler.peers.presence import HostProcess, Kind, announce, record_here
from parler.wire.base import AgentId, RoomName
from parler.wire.parts import OtherPart
from parler.wire.records import DmTarget, RoomTarget
from tests._support.actors import Stage, stage
from tests._support.gitrepo import Repo
from tests._support.polling import WAIT
from tests._support.workers import Working, enter, said, until
from tests.parler.ask._fakes import FakeClaude
from tests.parler.ask._fakes import here as made_here

SHOP = "shop"


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here_module.Here, "by_an_agent", lambda self: False)


@pytest.fixture
def fake(tmp_path: Path) -> FakeClaude:
    return FakeClaude(tmp_path / "fake")


class Killed(BaseException):
    """An answerer that ends here, as if the power had gone."""


@dataclass(slots=True)
class Screen(Watcher):
    dies_after: Step | None = None
    asked: list[Asked] = field(default_factory=list)
    is_ready: bool = False

    def ready(self) -> None:
        self.is_ready = True

    def dealt(self, asked: Asked) -> None:
        self.asked.append(asked)

    def reached(self, step: Step) -> None:
        if step is self.dies_after:
            self.dies_after = None
            raise Killed


def clock() -> int:
    return time.time_ns() // 1_000_000


def owner(tmp_path: Path, fake: FakeClaude, ctx: OpContext) -> tuple[Here, Project]:
    folder = tmp_path / SHOP
    if not folder.exists():
        Repo.init(folder)
    at = made_here(tmp_path / "owner", folder, fake, agent=ctx.client.agent_id)
    at = replace(at, now=clock)
    if at.projects.find(SHOP) is None:
        add_project(at, AddParams(alias=SHOP, folder=folder))
    return at, at.projects.get(SHOP)


def stranger(tmp_path: Path, ctx: OpContext, home: str = "stranger") -> Here:
    at = made_here(tmp_path / home, tmp_path / f"{home}-web", agent=ctx.client.agent_id)
    return replace(at, now=clock)


def over(ctx: OpContext) -> Connect:
    @asynccontextmanager
    async def connect(_: str | None) -> AsyncIterator[OpContext]:
        yield ctx

    return connect


async def serving(
    at: Here, ctx: OpContext, project: Project, screen: Screen, *, on_hub: bool = True
) -> None:
    await serve_answers(at, ctx, project, on_hub=on_hub, watcher=screen, grace_secs=0.2)


async def put(at: Here, ctx: OpContext, question: str, **more: object) -> AskResult:
    params = AskParams(project=SHOP, question=question, timeout_secs=WAIT)
    return await ask(at, replace(params, **more), connect=over(ctx))  # type: ignore[arg-type]


async def pair(at: Stage) -> tuple[OpContext, OpContext]:
    shop, bob = await enter(at, SHOP), await enter(at, "bob")
    await register(bob, RegisterParams())
    return shop, bob


async def test_an_approved_agent_asks_by_name_and_a_stranger_does_not(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        asker = stranger(tmp_path, bob)
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.is_ready)
            refused = await put(asker, bob, "what is the key?")
            assert refused.status is Status.DECLINED
            assert "has not permitted" in (refused.note or "")
            assert fake.runs == []
            params = AllowParams(alias=SHOP, asker=bob.client.agent_id, name="bob")
            projects.allow(here, params)
            done = await put(asker, bob, "how do you retry?")
            again = await put(asker, bob, "and then?")
        assert (done.status, done.tier, done.answer) == ("done", "live", "answer 0")
        assert done.answerer_id == shop.client.agent_id
        assert again.answer == "answer 1"
        assert "--resume" in fake.runs[1]["argv"]
        assert "signature verified" in fake.runs[0]["stdin"]
        audit = [(line.event, line.asker_id) for line in projects.log(here, SHOP).lines]
        who = bob.client.agent_id
        assert audit[0] == (Event.DECLINED, who)
        assert audit[1:] == [(Event.ASKED, who), (Event.ANSWERED, who)] * 2
        assert [one.status for one in screen.asked] == ["declined", "done", "done"]
        own = projects.log(asker, SHOP).lines
        assert [line.event for line in own[-2:]] == [Event.ASKED, Event.ANSWERED]
        assert own[-1].tier is Tier.LIVE


async def test_what_is_granted_to_one_agent_is_not_anothers(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        eve = await enter(at, "bob")  # the same name
        await register(eve, RegisterParams())
        here, project = owner(tmp_path, fake, shop)
        writing = Permission(write=True)
        who = bob.client.agent_id
        projects.allow(here, AllowParams(alias=SHOP, asker=who, permission=writing))
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.is_ready)
            refused = await put(stranger(tmp_path, eve, "eve"), eve, "write it")
            done = await put(stranger(tmp_path, bob), bob, "write it")
        assert (refused.status, done.status) == (Status.DECLINED, Status.DONE)
        [run] = fake.runs
        assert "Write" in run["argv"][run["argv"].index("--tools") + 1]


async def test_nobody_finds_an_answerer_that_does_not_serve_the_hub(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        for on_hub in (True, False):
            screen = Screen()
            async with Working(serving(here, shop, project, screen, on_hub=on_hub)):
                await until(lambda screen=screen: screen.is_ready)
        with pytest.raises(UsageError, match="nobody on"):
            await put(stranger(tmp_path, bob), bob, "hello?")


async def test_a_live_answerer_of_this_machine_is_asked_before_any_is_started(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, ann = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        mine = replace(here, agent=ann.client.agent_id, folder=tmp_path / "web")
        Repo.init(tmp_path / "web")
        config = here.home / "config.json"
        text = f'{{"id": "{ann.client.agent_id}"}}'
        config.write_text(text, encoding="utf-8")
        screen = Screen()
        own = Process(1, "somebody else's")
        with pytest.MonkeyPatch.context() as patch:
            # The answerer runs in this very process, so it would be ourselves.
            patch.setattr(here_module.Here, "above", lambda self: {own})
            async with Working(serving(here, shop, project, screen, on_hub=False)):
                await until(lambda: screen.is_ready)
                done = await put(mine, ann, "how?")
                projects.remember(mine, SHOP, "be brief")
                more = await put(mine, ann, "and then?", follow_up=True)
        assert [one.tier for one in (done, more)] == [Tier.LIVE, Tier.LIVE]
        headless = await put(mine, ann, "headless now", headless=True)
        assert headless.tier is Tier.RESUMED
        assert "be brief" in fake.runs[1]["stdin"]
        for room in await _dms(ann):
            for message in await said(ann, room):
                # Which project asks, and where it lies, is no business of the hub's.
                assert b"web" not in bytes(message.stored.parts)
                assert str(tmp_path).encode() not in bytes(message.stored.parts)
        log = projects.log(mine, SHOP).lines
        assert [line.event for line in log] == ["asked", "answered"] * 3
        assert {line.asker for line in log} == {"web"}


STEPS = list(Step)


@pytest.mark.parametrize("step", STEPS)
async def test_an_answerer_that_is_killed_answers_each_question_once(
    tmp_path: Path, fake: FakeClaude, step: Step
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        who = bob.client.agent_id
        projects.allow(here, AllowParams(alias=SHOP, asker=who))
        screen = Screen(dies_after=step)
        await register(shop, RegisterParams())
        sent = await bob.client.send(
            DmTarget(agent=shop.client.agent_id),
            ask_parts(Ask(question="how?", project=SHOP)),
        )
        with pytest.raises(BaseExceptionGroup) as died:
            async with asyncio.timeout(WAIT):
                await serving(here, shop, project, screen)
        assert died.group_contains(Killed)
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.is_ready)
            second = await put(stranger(tmp_path, bob), bob, "second")
            assert second.status is Status.DONE
        answers = [
            (message.stored.reply_to, message.text)
            for message in await said(bob, sent.room)
            if answered_of(message)
        ]
        assert [reply for reply, _ in answers].count(sent.id) == 1
        assert len(answers) == 2
        assert len(fake.runs) == 2


async def test_an_answerer_that_ends_while_its_agent_runs_asks_it_once_more(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        projects.allow(here, AllowParams(alias=SHOP, asker=bob.client.agent_id))
        await register(shop, RegisterParams())
        gate = tmp_path / "gate"
        fake.plays(wait_for=str(gate))
        sent = await bob.client.send(
            DmTarget(agent=shop.client.agent_id),
            ask_parts(Ask(question="how?", project=SHOP)),
        )
        for _ in range(2):
            (fake.folder / "waiting").unlink(missing_ok=True)
            async with Working(serving(here, shop, project, Screen())):
                await until((fake.folder / "waiting").exists)
        gate.touch()
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.asked)
        # Twice begun and twice interrupted: it is not tried for ever.
        assert len(fake.runs) == 2
        assert screen.asked[0].note == "the answerer was interrupted; ask again"
        [answer] = [m for m in await said(bob, sent.room) if answered_of(m)]
        assert answer.stored.reply_to == sent.id


async def test_an_interrupted_answer_that_may_have_changed_things_is_not_repeated(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        writing = Permission(write=True)
        who = bob.client.agent_id
        projects.allow(here, AllowParams(alias=SHOP, asker=who, permission=writing))
        await register(shop, RegisterParams())
        sent = await bob.client.send(
            DmTarget(agent=shop.client.agent_id),
            ask_parts(Ask(question="change it", project=SHOP)),
        )
        with pytest.raises(BaseExceptionGroup):
            async with asyncio.timeout(WAIT):
                await serving(here, shop, project, Screen(dies_after=Step.STARTED))
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.asked)
        assert fake.runs == []
        assert screen.asked[0].note == "the answerer was interrupted; ask again"
        [answer] = [m for m in await said(bob, sent.room) if answered_of(m)]
        assert answer.stored.reply_to == sent.id


async def test_what_is_forged_late_or_no_question_starts_nothing(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        projects.allow(here, AllowParams(alias=SHOP, asker=bob.client.agent_id))
        await register(shop, RegisterParams())
        target = DmTarget(agent=shop.client.agent_id)
        bad = OtherPart(kind=ASK_KIND, fields={"question": 7})
        late = Ask(question="too late", project=SHOP, deadline_ms=1)
        other = Ask(question="which?", project="../shop")
        deep = Ask(question="on and on", project=SHOP, hops=5)
        for parts in ([bad], ask_parts(late), ask_parts(other), ask_parts(deep)):
            await bob.client.send(target, parts)
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: len(screen.asked) == 3)
        assert {one.status for one in screen.asked} == {Status.DECLINED}
        assert fake.runs == []


async def test_only_the_answerers_own_signed_reply_is_its_answer(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        await register(shop, RegisterParams(skills=[f"ask:{SHOP}"]))
        asker = stranger(tmp_path, bob)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(put(asker, bob, "how?", timeout_secs=2))
            room = await _dm_of(shop)
            [question] = await said(shop, room)
            fake_answer = OtherPart(kind=ANSWER_KIND, fields={"status": "done"})
            reply = RoomTarget(room=room)
            # Not by the one who was asked, and by it but to nothing.
            await bob.client.send(reply, [fake_answer], reply_to=question.id)
            await shop.client.send(reply, [fake_answer])
        result = asked.result()
        assert result.status is Status.FAILED
        assert "has not answered in time" in (result.note or "")


async def test_a_plain_signed_reply_is_an_answer_too(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        await register(shop, RegisterParams(skills=[f"ask:{SHOP}"]))
        asker = stranger(tmp_path, bob)
        projects.remember(asker, SHOP, "we are on v2")
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(put(asker, bob, "how?", context="a CLI"))
            room = await _dm_of(shop)
            [question] = await said(shop, room)
            for words in ("how?", "we are on v2", "a CLI"):
                assert words in question.text
            reply = SendParams(
                target=RoomTarget(room=room), text="plainly", reply_to=question.id
            )
            await send(shop, reply)
        result = asked.result()
    assert (result.status, result.answer) == (Status.DONE, "plainly")
    assert result.turn == question.id


async def test_a_question_is_written_down_before_anybody_is_asked(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        await register(shop, RegisterParams(skills=[f"ask:{SHOP}"]))
        asker = stranger(tmp_path, bob)
        with pytest.raises(UsageError, match="has not answered you yet"):
            await put(asker, bob, "and then?", follow_up=True)
        async with Working(put(asker, bob, "how?")):
            await _dm_of(shop)
            lines = projects.log(asker, SHOP).lines
            assert [line.event for line in lines] == ["asked"]
        assert projects.log(asker, SHOP).open


async def test_an_answerer_that_ended_is_not_waited_for(
    tmp_path: Path, fake: FakeClaude, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        asker = stranger(tmp_path, bob)
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.is_ready)
            with pytest.raises(UsageError, match="another `parler answer`"):
                await serving(here, shop, project, Screen())
            monkeypatch.setenv("HOME", str(tmp_path / "another user"))
            [peer] = (await peers(asker, PeersParams(scope=Scope.HUB), ctx=bob)).peers
            assert (peer.reach, peer.summary) == (
                Reach.AT_ONCE,
                f"answers questions to {SHOP}",
            )
        with pytest.raises(UsageError, match="nobody on"):
            await put(asker, bob, "are you there?")


async def test_a_session_answers_by_hand_and_the_asker_sees_how_far_it_came(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        await register(shop, RegisterParams(skills=[f"ask:{SHOP}"]))
        asker = stranger(tmp_path, bob)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(put(asker, bob, "how?"))
            room = await _dm_of(shop)
            [question] = await said(shop, room)
            assert question.text == "how?"
            params = AnswerParams(room=room, seq=question.seq, text="by hand")
            sent = await answer_question(shop, params)
            again = await answer_question(shop, params)
            assert again.seq == sent.seq
        assert (asked.result().status, asked.result().answer) == ("done", "by hand")
        [member] = (
            await status(bob, StatusParams(room=room, seq=question.seq))
        ).members
        assert member.answered == sent.seq
        plain = await send(shop, SendParams(target=RoomTarget(room=room), text="x"))
        wrong = AnswerParams(room=room, seq=plain.seq, text="x")
        with pytest.raises(UsageError, match="is no question"):
            await answer_question(bob, wrong)


async def test_of_several_live_sessions_one_has_to_be_chosen(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, _ = owner(tmp_path, fake, shop)
        asker = replace(here, agent=bob.client.agent_id, folder=tmp_path)
        helper = record_here(AgentId("U"), "x", folder=tmp_path, kind=Kind.ANSWERER)
        for name, agent in (("one", "UONE"), ("two", "UTWO")):
            record = record_here(
                AgentId(agent), name, folder=tmp_path / SHOP, wake="push", hub="ws://h"
            )
            host = HostProcess.of(Process(helper.host.pid, helper.host.started))
            announce(here.home, replace_record(record, host=host))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(here_module.Here, "above", lambda self: set())
            with pytest.raises(UsageError, match="several sessions of shop are live"):
                await put(asker, bob, "how?")
            done = await put(asker, bob, "how?", headless=True)
            with pytest.raises(UsageError, match="nobody called"):
                await put(asker, bob, "how?", to="three")
        assert done.tier is Tier.FRESH


def replace_record(record: object, **fields: object) -> object:
    import msgspec

    return msgspec.structs.replace(record, **fields)  # type: ignore[type-var]


async def test_who_takes_over_a_name_is_not_asked_in_its_place(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        projects.allow(here, AllowParams(alias=SHOP, asker=bob.client.agent_id))
        asker = stranger(tmp_path, bob)
        screen = Screen()
        async with Working(serving(here, shop, project, screen)):
            await until(lambda: screen.is_ready)
            assert (await put(asker, bob, "how?")).status is Status.DONE
            eve = await enter(at, SHOP)
            await register(eve, RegisterParams(skills=[f"ask:{SHOP}"]))
            assert (await put(asker, bob, "again")).status is Status.DONE
        await register(shop, RegisterParams(remove_skills=[f"ask:{SHOP}"]))
        with pytest.raises(UsageError, match="is somebody else"):
            await put(asker, bob, "the secret?")
        assert not [room for room in await _dms(eve) if await said(eve, room)]


async def test_questions_that_are_refused_do_not_fill_the_disk(
    tmp_path: Path, fake: FakeClaude
) -> None:
    async with stage(tmp_path) as at:
        shop, bob = await pair(at)
        here, project = owner(tmp_path, fake, shop)
        screen = Screen()
        await register(shop, RegisterParams())
        target = DmTarget(agent=shop.client.agent_id)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread, "MAX_REFUSED_BYTES", 2000)
            for number in range(12):
                question = f"{number} " + "x" * 40_000
                ask_ = Ask(question=question, project=SHOP)
                await bob.client.send(target, ask_parts(ask_))
            async with Working(serving(here, shop, project, screen)):
                await until(lambda: len(screen.asked) == 12)
        folder = here.home / "asks" / SHOP
        assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000
        assert projects.log(here, SHOP).lines[-1].text.startswith("11 x")


async def _dms(ctx: OpContext) -> list[RoomName]:
    from parler.wire.replies import RoomList
    from parler.wire.requests import Rooms

    listed = await ctx.client.request(Rooms(), RoomList)
    return [one.name for one in listed.rooms if one.kind == "dm"]


async def _dm_of(ctx: OpContext) -> RoomName:
    async with asyncio.timeout(WAIT):
        while True:
            found = await _dms(ctx)
            if found and await said(ctx, found[0]):
                return found[0]


def test_signatures_have_the_value_this_file_counts_on() -> None:
    assert Signature.VALID == "valid"
