"""Qwen Code."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.qwen.config import CONFIG

    return CONFIG


APPS = (
    App(
        id="qwen",
        title="Qwen Code",
        config=_config,
        aliases=("qwen-code",),
        commands=("qwen",),
        programs=("qwen",),
        marks=("QWEN_CODE",),
    ),
)
