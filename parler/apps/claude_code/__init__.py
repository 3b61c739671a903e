"""Claude Code."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.claude_code.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="claude-code",
        title="Claude Code",
        config=_config,
        aliases=("claude", "cc", "claudecode"),
        commands=("claude",),
    ),
)
