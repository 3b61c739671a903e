"""OpenCode."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.opencode.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="opencode",
        title="OpenCode",
        config=_config,
        aliases=("open-code",),
        commands=("opencode",),
    ),
)
