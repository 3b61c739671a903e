"""Questions of agents to their person: found, answered once, bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from parler.client.client import Client
from parler.client.questions import Ask, answered_of, ask_of, ask_parts
from parler.errors import RateLimited, UsageError
from parler.identity.own_agents import OwnAgent, Place
from parler.ops.ask import AnswerParams, answer_question
from parler.ops.context import OpContext
from parler.ops.inbox import Kind, waiting_for
from parler.ops.own import Own, Seen, rooms_of
from parler.ops.questions import (
    MAX_CHOICE_CHARS,
    MAX_CHOICES,
    MAX_OPEN,
    MAX_QUESTION_CHARS,
    OPEN_SECS,
    AskUserParams,
    AskUserResult,
    State,
    answer_as_person,
    ask_user,
    question_meant,
    questions_to,
)
from parler.wire.parts import TextPart
from parler.wire.records import RoomTarget
from tests._support.actors import Stage, stage
from tests._support.polling import comes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Home:
    """A person, an agent of theirs, and the hub of both."""

    stage: Stage
    person: OpContext
    agent: OpContext

    @property
    def own(self) -> Own:
        home = self.person.identity.home
        agent = OwnAgent(home, True, Place())
        return Own(agent=agent, name="anna", ctx=self.person)

    @property
    def agents(self) -> Sequence[OwnAgent]:
        return [self.own.agent]

    async def each(self, look: Callable[[Own], Awaitable[T]]) -> Seen[T]:
        return Seen(found=[await look(self.own)])

    async def asks(self, question: str = "Deploy?", **given: Any) -> AskUserResult:
        params = AskUserParams(question=question, **{"wait_secs": 0} | given)
        return await ask_user(self.agent, params, as_person=self._as_person)

    @asynccontextmanager
    async def _as_person(self) -> AsyncIterator[OpContext]:
        yield self.person

    async def answers(self, who: str, text: str = "", **given: Any) -> Any:
        asked = await question_meant(self, who)
        return await answer_as_person(self.person, asked.room, asked.seq, text, **given)

    async def waiting(self) -> list[Any]:
        found = await waiting_for(self.own, await rooms_of(self.own), [])
        return found.items

    async def waiting_for_the_agent(self) -> list[Any]:
        agent = OwnAgent(self.agent.identity.home, False, Place())
        own = Own(agent=agent, name="shop", ctx=self.agent)
        return (await waiting_for(own, await rooms_of(own), [])).items


@asynccontextmanager
async def at_home(tmp_path: Path) -> AsyncIterator[Home]:
    machine = tmp_path / "anna" / ".parler"
    async with stage(tmp_path) as at:
        person = await at.enter("anna", home=machine)
        agent = await at.enter("shop", home=machine / "agents/codex/ws/ab12")
        yield Home(at, person, agent)


async def test_a_person_without_a_card_is_asked_and_the_answer_is_the_result(
    tmp_path: Path,
) -> None:
    async with at_home(tmp_path) as home:
        asking = asyncio.ensure_future(  # noqa: TID251 - awaited below
            home.asks(choices=["staging", "production"], wait_secs=30)
        )

        async def shown() -> bool:
            return bool(await home.waiting())

        await comes(shown)
        [item] = await home.waiting()
        assert (item.kind, item.text, item.name) == (Kind.QUESTION, "Deploy?", "shop")
        assert item.choices == ["staging", "production"]
        for wrong in ("3", "0", "both", ""):
            with pytest.raises(UsageError, match="1 staging, 2 production"):
                await home.answers("shop", wrong)
        told = await home.answers("shop", "2")
        assert (told.answer, told.before) == ("production", None)
        got = await asking
        assert got.state is State.ANSWERED
        assert got.answer == "production"
        assert await home.waiting() == []
        # The agent does not run; what the person said does not come back to it.
        assert await home.waiting_for_the_agent() == []
        with pytest.raises(UsageError, match="answered already: production"):
            await home.answers("shop", "staging")


async def test_of_two_answers_at_once_the_agent_is_told_the_first_alone(
    tmp_path: Path,
) -> None:
    async with at_home(tmp_path) as home:
        asked = await home.asks(choices=["Yes", "No"])
        both = [
            answer_as_person(home.person, asked.room, asked.seq, word)
            for word in ("yes", "NO")
        ]
        told = await asyncio.gather(*both)
        [one] = await questions_to(home.own)
        assert {each.before for each in told} == {None, one.answer}
        log = await home.person.client.pull(asked.room, since=asked.seq)
        assert [message.text for message in log.messages] == [str(one.answer)]
        assert one.answer_seq == log.messages[0].seq


async def test_nobody_but_the_person_answers(tmp_path: Path) -> None:
    async with at_home(tmp_path) as home:
        asked = await home.asks("Deploy?", wait_secs=0)
        params = AnswerParams(room=asked.room, seq=asked.seq, text="yes")
        for ctx in (home.agent, home.person):  # a model may speak for either
            with pytest.raises(UsageError, match="for a person to answer"):
                await answer_question(ctx, params)
        with pytest.raises(UsageError, match="no question to you"):
            await answer_as_person(home.agent, asked.room, asked.seq, "yes")
        target = RoomTarget(room=asked.room)
        for ctx in (home.agent, home.person):  # words are no answer, whoever says them
            said = [TextPart(text="yes")]
            await ctx.client.send(target, said, reply_to=asked.turn)
        assert [one.answer_seq for one in await questions_to(home.own)] == [None]


async def test_a_question_that_was_read_waits_until_it_is_answered_or_old(
    tmp_path: Path,
) -> None:
    async with at_home(tmp_path) as home:
        asked = await home.asks("Which schema?")
        await home.person.client.ack(asked.room, asked.seq)
        assert [one.text for one in await home.waiting()] == ["Which schema?"]
        # As it is where an agent elsewhere asks: the room was never noted here.
        home.person.known_rooms.path.unlink()
        assert [one.text for one in await home.waiting()] == ["Which schema?"]
        await home.answers("shop", "the second", decline=False)
        assert await home.waiting() == []
        await home.asks("And then?")
        home.stage.hub.clock.advance(OPEN_SECS)
        [mail] = await home.waiting()
        assert (mail.text, mail.asks_person) == ("And then?", False)
        with pytest.raises(UsageError, match="answered already: the second"):
            await question_meant(home, "shop")
        with pytest.raises(UsageError, match="nobody called 'other' waits"):
            await question_meant(home, "other")


async def test_what_waits_and_how_long_it_is_are_bounded(tmp_path: Path) -> None:
    async with at_home(tmp_path) as home:
        for refused in (
            {"question": " "},
            {"question": "x" * (MAX_QUESTION_CHARS + 1)},
            {"choices": [str(n) for n in range(MAX_CHOICES + 1)]},
            {"choices": ["x" * (MAX_CHOICE_CHARS + 1)]},
            {"choices": ["a\nb"]},
            {"choices": ["yes", "YES"]},
            {"choices": ["", "no"]},
        ):
            with pytest.raises(UsageError):
                await home.asks(**refused)
        for number in range(MAX_OPEN):
            await home.asks(f"question {number}")
        with pytest.raises(UsageError, match="wait for your user already"):
            await home.asks("one more")
        with pytest.raises(UsageError, match=f"asks {MAX_OPEN} things") as several:
            await home.answers("shop", "yes")
        assert "parler answer --room dm." in (several.value.next_step or "")
        first, *_ = await questions_to(home.own)
        await answer_as_person(home.person, first.room, first.seq, decline=True)
        await home.asks("one more")
        with pytest.raises(UsageError, match="you are the person"):
            await ask_user(
                home.person, AskUserParams(question="me?"), as_person=home._as_person
            )


async def test_no_agent_asks_for_more_of_a_person_than_ours_may(tmp_path: Path) -> None:
    async with at_home(tmp_path) as home:
        asked = await home.asks("question 0")
        for number in range(1, 9):  # as a client does that keeps to no bound
            said = ask_parts(Ask(question=f"question {number}", person=True))
            await home.agent.client.send(RoomTarget(room=asked.room), said)
        shown = [one.question for one in await questions_to(home.own)]
        assert shown == [f"question {number}" for number in range(MAX_OPEN)]


async def test_a_hub_that_is_too_busy_does_not_say_that_nobody_asks(
    tmp_path: Path,
) -> None:
    async with at_home(tmp_path) as home:
        await home.asks()

        class Busy:
            def __getattr__(self, name: str) -> Any:
                return getattr(home.person.client, name)

            async def pull(self, *given: Any, **more: Any) -> Any:
                raise RateLimited("slow down", hub_code="rate_limited")

        busy = replace(home.person, client=cast("Client", Busy()))
        with pytest.raises(RateLimited):
            await questions_to(replace(home.own, ctx=busy))


async def test_a_question_reads_as_one_also_where_nobody_knows_questions(
    tmp_path: Path,
) -> None:
    async with at_home(tmp_path) as home:
        asked = await home.asks("Where?", choices=["here", "there"])
        await home.answers(home.agent.identity.agent_id, decline=True)
        log = await home.person.client.pull(asked.room, since=0)
        question, answer = log.messages
        assert question.text == "Where?\n1 here\n2 there"
        ask, said = ask_of(question), answered_of(answer)
        assert ask is not None
        assert ask.person
        assert said is not None
        assert (said.status, said.tier) == ("declined", "person")
