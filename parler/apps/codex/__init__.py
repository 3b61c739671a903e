"""Codex, OpenAI's command line program."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from pathlib import Path

    from parler.apps.kit.config import Config
    from parler.apps.kit.headless import Headless
    from parler.apps.kit.hooks import Hooks
    from parler.apps.kit.waker import FindWaker


def _config() -> "Config":
    from parler.apps.codex.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.kit.hooks import Hooks

    return Hooks()


def _find_waker() -> "FindWaker":
    from parler.apps.codex.wake import find_waker

    return find_waker


def _headless() -> "Headless":
    from parler.apps.codex.headless import HEADLESS

    return HEADLESS


def _folders() -> "Callable[[Path], list[Path]]":
    from parler.apps.codex.projects import folders

    return folders


APPS = (
    App(
        id="codex",
        title="Codex",
        config=_config,
        commands=("codex",),
        programs=("codex", "codex-app-server"),
        marks=("CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED"),
        shared=("app-server", "codex-app-server"),
        conversation_variables=("CODEX_THREAD_ID",),
        clients=("codex-mcp-client",),
        instructions=(".codex", "AGENTS.md"),
        hooks=_hooks,
        find_waker=_find_waker,
        headless=_headless,
        folders=_folders,
    ),
)
