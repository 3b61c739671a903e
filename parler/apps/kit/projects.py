"""Reading in which folders an app has worked, from a file of its own."""

from collections.abc import Mapping
from pathlib import Path

MAX_BYTES = 16 * 2**20
"""Of such a file."""


def folders_in(value: object) -> list[Path]:
    """The keys of the table ``projects``, as Claude Code and Codex have it."""
    projects = value.get("projects") if isinstance(value, Mapping) else None
    if not isinstance(projects, Mapping):
        return []
    return [Path(key) for key in projects if isinstance(key, str) and "\0" not in key]
