"""GitHub Copilot's command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.copilot.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="copilot",
        title="Copilot CLI",
        config=_config,
        aliases=("copilot-cli",),
        commands=("copilot",),
    ),
)
