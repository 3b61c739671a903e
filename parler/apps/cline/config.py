"""Cline: the extension of VS Code and the command line program.

They keep different files of different shapes. What may run unasked stands in the
entry itself.
"""

from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.kit.config import Config, Wiring, plain_entry, server_file
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SAFE_TOOLS

_FILE = "cline_mcp_settings.json"
_EXTENSION = ("User", "globalStorage", "saoudrizwan.claude-dev")
_EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")


def _extensions(machine: Machine) -> list[tuple[str, Path]]:
    """The storage of the extension in each editor that has it."""
    folders = [
        (editor, machine.app_data.joinpath(editor, *_EXTENSION)) for editor in _EDITORS
    ]
    return [(editor, folder) for editor, folder in folders if _is_dir(folder)]


def _extension_files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    found = _extensions(machine)
    if not found:  # named by the user before it ever ran
        code = machine.app_data.joinpath("Code", *_EXTENSION)
        found = [("Code", code)]
    value = plain_entry(wiring, disabled=False, autoApprove=list(SAFE_TOOLS))
    return tuple(
        server_file(
            folder / "settings" / _FILE,
            ("mcpServers",),
            value,
            role="servers" if index == 0 else f"servers {editor}",
        )
        for index, (editor, folder) in enumerate(found)
    )


def _extension_traces(machine: Machine) -> tuple[Path, ...]:
    return tuple(folder for _, folder in _extensions(machine))


def _cli_folder(machine: Machine) -> Path:
    return machine.folder("CLINE_DIR", ".cline")


def _cli_files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    value: dict[str, object] = {
        "transport": {"type": "stdio", **plain_entry(wiring)},
        "autoApprove": list(SAFE_TOOLS),
    }
    path = _cli_folder(machine) / "data" / "settings" / _FILE
    return (server_file(path, ("mcpServers",), value),)


def _cli_traces(machine: Machine) -> tuple[Path, ...]:
    return (_cli_folder(machine) / "data",)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


CONFIG = Config(
    traces=_extension_traces,
    files=_extension_files,
    restart="in Cline: MCP Servers, restart parler",
)
CLI = Config(
    traces=_cli_traces,
    files=_cli_files,
    restart="restart cline",
)
