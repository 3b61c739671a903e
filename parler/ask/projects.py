"""The projects of this machine that can be asked, and what their owner permits.

What an asker may have done is written here by the owner and nowhere else: nothing in
a question reaches this file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from parler.apps.kit.app import App
from parler.apps.kit.permission import READ_ONLY, Permission
from parler.apps.registry import all_apps, app_named, guess_app
from parler.ask.alias import Alias, alias_of, suggested_alias
from parler.errors import ConfigError, UsageError
from parler.machine.files import aside, locked, read_bounded, write_private
from parler.machine.workspace import workspace_of
from parler.wire.base import Millis

FILE_NAME = "projects.json"
MAX_PROJECTS = 500
MAX_GRANTS = 200
MAX_DESCRIPTION_CHARS = 500
DEFAULT_PER_HOUR = 20
DEFAULT_USD_PER_DAY = 5.0
DEFAULT_TIMEOUT_SECS = 300
MAX_DISCOVERED = 200
_MAX_LOOKED_AT = 2000

LOCAL = "local"
"""In a grant: whoever asks from a folder of this user on this machine."""


class Grant(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who may ask a project, and what its agent may do then."""

    asker: str
    """An agent's id, a project's alias, or `LOCAL`."""

    permission: Permission = READ_ONLY
    denied: bool = False
    """May not ask at all, whoever else may."""

    name: str | None = None
    """What the asker was called when this was granted; it proves nothing."""


class Project(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A folder whose agent can be asked."""

    alias: str
    folder: str
    app: str
    """The id of the app whose agent answers."""

    describe: str | None = None
    added: Millis = 0
    grants: list[Grant] = []
    per_hour: int = DEFAULT_PER_HOUR
    """Questions that start an agent, within any hour; 0 is none."""

    usd_per_day: float = DEFAULT_USD_PER_DAY
    timeout_secs: int = DEFAULT_TIMEOUT_SECS

    @property
    def name(self) -> Alias:
        """The alias, as checked on reading."""
        return Alias(self.alias)

    def permission_of(self, askers: Iterable[str]) -> Permission | None:
        """What the first of these names of an asker is granted; None: may not ask.

        Who is on this machine may ask, unless told otherwise by a grant.
        """
        granted = {grant.asker: grant for grant in self.grants}
        for asker in askers:
            if grant := granted.get(asker):
                return None if grant.denied else grant.permission
            if asker == LOCAL:
                return READ_ONLY
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A folder that could be made a project."""

    folder: Path
    alias: Alias | None
    app: str | None
    known_as: Alias | None
    """It is one already."""


class _File(msgspec.Struct):
    projects: list[Project] = []


class Projects:
    """The projects of one user on this machine; processes share the file."""

    def __init__(self, home: Path) -> None:
        """Use the file in the home that all agents share; nothing is read yet."""
        self._path = home / FILE_NAME

    def all(self) -> list[Project]:
        """All of them, by name.

        Raises:
            ConfigError: The file is damaged.
        """
        try:
            data = read_bounded(self._path)
            found = [*map(_checked, msgspec.json.decode(data, type=_File).projects)]
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError, UsageError):
            raise ConfigError(
                f"{self._path} is damaged: who may ask what is not known",
                next_step=f"{aside(self._path)}, then add the projects again",
            ) from None
        return sorted(found, key=lambda one: one.alias)

    def get(self, alias: str) -> Project:
        """The project of that name.

        Raises:
            UsageError: There is none.
        """
        found = self.find(alias)
        if found is None:
            raise UsageError(
                f"there is no project {alias_of(alias)!r} on this machine",
                next_step="parler project list, or parler project add NAME FOLDER",
            )
        return found

    def find(self, alias: str) -> Project | None:
        """The project of that name, None if there is none."""
        wanted = alias_of(alias)
        return next((one for one in self.all() if one.alias == wanted), None)

    def at(self, folder: Path) -> Project | None:
        """The project that a folder belongs to: that very folder, or its repository."""
        here = workspace_of(folder)
        found = self.all()
        for project in found:
            if Path(project.folder) in (here.folder, *here.folder.parents):
                return project
        keys = {one.alias: workspace_of(Path(one.folder)).repository for one in found}
        same = [one for one in found if here.repository == keys[one.alias] is not None]
        return same[0] if len(same) == 1 else None

    def put(self, project: Project, *, replace: bool) -> Project | None:
        """Add a project, or change it; returns what was there before.

        Raises:
            UsageError: It is there already, or there are too many.
        """
        with self._changing() as projects:
            old = next((one for one in projects if one.alias == project.alias), None)
            if old and not replace:
                raise UsageError(
                    f"there is a project {project.alias!r} already, in {old.folder}",
                    next_step=f"parler project remove {project.alias}",
                )
            projects[:] = [one for one in projects if one is not old]
            if len(projects) >= MAX_PROJECTS:
                raise UsageError(f"there are {MAX_PROJECTS} projects already")
            projects.append(project)
            return old

    def remove(self, alias: str) -> Project:
        """Take a project away; its transcripts stay.

        Raises:
            UsageError: There is none.
        """
        with self._changing() as projects:
            project = self.get(alias)
            projects[:] = [one for one in projects if one.alias != project.alias]
        return project

    def grant(self, alias: str, grant: Grant | None, *, asker: str) -> Project:
        """Write down what an asker may do, or that nothing is granted any more.

        Raises:
            UsageError: There is no such project, or there are too many grants.
        """
        with self._changing() as projects:
            project = self.get(alias)
            others = [one for one in project.grants if one.asker != asker]
            grants = others if grant is None else [*others, grant]
            if len(grants) > MAX_GRANTS:
                raise UsageError(f"{alias} has {MAX_GRANTS} grants already")
            changed = msgspec.structs.replace(project, grants=grants)
            projects[:] = [
                changed if one.alias == project.alias else one for one in projects
            ]
        return changed

    @contextmanager
    def _changing(self) -> Iterator[list[Project]]:
        with locked(self._path):
            projects = self.all()
            yield projects
            write_private(self._path, msgspec.json.encode(_File(projects)))


def _checked(project: Project) -> Project:
    app = app_named(project.app)
    if alias_of(project.alias) != project.alias or app is None or not app.headless:
        raise UsageError("a name is not what it should be")
    return msgspec.structs.replace(project, app=app.id)


def discover(
    folders: Iterable[Path], projects: Iterable[Project], installed: Iterable[App]
) -> list[Candidate]:
    """Which of these folders could be made projects; each repository once."""
    known = {Path(one.folder): one.name for one in projects}
    apps = list(installed)
    found: dict[Path, Candidate] = {}
    for folder in list(folders)[:_MAX_LOOKED_AT]:
        top = workspace_of(folder).top
        if top in found or not (top / ".git").exists():
            continue
        found[top] = Candidate(
            folder=top,
            alias=suggested_alias(top.name),
            app=guessed.id if (guessed := guess_app(top, apps)) else None,
            known_as=known.get(top),
        )
        if len(found) >= MAX_DISCOVERED:
            break
    return sorted(found.values(), key=lambda one: str(one.folder))


def folders_worked_in(user_home: Path | None, here: Path) -> list[Path]:
    """Folders in which agent apps have worked, and those beside this one."""
    found: list[Path] = []
    if user_home is not None:
        for app in all_apps():
            found += app.folders()(user_home) if app.folders else []
    top = workspace_of(here).top
    try:
        with os.scandir(top.parent) as entries:
            beside = [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        beside = []
    existing = (one for one in found if one.is_absolute() and one.is_dir())
    return [*existing, *sorted(beside)[:_MAX_LOOKED_AT]]
