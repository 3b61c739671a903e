"""GitHub Copilot's command line program."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config
    from parler.apps.kit.hooks import Hooks


def _config() -> "Config":
    from parler.apps.copilot.config import CONFIG

    return CONFIG


def _hooks() -> "Hooks":
    from parler.apps.copilot.hooks import CopilotHooks

    return CopilotHooks()


APPS = (
    App(
        id="copilot",
        title="Copilot CLI",
        config=_config,
        aliases=("copilot-cli",),
        commands=("copilot",),
        programs=("copilot",),
        marks=("COPILOT_CLI",),
        conversation_variables=("COPILOT_AGENT_SESSION_ID",),
        clients=("copilot-cli",),
        hooks=_hooks,
    ),
)
