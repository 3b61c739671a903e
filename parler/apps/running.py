"""Which agent app a process works for: the nearest one above it."""

from itertools import islice
from typing import NamedTuple

from parler.apps.kit.app import App
from parler.apps.registry import app_of_program
from parler.machine.processes import RUNTIMES, Process, Seen, ancestors, upward

_WRAPPERS = frozenset(
    {
        *("sh", "bash", "dash", "zsh", "fish", "ash", "env", "nohup", "setsid"),
        *("timeout", "uv", "uvx", "pipx", "npx", "npm", "npm exec", "stdbuf"),
        *("parler", "script", "nice", "ionice", "sudo", "cmd", "powershell", "pwsh"),
    }
)
"""Programs that only pass a start on: never the one that an agent lives in."""


class AppProcess(NamedTuple):
    """The process that an agent lives in, and the app it is, if we know it."""

    process: Process
    app: App | None


def app_above(pid: int) -> AppProcess:
    """The agent app that a process of ours works for: the nearest one above it.

    Where none is known, it is the nearest ancestor that does more than start another,
    and without one the process itself.
    """
    chain = ancestors(pid)
    for seen in chain[1:]:
        if app := _app_of(seen):
            return AppProcess(seen.process, app)
    for seen in chain[1:]:
        if seen.program not in _WRAPPERS and seen.program not in RUNTIMES:
            return AppProcess(seen.process, None)
    nearest = chain[1:2] or chain[:1]
    return AppProcess(nearest[0].process if nearest else Process(pid, ""), None)


def all_apps_above(pid: int) -> list[App]:
    """The apps among the processes above one, the nearest first."""
    return [app for seen in ancestors(pid)[1:] if (app := _app_of(seen))]


def is_shared(process: Process) -> bool:
    """Whether a process of an app serves several windows, as far as can be seen."""
    seen = next(upward(process.pid), None)
    app = _app_of(seen) if seen and seen.process == process else None
    return bool(seen and app and _serves_several(app, seen))


def _serves_several(app: App, seen: Seen) -> bool:
    return bool(set(app.shared) & {seen.program, seen.name, *seen.arguments})


def _app_of(seen: Seen) -> App | None:
    return app_of_program(seen.program) or app_of_program(seen.name)


def app_process(app: App, pid: int) -> Seen | None:
    """The nearest process of an app above a process of ours; None if there is none."""
    for seen in islice(upward(pid), 1, None):
        if seen.program in app.programs or seen.name in app.programs:
            return seen
    return None
