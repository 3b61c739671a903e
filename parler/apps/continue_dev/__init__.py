"""Continue."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.continue_dev.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="continue",
        title="Continue",
        config=_config,
    ),
)
