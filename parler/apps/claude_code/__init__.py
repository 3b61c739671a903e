"""Claude Code."""

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
    from parler.apps.claude_code.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.claude_code.hooks import ClaudeCodeHooks

    return ClaudeCodeHooks()


def _find_waker() -> "FindWaker":
    from parler.apps.claude_code.wake import find_waker

    return find_waker


def _headless() -> "Headless":
    from parler.apps.claude_code.headless import HEADLESS

    return HEADLESS


def _folders() -> "Callable[[Path], list[Path]]":
    from parler.apps.claude_code.projects import folders

    return folders


APPS = (
    App(
        id="claude-code",
        title="Claude Code",
        config=_config,
        aliases=("claude", "cc", "claudecode"),
        commands=("claude",),
        programs=("claude",),
        marks=("CLAUDECODE",),
        conversation_variables=("CLAUDE_CODE_SESSION_ID",),
        clients=("claude-code",),
        channel="claude/channel",
        instructions=("CLAUDE.md", ".claude"),
        hooks=_hooks,
        find_waker=_find_waker,
        headless=_headless,
        folders=_folders,
    ),
)
