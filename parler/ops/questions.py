"""Questions of agents to their person, and the person's answers.

A question is an ordinary signed message to the person's own identity (people are the
identity of the machine home), so that every terminal, page or phone of the person shows
it. What counts as its answer is what the person signed as a reply to it; the first one
counts, and all stay in the room. No form of the app is shown beside it: a person in
another window would not see it, and apps that nobody watches answer forms themselves.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import msgspec

from parler.ask.live import first_message
from parler.client.acquaintance import Standing
from parler.client.messages import Message
from parler.client.questions import (
    Answered,
    Ask,
    Status,
    answer_parts,
    answered_of,
    ask_of,
    ask_parts,
)
from parler.errors import HubRefused, UsageError
from parler.identity.homes import machine_home
from parler.identity.identity import Identity
from parler.identity.known_rooms import KnownRooms
from parler.identity.message_signing import Signature
from parler.identity.person import ensure_person
from parler.identity.signing import fingerprint
from parler.ops.addressing import Candidate, matching, pick
from parler.ops.capability import Capability, Param
from parler.ops.context import OpContext, Result, check_texts, minted
from parler.ops.own import Household, Own
from parler.ops.requests import standing_in
from parler.ops.rooms import end_of, entries_of, read_up_to
from parler.text.terminal import clipped, sentence, shell_word, shown_name
from parler.wire.base import AgentId, Code, MessageId, RoomName, Seq
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.limits import MAX_PULL_LIMIT
from parler.wire.records import RoomInfo, RoomKind, RoomTarget
from parler.wire.replies import Invited, Joined, JoinPending, RoomList
from parler.wire.requests import Invite, Redeem, Rooms
from parler.wire.urls import same_hub

MAX_QUESTION_CHARS = 2000
MAX_CHOICES = 9
MAX_CHOICE_CHARS = 200
MAX_OPEN = 3
"""Questions of one agent that may wait for the person at a time."""

OPEN_SECS = 24 * 3600
"""How long a question waits; nobody answers an older one any more."""

MAX_ANSWER_CHARS = 8000
DEFAULT_WAIT_SECS = 50
"""Below the minute after which some apps give a tool up."""

MAX_WAIT_SECS = 3600
MAX_ROOMS = 25
"""Direct rooms that are looked through for questions, those first where somebody asked
last: each costs a few requests, and who looks stays and looks again."""

LOOK_BACK = 100
"""Messages before what its members have read that are looked through as well."""

MAX_PAGES = 10
PERSON = "person"
"""The tier of an answer that a person gave."""


class State(StrEnum):
    """What came of a question to the person."""

    ANSWERED = "answered"
    DECLINED = "declined"
    WAITING = "waiting"
    """Not answered yet: that comes as a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskUserParams:
    """A question to the person."""

    question: Annotated[
        str, Param("What you want to know.", words=True, stdin="the question", brief="")
    ]
    choices: Annotated[
        list[str],
        Param(
            "One possible answer; give several.",
            "ANSWER",
            option="--choice",
            brief="If only these will do, up to 9.",
        ),
    ] = field(default_factory=list)
    wait_secs: Annotated[
        int,
        Param(
            "How long to wait.",
            option="--wait",
            ge=0,
            le=MAX_WAIT_SECS,
            clamped=True,
            brief="Up to 3600.",
        ),
    ] = DEFAULT_WAIT_SECS


class AskUserResult(Result):
    """A question as it was put, and what the person said."""

    state: State
    turn: MessageId
    """The id of the message that asks."""

    room: RoomName
    seq: Seq
    answer: Foreign | None = None


class UserQuestion(Result):
    """A question to a person, as it stands in a room of theirs."""

    room: RoomName
    hub: str
    seq: Seq
    id: MessageId
    agent: AgentId
    """Who asks."""

    name: Foreign
    fingerprint: str
    since: int
    """Epoch milliseconds."""

    question: Foreign
    choices: list[Foreign] = msgspec.field(default_factory=list)
    until: int | None = None
    """Epoch milliseconds after which nobody waits for an answer."""

    answer: Foreign | None = None
    """What was answered first, None if nothing was."""

    answer_seq: Seq | None = None
    declined: bool = False

    def is_open(self, now: int) -> bool:
        """Whether it waits for an answer, `now` in epoch milliseconds."""
        return self.answer_seq is None and (self.until is None or now < self.until)


class AnsweredResult(Result):
    """A question that was answered; `before` is an answer that had come first."""

    room: RoomName
    seq: Seq
    """Of the answer."""

    agent: AgentId
    name: Foreign
    question: Foreign
    answer: Foreign
    declined: bool = False
    before: Foreign | None = None


AsPerson = Callable[[], AbstractAsyncContextManager[OpContext]]
"""Connects to the agent's hub in the name of the person, only to look."""


async def ask_user(
    ctx: OpContext, params: AskUserParams, *, as_person: AsPerson
) -> AskUserResult:
    """Ask the person of this machine, and wait for the answer; it may come later.

    Raises:
        UsageError: It is no question, too many of ours wait, or we are the person.
        ConfigError: There is no person, and none can be made.
        HubError: The hub does not take it.
    """
    ask = _checked(params, now=ctx.now())
    home = machine_home(ctx.identity.home)
    person = await asyncio.to_thread(ensure_person, home, hub_url=ctx.hub)
    me = ctx.client.agent_id
    if person.agent_id == me:
        raise UsageError(
            "you are the person whom this asks",
            next_step="parler inbox, for what your agents ask you",
        )
    room = await _direct_room(ctx, person, as_person)
    waiting = [
        one
        for one in _questions_in(await _recent(ctx, room), person.agent_id, ctx)
        if one.agent == me and one.is_open(ctx.now())
    ]
    if len(waiting) >= MAX_OPEN:
        raise UsageError(
            f"{len(waiting)} questions of yours wait for your user already; no more "
            "than that may",
            next_step="go on with what needs no answer: each comes as a message",
        )
    sent = await ctx.client.send(RoomTarget(room=room), ask_parts(ask))
    asked = AskUserResult(
        state=State.WAITING, turn=MessageId(sent.id), room=room, seq=sent.seq
    )
    wait = min(max(params.wait_secs, 0), MAX_WAIT_SECS)
    found = await first_message(
        ctx.client,
        room,
        lambda one: (
            one.stored.reply_to == sent.id and bool(_answer_of(one, person.agent_id))
        ),
        since=sent.seq,
        wait_secs=wait,
    )
    if found is not None:
        answered = answered_of(found)
        declined = answered is not None and answered.status is not Status.DONE
        asked.state = State.DECLINED if declined else State.ANSWERED
        asked.answer = foreign(found.text[:MAX_ANSWER_CHARS])
    return asked


ASK_USER = Capability(
    run=ask_user,
    about="Ask your person, wherever that person is.",
    more="The question is in `parler inbox`, and `parler answer` answers it from any "
    "terminal. An answer that comes later than one waits is a message, which wakes.",
    command="ask-user",
    example="""\
parler ask-user "deploy now?" --choice yes --choice no
parler ask-user "which of the two schemas?" --wait 600""",
    tool="parler_ask_user",
    brief="Ask your user, who may be elsewhere. A late answer comes as a message.",
    call='{"question": "Deploy now?", "choices": ["yes", "no"]}',
    common=True,
)


# The person's side


async def questions_to(
    own: Own, rooms: Sequence[RoomInfo] | None = None
) -> list[UserQuestion]:
    """The questions to an identity in its direct rooms, oldest first.

    Args:
        rooms: Its rooms, if they are known already.

    Those of strangers are not among them, nor are more open ones of one agent than ours
    would ask: they are mail.

    Raises:
        HubError: The hub is too busy to tell.
    """
    ctx = own.ctx
    if rooms is None:
        rooms = (await ctx.client.request(Rooms(), RoomList)).rooms
    direct = {one.name: one.unread for one in rooms if one.kind is RoomKind.DM}
    noted = [one for one in _noted_last(ctx.known_rooms, ctx.hub) if one in direct]
    # Strangers open rooms as they like: those that nobody of ours is in come last. What
    # was read may be open still: to scroll past a question is no answer to it.
    others = [one for one in direct if one not in noted]
    others.sort(key=lambda one: not direct[one])
    found: list[UserQuestion] = []
    for room in [*noted, *others][:MAX_ROOMS]:
        if await standing_in(ctx, room) is not Standing.KNOWN:
            continue
        with suppress(HubRefused):  # it is gone
            messages = await _recent(ctx, room)
            found += _questions_in(messages, ctx.client.agent_id, ctx)
    open_ = Counter[AgentId]()
    kept = []
    for one in sorted(found, key=lambda one: one.since):
        open_[one.agent] += one.is_open(ctx.now())
        if open_[one.agent] <= MAX_OPEN or not one.is_open(ctx.now()):
            kept.append(one)
    return kept


async def question_meant(household: Household, who: str) -> UserQuestion:
    """The one question of an agent that waits for the person: never guessed.

    Args:
        household: The person alone.
        who: The agent's id, a fingerprint or enough of its beginning, or a name.

    Raises:
        UsageError: None is, or more than one.
        ParlerError: No hub could be asked.
    """

    async def look(own: Own) -> tuple[int, list[UserQuestion]]:
        return own.ctx.now(), await questions_to(own)

    seen = await household.each(look)
    asked = [(one, one.is_open(now)) for now, some in seen.found for one in some]
    waiting = [one for one, is_open in asked if is_open]
    people = [Candidate(agent=one.agent, name=one.name) for one in waiting]
    if not matching(who, people):
        _check_unanswered(who, [one for one, _ in asked if one.answer_seq is not None])
    chosen = pick(
        who,
        people,
        among="waits for an answer of yours",
        next_step="parler inbox",
    )
    meant = [one for one in waiting if one.agent == chosen.agent]
    if len(meant) > 1:
        words = "; ".join(clipped(one.question, 60) for one in meant)
        lines = " or ".join(
            f"parler answer --room {shell_word(one.room)} --question {one.seq} ANSWER"
            for one in meant
        )
        raise UsageError(f"{chosen} asks {len(meant)} things: {words}", next_step=lines)
    return meant[0]


async def is_for_person(ctx: OpContext, room: RoomName, seq: Seq) -> bool:
    """Whether a message is a question that only a person may answer."""
    page = await ctx.client.pull(room, since=seq - 1, limit=1)
    asked = [ask_of(one) for one in page.messages if one.seq == seq]
    return any(one is not None and one.person for one in asked)


async def answer_as_person(
    ctx: OpContext, room: RoomName, seq: Seq, text: str = "", *, decline: bool = False
) -> AnsweredResult:
    """Answer a question to this person, who alone may: the caller has seen to that.

    Args:
        text: One of the choices, by its number or its words, if there are any.

    Raises:
        UsageError: There is no such question, it is answered already, the answer is
            none of the choices, or there is none.
        HubError: The hub does not take it.
    """
    me = ctx.client.agent_id
    messages = await _recent(ctx, room, least=seq - 1)
    asked = next(
        (one for one in _questions_in(messages, me, ctx) if one.seq == seq), None
    )
    if asked is None:
        raise UsageError(
            f"message {seq} in {room!r} is no question to you", next_step="parler inbox"
        )
    if asked.answer_seq is not None:
        raise _answered_already(asked)
    words = text.strip()
    check_texts(answer=words)
    if not decline:
        words = _chosen(asked, words)
    status = Status.DECLINED if decline else Status.DONE
    # The hub stores one answer to a question, so that no model reads another one too.
    sent = await ctx.client.send(
        RoomTarget(room=room),
        answer_parts(words, Answered(status=status, tier=PERSON)),
        reply_to=asked.id,
        client_id=f"parler-ask:{asked.id}:answer",
    )
    seen = await read_up_to(ctx, room)
    least = min(seq - 1, seen or 0)
    messages = await _recent(ctx, room, least=least)
    questions = _questions_in(messages, me, ctx)
    first = next(one for one in questions if one.seq == seq)
    told = (exact(first.answer or ""), first.declined)
    done = {one.seq for one in questions if one.answer_seq is not None}
    if seen is not None:
        await _count_as_read(ctx, room, messages, done, since=seen)
    return AnsweredResult(
        room=room,
        seq=sent.seq,
        agent=asked.agent,
        name=asked.name,
        question=asked.question,
        answer=foreign(words),
        declined=decline,
        before=None if told == (words[:MAX_ANSWER_CHARS], decline) else first.answer,
    )


# What both have in common


def _checked(params: AskUserParams, *, now: int) -> Ask:
    question = params.question.strip()
    choices = [one.strip() for one in params.choices]
    check_texts(question=question, choices="".join(choices))
    if not question:
        raise UsageError("the question is empty", next_step="say what you want to know")
    if len(question) > MAX_QUESTION_CHARS:
        raise UsageError(
            f"the question has {len(question)} characters; {MAX_QUESTION_CHARS} fit",
            next_step="ask for less, and say where the rest can be read",
        )
    if len(choices) > MAX_CHOICES:
        raise UsageError(f"{len(choices)} choices are given; {MAX_CHOICES} fit")
    for one in choices:
        if not one or len(one) > MAX_CHOICE_CHARS or len(one.splitlines()) > 1:
            raise UsageError(
                f"a choice is one line of 1 to {MAX_CHOICE_CHARS} characters"
            )
    if len({one.casefold() for one in choices}) < len(choices):
        raise UsageError("two of the choices are the same")
    return Ask(
        question=question,
        deadline_ms=now + OPEN_SECS * 1000,
        person=True,
        choices=choices,
    )


def _check_unanswered(who: str, answered: Sequence[UserQuestion]) -> None:
    """Say so if what is meant was answered by now."""
    people = [Candidate(agent=one.agent, name=one.name) for one in answered]
    for found in matching(who, people)[:1]:
        raise _answered_already([q for q in answered if q.agent == found.agent][-1])


def _answered_already(asked: UserQuestion) -> UsageError:
    said = "declined" if asked.declined else clipped(asked.answer or "", 80)
    return UsageError(
        f"what {shown_name(asked.name)} asked is answered already: {said}",
        next_step="parler inbox",
    )


def _chosen(asked: UserQuestion, words: str) -> str:
    """The answer: of several choices, the one that was meant."""
    choices = [exact(one) for one in asked.choices]
    if not choices:
        if not words:
            raise UsageError("the answer is empty")
        return words[:MAX_ANSWER_CHARS]
    if words.isdecimal() and words.isascii() and 0 < int(words) <= len(choices):
        return choices[int(words) - 1]
    found = [one for one in choices if one.casefold() == words.casefold()]
    if not found:
        raise UsageError(
            f"{clipped(words, 80)!r} is none of the choices: {numbered(asked.choices)}",
            next_step="answer with one of the numbers, or --decline",
        )
    return found[0]


def numbered(choices: Sequence[Foreign]) -> str:
    """The choices of a question in a line."""
    return ", ".join(f"{n} {sentence(c)}" for n, c in enumerate(choices, start=1))


async def _direct_room(
    ctx: OpContext, person: Identity, as_person: AsPerson
) -> RoomName:
    """The direct room with the person, made if there is none.

    The person needs no card for it: with a key, both are in it by their own word.
    """
    known = KnownRooms(person.home)
    noted = _noted_last(known, ctx.hub)
    rooms = (await ctx.client.request(Rooms(), RoomList)).rooms
    direct = [one.name for one in rooms if one.kind is RoomKind.DM]
    direct.sort(key=lambda name: name not in noted)
    for name in direct[:MAX_ROOMS]:
        members = await entries_of(ctx, name)
        if person.agent_id in {one.id for one in members}:
            break
    else:
        async with as_person() as theirs:
            made = await ctx.client.request(Invite(kind=RoomKind.DM), Invited)
            name = made.room
            redeem = Redeem(code=Code(minted(made.code)))
            await theirs.client.request(redeem, (Joined, JoinPending))
    known.remember(ctx.hub, name)  # where the person looks first
    ctx.wrote_in(name)
    return name


def _noted_last(known: KnownRooms, hub: str) -> list[RoomName]:
    """The rooms at a hub that were noted, the last one first."""
    records = reversed(known.records())
    return [one.room for one in records if same_hub(one.hub, hub)]


async def _recent(
    ctx: OpContext, room: RoomName, *, least: int | None = None
) -> list[Message]:
    """What was said last in a direct room.

    Args:
        least: Begin there at the latest.
    """
    since = max(0, await end_of(ctx, room) - LOOK_BACK)
    since = since if least is None else min(since, least)
    found: list[Message] = []
    for _ in range(MAX_PAGES):
        batch = await ctx.client.pull(room, since=since, limit=MAX_PULL_LIMIT)
        found += batch.messages
        if len(batch.messages) < MAX_PULL_LIMIT:
            break
        since = batch.cursor
    return found


def _questions_in(
    messages: Sequence[Message], asked: AgentId, ctx: OpContext
) -> list[UserQuestion]:
    """The questions to somebody in a room, each with the answer that came first."""
    found: dict[str, UserQuestion] = {}
    for message in messages:
        question = ask_of(message)
        proven = message.signature is Signature.VALID
        if question is not None and proven and message.author.id != asked:
            found[message.id] = UserQuestion(
                room=message.room,
                hub=ctx.hub,
                seq=message.seq,
                id=MessageId(message.id),
                agent=message.author.id,
                name=message.author.name,
                fingerprint=fingerprint(message.author.id),
                since=message.ts,
                question=foreign(question.question),
                choices=[foreign(one) for one in question.choices[:MAX_CHOICES]],
                until=question.deadline_ms,
            )
        replied = found.get(message.stored.reply_to or "")
        if replied is None or replied.answer_seq is not None:
            continue
        answered = _answer_of(message, asked)
        if answered is not None:
            replied.answer = foreign(message.text[:MAX_ANSWER_CHARS])
            replied.answer_seq = message.seq
            replied.declined = answered.status is not Status.DONE
    return list(found.values())


def _answer_of(message: Message, person: AgentId) -> Answered | None:
    """The answer in a message, if that person gave it.

    Plain words are none: no command of an agent's shell is a person's answer.
    """
    if message.signature is not Signature.VALID or message.author.id != person:
        return None
    return answered_of(message)


async def _count_as_read(
    ctx: OpContext,
    room: RoomName,
    messages: Sequence[Message],
    done: Collection[Seq],
    *,
    since: Seq,
) -> None:
    """Raise the person's cursor over questions that are done with, and no further."""
    upto = since
    for message in messages:
        if message.seq <= upto:
            continue
        if message.author.id != ctx.client.agent_id and message.seq not in done:
            break
        upto = message.seq
    if upto > since:
        await ctx.client.ack(room, upto)
