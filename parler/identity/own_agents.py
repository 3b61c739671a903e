"""The identities of a machine home: the person's, and those of its agents.

Their homes lie below it, one for each app, folder and window. Nothing is written here,
and a home that cannot be read hides none of the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from parler.errors import ConfigError
from parler.identity.homes import CONFIG_FILE, person_home, person_homes
from parler.identity.identity import Identity, find_identity
from parler.identity.places import Place, place_of
from parler.machine.files import json_object, read_bounded
from parler.wire.base import AgentId

PROBE_HOME = "doctor"
"""In an agent's home: the identity that `parler doctor --wake` writes to it as."""

MAX_AGENTS = 2000
"""Homes that are looked at; who has more has junk there."""

_BASES = ("", "agents/*")
_HOMES = ("ws/*", "ws/*/seats/*", "answerers/*")


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
    person = person_home(machine_home)
    if _has_identity(person):
        found.append(OwnAgent(person, True, Place()))
    for home in _homes(machine_home):
        if _has_identity(home):
            found.append(OwnAgent(home, False, place_of(home)))
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
    for top, pattern in product(person_homes(machine_home), patterns):
        try:
            yield from sorted(top.glob(pattern))
        except OSError:
            continue


def _has_identity(home: Path) -> bool:
    try:
        return (home / CONFIG_FILE).is_file()
    except OSError:
        return False
