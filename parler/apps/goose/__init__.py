"""Goose."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.goose.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="goose",
        title="Goose",
        config=_config,
        commands=("goose",),
        programs=("goose", "goosed"),
        marks=("GOOSE_TERMINAL",),
    ),
)
