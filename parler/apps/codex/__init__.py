"""Codex, OpenAI's command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config
    from parler.apps.kit.hooks import Hooks


def _config() -> "Config":
    from parler.apps.codex.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.kit.hooks import Hooks

    return Hooks()


APPS = (
    App(
        id="codex",
        title="Codex",
        config=_config,
        commands=("codex",),
        hooks=_hooks,
    ),
)
