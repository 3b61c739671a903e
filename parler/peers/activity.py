"""What somebody seems to be doing in a folder: told by git, without asking a model.

Only names: branch, changed files and the subjects of the newest commits. It is kept up
to date in a session's record for as long as the session runs.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from parler.errors import ParlerError
from parler.handoff.repository import open_repository
from parler.machine.processes import Process
from parler.machine.workspace import Workspace, workspace_of
from parler.peers.presence import MAX_CHANGED, LiveHandle
from parler.peers.reservations import Holder, Reservations

LOOK_SECS = 30.0
"""How often a session's record is brought up to date."""

GIT_SECS = 10.0
COMMITS = 3
_AT_MOST_BUSY = 20
"""A look that takes long is taken this many times its length later."""

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What can be seen of the work in a folder."""

    workspace: Workspace
    changed: list[str]
    subjects: list[str]
    """Of the newest commits."""


async def look(folder: Path, *, secs: float = GIT_SECS) -> Activity:
    """Look at the work in a folder; what git does not tell in time is left out."""
    workspace = workspace_of(folder)
    seen = Activity(workspace=workspace, changed=[], subjects=[])
    if workspace.repository is None:
        return seen
    try:
        async with asyncio.timeout(secs):
            repository = await open_repository(workspace.top)
            status = await repository.git.run(
                *("status", "--porcelain=v1", "-z", "--no-renames"),
                *("--untracked-files=normal", "--ignore-submodules=all"),
            )
            names = [entry[3:] for entry in status.text.split("\0") if entry[3:]]
            seen = replace(seen, changed=names[:MAX_CHANGED])
            commits = await repository.log(f"--max-count={COMMITS}", "HEAD")
    except (ParlerError, TimeoutError, OSError, ValueError):
        return seen  # no git, no commits yet, or somebody else's folder
    return replace(seen, subjects=[commit.subject for commit in commits])


def derived_summary(activity: Activity) -> str:
    """One line that says what the work seems to be."""
    workspace = activity.workspace
    where = workspace.name or str(workspace.folder)
    words = f"in {where}" + (f" on {workspace.branch}" if workspace.branch else "")
    if activity.changed:
        names = [name.rstrip("/").rpartition("/")[2] for name in activity.changed]
        more = len(names) - _NAMED
        words += f", changing {', '.join(names[:_NAMED])}"
        if more > 0:
            more_text = f"{more}+" if len(names) >= MAX_CHANGED else str(more)
            words += f" and {more_text} more"
    if activity.subjects:
        words += f"; last commit: {activity.subjects[0]}"
    return words


async def refresh(handle: LiveHandle) -> Activity:
    """Bring a record up to date once.

    Raises:
        ConfigError: It cannot be written.
    """
    record = handle.record
    activity = await look(Path(record.folder))
    fields = {
        "repository": activity.workspace.repository,
        "project": activity.workspace.name,
        "branch": activity.workspace.branch,
        "changed": activity.changed,
        "derived": derived_summary(activity),
    }
    current = handle.record
    if any(getattr(current, name) != value for name, value in fields.items()):
        handle.update(**fields)
    return activity


async def keep_fresh(handle: LiveHandle, *, every: float = LOOK_SECS) -> None:
    """Keep a record up to date, and what the session has reserved.

    Ends only by cancellation.
    """
    held = Reservations(handle.base_home)
    while True:
        began = time.monotonic()
        try:
            await refresh(handle)
            await asyncio.to_thread(held.renew, _holder(handle))
        except ParlerError:
            pass  # a full disk passes; who reads a stale record misses little
        took = time.monotonic() - began
        await asyncio.sleep(max(every, took * _AT_MOST_BUSY))


def _holder(handle: LiveHandle) -> Holder:
    record = handle.record
    host = Process(record.host.pid, record.host.started)
    return Holder(agent=record.agent, name=record.name, host=host)
