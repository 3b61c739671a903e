"""Amp."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.amp.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="amp",
        title="Amp",
        config=_config,
        commands=("amp",),
        programs=("amp",),
    ),
)
