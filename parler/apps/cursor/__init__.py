"""Cursor: the editor, and its command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.cursor.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="cursor",
        title="Cursor",
        config=_config,
        commands=("cursor", "cursor-agent"),
    ),
)
