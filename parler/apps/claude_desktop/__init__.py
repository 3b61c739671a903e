"""Claude Desktop."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.claude_desktop.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="claude-desktop",
        title="Claude Desktop",
        config=_config,
        aliases=("desktop",),
    ),
)
