"""Asking a project what it knows, and answering: live, else resumed, else fresh.

A question goes to a session of the project that runs and can be reached at once; else
the project's agent is started in its folder, where it goes on with the conversation it
had with the project that asks. A name that is no project of this machine is looked for
on the hub.
"""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from parler.ask.alias import Alias, alias_of
from parler.ask.headless import MAX_ANSWER_CHARS, Bench, Question, answer
from parler.ask.hops import check_may_ask
from parler.ask.live import LiveAnswer, ask_agent
from parler.ask.projects import Project
from parler.ask.prompt import clipped
from parler.ask.pseudonyms import Pseudonyms
from parler.ask.thread import Asker, Event, Line, Thread, Tier, note_refusal
from parler.client.questions import Answered, Ask, Status, answer_parts, ask_of
from parler.errors import HubError, ParlerError, TransportError, UsageError
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops.addressing import Candidate, matching, pick
from parler.ops.capability import Capability, Hints, Param
from parler.ops.context import OpContext, Result
from parler.ops.directory import DiscoverParams, discover
from parler.ops.machine_context import Here
from parler.ops.messages import SendResult
from parler.ops.peers import Reach, reach_of
from parler.ops.projects import askers_of, own_asker, own_thread
from parler.ops.questions import answer_as_person, question_meant
from parler.ops.sealing import leaves_seal
from parler.peers.presence import Kind, LiveRecord, read_live
from parler.text.terminal import shell_word, shown_name
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.foreign import exact, foreign
from parler.wire.records import OFFLINE, RoomTarget

DEFAULT_TIMEOUT_SECS = 300
MAX_TIMEOUT_SECS = 3600
MAX_QUESTION_CHARS = 48_000
MAX_SENT_CONTEXT_BYTES = 32 * 2**10
LIVE_SHARE_SECS = 120.0
"""How long a session that somebody works with is waited for before its project's
agent is started instead."""

SKILL = "ask:"
"""What the card of an answerer lists, with the project's name behind it."""

Connect = Callable[[str | None], AbstractAsyncContextManager[OpContext]]
"""Connects to a hub by its URL, None for ours."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskParams:
    """A question, and to whom."""

    project: Annotated[str, Param("Its name.", positional=True, brief="")]
    question: Annotated[
        str,
        Param("What you want to know.", words=True, stdin="the question", brief=""),
    ]
    follow_up: Annotated[bool, Param("Only to whoever answered you last.")] = False
    context: Annotated[
        str | None, Param("To be known first.", "TEXT", stdin="the context", brief="")
    ] = None
    to: Annotated[
        str | None, Param("Which of several live ones.", "AGENT", brief="")
    ] = None
    headless: Annotated[bool, Param("Start its agent, whoever is live.", brief="")] = (
        False
    )
    timeout_secs: Annotated[
        int,
        Param(
            "How long to wait.",
            option="--timeout",
            ge=1,
            le=MAX_TIMEOUT_SECS,
            brief="",
        ),
    ] = DEFAULT_TIMEOUT_SECS


class AskResult(Result):
    """What came of a question."""

    project: str
    status: Status
    turn: str
    answer: str = ""
    tier: Tier | None = None
    app: str | None = None
    answerer: str | None = None
    answerer_id: AgentId | None = None
    fingerprint: str | None = None
    elapsed_ms: int | None = None
    usd: float | None = None
    tokens: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerParams:
    """An answer to a question that came as a message."""

    room: Annotated[RoomName, Param("Where it was asked.", on_cli=False)]
    seq: Annotated[int, Param("The question's number there.", ge=1, on_cli=False)]
    text: Annotated[
        str,
        Param(
            "WHO asks you, then your answer; with --question the answer alone.",
            words=True,
            brief="Your answer.",
        ),
    ] = ""
    decline: Annotated[
        bool, Param("Say that there is no answer; the text may say why.")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """Somebody who could answer live."""

    agent: AgentId
    name: str
    hub: str | None
    """None: the one we are connected to."""

    kind: Kind
    reachable: bool = True

    def __str__(self) -> str:
        return f"{shown_name(self.name)} {fingerprint(self.agent)} ({self.kind})"


async def ask(
    here: Here, params: AskParams, *, connect: Connect, note: Note = lambda _: None
) -> AskResult:
    """Ask a project; returns its answer, or why there is none.

    Args:
        note: Is told who is asked, before anybody waits.

    Raises:
        UsageError: There is no such project, it cannot be asked now, or several live
            sessions could be meant.
        ConfigError: The question cannot be written down.
        HubError: The hub does not take it.
    """
    check_may_ask(here.depth)
    name = alias_of(params.project)
    seconds = min(max(params.timeout_secs, 1), MAX_TIMEOUT_SECS)
    question = _checked(params.question)
    params = replace(params, question=question, timeout_secs=seconds)
    project = here.projects.find(name)
    if project is None:
        return await _ask_hub(here, name, params, connect, note)
    permission = project.permission_of(askers_of(here))
    if permission is None:
        return _refused(here, project, params)
    talk = Thread(here.home, name, own_asker(here))
    last = talk.state().last
    if params.follow_up and not (last or talk.state().sessions):
        raise _nothing_to_follow(name)
    chosen = _choose(here, project, params, last=last)
    why = None
    if chosen is not None:
        try:
            asked = await _ask_live(here, name, params, chosen, connect, note)
        except (TransportError, HubError) as error:
            if params.to:
                raise
            why = f"{shown_name(chosen.name)} was not reached: {error.message}"
        else:
            if asked.status is not Status.FAILED or params.to:
                return asked
            why = asked.note
        note(f"starting its agent instead: {why}")
    wanted = Question(
        turn=here.token(8),
        text=params.question,
        context=params.context,
        proof="a project of the same user, on this machine",
        permission=permission,
    )
    bounded = msgspec.structs.replace(
        project, timeout_secs=min(project.timeout_secs, params.timeout_secs)
    )
    line = await answer(bounded, talk, wanted, bench_of(here))
    result = _of_line(line)
    return msgspec.structs.replace(result, note=result.note or why)


ASK = Capability(
    run=ask,
    about="Ask a project's own agent, in its own folder.",
    more="It remembers this conversation. A session of the project that is live and "
    "reachable answers; else its agent is started there, to read and not to change "
    "anything, unless its owner permits more.",
    command="ask",
    example="""\
parler ask stagent "how do you retry webhooks?"
parler ask stagent --follow-up "and the dead letters?\"""",
    tool="parler_ask",
    brief="Ask another project's own agent, which reads its code to answer.",
    call='{"project": "stagent", "question": "how do you retry webhooks?"}',
    hints=Hints(open_world=True),
    common=True,
)


async def answer_question(ctx: OpContext, params: AnswerParams) -> SendResult:
    """Answer a question that a message brought, or decline it.

    Raises:
        UsageError: That message is no question, one of our own or to a person, or
            there is nothing to say.
        HubError: The hub does not take it.
    """
    text = params.text.strip()
    if not text and not params.decline:
        raise UsageError("the answer is empty")
    page = await ctx.client.pull(params.room, since=params.seq - 1, limit=1)
    found = [message for message in page.messages if message.seq == params.seq]
    asked = ask_of(found[0]) if found else None
    if asked is None:
        raise UsageError(
            f"message {params.seq} in {params.room!r} is no question",
            next_step=f"parler recv --all --room {shell_word(params.room)}",
        )
    [question] = found
    if question.signature is not Signature.VALID:
        raise UsageError("that question is not signed by the one it names")
    if asked.person or question.author.id == ctx.client.agent_id:
        whose = "for a person to answer" if asked.person else "your own"
        raise UsageError(f"that question is {whose}")
    status = Status.DECLINED if params.decline else Status.DONE
    answered = Answered(status=status, tier=Tier.LIVE)
    sent = await ctx.client.send(
        RoomTarget(room=params.room),
        answer_parts(text[:MAX_ANSWER_CHARS], answered),
        reply_to=question.id,
        client_id=f"parler-ask:{question.id}:answer",
    )
    return SendResult(id=MessageId(sent.id), seq=sent.seq, room=sent.room)


ANSWER = Capability(
    run=answer_question,
    also=[answer_as_person, question_meant],
    about="Answer what an agent asks you.",
    more="With WHO it answers the question to you that `parler inbox` shows: by the "
    "number or the words of a choice, if there are any. Without, or with --serve, it "
    "is what `parler project serve` is.",
    command="answer",
    example="""\
parler answer shop-claude 2
parler answer shop-claude --decline "ask me on Monday"
parler answer shop-claude 'only after the tests'""",
    tool="parler_answer",
    brief="Answer a question that a message asked.",
    call='{"room": "dm.abc", "seq": 12, "text": "with a queue"}',
)


def bench_of(here: Here) -> Bench:
    """Where a project's agent is started from here."""
    return Bench(
        home=here.home,
        environment=here.environment,
        now=here.now,
        token=here.token,
        fresh_id=lambda: _uuid(here.token(16)),
        depth=here.depth,
    )


def _choose(
    here: Here, project: Project, params: AskParams, *, last: str | None
) -> _Candidate | None:
    """Which live session is asked; None to start the project's agent.

    Raises:
        UsageError: Several could be meant, or the one that is named is not there.
    """
    if params.headless:
        return None
    live = _live(here, project)
    if params.to is not None:
        people = [Candidate(agent=one.agent, name=foreign(one.name)) for one in live]
        person = pick(
            params.to,
            people,
            among=f"is a live session of {project.alias}",
            next_step="parler peers",
        )
        return next(one for one in live if one.agent == person.agent)
    if params.follow_up and last is not None:
        return next((one for one in live if one.agent == last), None)
    ready = [one for one in live if one.reachable]
    if params.follow_up:  # an agent that was started for us goes on where it was
        ready = [one for one in ready if one.kind is Kind.ANSWERER]
    answerers = [one for one in ready if one.kind is Kind.ANSWERER]
    several = answerers or ready
    if len({one.agent for one in several}) > 1:
        listed = ", ".join(str(one) for one in several)
        raise UsageError(
            f"several sessions of {project.alias} are live: {listed}",
            next_step=f"add --to FINGERPRINT, or --headless: parler ask "
            f"{project.alias} …",
        )
    return several[0] if several else None


def _live(here: Here, project: Project) -> list[_Candidate]:
    above = {process.pid for process in here.above()}
    folder = Path(project.folder)
    found: dict[AgentId, _Candidate] = {}
    for record in read_live(here.home):
        if record.host.pid in above or record.agent == here.agent:
            continue
        if not _is_of(record, project, folder) or record.hub is None:
            continue
        found[record.agent] = _Candidate(
            agent=record.agent,
            name=record.name,
            hub=record.hub,
            kind=record.kind,
            reachable=reach_of(record) is Reach.AT_ONCE,
        )
    return list(found.values())


def _is_of(record: LiveRecord, project: Project, folder: Path) -> bool:
    if record.kind is Kind.ANSWERER:
        return project.alias in record.serves
    at = Path(record.folder)
    return record.kind is Kind.SESSION and (at == folder or folder in at.parents)


async def _ask_live(
    here: Here,
    name: Alias,
    params: AskParams,
    chosen: _Candidate,
    connect: Connect,
    note: Note,
) -> AskResult:
    asker = own_asker(here)
    wait = float(params.timeout_secs)
    talk = Thread(here.home, name, asker)
    word = Pseudonyms(here.home).word_of(asker)
    if chosen.kind is Kind.ANSWERER:
        # It writes the same transcript itself, and knows our notes.
        async with connect(chosen.hub) as ctx:
            return await _put(
                here, ctx, chosen, params, wait=wait, word=word, note=note
            )
    if params.to is None:
        wait = min(wait / 2, LIVE_SHARE_SECS)
    params = replace(params, context=_with_notes(here, name, params.context))
    async with (
        connect(chosen.hub) as ctx,
        talk.turn(wait_secs=params.timeout_secs),
        _written_down(here, talk, params, chosen) as written,
    ):
        result = await _put(here, ctx, chosen, params, wait=wait, word=word, note=note)
        written.append(result)
    return result


async def _ask_hub(
    here: Here, name: Alias, params: AskParams, connect: Connect, note: Note
) -> AskResult:
    """Ask whoever answers for a project of that name on the hub."""
    async with _reached(name, connect) as ctx:
        known = Thread(here.home, name, Asker(key=f"hub {ctx.hub}", label=name))
        last = known.state().last
        if params.follow_up and last is None:
            raise _nothing_to_follow(name)
        chosen = await _on_hub(ctx, name, params.to, last)
        own = own_asker(here)
        asker = Asker(
            key=f"{own.key} to {chosen.agent}", label=own.label, agent=own.agent
        )
        talk = Thread(here.home, name, asker)
        params = replace(params, context=_with_notes(here, name, params.context))
        async with (
            talk.turn(wait_secs=params.timeout_secs),
            _written_down(here, talk, params, chosen) as written,
        ):
            # Nothing of this machine goes along: no folder, no key of a repository.
            wait = float(params.timeout_secs)
            result = await _put(
                here, ctx, chosen, params, wait=wait, word=None, note=note
            )
            written.append(result)
    if result.status is Status.DONE:
        known.keep_last(chosen.agent)
    return result


@asynccontextmanager
async def _reached(name: Alias, connect: Connect) -> AsyncIterator[OpContext]:
    """Our hub, to look there for a project that this machine does not know."""
    async with AsyncExitStack() as stack:
        try:
            ctx = await stack.enter_async_context(connect(None))
        except TransportError as failed:
            raise TransportError(
                f"there is no project {name!r} on this machine, and {failed.message}",
                next_step="parler project list",
            ) from None
        yield ctx


async def _put(
    here: Here,
    ctx: OpContext,
    chosen: _Candidate,
    params: AskParams,
    *,
    wait: float,
    word: str | None,
    note: Note,
) -> AskResult:
    """Put a question to an agent that runs; one that does not answer has failed."""
    name, began = alias_of(params.project), here.now()
    note(f"asking {chosen}, for up to {wait:.0f} s")
    if outside := leaves_seal(ctx):
        note(outside)
    wanted = Ask(
        question=params.question,
        context=params.context,
        deadline_ms=began + int(wait * 1000),
        project=name,
        asker=word,
        hops=here.depth,
    )
    got = await ask_agent(ctx.client, chosen.agent, wanted, wait_secs=wait)
    return _of_live(name, chosen, got, elapsed_ms=max(0, here.now() - began))


def _with_notes(here: Here, name: Alias, context: str | None) -> str | None:
    """What is to be known first, where nobody else puts our notes before it."""
    kept = own_thread(here, name).state().notes
    lines = ["Notes that the asker keeps:", *(f"- {one}" for one in kept), ""]
    words = "\n".join([*(lines if kept else []), context or ""]).strip()
    return clipped(words, MAX_SENT_CONTEXT_BYTES) or None


async def _on_hub(
    ctx: OpContext, name: Alias, to: str | None, known: str | None
) -> _Candidate:
    """Who answers for a name; whoever did before, since anybody may take a name."""
    listed = await discover(ctx, DiscoverParams(skill=f"{SKILL}{name}"))
    found = [
        Candidate(agent=one.card.id, name=one.card.name)
        for one in listed.agents
        if one.signature is Signature.VALID
        and one.status != OFFLINE
        and any(skill.name == f"{SKILL}{name}" for skill in one.card.skills or [])
        and one.card.id != ctx.client.agent_id
    ]
    if to is not None:
        found = matching(to, found)
    if not found:
        raise UsageError(
            f"there is no project {name!r} on this machine, and nobody on {ctx.hub} "
            "answers for it now",
            next_step="parler project list, or parler project add NAME FOLDER",
        )
    before = [one for one in found if one.agent == known]
    if known is not None and to is None:
        if not before:
            raise UsageError(
                f"{name!r} was answered by {fingerprint(known)}, which is not there; "
                f"who offers it now is somebody else: {found[0]}",
                next_step=f"if you trust that one: parler ask {name} --to FINGERPRINT",
            )
        found = before
    if len(found) > 1:
        listed_names = ", ".join(str(one) for one in found)
        raise UsageError(
            f"several agents answer for {name!r}: {listed_names}",
            next_step=f"add --to FINGERPRINT: parler ask {name} …",
        )
    return _Candidate(
        agent=found[0].agent, name=exact(found[0].name), hub=None, kind=Kind.ANSWERER
    )


def _nothing_to_follow(name: Alias) -> UsageError:
    return UsageError(
        f"{name} has not answered you yet, so nothing can follow up",
        next_step=f"parler ask {name} QUESTION",
    )


def _of_live(
    name: Alias, chosen: _Candidate, got: LiveAnswer, *, elapsed_ms: int
) -> AskResult:
    known: dict[str, Any] = {
        "project": name,
        "turn": got.message,
        "answerer": chosen.name,
        "answerer_id": chosen.agent,
        "fingerprint": fingerprint(chosen.agent),
        "elapsed_ms": elapsed_ms,
    }
    if got.answered is None:
        note = (
            f"{shown_name(chosen.name)} has not answered in time; its answer may still "
            f"come: parler recv --room {shell_word(got.room)}"
        )
        return AskResult(status=Status.FAILED, note=note, **known)
    done = got.answered.status is Status.DONE
    return AskResult(
        status=got.answered.status,
        answer=got.text[:MAX_ANSWER_CHARS] if done else "",
        note=None if done else got.text[:MAX_ANSWER_CHARS] or None,
        tier=Tier.LIVE,
        tokens=got.answered.tokens,
        **known,
    )


_EVENTS = {
    Status.DONE: Event.ANSWERED,
    Status.FAILED: Event.FAILED,
    Status.DECLINED: Event.DECLINED,
}
_STATUSES = {event: status for status, event in _EVENTS.items()}


@asynccontextmanager
async def _written_down(
    here: Here, talk: Thread, params: AskParams, chosen: _Candidate
) -> AsyncIterator[list[AskResult]]:
    """Have a question in the transcript before it is put, and then what came of it.

    Yields a list for the result; without one, the question failed.
    """
    asked = Line(
        event=Event.ASKED,
        turn=here.token(8),
        at=here.now(),
        asker=talk.asker.label,
        asker_id=talk.asker.agent,
        project=talk.alias,
        text=params.question,
        answerer=chosen.name,
    )
    talk.append(asked)
    ended: dict[str, Any] = {"event": Event.FAILED, "text": ""}
    got: list[AskResult] = []
    try:
        yield got
    except ParlerError as error:
        ended["note"] = error.message
        talk.append(msgspec.structs.replace(asked, at=here.now(), **ended))
        raise
    for result in got:
        ended |= {
            "event": _EVENTS[result.status],
            "text": result.answer,
            "tier": result.tier,
            "elapsed_ms": result.elapsed_ms,
            "tokens": result.tokens,
            "note": result.note,
            "message": result.turn,
        }
        talk.append(msgspec.structs.replace(asked, at=here.now(), **ended))
        if result.status is Status.DONE:
            talk.keep_last(chosen.agent)


def _refused(here: Here, project: Project, params: AskParams) -> AskResult:
    asker, why = own_asker(here), "the owner does not permit it"
    line = Line(
        event=Event.DECLINED,
        turn=here.token(8),
        at=here.now(),
        asker=asker.label,
        asker_id=asker.agent,
        project=project.alias,
        text=params.question,
        note=why,
    )
    note_refusal(here.home, project.name, line)
    return _of_line(line)


def _of_line(line: Line) -> AskResult:
    return AskResult(
        project=line.project,
        status=_STATUSES[line.event],
        answer=line.text if line.event is Event.ANSWERED else "",
        turn=line.turn,
        tier=line.tier,
        app=line.app,
        elapsed_ms=line.elapsed_ms,
        usd=line.usd,
        tokens=line.tokens,
        note=line.note,
    )


def _checked(question: str) -> str:
    text = question.strip()
    if not text:
        raise UsageError(
            "the question is empty", next_step='parler ask PROJECT "how …?"'
        )
    if len(text) > MAX_QUESTION_CHARS:
        raise UsageError(f"a question has at most {MAX_QUESTION_CHARS} characters")
    return text


def _uuid(digits: str) -> str:
    return str(uuid.UUID(hex=digits, version=4))
