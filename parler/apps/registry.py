"""The agent apps, in the order they are shown, and how one is found.

A folder is imported when it may have what is asked for, so that a hook, which knows
the id, reads that one alone.
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from pathlib import Path

    from parler.apps.kit.headless import Headless
    from parler.apps.kit.hooks import Hooks

NAMES = (
    *("claude_code", "codex", "cursor", "windsurf", "gemini", "claude_desktop"),
    *("opencode", "vscode", "cline", "copilot", "zed", "continue_dev", "goose"),
    *("amp", "qwen"),
)
"""The folders beside this module that declare `APPS`."""

DEFAULT_RUNNER = "codex"
"""Does tasks where nobody says who."""

_SHARED = "AGENTS.md"


@cache
def all_apps() -> tuple[App, ...]:
    """Every app."""
    return tuple(app for folder in NAMES for app in _declared(folder))


def app_named(text: str) -> App | None:
    """The app of this id or alias, None if there is none."""
    wanted = text.strip().lower()
    return _find(wanted, lambda app: wanted in (app.id, *app.aliases))


def app_of_client(name: str) -> App | None:
    """The app that introduces itself over MCP like this."""
    return _find(name, lambda app: name in app.clients)


def app_of_program(name: str) -> App | None:
    """The app whose processes are called like this."""
    return _find(name, lambda app: name in app.programs)


def app_id(text: str) -> str:
    """The id of the app that is called so; the text itself where none is."""
    found = app_named(text)
    return found.id if found else text


def guess_app(folder: "Path", among: Iterable[App]) -> App | None:
    """Whose a folder is: by its instructions, else the first of these apps.

    What many apps read tells least: who counts it as its own comes last.
    """
    apps = list(among)
    for app in sorted(apps, key=lambda app: _SHARED in app.instructions):
        if any((folder / name).exists() for name in app.instructions):
            return app
    return apps[0] if apps else None


def hooks_of(app: str) -> "Hooks | None":
    """The hooks of the app of this id; None for an app whose hooks we do not know."""
    found = _find(app, lambda one: one.id == app)
    return found.hooks() if found and found.hooks else None


def headless_of(text: str) -> "Headless | None":
    """How the app of this id or alias runs without a screen; None if it does not."""
    found = app_named(text)
    return found.headless() if found and found.headless else None


def headless_apps() -> list[App]:
    """The apps that run without a screen."""
    return [app for app in all_apps() if app.headless]


def headless_ids() -> list[str]:
    """What they are called."""
    return [app.id for app in headless_apps()]


def _find(name: str, fits: Callable[[App], bool]) -> App | None:
    """The app that fits; first one whose folder has the name, so that one is read."""
    folder = name.replace("-", "_")
    likely = _declared(folder) if folder in NAMES else ()
    return next((app for app in likely if fits(app)), None) or next(
        (app for app in all_apps() if fits(app)), None
    )


@cache
def _declared(folder: str) -> tuple[App, ...]:
    apps: tuple[App, ...] = import_module(f"parler.apps.{folder}").APPS
    return apps
