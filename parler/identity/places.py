"""Which app, folder and window the home of an agent is for, as its place.json says.

Who may have a seat is decided by `parler.peers.seats`. This is imported at every hook
of an app, so it needs quick modules only.
"""

from pathlib import Path
from typing import NamedTuple

from parler.errors import ConfigError
from parler.identity.homes import AGENTS, PLACE_FILE, SEATS, machine_home, person_homes
from parler.machine import files
from parler.machine.processes import Process

MAX_SEATS = 256


class Place(NamedTuple):
    """What is known of a seat: whose home it is, and for what."""

    seat: int = 1
    app: str | None = None
    folder: str | None = None
    """The project's."""

    holder: Process | None = None
    """The window's process; None where nobody has the seat."""

    machine: str = ""
    """In whose terms the process is told (`processes.machine`)."""

    conversation: str | None = None
    """The one that its window is in."""

    conversations: tuple[str, ...] = ()
    """Those that get this seat back, the newest last."""


def read_place(home: Path) -> Place | None:
    """Who has the seat of a home, and for what; None if it was never taken.

    A record that cannot be understood says that somebody has it, of whom nothing is
    known.
    """
    further = home.parent.name == SEATS and is_seat(home.name)
    seat = int(home.name) if further else 1
    try:
        raw = files.json_object(files.read_private(home / PLACE_FILE))
    except FileNotFoundError:
        return None
    except (ConfigError, ValueError):
        return Place(seat, holder=Process(0, ""))

    def text(name: str) -> str | None:
        value = raw.get(name)
        return value if isinstance(value, str) and value else None

    pid, listed = raw.get("pid"), raw.get("conversations")
    return Place(
        seat,
        app=text("app"),
        folder=text("folder"),
        holder=Process(pid, text("started") or "") if isinstance(pid, int) else None,
        machine=text("machine") or "",
        conversation=text("conversation"),
        conversations=tuple(
            one
            for one in (listed if isinstance(listed, list) else [])
            if isinstance(one, str)
        ),
    )


def place_of(home: Path) -> Place:
    """As it was written when the home was taken; else as far as the path tells."""
    place = read_place(home) or Place()
    if place.app:
        return place
    for top in person_homes(machine_home(home)):
        if home.is_relative_to(top / AGENTS) and home != top / AGENTS:
            return place._replace(app=home.relative_to(top / AGENTS).parts[0])
    return place


def write_place(home: Path, place: Place) -> None:
    """Keep it in its home.

    Raises:
        ConfigError: It cannot be written.
    """
    raw: dict[str, object] = {
        "app": place.app or "",
        "folder": place.folder or "",
        "seat": place.seat,
    }
    if place.holder is not None:
        raw["pid"], raw["started"] = place.holder
        raw["machine"] = place.machine
    if place.conversation is not None:
        raw["conversation"] = place.conversation
    raw["conversations"] = list(place.conversations)
    files.write_private(home / PLACE_FILE, files.json_bytes(raw))


def is_seat(name: str) -> bool:
    """Whether a folder of that name is a further seat's."""
    return name.isascii() and name.isdigit() and 2 <= int(name[:4]) <= MAX_SEATS
