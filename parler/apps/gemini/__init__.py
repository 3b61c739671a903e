"""Gemini CLI."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config
    from parler.apps.kit.headless import Headless
    from parler.apps.kit.hooks import Hooks


def _config() -> "Config":
    from parler.apps.gemini.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.gemini.hooks import GeminiHooks

    return GeminiHooks()


def _headless() -> "Headless":
    from parler.apps.gemini.headless import HEADLESS

    return HEADLESS


APPS = (
    App(
        id="gemini",
        title="Gemini CLI",
        config=_config,
        aliases=("gemini-cli",),
        commands=("gemini",),
        programs=("gemini",),
        marks=("GEMINI_CLI",),
        clients=("gemini-cli-mcp-client",),
        instructions=("GEMINI.md", ".gemini"),
        hooks=_hooks,
        headless=_headless,
    ),
)
