"""Asking projects what they know, and answering: ``ask``, ``answer``, ``project``."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.apps.registry import headless_ids
from parler.cli._arguments import MAX_SEQ, between, piped_text
from parler.cli._command import command, group
from parler.cli._machine import here_of
from parler.cli._run import HERE, Options, Run, carry_out, connected, in_room
from parler.errors import HubError, TransportError, UsageError
from parler.text.terminal import paragraph, shell_word, shown_name, visible

if TYPE_CHECKING:
    from parler.ask.answerer import Asked
    from parler.ask.thread import Line
    from parler.ops.ask import AskResult
    from parler.ops.context import OpContext
    from parler.ops.projects import (
        DiscoverResult,
        LogResult,
        NotesResult,
        ProjectResult,
    )

_ASK = """\
parler ask stagent "how do you retry webhooks?"
parler ask stagent --follow-up "and the dead letters?\""""
_ANSWER = """\
parler answer
parler answer --serve stagent"""
_ADD = 'parler project add stagent ~/code/stagent --describe "the webhook service"'
_ALLOW = """\
parler project allow stagent --from dashboard --write
parler project allow stagent --from AGENT-ID --name bob"""

Alias = Annotated[str, typer.Argument(metavar="PROJECT", help="Its name.")]

project_app = group("The projects of this machine that can be asked.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "ask", example=_ASK)(ask)
    command(app, "answer", example=_ANSWER)(answer)
    add = command(project_app, "add", example=_ADD)
    add(add_project)
    command(project_app, "discover", example="parler project discover")(discover)
    command(project_app, "list", example="parler project list")(list_projects)
    command(project_app, "remove", example="parler project remove stagent")(remove)
    command(project_app, "allow", example=_ALLOW)(allow)
    deny_example = "parler project deny stagent --from dashboard"
    command(project_app, "deny", example=deny_example)(deny)
    command(project_app, "log", example="parler project log stagent")(log)
    forget_example = "parler project forget-session stagent"
    command(project_app, "forget-session", example=forget_example)(forget_session)
    remember_example = 'parler project remember stagent "we deploy from main"'
    command(project_app, "remember", example=remember_example)(remember)
    app.add_typer(project_app, name="project")


def ask(
    options: Options,
    project: Alias,
    question: Annotated[
        list[str], typer.Argument(metavar="QUESTION", help="- reads stdin.")
    ],
    follow_up: Annotated[
        bool, typer.Option("--follow-up", help="Only to whoever answered you last.")
    ] = False,
    context: Annotated[
        str | None,
        typer.Option("--context", metavar="TEXT", help="To be known first; - stdin."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="AGENT", help="Which of several live ones."),
    ] = None,
    headless: Annotated[
        bool,
        typer.Option("--headless", help="Start its agent, whoever is live."),
    ] = False,
    timeout: Annotated[
        int,
        typer.Option(
            "--timeout",
            metavar="SECS",
            help="How long to wait.",
            parser=between(1, 3600),
        ),
    ] = 300,
) -> None:
    """Ask a project's own agent, in its own folder; it remembers this conversation.

    A session of the project that is live and reachable answers; else its agent is
    started there, to read and not to change anything, unless its owner permits more.
    """
    import asyncio

    from parler.ops import ask as operations

    if headless and to:
        raise UsageError("--headless and --to exclude each other")
    said = piped_text("the question") if question == ["-"] else " ".join(question)
    if context == "-":
        context = piped_text("the context")
    params = operations.AskParams(
        project=project,
        question=said,
        follow_up=follow_up,
        context=context,
        to=to,
        headless=headless,
        timeout_secs=timeout,
    )

    @asynccontextmanager
    async def connect(hub: str | None) -> "AsyncIterator[OpContext]":
        from dataclasses import replace

        where = options if hub is None else replace(options, hub=hub)
        async with connected(where, HERE) as run:
            yield run.ctx

    here = here_of(options)
    out = options.out
    result = asyncio.run(operations.ask(here, params, connect=connect, note=out.note))
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
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="With --question: the answer."),
    ] = None,
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
    decline: Annotated[
        bool, typer.Option("--decline", help="Say that there is no answer.")
    ] = False,
) -> None:
    """Answer questions to the project of this folder for as long as this runs.

    Its agent is started for each, with what the owner permits the one who asks: by
    default to read, and for this machine only. With --serve, agents of the hub find
    it by name; who of them may ask is said by `parler project allow`.
    """
    if question is not None:
        _answer_one(options, question, room, " ".join(text or []), decline=decline)
        return
    if text or room or decline:
        raise UsageError("TEXT, --room and --decline belong to --question")
    _serve(options, serve)


def _answer_one(
    options: Options, seq: int, room: str | None, text: str, *, decline: bool
) -> None:
    from parler.ops import ask as operations

    async def work(run: Run) -> None:
        params = operations.AnswerParams(
            room=run.ctx.room(room), seq=seq, text=text, decline=decline
        )
        result = await operations.answer_question(run.ctx, params)
        done = "declined" if decline else "answered"
        run.out.result(result, [f"{done} {seq} (seq {result.seq})"])

    carry_out(options, work, place=in_room(room))


def _serve(options: Options, serve: str | None) -> None:
    import asyncio
    from dataclasses import replace

    from parler.ask.answerer import shown
    from parler.ask.hops import check_not_asked
    from parler.cli._run import settings_of
    from parler.ops import answering as operations
    from parler.ops.projects import ensure_project
    from parler.runtime import bootstrap

    here = here_of(options)
    check_not_asked(here.depth, "answer others")
    project = ensure_project(here, serve)
    settings = settings_of(options)
    home = here.home / "answerers" / project.alias
    # What a project is called stays on this machine unless it is offered by its name.
    name = project.alias if serve is not None else "answerer"
    own = replace(settings, home=home, name=name, scoped=True)
    out = options.out

    class Screen(operations.Watcher):
        def ready(self) -> None:
            where = f"{visible(project.alias)} ({project.app}) on {visible(hub)}"
            out.note(f"answering questions to {where}; Ctrl-C ends it")

        def dealt(self, asked: "Asked") -> None:
            out.note(shown(asked))

    hub = options.hub or settings.hub

    async def stay() -> None:
        identity, _ = bootstrap.identity_of(own, hub=hub)
        local = bootstrap.LocalStart(note=out.note, revive=True)
        async with bootstrap.connected(hub, own, identity, local=local) as ctx:
            await operations.serve_answers(
                here, ctx, project, on_hub=serve is not None, watcher=Screen()
            )

    asyncio.run(stay())


def add_project(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where it is; else here.")
    ] = None,
    describe: Annotated[
        str | None, typer.Option("--describe", metavar="TEXT", help="What it is about.")
    ] = None,
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent",
            metavar="APP",
            help=f"{', '.join(headless_ids())}; else by its files.",
        ),
    ] = None,
    per_hour: Annotated[
        int,
        typer.Option(
            "--per-hour",
            metavar="N",
            help="Answers an hour, at most.",
            parser=between(0, 1000),
        ),
    ] = 20,
    usd_per_day: Annotated[
        float,
        typer.Option("--usd-per-day", metavar="USD", help="Money a day, at most."),
    ] = 5.0,
    timeout: Annotated[
        int,
        typer.Option(
            "--timeout",
            metavar="SECS",
            help="For one answer.",
            parser=between(1, 3600),
        ),
    ] = 300,
    replace: Annotated[
        bool, typer.Option("--replace", help="Change the one that is there.")
    ] = False,
) -> None:
    """Let a project be asked by the others on this machine."""
    from parler.ops import projects as operations

    params = operations.AddParams(
        alias=name,
        folder=folder.expanduser() if folder else None,
        app=agent,
        describe=describe,
        per_hour=per_hour,
        usd_per_day=usd_per_day,
        timeout_secs=timeout,
        replace=replace,
    )
    result = operations.add_project(here_of(options), params)
    options.out.result(result, _project(result))


def discover(options: Options) -> None:
    """Show folders that could be projects: where agents worked, and those beside."""
    from parler.ops import projects as operations

    result = operations.discover_projects(here_of(options))
    options.out.result(result, map(options.out.quoted, _found(result)))


def list_projects(options: Options) -> None:
    """Show the projects that can be asked, and what each permits to whom."""
    from parler.ops import projects as operations

    result = operations.list_projects(here_of(options))
    lines = [line for one in result.projects for line in _project(one)]
    options.out.result(result, lines or ["no projects: parler project discover"])


def remove(options: Options, project: Alias) -> None:
    """Let a project be asked no more; what was said stays in its log."""
    from parler.ops import projects as operations

    result = operations.remove_project(here_of(options), project)
    options.out.result(result, [f"removed {result.alias}"])


_From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHO",
        help="A project, an agent's id, or local: this machine.",
    ),
]


def allow(
    options: Options,
    project: Alias,
    from_: _From,
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
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="What you call that agent."),
    ] = None,
) -> None:
    """Let somebody ask a project, to read or for more; an agent cannot do this."""
    from parler.apps.kit.permission import Permission
    from parler.ops import projects as operations

    permission = Permission(write=write, network=network, servers=servers, full=full)
    params = operations.AllowParams(
        alias=project, asker=from_, permission=permission, name=name
    )
    result = operations.allow(here_of(options), params)
    options.out.result(result, _project(result))


def deny(options: Options, project: Alias, from_: _From) -> None:
    """Let somebody ask a project no more; an agent cannot do this."""
    from parler.ops import projects as operations

    result = operations.deny(here_of(options), project, from_)
    options.out.result(result, _project(result))


def log(
    options: Options,
    project: Alias,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", help="The newest N.", parser=between(1, 1000)
        ),
    ] = 200,
) -> None:
    """Show what a project was asked from anywhere, by whom, and what came of it."""
    from parler.ops import projects as operations

    result = operations.log(here_of(options), project, limit=limit)
    options.out.result(result, map(options.out.quoted, _log(result)))


def forget_session(
    options: Options,
    project: Alias,
    everybody: Annotated[
        bool, typer.Option("--all", help="Also the conversations of all others.")
    ] = False,
) -> None:
    """Let the next question to a project begin a new conversation."""
    from parler.ops import projects as operations

    here = here_of(options)
    result = operations.forget_session(here, project, everybody=everybody)
    options.out.result(result, [f"forgotten: {result.forgotten} conversation(s)"])


def remember(
    options: Options,
    project: Alias,
    note: Annotated[
        list[str] | None,
        typer.Argument(metavar="NOTE", help="None: shows what is kept."),
    ] = None,
    forget: Annotated[
        int | None,
        typer.Option(
            "--forget", metavar="N", help="Drop note N.", parser=between(1, 1000)
        ),
    ] = None,
) -> None:
    """Keep a note that is put before each question from here to a project."""
    from parler.ops import projects as operations

    here, text = here_of(options), " ".join(note or [])
    if here.projects.find(project) is None:
        options.out.note(
            f"{project} is no project of this machine: its notes go along to whoever "
            "answers for that name on a hub"
        )
    if forget is not None:
        result = operations.forget_note(here, project, forget)
    elif text:
        result = operations.remember(here, project, text)
    else:
        result = operations.notes_of(here, project)
    options.out.result(result, map(options.out.quoted, _notes(result)))


def _credit(result: "AskResult") -> str:
    who = result.app or (shown_name(result.answerer) if result.answerer else "nobody")
    tier = f", {result.tier}" if result.tier else ""
    took = f", {result.elapsed_ms / 1000:.1f} s" if result.elapsed_ms else ""
    cost = f", {_usd(result.usd)}" if result.usd else ""
    return f"{result.status} by {who}{tier}{took}{cost}"


def _usd(usd: float) -> str:
    return "under $0.0001" if 0 < usd < 0.0001 else f"${usd:.4f}"


def _answer(result: "AskResult") -> Iterator[str]:
    if result.answer:
        yield paragraph(result.answer)
    if result.note:
        yield f"— {visible(result.note)}"


def _project(result: "ProjectResult") -> Iterator[str]:
    from parler.ops.projects import asker_words

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
        yield f"    {visible(asker_words(grant))}: {may}"


def _found(result: "DiscoverResult") -> Iterator[str]:
    if not result.found:
        yield "no repositories found near here"
    for one in result.found:
        if one.known_as:
            yield f"{one.known_as:<20} {visible(one.folder)}  (a project already)"
        else:
            name, folder = one.alias or "NAME", shell_word(one.folder)
            yield f"{visible(one.folder)}"
            yield f"    parler project add {name} {folder}"


def _log(result: "LogResult") -> Iterator[str]:
    if result.omitted:
        yield f"— {result.omitted} earlier lines —"
    if not result.lines:
        yield "nothing was asked yet"
    for line in result.lines:
        yield from _line(line)
    for turn in result.open:
        yield f"no end yet: {visible(turn)}"


def _line(line: "Line") -> Iterator[str]:
    from parler.text.transcript import shown_time

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


def _notes(result: "NotesResult") -> Iterator[str]:
    if not result.notes:
        yield f"no notes for {result.project}"
    for number, note in enumerate(result.notes, 1):
        yield f"{number:3}  {paragraph(note)}"
