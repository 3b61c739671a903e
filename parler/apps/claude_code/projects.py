"""Where Claude Code has worked, by its ``.claude.json``."""

from pathlib import Path

import msgspec

from parler.apps.kit.projects import MAX_BYTES, folders_in
from parler.errors import ConfigError
from parler.machine.files import read_bounded


def folders(user_home: Path) -> list[Path]:
    """The folders; none if that file is not there or cannot be read."""
    try:
        data = read_bounded(user_home / ".claude.json", limit=MAX_BYTES)
        return folders_in(msgspec.json.decode(data))
    except (OSError, ConfigError, msgspec.DecodeError, UnicodeError):
        return []
