"""Zed."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.zed.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="zed",
        title="Zed",
        config=_config,
        commands=("zed", "zeditor"),
    ),
)
