"""Asking projects what they know, and answering: ``ask``, ``answer``, ``project``."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated

import typer

from parler.apps.kit.permission import Permission
from parler.ask.answerer import Asked, shown
from parler.ask.hops import check_not_asked
from parler.ask.thread import Line
from parler.cli._arguments import between
from parler.cli._command import command, group, shows
from parler.cli._machine import here_of
from parler.cli._run import (
    HERE,
    Options,
    Run,
    carry_out,
    connected,
    in_room,
    settings_of,
)
from parler.errors import HubError, TransportError, UsageError
from parler.ops import answering, projects
from parler.ops import ask as asking
from parler.ops.ask import AskResult
from parler.ops.capability import MAX_SEQ
from parler.ops.context import OpContext
from parler.ops.projects import (
    DiscoverResult,
    ForgetResult,
    LogResult,
    NotesResult,
    ProjectResult,
    ProjectsResult,
)
from parler.runtime import bootstrap
from parler.text.terminal import paragraph, shell_word, shown_name, visible
from parler.text.transcript import shown_time

project_app = group("The projects of this machine that can be asked.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, asking.ASK)(ask)
    command(app, asking.ANSWER)(answer)
    shows(project_app, projects.ADD, _project, quoted=False)
    shows(project_app, projects.DISCOVER, _found)
    shows(project_app, projects.LIST, _projects, quoted=False)
    shows(project_app, projects.REMOVE, _removed, quoted=False)
    command(project_app, projects.ALLOW)(allow)
    shows(project_app, projects.DENY, _project, quoted=False)
    shows(project_app, projects.LOG, _log)
    shows(project_app, projects.FORGET_SESSION, _forgotten, quoted=False)
    command(project_app, projects.REMEMBER)(remember)
    app.add_typer(project_app, name="project")


def ask(
    options: Options,
    project: str,
    question: str,
    follow_up: bool,
    context: str | None,
    to: str | None,
    headless: bool,
    timeout_secs: int,
) -> None:
    """Ask a project; no answer is no success."""
    if headless and to:
        raise UsageError("--headless and --to exclude each other")
    params = asking.AskParams(
        project=project,
        question=question,
        follow_up=follow_up,
        context=context,
        to=to,
        headless=headless,
        timeout_secs=timeout_secs,
    )

    @asynccontextmanager
    async def connect(hub: str | None) -> AsyncIterator[OpContext]:
        where = options if hub is None else replace(options, hub=hub)
        async with connected(where, HERE) as run:
            yield run.ctx

    here = here_of(options)
    out = options.out
    result = asyncio.run(asking.ask(here, params, connect=connect, note=out.note))
    out.note(_credit(result))
    out.result(result, map(out.quoted, _answer(result)))
    _end_by(result.status)


def _end_by(status: str) -> None:
    """A question that was not answered is no success."""
    ends = {"failed": TransportError.exit_status, "declined": HubError.exit_status}
    if status in ends:
        raise typer.Exit(ends[status])


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
    if text or room or decline:
        raise UsageError("TEXT, --room and --decline belong to --question")
    _serve(options, serve)


def _answer_one(
    options: Options, seq: int, room: str | None, text: str, *, decline: bool
) -> None:
    async def work(run: Run) -> None:
        params = asking.AnswerParams(
            room=run.ctx.room(room), seq=seq, text=text, decline=decline
        )
        result = await asking.answer_question(run.ctx, params)
        done = "declined" if decline else "answered"
        run.out.result(result, [f"{done} {seq} (seq {result.seq})"])

    carry_out(options, work, place=in_room(room))


def _serve(options: Options, serve: str | None) -> None:
    here = here_of(options)
    check_not_asked(here.depth, "answer others")
    project = projects.ensure_project(here, serve)
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
        local = bootstrap.LocalStart(note=out.note, revive=True)
        async with bootstrap.connected(hub, own, identity, local=local) as ctx:
            await answering.serve_answers(
                here, ctx, project, on_hub=serve is not None, watcher=Screen()
            )

    asyncio.run(stay())


def allow(
    options: Options,
    project: str,
    from_: str,
    write: Annotated[
        bool, typer.Option("--write", help="May change files of the folder.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="May use the network.")
    ] = False,
    servers: Annotated[
        bool, typer.Option("--servers", help="May use its MCP servers.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="May do whatever its app can do.")
    ] = False,
    *,
    name: str | None,
) -> None:
    """Let somebody ask a project, to read or for more."""
    permission = Permission(write=write, network=network, servers=servers, full=full)
    params = projects.AllowParams(
        alias=project, asker=from_, permission=permission, name=name
    )
    result = projects.allow(here_of(options), params)
    options.out.result(result, _project(result))


def remember(options: Options, project: str, note: str, forget: int | None) -> None:
    """Keep a note, drop one, or show them."""
    here = here_of(options)
    if here.projects.find(project) is None:
        options.out.note(
            f"{project} is no project of this machine: its notes go along to whoever "
            "answers for that name on a hub"
        )
    if forget is not None:
        result = projects.forget_note(here, project, forget)
    elif note:
        result = projects.remember(here, project, note)
    else:
        result = projects.notes_of(here, project)
    options.out.result(result, map(options.out.quoted, _notes(result)))


def _credit(result: AskResult) -> str:
    who = result.app or (shown_name(result.answerer) if result.answerer else "nobody")
    tier = f", {result.tier}" if result.tier else ""
    took = f", {result.elapsed_ms / 1000:.1f} s" if result.elapsed_ms else ""
    cost = f", {_usd(result.usd)}" if result.usd else ""
    return f"{result.status} by {who}{tier}{took}{cost}"


def _usd(usd: float) -> str:
    return "under $0.0001" if 0 < usd < 0.0001 else f"${usd:.4f}"


def _answer(result: AskResult) -> Iterator[str]:
    if result.answer:
        yield paragraph(result.answer)
    if result.note:
        yield f"— {visible(result.note)}"


def _project(result: ProjectResult) -> Iterator[str]:
    gone = "" if result.here else "  (the folder is gone)"
    live = f"  {result.live} live" if result.live else ""
    yield f"{result.alias}  {result.app}  {visible(result.folder)}{gone}{live}"
    if result.describe:
        yield f"    {paragraph(result.describe)}"
    yield (
        f"    up to {result.per_hour} answers an hour, ${result.usd_per_day:g} a day, "
        f"{result.timeout_secs} s each"
    )
    for grant in result.grants:
        may = "may not ask" if grant.denied else grant.permission.words
        yield f"    {visible(projects.asker_words(grant))}: {may}"


def _projects(result: ProjectsResult) -> list[str]:
    lines = [line for one in result.projects for line in _project(one)]
    return lines or ["no projects: parler project discover"]


def _removed(result: ProjectResult) -> str:
    return f"removed {result.alias}"


def _forgotten(result: ForgetResult) -> str:
    return f"forgotten: {result.forgotten} conversation(s)"


def _found(result: DiscoverResult) -> Iterator[str]:
    if not result.found:
        yield "no repositories found near here"
    for one in result.found:
        if one.known_as:
            yield f"{one.known_as:<20} {visible(one.folder)}  (a project already)"
        else:
            name, folder = one.alias or "NAME", shell_word(one.folder)
            yield f"{visible(one.folder)}"
            yield f"    parler project add {name} {folder}"


def _log(result: LogResult) -> Iterator[str]:
    if result.omitted:
        yield f"— {result.omitted} earlier lines —"
    if not result.lines:
        yield "nothing was asked yet"
    for line in result.lines:
        yield from _line(line)
    for turn in result.open:
        yield f"no end yet: {visible(turn)}"


def _line(line: Line) -> Iterator[str]:
    details = [line.tier, line.app, line.answerer and shown_name(line.answerer)]
    if line.elapsed_ms is not None:
        details.append(f"{line.elapsed_ms / 1000:.1f} s")
    if line.usd is not None:
        details.append(_usd(line.usd))
    if line.permission and line.event == "asked":
        details.append(visible(line.permission))
    words = ", ".join(str(one) for one in details if one)
    asker = shown_name(line.asker)
    head = f"{shown_time(line.at, None)}  {line.event}  {asker}"
    yield head + (f"  ({words})" if words else "")
    if line.text:
        yield f"    {paragraph(line.text)}"
    if line.note:
        yield f"    — {visible(line.note)}"


def _notes(result: NotesResult) -> Iterator[str]:
    if not result.notes:
        yield f"no notes for {result.project}"
    for number, note in enumerate(result.notes, 1):
        yield f"{number:3}  {paragraph(note)}"
