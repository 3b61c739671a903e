"""How names become room names (protocol 4.1, 4.2)."""

import re

from parler.wire.base import RoomName

_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def token(text: str) -> str:
    """What a hub makes of a name that somebody chose; case is kept."""
    return _NOT_TOKEN.sub("_", text.strip()) or "_"


def service_room(service: str) -> RoomName:
    """The room behind the name of a service."""
    return RoomName(f"svc.{token(service)}")


def is_direct(room: RoomName) -> bool:
    """Whether a room is one between two agents; no other gets such a name."""
    return room.startswith("dm.")
