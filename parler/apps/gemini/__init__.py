"""Gemini CLI."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.gemini.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="gemini",
        title="Gemini CLI",
        config=_config,
        aliases=("gemini-cli",),
        commands=("gemini",),
    ),
)
