"""Continue: a file of our own in the folder from which it collects servers.

So its ``config.yaml`` is never touched. Its command line program does not look into
that folder; the note says what to do there.
"""

import json
from pathlib import Path

from parler.apps.config_files.edits import FileEdit, Format
from parler.apps.kit.config import Config, Wiring, plain_entry
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SERVER


def _folder(machine: Machine) -> Path:
    return machine.folder("CONTINUE_GLOBAL_DIR", ".continue")


def _files(machine: Machine, wiring: Wiring) -> tuple[FileEdit, ...]:
    content = {"mcpServers": {SERVER: plain_entry(wiring)}}
    return (
        FileEdit(
            role="servers",
            path=_folder(machine) / "mcpServers" / f"{SERVER}.json",
            format=Format.OWN,
            content=json.dumps(content, indent=2, ensure_ascii=False) + "\n",
            server=("mcpServers", SERVER),
            mark=f'"{SERVER}": {{',
        ),
    )


def _traces(machine: Machine) -> tuple[Path, ...]:
    return (_folder(machine),)


CONFIG = Config(
    traces=_traces,
    files=_files,
    restart="reload the editor's window",
    notes=("cn, its CLI, reads mcpServers in ~/.continue/config.yaml only",),
)
