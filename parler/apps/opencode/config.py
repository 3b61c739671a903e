"""OpenCode: servers in ``opencode.jsonc``, which it makes itself and which wins.

Its tools run unasked unless the user said otherwise; where the user's ``permission``
asks for everything, nothing is added: an order of rules is not ours to rewrite.
"""

from pathlib import Path

from parler.apps.config_files.edits import DropKey, FileEdit, value_at
from parler.apps.kit.config import Config, Texts, Trouble, Wiring, server_file
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SERVER, is_our_server

_KEY = ("mcp", SERVER)


def _folder(machine: Machine) -> Path:
    return machine.config / "opencode"


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    value = {
        "type": "local",
        "command": [wiring.command[0], *wiring.args],
        "enabled": True,
        "environment": wiring.env,
    }
    folder = _folder(machine)
    return (
        server_file(folder / "opencode.jsonc", ("mcp",), value),
        # Where the existing client wrote; also its blanket permission goes.
        FileEdit(
            role="json",
            path=folder / "opencode.json",
            sweeps=(
                DropKey(_KEY, is_our_server),
                DropKey(("permission", f"{SERVER}_*"), lambda value: value == "allow"),
            ),
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine), machine.home / ".opencode")


def _examine(machine: Machine, texts: Texts) -> list[Trouble]:
    if value_at(texts.get("json"), _KEY) is None:
        return []
    return [
        Trouble(
            what="opencode.json has another entry, which is merged with ours",
            mend="parler connect opencode",
            is_note=True,
        )
    ]


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="restart opencode",
    notes=("OpenCode runs all tools unasked unless its permission says otherwise",),
    examine=_examine,
)
