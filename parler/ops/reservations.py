"""Reserving files: asking the other agents of this machine to leave them alone."""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from parler.errors import UsageError
from parler.machine.processes import Process, machine, uptime_ms
from parler.ops.capability import SETS, Capability, Param
from parler.ops.context import Result
from parler.ops.machine_context import Here
from parler.peers.reservations import (
    MAX_FOR_MS,
    MAX_WHY_CHARS,
    MIN_FOR_MS,
    Holder,
    Reservation,
    Reservations,
    place_of,
)

DEFAULT_MINUTES = 30
MAX_MINUTES = MAX_FOR_MS // 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveParams:
    """What to reserve, for how long, and why."""

    glob: Annotated[
        str, Param("Files from here: src/auth/**, a folder.", positional=True)
    ]
    minutes: Annotated[
        int, Param("How long; renewed while you are here.", ge=1, on_cli=False)
    ] = DEFAULT_MINUTES
    why: Annotated[str, Param("What the others are told.", "TEXT")] = ""


class Reserved(Result):
    """A reservation, and whose."""

    id: str
    project: str
    glob: str
    name: str
    agent: str
    why: str
    minutes: int
    mine: bool
    here: bool
    """It is about the repository we are in."""

    renewed: bool = False
    """Its session lives, and renews it."""


class ReserveResult(Result):
    """What was reserved, or what is in the way."""

    reserved: Reserved | None
    in_the_way: list[Reserved] = msgspec.field(default_factory=list)


class ReservationsResult(Result):
    """What is reserved on this machine now."""

    reservations: list[Reserved]


class ReleaseResult(Result):
    """What was given up."""

    released: list[Reserved]


def holder_of(here: Here) -> Holder:
    """In whose name we reserve: the live session that we belong to, else we alone."""
    own = here.own_record()
    if own is not None:
        host = Process(own.host.pid, own.host.started)
        return Holder(agent=own.agent, name=own.name, host=host)
    return Holder(agent=here.agent or "", name=here.name, host=None)


def reserve(here: Here, params: ReserveParams) -> ReserveResult:
    """Reserve files, unless another session has reserved some of them.

    Raises:
        UsageError: The pattern names nothing here, or a bound is passed.
        ConfigError: It cannot be written.
    """
    if not MIN_FOR_MS <= params.minutes * 60_000 <= MAX_FOR_MS:
        raise UsageError(f"a reservation lasts 1 to {MAX_MINUTES} minutes")
    why = " ".join(params.why.split())
    if len(why) > MAX_WHY_CHARS:
        raise UsageError(f"the reason has at most {MAX_WHY_CHARS} characters")
    try:
        key, project, glob = place_of(params.glob, here.folder)
    except ValueError as error:
        raise UsageError(
            str(error), next_step="parler reserve 'src/auth/**' --why …"
        ) from None
    holder, now = holder_of(here), uptime_ms()
    host = holder.host
    wanted = Reservation(
        id=here.token(4),
        key=key,
        project=project,
        glob=glob,
        agent=holder.agent,
        name=holder.name,
        why=why,
        for_ms=params.minutes * 60_000,
        since=now,
        until=now + params.minutes * 60_000,
        machine=machine(),
        pid=host.pid if host else None,
        started=host.started if host else None,
    )
    made, in_the_way = Reservations(here.home).add(wanted, holder)
    if made is None and not in_the_way:
        raise UsageError(
            "too much is reserved on this machine", next_step="parler release"
        )
    return ReserveResult(
        reserved=_shown(here, made) if made else None,
        in_the_way=[_shown(here, one) for one in in_the_way],
    )


RESERVE = Capability(
    run=reserve,
    about="Ask the agents of this machine to leave files alone.",
    more="It is advice: nothing stops an edit unless an app's hook was set up to ask. "
    "It holds in every work tree and clone of this repository, and ends with your "
    "session.",
    command="reserve",
    example='parler reserve "src/auth/**" --for 30m --why "moving to sessions"',
    tool="parler_reserve",
    call='{"glob": "src/auth/**", "why": "moving to sessions"}',
    hints=SETS,
)


def reservations(here: Here) -> ReservationsResult:
    """What is reserved on this machine now."""
    held = Reservations(here.home).all()
    return ReservationsResult(reservations=[_shown(here, one) for one in held])


RESERVATIONS = Capability(
    run=reservations,
    about="Show what is reserved on this machine, and by whom.",
    command="reservations",
    no_tool="parler_peers shows it with each agent",
)


def release(
    here: Here,
    which: Annotated[
        str | None,
        Param(
            "A pattern or an id; none: all of yours.",
            "GLOB",
            positional=True,
            argument="glob",
        ),
    ] = None,
    *,
    force: Annotated[
        bool, Param("Also if it is somebody else's.", on_tool=False)
    ] = False,
) -> ReleaseResult:
    """Give up a reservation of ours by its id or pattern, or all of them.

    Args:
        force: Also one of somebody else.

    Raises:
        UsageError: None is meant, or it is somebody else's.
    """
    held = Reservations(here.home)
    within = _pattern(here, which) if which else None

    def meant(one: Reservation) -> bool:
        if not force and not _mine(here, one):
            return False
        return which is None or which == one.id or within == (one.key, one.glob)

    gone = held.remove(meant)
    if not gone and which is not None:
        raise UsageError(
            f"no reservation of yours is {which!r}", next_step="parler reservations"
        )
    return ReleaseResult(released=[_shown(here, one) for one in gone])


RELEASE = Capability(
    run=release,
    about="Give up what you reserved.",
    command="release",
    example="""\
parler release "src/auth/**"
parler release""",
    tool="parler_release",
    call='{"glob": "src/auth/**"}',
    hints=SETS,
)


def _pattern(here: Here, which: str) -> tuple[str, str] | None:
    try:
        key, _, glob = place_of(which, here.folder)
    except ValueError:
        return None
    return key, glob


def _mine(here: Here, one: Reservation) -> bool:
    return one.is_of(here.above(), here.agent or "")


def _shown(here: Here, one: Reservation) -> Reserved:
    left = max(0, one.left_ms(uptime_ms(), here.now()))
    return Reserved(
        id=one.id,
        project=one.project,
        glob=one.glob,
        name=one.name,
        agent=one.agent,
        why=one.why,
        minutes=max(1, round(left / 60_000)),
        mine=_mine(here, one),
        here=one.key == here.workspace.key,
        renewed=one.host is not None,
    )
