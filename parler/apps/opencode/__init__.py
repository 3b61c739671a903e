"""OpenCode."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config
    from parler.apps.kit.headless import Headless
    from parler.apps.kit.waker import FindWaker


def _config() -> "Config":
    from parler.apps.opencode.config import CONFIG

    return CONFIG


def _find_waker() -> "FindWaker":
    from parler.apps.opencode.wake import find_waker

    return find_waker


def _headless() -> "Headless":
    from parler.apps.opencode.headless import HEADLESS

    return HEADLESS


APPS = (
    App(
        id="opencode",
        title="OpenCode",
        config=_config,
        aliases=("open-code",),
        commands=("opencode",),
        programs=("opencode",),
        marks=("OPENCODE",),
        clients=("opencode",),
        instructions=("opencode.json", "opencode.jsonc"),
        find_waker=_find_waker,
        headless=_headless,
    ),
)
