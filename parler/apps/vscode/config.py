"""VS Code, its Insiders build and VSCodium: servers in the user's ``mcp.json``."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine


def _variant(title: str, folder: str, bundle: str) -> Config:
    def user(machine: Machine) -> Path:
        return machine.app_data / folder / "User"

    def files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
        value = {"type": "stdio", **plain_entry(wiring)}
        return (server_file(user(machine) / "mcp.json", ("servers",), value),)

    def traces(machine: Machine) -> tuple[Path, ...]:
        return (user(machine), machine.application(bundle))

    return Config(
        traces=traces,
        files=files,
        restart=f"in {title}: MCP: List Servers, start parler and trust it",
    )


CONFIG = _variant("VS Code", "Code", "Visual Studio Code")
INSIDERS = _variant(
    "VS Code Insiders", "Code - Insiders", "Visual Studio Code - Insiders"
)
VSCODIUM = _variant("VSCodium", "VSCodium", "VSCodium")
