"""Codex, OpenAI's command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.codex.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="codex",
        title="Codex",
        config=_config,
        commands=("codex",),
    ),
)
