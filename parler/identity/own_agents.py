"""The identities of a machine home: the person's, and those of its agents.

Their homes lie below it, one for each app, folder and window. Nothing is written here,
and a home that cannot be read hides none of the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.identity.homes import CONFIG_FILE, PLACE_FILE
from parler.identity.identity import Identity, find_identity
from parler.machine.files import json_object, read_bounded
from parler.wire.base import AgentId

PROBE_HOME = "doctor"
"""In an agent's home: the identity that `parler doctor --wake` writes to it as."""

MAX_AGENTS = 2000
"""Homes that are looked at; who has more has junk there."""

_MAX_PLACE_BYTES = 64 * 2**10
_BASES = ("", "agents/*")
_HOMES = ("ws/*", "ws/*/seats/*", "answerers/*")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Whose home it is: the app, the folder it works in, and which of its windows."""

    app: str | None = None
    folder: str | None = None
    seat: int = 1


@dataclass(frozen=True)
class OwnAgent:
    """An identity of this user, by its home."""

    home: Path
    is_person: bool
    place: Place

    @cached_property
    def identity(self) -> Identity | None:
        """Who it is; read once, None if that cannot be read."""
        try:
            return find_identity(self.home)
        except ConfigError:
            return None


def own_agents(machine_home: Path) -> list[OwnAgent]:
    """The person, if there is one, then all agents below, by home."""
    found = []
    if _has_identity(machine_home):
        found.append(OwnAgent(machine_home, True, Place()))
    for home in _homes(machine_home):
        if _has_identity(home):
            found.append(OwnAgent(home, False, place_at(machine_home, home)))
            if len(found) >= MAX_AGENTS:
                break
    return found


def own_ids(machine_home: Path) -> frozenset[AgentId]:
    """The ids of all of them, and of what tests their wakes, as they are written: no
    key is derived for it."""
    homes = [one.home for one in own_agents(machine_home)]
    homes += [home / PROBE_HOME for home in homes]
    return frozenset(filter(None, map(_id, homes)))


def _id(home: Path) -> AgentId | None:
    try:
        written = json_object(read_bounded(home / CONFIG_FILE)).get("id")
    except (OSError, ConfigError, ValueError):
        return None
    return AgentId(written) if isinstance(written, str) else None


def _homes(machine_home: Path) -> Iterator[Path]:
    patterns = ["agents/*"]
    patterns += [f"{base}/{home}".lstrip("/") for base in _BASES for home in _HOMES]
    for pattern in patterns:
        try:
            yield from sorted(machine_home.glob(pattern))
        except OSError:
            continue


def _has_identity(home: Path) -> bool:
    try:
        return (home / CONFIG_FILE).is_file()
    except OSError:
        return False


def place_at(machine_home: Path, home: Path) -> Place:
    """As it was written when the home was taken; else as far as the path tells."""
    try:
        data = read_bounded(home / PLACE_FILE, limit=_MAX_PLACE_BYTES)
        return msgspec.json.decode(data, type=Place)
    except (OSError, ConfigError, msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    words = home.relative_to(machine_home).parts
    seat = words[-1] if len(words) > 1 and words[-2] == "seats" else ""
    return Place(
        app=words[1] if words[0] == "agents" else None,
        seat=int(seat) if seat.isdecimal() and len(seat) < 5 else 1,
    )
