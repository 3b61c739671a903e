"""VS Code, its Insiders build and VSCodium: servers in the user's ``mcp.json``."""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Host, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine


def _variant(
    id_: str,
    title: str,
    folder: str,
    command: str,
    bundle: str,
    *aliases: str,
) -> Host:
    def user(machine: Machine) -> Path:
        return machine.app_data / folder / "User"

    def files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
        value = {"type": "stdio", **plain_entry(wiring)}
        return (server_file(user(machine) / "mcp.json", ("servers",), value),)

    def traces(machine: Machine) -> tuple[Path, ...]:
        return (user(machine), machine.application(bundle))

    return Host(
        id=id_,
        title=title,
        aliases=aliases,
        commands=(command,),
        traces=traces,
        files=files,
        restart=f"in {title}: MCP: List Servers, start parler and trust it",
    )


HOST = _variant(
    "vscode", "VS Code", "Code", "code", "Visual Studio Code", "code", "vs-code"
)
INSIDERS = _variant(
    "vscode-insiders",
    "VS Code Insiders",
    "Code - Insiders",
    "code-insiders",
    "Visual Studio Code - Insiders",
    "code-insiders",
)
VSCODIUM = _variant("vscodium", "VSCodium", "VSCodium", "codium", "VSCodium", "codium")
