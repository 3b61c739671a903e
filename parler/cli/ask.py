"""Asking projects or one's person, and answering: ``ask``, ``ask-user``, ``answer``."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer

from parler.ask.hops import check_not_asked
from parler.cli._arguments import between
from parler.cli._command import command
from parler.cli._machine import here_of
from parler.cli._own import household_of, person_line
from parler.cli._person import check_no_agent
from parler.cli._run import (
    HERE,
    Options,
    Run,
    carry_out,
    connected,
    in_room,
    settings_of,
)
from parler.cli.projects import usd_words
from parler.errors import HubError, TransportError, UsageError
from parler.identity.homes import machine_home, person_home
from parler.ops import ask as asking
from parler.ops import questions
from parler.ops.ask import AskResult
from parler.ops.capability import MAX_SEQ
from parler.ops.context import OpContext
from parler.ops.person_only import Deciding
from parler.ops.questions import (
    AnsweredResult,
    AskUserResult,
    State,
    UserQuestion,
    numbered,
)
from parler.runtime import bootstrap
from parler.runtime.dialling import LocalStart
from parler.text.terminal import paragraph, sentence, shown_name, visible, word


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, asking.ASK)(ask)
    command(app, questions.ASK_USER)(ask_user)
    command(app, asking.ANSWER)(answer)


def ask(options: Options, **given: Any) -> None:
    """Ask a project; no answer is no success."""
    if given["headless"] and given["to"]:
        raise UsageError("--headless and --to exclude each other")
    params = asking.AskParams(**given)

    @asynccontextmanager
    async def connect(hub: str | None) -> AsyncIterator[OpContext]:
        where = options if hub is None else replace(options, hub=hub)
        async with connected(where, HERE) as run:
            yield run.ctx

    here = here_of(options)
    out = options.out
    with out.waiting("waiting for the answer"):
        result = asyncio.run(asking.ask(here, params, connect=connect, note=out.note))
    out.note(_credit(result))
    out.result(result, _answer(result), foreign=True)
    _end_by(result.status)


def _end_by(status: str) -> None:
    """A question that was not answered is no success."""
    ends = {
        "failed": TransportError.exit_status,
        "waiting": TransportError.exit_status,
        "declined": HubError.exit_status,
    }
    if status in ends:
        raise typer.Exit(ends[status])


def ask_user(options: Options, **given: Any) -> None:
    """Ask the person behind us; a question that still waits is no success."""
    params = questions.AskUserParams(**given)

    async def work(run: Run) -> None:
        settings = settings_of(options)
        with run.out.waiting("waiting for your person", params.wait_secs or None):
            result = await questions.ask_user(
                run.ctx,
                params,
                as_person=lambda: bootstrap.as_person(run.ctx.hub, settings),
            )
        run.out.result(result, _users_answer(result), foreign=True)
        _end_by(result.state)

    carry_out(options, work)


def _users_answer(result: AskUserResult) -> Iterator[str]:
    if result.state is State.WAITING:
        yield (
            f"not answered yet; what your person says comes as a message "
            f"(question {result.seq} in {word(result.room)})"
        )
        return
    if result.state is State.DECLINED:
        yield "declined"
    if result.answer:
        yield paragraph(result.answer)


def answer(
    options: Options,
    text: str,
    serve: Annotated[
        str | None,
        typer.Option(
            "--serve",
            metavar="PROJECT",
            help="Let agents of the hub find it by this name.",
        ),
    ] = None,
    question: Annotated[
        int | None,
        typer.Option(
            "--question",
            metavar="SEQ",
            help="Answer this message instead, and end.",
            parser=between(1, MAX_SEQ),
        ),
    ] = None,
    room: Annotated[
        str | None,
        typer.Option("--room", metavar="ROOM", help="Where that message is."),
    ] = None,
    *,
    decline: bool,
) -> None:
    """Answer one question, or all that come."""
    if question is not None:
        _answer_one(options, question, room, text, decline=decline)
        return
    if text and serve is None and room is None:
        who, _, words = text.partition(" ")
        _answer_agent(options, who, words, decline=decline)
        return
    if text or room or decline:
        raise UsageError(
            "--room belongs to --question, and an answer to whoever asked",
            next_step="parler answer WHO ANSWER",
        )
    serve_project(options, serve)


def _answer_agent(options: Options, who: str, text: str, *, decline: bool) -> None:
    """Answer what an agent asks the person at this terminal; no words: show it."""
    _check_person(options, who)
    household = household_of(options, mints=False)
    person = [one for one in household.agents if one.is_person]
    if not person:
        raise UsageError("nobody has asked you anything", next_step="parler inbox")
    household = replace(household, agents=person)

    async def work() -> AnsweredResult | UserQuestion:
        asked = await questions.question_meant(household, who)
        if not text and not decline:
            return asked
        me = person[0].identity
        assert me is not None  # it has just looked
        async with household.connected(person[0], me, asked.hub) as ctx:
            return await questions.answer_as_person(
                ctx, asked.room, asked.seq, text, decline=decline
            )

    result = asyncio.run(work())
    view = _asked if isinstance(result, UserQuestion) else _answered
    options.out.result(result, view(result), foreign=True)


def _check_person(options: Options, *words: str) -> None:
    """Refuse an agent's shell: it asks, and its person answers."""
    check_no_agent(
        Deciding(
            what="answer in the name of its user",
            question="",
            line=person_line(options, "answer", *words),
        )
    )


def _asked(result: Any) -> Iterator[str]:
    yield f"{shown_name(result.name)} {result.fingerprint} asks:"
    yield paragraph(result.question)
    if result.choices:
        yield numbered(result.choices)
    yield f"Answer with: parler answer {result.fingerprint} ANSWER"


def _answered(result: Any) -> Iterator[str]:
    said = "declined" if result.declined else f"“{sentence(result.answer)}”"
    yield f"question: {sentence(result.question)}"
    yield f"{shown_name(result.name)} is told: {said}"
    if result.before is not None:
        yield f"— it was told “{sentence(result.before)}” before, and goes by that"


def _answer_one(
    options: Options, seq: int, room: str | None, text: str, *, decline: bool
) -> None:
    settings = settings_of(options)
    is_person = settings.home == person_home(machine_home(settings.base_home))
    if is_person:
        _check_person(
            options, "--question", str(seq), *(["--room", room] if room else [])
        )

    async def work(run: Run) -> None:
        if is_person and await questions.is_for_person(
            run.ctx, run.ctx.room(room), seq
        ):
            told = await questions.answer_as_person(
                run.ctx, run.ctx.room(room), seq, text, decline=decline
            )
            run.out.result(told, _answered(told), foreign=True)
            return
        params = asking.AnswerParams(
            room=run.ctx.room(room), seq=seq, text=text, decline=decline
        )
        result = await asking.answer_question(run.ctx, params)
        done = "declined" if decline else "answered"
        run.out.result(result, [f"{done} {seq} (seq {result.seq})"])

    carry_out(options, work, place=in_room(room))


def serve_project(options: Options, serve: str | None) -> None:
    """Answer questions to a project of this machine, until it is ended."""
    from parler.ask.answerer import Asked, shown
    from parler.ops import answering
    from parler.ops.projects import ensure_project

    here = here_of(options)
    check_not_asked(here.depth, "answer others")
    project = ensure_project(here, serve)
    settings = settings_of(options)
    home = here.home / "answerers" / project.alias
    # What a project is called stays on this machine unless it is offered by its name.
    name = project.alias if serve is not None else "answerer"
    own = replace(settings, home=home, name=name, scoped=True)
    out = options.out

    class Screen(answering.Watcher):
        def ready(self) -> None:
            where = f"{visible(project.alias)} ({project.app}) on {visible(hub)}"
            out.note(f"answering questions to {where}; Ctrl-C ends it")

        def dealt(self, asked: Asked) -> None:
            out.note(shown(asked))

    hub = options.hub or settings.hub

    async def stay() -> None:
        identity, _ = bootstrap.identity_of(own, hub=hub)
        local = LocalStart(note=out.note, revive=True)
        async with bootstrap.connected(hub, own, identity, local=local) as ctx:
            await answering.serve_answers(
                here, ctx, project, on_hub=serve is not None, watcher=Screen()
            )

    asyncio.run(stay())


def _credit(result: AskResult) -> str:
    who = result.app or (shown_name(result.answerer) if result.answerer else "nobody")
    tier = f", {result.tier}" if result.tier else ""
    took = f", {result.elapsed_ms / 1000:.1f} s" if result.elapsed_ms else ""
    cost = f", {usd_words(result.usd)}" if result.usd else ""
    return f"{result.status} by {who}{tier}{took}{cost}"


def _answer(result: AskResult) -> Iterator[str]:
    if result.answer:
        yield paragraph(result.answer)
    if result.note:
        yield f"— {sentence(result.note)}"
