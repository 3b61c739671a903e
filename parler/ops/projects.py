"""The projects of this machine that can be asked, what they permit, what was said.

Who may have more done than reading is decided by a person: not by an agent, and never
by a question.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from parler.apps.kit.app import App
from parler.apps.kit.permission import READ_ONLY, Permission
from parler.apps.registry import app_named, guess_app, headless_ids
from parler.ask.alias import Alias, alias_of, suggested_alias
from parler.ask.headless import installed
from parler.ask.hops import check_not_asked
from parler.ask.projects import (
    DEFAULT_PER_HOUR,
    DEFAULT_TIMEOUT_SECS,
    DEFAULT_USD_PER_DAY,
    LOCAL,
    MAX_DESCRIPTION_CHARS,
    Candidate,
    Grant,
    Project,
    discover,
    folders_worked_in,
)
from parler.ask.thread import (
    Asker,
    Event,
    Line,
    Thread,
    open_turns,
    pairs_of,
    transcript_of,
)
from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.machine.workspace import workspace_of
from parler.ops.addressing import as_agent_id
from parler.ops.capability import Capability, Param
from parler.ops.context import Result
from parler.ops.machine_context import Here
from parler.peers.presence import read_live

MAX_TIMEOUT_SECS = 3600
MAX_PER_HOUR = 1000
MAX_USD_PER_DAY = 10_000.0
MAX_SHOWN = 1000


_Alias = Annotated[str, Param("Its name.", name="project", positional=True)]
_Asker = Annotated[
    str,
    Param("A project, an agent's id, or local: this machine.", "WHO", name="from_"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddParams:
    """A project, and within which bounds it answers."""

    alias: Annotated[str, Param("What to call it.", name="name", positional=True)]
    folder: Annotated[
        Path | None,
        Param(
            "Where it is; else here.",
            positional=True,
            parse=lambda typed: Path(typed).expanduser(),
        ),
    ] = None
    describe: Annotated[str | None, Param("What it is about.", "TEXT")] = None
    app: Annotated[
        str | None,
        Param(
            f"{', '.join(headless_ids())}; else by its files.",
            "APP",
            option="--agent",
        ),
    ] = None
    per_hour: Annotated[
        int, Param("Answers an hour, at most.", "N", ge=0, le=MAX_PER_HOUR)
    ] = DEFAULT_PER_HOUR
    usd_per_day: Annotated[float, Param("Money a day, at most.", "USD")] = (
        DEFAULT_USD_PER_DAY
    )
    timeout_secs: Annotated[
        int,
        Param("For one answer.", "SECS", option="--timeout", ge=1, le=MAX_TIMEOUT_SECS),
    ] = DEFAULT_TIMEOUT_SECS
    replace: Annotated[bool, Param("Change the one that is there.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowParams:
    """Who may ask a project, and what its agent may do for them."""

    alias: _Alias
    asker: _Asker
    permission: Permission = READ_ONLY
    name: Annotated[str | None, Param("What you call that agent.")] = None


class ProjectResult(Result):
    """A project as it is now."""

    alias: str
    folder: str
    app: str
    here: bool
    """Its folder is there."""

    per_hour: int
    usd_per_day: float
    timeout_secs: int
    describe: str | None = None
    grants: list[Grant] = msgspec.field(default_factory=list)
    live: int = 0
    """Sessions of this project that run on this machine now."""


class ProjectsResult(Result):
    """All projects."""

    projects: list[ProjectResult]


class Found(Result):
    """A folder that could be a project."""

    folder: str
    alias: str | None = None
    app: str | None = None
    known_as: str | None = None


class DiscoverResult(Result):
    """Folders in which agents have worked, or that are beside this one."""

    found: list[Found]


class LogResult(Result):
    """What was asked and answered, in order of time."""

    project: str
    lines: list[Line]
    open: list[str] = msgspec.field(default_factory=list)
    """Questions that have no end yet."""

    omitted: int = 0


class NotesResult(Result):
    """What is put before each question."""

    project: str
    notes: list[str]


class ForgetResult(Result):
    """How many conversations begin anew."""

    project: str
    forgotten: int


def add_project(here: Here, params: AddParams) -> ProjectResult:
    """Let a project be asked by the others on this machine.

    Raises:
        UsageError: The name, folder or a bound is not acceptable, or the name taken.
    """
    check_not_asked(here.depth, "add a project")
    if params.replace or _beyond_default(params):
        _only_a_person(here, "change a project or its bounds")
    alias = alias_of(params.alias)
    folder = workspace_of(params.folder or here.folder).folder
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    if len(params.describe or "") > MAX_DESCRIPTION_CHARS:
        raise UsageError(f"a description has at most {MAX_DESCRIPTION_CHARS} letters")
    _check_bounds(params)
    app = _answering(here, params.app, folder)
    old = here.projects.find(alias) if params.replace else None
    project = Project(
        alias=alias,
        folder=str(folder),
        app=app.id,
        describe=params.describe,
        added=here.now(),
        grants=old.grants if old and old.folder == str(folder) else [],
        per_hour=params.per_hour,
        usd_per_day=params.usd_per_day,
        timeout_secs=params.timeout_secs,
    )
    here.projects.put(project, replace=params.replace)
    return _shown(here, project)


ADD = Capability(
    run=add_project,
    about="Let a project be asked by the others on this machine.",
    command="project add",
    example="parler project add stagent ~/code/stagent "
    '--describe "the webhook service"',
    no_tool="who may ask what is for a person to decide",
)


def ensure_project(here: Here, alias: str | None) -> Project:
    """The project that is named, or that this folder is; the latter made if need be.

    Raises:
        UsageError: There is none of that name, or none can be made here.
    """
    if alias is not None:
        return here.projects.get(alias)
    own = here.own_project()
    if own is not None:
        return own
    name = suggested_alias(here.workspace.name)
    if name is None or here.projects.find(name) is not None:
        raise UsageError(
            "this folder is no project yet", next_step="parler project add NAME"
        )
    if _guessed(here, here.workspace.top) is None:
        # Most who type it alone were asked by an agent.
        raise UsageError(
            "this folder is no project, and no agent app that could answer is on PATH",
            next_step="parler inbox, for what agents ask you; else parler project add "
            f"{name} --agent {'|'.join(headless_ids())}",
        )
    add_project(here, AddParams(alias=name, folder=here.workspace.top))
    return here.projects.get(name)


def remove_project(here: Here, alias: _Alias) -> ProjectResult:
    """Let a project be asked no more; what was said stays on disk.

    Raises:
        UsageError: There is none.
    """
    _only_a_person(here, "remove a project")
    return _shown(here, here.projects.remove(alias))


REMOVE = Capability(
    run=remove_project,
    about="Let a project be asked no more.",
    more="What was said stays in its log.",
    command="project remove",
    example="parler project remove stagent",
    no_tool="who may ask what is for a person to decide",
)


def list_projects(here: Here) -> ProjectsResult:
    """All projects of this machine."""
    return ProjectsResult(projects=[_shown(here, one) for one in here.projects.all()])


LIST = Capability(
    run=list_projects,
    about="Show the projects that can be asked, and by whom.",
    command="project list",
    no_tool="who may ask what is for a person to decide",
)


def discover_projects(here: Here) -> DiscoverResult:
    """Folders in which agents have worked, and those beside this one."""
    folders = [here.folder, *(Path(one.folder) for one in read_live(here.home))]
    folders += folders_worked_in(here.user_home, here.folder)
    found = discover(folders, here.projects.all(), installed(here.environment))
    return DiscoverResult(found=[_found(one) for one in found])


DISCOVER = Capability(
    run=discover_projects,
    about="Show folders that could be projects.",
    more="Those where agents worked, and those beside.",
    command="project discover",
    no_tool="who may ask what is for a person to decide",
)


def allow(here: Here, params: AllowParams) -> ProjectResult:
    """Write down who may ask a project, and what its agent may do then.

    Raises:
        UsageError: An agent asks for it, or nobody is meant.
    """
    _only_a_person(here, "grant anything")
    asker = _asker_named(here, params.asker)
    grant = Grant(asker=asker, permission=params.permission, name=params.name)
    return _shown(here, here.projects.grant(params.alias, grant, asker=asker))


ALLOW = Capability(
    run=allow,
    about="Let somebody ask a project, to read or for more.",
    more="An agent cannot do this.",
    command="project allow",
    example="""\
parler project allow stagent --from dashboard --write
parler project allow stagent --from AGENT-ID --name bob""",
    no_tool="who may ask what is for a person to decide",
)


def deny(here: Here, alias: _Alias, asker: _Asker) -> ProjectResult:
    """Write down that somebody may not ask a project.

    Raises:
        UsageError: Nobody is meant, or an agent wants it.
    """
    _only_a_person(here, "take anything away")
    named = _asker_named(here, asker)
    grant = Grant(asker=named, denied=True)
    return _shown(here, here.projects.grant(alias, grant, asker=named))


DENY = Capability(
    run=deny,
    about="Let somebody ask a project no more.",
    more="An agent cannot do this.",
    command="project deny",
    example="parler project deny stagent --from dashboard",
    no_tool="who may ask what is for a person to decide",
)


def log(
    here: Here,
    alias: _Alias,
    *,
    limit: Annotated[int, Param("The newest N.", "N", ge=1, le=MAX_SHOWN)] = 200,
) -> LogResult:
    """What was asked of a project from anywhere, and what came of it."""
    name = alias_of(alias)
    lines = transcript_of(here.home, name)
    if not lines:
        here.projects.get(name)  # a name nobody knows is told
    shown_lines = lines[-min(limit, MAX_SHOWN) :]
    return LogResult(
        project=name,
        lines=shown_lines,
        open=sorted(open_turns(lines)),
        omitted=len(lines) - len(shown_lines),
    )


LOG = Capability(
    run=log,
    about="Show what a project was asked, by whom, and what came of it.",
    command="project log",
    example="parler project log stagent",
    no_tool="what others asked is for the owner of the project",
)


def forget_session(
    here: Here,
    alias: _Alias,
    *,
    everybody: Annotated[
        bool, Param("Also the conversations of all others.", name="all_")
    ] = False,
) -> ForgetResult:
    """Let our next question to a project begin a new conversation.

    Args:
        everybody: Not only ours, but the conversations of all who asked.
    """
    name = alias_of(alias)
    talks = [own_thread(here, name)]
    if everybody:
        _only_a_person(here, "end the conversations of others")
        keys = {talk.folder for talk in talks}
        others = [folder for folder in pairs_of(here.home, name) if folder not in keys]
        talks += [_at(here, name, folder) for folder in others]
    forgotten = 0
    for talk in talks:
        if not talk.folder.is_dir():
            continue
        if talk.forget_sessions():
            forgotten += 1
        line = Line(
            event=Event.FORGOTTEN,
            turn=here.token(8),
            at=here.now(),
            asker=talk.asker.label,
            project=name,
        )
        talk.append(line)
    return ForgetResult(project=name, forgotten=forgotten)


FORGET_SESSION = Capability(
    run=forget_session,
    about="Let the next question begin a new conversation.",
    command="project forget-session",
    example="parler project forget-session stagent",
    no_tool="a question that should begin anew says so",
)


def remember(
    here: Here,
    alias: _Alias,
    note: Annotated[str, Param("None: shows what is kept.", words=True)] = "",
) -> NotesResult:
    """Keep a note that is put before each of our questions to a project."""
    name = alias_of(alias)
    notes = own_thread(here, name).remember(note)
    return NotesResult(project=name, notes=notes)


def forget_note(
    here: Here,
    alias: _Alias,
    number: Annotated[int, Param("Drop note N.", "N", name="forget", ge=1, le=1000)],
) -> NotesResult:
    """Drop a note by its number."""
    name = alias_of(alias)
    notes = own_thread(here, name).forget_note(number)
    return NotesResult(project=name, notes=notes)


def notes_of(here: Here, alias: _Alias) -> NotesResult:
    """The notes we keep for a project."""
    name = alias_of(alias)
    return NotesResult(project=name, notes=own_thread(here, name).state().notes)


REMEMBER = Capability(
    run=remember,
    also=[forget_note, notes_of],
    about="Keep a note that goes before each question to a project.",
    command="project remember",
    example='parler project remember stagent "we deploy from main"',
    no_tool="what goes along with each question is for a person to decide",
)


def own_asker(here: Here) -> Asker:
    """As which project we ask: the one of this folder."""
    own = here.own_project()
    place = here.workspace
    label = own.alias if own else place.name or str(place.top)
    return Asker(key=f"project:{place.key}", label=label, agent=here.agent)


def own_thread(here: Here, alias: Alias) -> Thread:
    """Our conversation with a project."""
    return Thread(here.home, alias, own_asker(here))


def askers_of(here: Here) -> list[str]:
    """Under which names a project may know us, the most particular first."""
    own = here.own_project()
    names = [here.agent, own.alias if own else None, LOCAL]
    return [name for name in names if name]


def _shown(here: Here, project: Project) -> ProjectResult:
    """A project, and whether it is there."""
    folder = Path(project.folder)
    return ProjectResult(
        alias=project.alias,
        folder=project.folder,
        app=project.app,
        here=folder.is_dir(),
        describe=project.describe,
        per_hour=project.per_hour,
        usd_per_day=project.usd_per_day,
        timeout_secs=project.timeout_secs,
        grants=project.grants,
        live=sum(folder == Path(one.folder) for one in read_live(here.home)),
    )


def asker_words(grant: Grant) -> str:
    """Who a grant is about."""
    if grant.asker == LOCAL:
        return "whoever is on this machine"
    if as_agent_id(grant.asker):
        return f"{grant.name or 'the agent'} {fingerprint(grant.asker)}"
    return f"the project {grant.asker}"


def _only_a_person(here: Here, what: str) -> None:
    if here.by_an_agent():
        raise UsageError(
            f"an agent cannot {what}: that is for its user to decide",
            next_step="the same command in a terminal of your own",
        )


def _asker_named(here: Here, text: str) -> str:
    wanted = text.strip()
    if as_agent_id(wanted):
        return wanted
    if wanted == LOCAL:
        return LOCAL
    project = here.projects.find(wanted)
    if project is None:
        raise UsageError(
            f"{text!r} is neither an agent's id, nor a project of this machine, nor "
            f"{LOCAL!r}; a name proves nothing",
            next_step="the other agent's `parler whoami` shows its id",
        )
    return project.alias


def _guessed(here: Here, folder: Path) -> App | None:
    """The app that would answer for a folder."""
    app = guess_app(folder, installed(here.environment))
    return app if app and app.headless else None


def _answering(here: Here, named: str | None, folder: Path) -> App:
    app = app_named(named) if named else _guessed(here, folder)
    if app and app.headless:
        return app
    choice = f"--agent {'|'.join(headless_ids())}"
    if named:
        raise UsageError(f"{named!r} is no agent that can answer", next_step=choice)
    raise UsageError(
        "no agent app that can answer is on PATH",
        next_step=f"install one, or name it: {choice}",
    )


def _check_bounds(params: AddParams) -> None:
    fits = (
        0 <= params.per_hour <= MAX_PER_HOUR
        and 0 <= params.usd_per_day <= MAX_USD_PER_DAY
        and 1 <= params.timeout_secs <= MAX_TIMEOUT_SECS
    )
    if not fits:
        raise UsageError(
            f"a project answers for 1 to {MAX_TIMEOUT_SECS} s, up to {MAX_PER_HOUR} "
            f"times an hour and for up to ${MAX_USD_PER_DAY:g} a day"
        )


def _beyond_default(params: AddParams) -> bool:
    return (
        params.per_hour > DEFAULT_PER_HOUR
        or params.usd_per_day > DEFAULT_USD_PER_DAY
        or params.timeout_secs > DEFAULT_TIMEOUT_SECS
    )


def _found(one: Candidate) -> Found:
    return Found(
        folder=str(one.folder), alias=one.alias, app=one.app, known_as=one.known_as
    )


def _at(here: Here, alias: Alias, folder: Path) -> Thread:
    talk = Thread(here.home, alias, Asker(key="", label=""))
    talk.use(folder)
    return talk
