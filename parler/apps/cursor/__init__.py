"""Cursor: the editor, and its command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config
    from parler.apps.kit.hooks import Hooks


def _config() -> "Config":
    from parler.apps.cursor.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.cursor.hooks import CursorHooks

    return CursorHooks()


APPS = (
    App(
        id="cursor",
        title="Cursor",
        config=_config,
        commands=("cursor", "cursor-agent"),
        programs=("cursor", "cursor-agent"),
        marks=("CURSOR_AGENT",),
        is_editor=True,
        hooks=_hooks,
    ),
)
