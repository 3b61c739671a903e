"""The projects of this machine that can be asked: ``project``."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from msgspec.structs import asdict

from parler.apps.kit.permission import Permission
from parler.ask.projects import Grant
from parler.ask.thread import Line
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, group, shows
from parler.cli._machine import here_of
from parler.cli._own import person_line
from parler.cli._run import Options
from parler.cli._when import when
from parler.ops import answering, projects
from parler.ops.machine_context import Here
from parler.ops.projects import (
    DiscoverResult,
    ForgetResult,
    LogResult,
    NotesResult,
    ProjectResult,
    ProjectsResult,
)
from parler.text.terminal import (
    counted,
    paragraph,
    sentence,
    shell_word,
    shown_name,
    visible,
)

project_app = group("The projects of this machine that can be asked.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(project_app, projects.ADD)(add)
    shows(project_app, projects.DISCOVER, _found, foreign=True)
    shows(project_app, projects.LIST, _projects)
    command(project_app, projects.REMOVE)(remove)
    command(project_app, answering.SERVE_PROJECT)(serve)
    command(project_app, projects.ALLOW)(allow)
    command(project_app, projects.DENY)(deny)
    shows(project_app, projects.LOG, _log, foreign=True)
    shows(project_app, projects.FORGET_SESSION, _forgotten)
    command(project_app, projects.REMEMBER)(remember)
    app.add_typer(project_app, name="project")


def add(options: Options, **given: Any) -> None:
    """Add a project, and say how it is taken back."""
    carry_out_declared(options, projects.ADD, given, _project)
    if not given["replace"]:
        options.out.undo(person_line(options, "project remove", given["name"]))


def remove(options: Options, project: str) -> None:
    """Remove a project, and say how it is added again with what was granted."""
    result = projects.remove_project(here_of(options), project)
    options.out.result(result, [_removed(result)])
    limits = [
        *("--agent", result.app, "--per-hour", str(result.per_hour)),
        *("--usd-per-day", f"{result.usd_per_day:g}"),
        *("--timeout", str(result.timeout_secs)),
    ]
    if result.describe:
        limits += ["--describe", result.describe]
    added = (result.alias, result.folder, *limits)
    options.out.undo(person_line(options, "project add", *added))
    for grant in result.grants:
        options.out.undo(_granting(options, result.alias, grant))


def serve(options: Options, project: str | None) -> None:
    """Answer what a project is asked."""
    from parler.cli.ask import serve_project

    serve_project(options, project)


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
    here = here_of(options)
    before = _granted(here, project, from_)
    result = projects.allow(here, params)
    options.out.result(result, _project(result))
    undone = before or Grant(asker=from_, denied=True)
    options.out.undo(_granting(options, project, undone))


def deny(options: Options, project: str, from_: str) -> None:
    """Let somebody ask a project no more."""
    here = here_of(options)
    before = _granted(here, project, from_)
    result = projects.deny(here, project, from_)
    options.out.result(result, _project(result))
    if before:
        options.out.undo(_granting(options, project, before))


def _granted(here: Here, project: str, asker: str) -> Grant | None:
    """What somebody may do until now."""
    known = here.projects.find(project)
    grants = known.grants if known else []
    return next((one for one in grants if one.asker == asker.strip()), None)


def _granting(options: Options, project: str, grant: Grant) -> str:
    """The command that grants or denies just that."""
    who = ("--from", grant.asker)
    if grant.denied:
        return person_line(options, "project deny", project, *who)
    may = [f"--{one}" for one, is_so in asdict(grant.permission).items() if is_so]
    name = ["--name", grant.name] if grant.name else []
    return person_line(options, "project allow", project, *who, *may, *name)


def remember(options: Options, project: str, note: str, forget: int | None) -> None:
    """Keep a note, drop one, or show them."""
    here = here_of(options)
    if here.projects.find(project) is None:
        options.out.note(
            f"{project} is no project of this machine: its notes go along to whoever "
            "answers for that name on a hub"
        )
    before = projects.notes_of(here, project).notes
    undo: list[str] = []
    if forget is not None:
        result = projects.forget_note(here, project, forget)
        undo = [before[forget - 1]]
    elif note:
        result = projects.remember(here, project, note)
        undo = ["--forget", str(len(result.notes))]
    else:
        result = projects.notes_of(here, project)
    options.out.result(result, _notes(result), foreign=True)
    if undo and result.notes != before:
        options.out.undo(person_line(options, "project remember", project, *undo))


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
    return f"forgotten: {counted(result.forgotten, 'conversation')}"


def _found(result: DiscoverResult) -> Iterator[str]:
    if not result.found:
        yield "no repositories found near here"
    for one in result.found:
        if one.known_as:
            yield f"{one.known_as:<20} {visible(one.folder)}  (a project already)"
        else:
            name, folder = one.alias or "NAME", shell_word(one.folder, None)
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
        details.append(usd_words(line.usd))
    if line.permission and line.event == "asked":
        details.append(visible(line.permission))
    words = ", ".join(str(one) for one in details if one)
    asker = shown_name(line.asker)
    head = f"{when(line.at)}  {line.event}  {asker}"
    yield head + (f"  ({words})" if words else "")
    if line.text:
        yield f"    {paragraph(line.text)}"
    if line.note:
        yield f"    — {sentence(line.note)}"


def _notes(result: NotesResult) -> Iterator[str]:
    if not result.notes:
        yield f"no notes for {result.project}"
    for number, note in enumerate(result.notes, 1):
        yield f"{number:3}  {paragraph(note)}"


def usd_words(usd: float) -> str:
    """Money for people."""
    return "under $0.0001" if 0 < usd < 0.0001 else f"${usd:.4f}"
