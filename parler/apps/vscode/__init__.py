"""VS Code, its Insiders build and VSCodium."""

from typing import TYPE_CHECKING

from parler.apps.kit.app import App

if TYPE_CHECKING:
    from parler.apps.kit.config import Config


def _config() -> "Config":
    from parler.apps.vscode.config import CONFIG

    return CONFIG


def _insiders_config() -> "Config":
    from parler.apps.vscode.config import INSIDERS

    return INSIDERS


def _vscodium_config() -> "Config":
    from parler.apps.vscode.config import VSCODIUM

    return VSCODIUM


APPS = (
    App(
        id="vscode",
        title="VS Code",
        config=_config,
        aliases=("code", "vs-code"),
        commands=("code",),
        programs=("code", "code-insiders"),
        is_editor=True,
    ),
    App(
        id="vscode-insiders",
        title="VS Code Insiders",
        config=_insiders_config,
        aliases=("code-insiders",),
        commands=("code-insiders",),
    ),
    App(
        id="vscodium",
        title="VSCodium",
        config=_vscodium_config,
        aliases=("codium",),
        commands=("codium",),
    ),
)
