"""How names become room names (protocol 4.1, 4.2)."""

import re

from parler.wire.base import RoomName

_SECRET_WORD = re.compile(r"[A-Za-z0-9_.~-]{1,200}", re.ASCII)
_NOT_TOKEN = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def token(text: str) -> str:
    """What a hub makes of a name that somebody chose; case is kept."""
    return _NOT_TOKEN.sub("_", text.strip()) or "_"


def is_secret_word(text: str) -> bool:
    """Whether a key or token looks like one, so that it may be pasted anywhere."""
    return _SECRET_WORD.fullmatch(text) is not None


def service_room(service: str) -> RoomName:
    """The room behind the name of a service."""
    return RoomName(f"svc.{token(service)}")


def is_direct(room: RoomName) -> bool:
    """Whether a room is one between two agents; no other gets such a name."""
    return room.startswith("dm.")
