"""Cline: the extension of VS Code, and the command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.cline.config import CONFIG

    return CONFIG


def _cli_config() -> "Config":
    from parler.apps.cline.config import CLI

    return CLI


APPS = (
    App(
        id="cline",
        title="Cline (editor)",
        config=_config,
        marks=("CLINE_ACTIVE",),
        clients=("@cline/core",),
    ),
    App(
        id="cline-cli",
        title="Cline (CLI)",
        config=_cli_config,
        commands=("cline",),
        programs=("cline",),
    ),
)
