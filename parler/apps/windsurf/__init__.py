"""Windsurf."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.windsurf.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="windsurf",
        title="Windsurf",
        config=_config,
        commands=("windsurf",),
        programs=("windsurf",),
        is_editor=True,
    ),
)
