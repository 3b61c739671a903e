"""Where Codex has worked, by its ``config.toml``."""

import tomllib
from pathlib import Path

from parler.apps.kit.projects import MAX_BYTES, folders_in
from parler.errors import ConfigError
from parler.machine.files import read_bounded


def folders(user_home: Path) -> list[Path]:
    """The folders; none if that file is not there or cannot be read."""
    try:
        data = read_bounded(user_home / ".codex" / "config.toml", limit=MAX_BYTES)
        return folders_in(tomllib.loads(data.decode()))
    except (OSError, ConfigError, ValueError):
        return []
