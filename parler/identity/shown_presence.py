"""What an agent last said it is doing, for a hub that forgets it with each connection.

A hub without the feature `presence` makes an agent idle whenever it says hello, even
if that is only a command which looks something up.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.machine.files import read_private, write_private
from parler.wire.base import Millis
from parler.wire.urls import same_hub

FILE_NAME = "presence.json"
BELIEVED_MS = 300_000
"""How long a hub believes what was said (protocol 10.2)."""


class ShownPresence(msgspec.Struct, frozen=True, omit_defaults=True):
    """A status, and where and when it was said."""

    hub: str
    status: str
    activity: str | None
    at: Millis


def note_presence(home: Path, said: ShownPresence) -> None:
    """Note what was said; it is only forgotten if that cannot be written."""
    with suppress(ConfigError):
        write_private(home / FILE_NAME, msgspec.json.encode(said))


def presence_shown(home: Path, hub: str, *, now: Millis) -> ShownPresence | None:
    """What was said at a hub so lately that it still holds."""
    try:
        said = msgspec.json.decode(read_private(home / FILE_NAME), type=ShownPresence)
    except (FileNotFoundError, ConfigError, msgspec.DecodeError, UnicodeError):
        return None
    fresh = 0 <= now - said.at < BELIEVED_MS
    return said if fresh and same_hub(said.hub, hub) else None
