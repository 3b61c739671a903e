"""Whose rooms a command means: those of the person at this terminal and all agents of
theirs, or of one identity. What is done is done by the identity whose room it is.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from parler.cli._carry_out import carry_out_declared, values_of
from parler.cli._completion import of
from parler.cli._person import check_agreed
from parler.cli._run import Options, identity_of, in_room, settings_of
from parler.ops.capability import Capability, Means
from parler.text.terminal import shell_word, shown_name, visible

if TYPE_CHECKING:
    from parler.identity.own_agents import OwnAgent
    from parler.identity.settings import Settings
    from parler.ops.own import Away, OwnRoom, OwnRoomsResult
    from parler.ops.person_only import Deciding
    from parler.runtime.own_hubs import OwnHubs
    from parler.wire.foreign import Foreign

As: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Only as this agent of yours.",
        click_type=of("OWN"),
    ),
]
Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="You are sure: do not ask.")
]


def household_of(
    options: Options,
    as_: str | None = None,
    *,
    starts_hub: bool = True,
    mints: bool = True,
) -> "OwnHubs":
    """The identities that are meant, and where to look.

    Args:
        starts_hub: This machine's own hub, if it is stopped and needed.
        mints: As that of `agents_meant`.
    """
    from parler.runtime.dialling import LocalStart
    from parler.runtime.own_hubs import GLANCE_SECS, LOOK_SECS, OwnHubs

    settings = settings_of(options)
    return OwnHubs(
        settings=settings,
        agents=agents_meant(options, settings, as_, mints=mints),
        local=LocalStart(note=options.out.note, revive=True) if starts_hub else None,
        hub=options.hub,
        look_secs=LOOK_SECS if starts_hub else GLANCE_SECS,
    )


def agents_meant(
    options: Options, settings: "Settings", as_: str | None, *, mints: bool = True
) -> "list[OwnAgent]":
    """The identities that a command means, the person first.

    Args:
        mints: Make one where there is none; else it just has nothing.

    Raises:
        UsageError: `--as` names none of them.
        ConfigError: The one of this shell cannot be read.
    """
    from parler.identity.homes import is_person_home, machine_home
    from parler.identity.identity import find_identity
    from parler.identity.own_agents import OwnAgent, own_agents
    from parler.identity.places import Place
    from parler.ops.own import agent_named

    everybody = own_agents(machine_home(settings.base_home))
    is_person = is_person_home(settings.home)
    if as_ is not None:
        return [agent_named(as_, everybody)]
    if options.home or not is_person or not everybody:
        if mints:
            identity_of(options, settings)
        return [OwnAgent(settings.home, is_person, Place())]
    if any(one.home == settings.home and one.identity is None for one in everybody):
        find_identity(settings.home)  # who types is told why it cannot be read
    return everybody


def is_alone(household: "OwnHubs") -> bool:
    """Whether only who types is meant."""
    [first, *others] = household.agents
    return not others and first.home == household.settings.home


def in_its_name(
    options: Options,
    capability: Capability,
    given: Mapping[str, Any],
    lines: Callable[[Any], Iterable[str]],
    *,
    as_: str | None,
    owns: bool = False,
    anyone: bool = False,
    foreign: bool = False,
    paged: bool = False,
    decides: "Callable[[OwnRoom], Deciding] | None" = None,
    yes: bool = False,
) -> None:
    """Do what was asked for in a room, as the identity of ours that is in it.

    Args:
        owns: The owner is meant, if one of ours is.
        anyone: Whichever of several will do.
        foreign: Strangers wrote a part of what is shown.
        paged: It may be long.
        decides: What a person has to decide first, if the room is that identity's own.
        yes: It was decided with the command.
    """
    import asyncio

    from parler.identity.known_rooms import KnownRooms
    from parler.ops.context import room_or_session
    from parler.ops.own import whose_room

    household = household_of(options, as_)
    param = capability.means(Means.SESSION) or capability.means(Means.ROOM)
    assert param is not None
    home = household.agents[0].home if as_ else household.settings.home
    room = room_or_session(home, given[param.key])
    known = KnownRooms(household.settings.home)
    is_name = "." in room or (known.hub_of(room) and not known.about(room))
    if is_alone(household) and decides is None and is_name:
        # The hub itself says what is wrong with a room that is not ours.
        place = in_room(room)
        carry_out_declared(
            *(options, capability, given, lines),
            place=place,
            foreign=foreign,
            paged=paged,
        )
        return
    found, ours = asyncio.run(whose_room(household, room, owns=owns, anyone=anyone))
    if ours and decides is not None:
        check_agreed(decides(found), yes=yes)

    async def act() -> Any:
        async with connected_as(household, found.owner_id, found.hub) as ctx:
            values = values_of(capability, given) | {param.source: found.name}
            return await capability.perform(ctx, values)

    result = asyncio.run(act())
    if not capability.hints.reads_only:
        say_whose(options, household, found.owner_id)
    options.out.result(result, lines(result), foreign=foreign, paged=paged)


def show_rooms_of(
    options: Options,
    as_: str | None,
    listing: "Callable[..., Awaitable[OwnRoomsResult]]",
) -> None:
    """Show rooms of all our identities, by `ops.own.own_rooms` or a part of it."""
    import asyncio

    from parler.cli import _format
    from parler.identity.identity import active_session

    household = household_of(options, as_)

    async def look() -> "OwnRoomsResult":
        active = active_session(household.settings.home)
        return await listing(household, active=active)

    result = asyncio.run(look())
    say_away(options, result.unreachable)
    lines = _format.rooms(result, alone=is_alone(household))
    options.out.result(result, lines, foreign=True)


def connected_as(household: "OwnHubs", owner_id: str, hub: str) -> Any:
    """A connection in the name of one of them."""
    agent, identity = next(
        (agent, agent.identity)
        for agent in household.agents
        if agent.identity is not None and agent.identity.agent_id == owner_id
    )
    return household.connected(agent, identity, hub)


def say_whose(options: Options, household: "OwnHubs", owner_id: str) -> None:
    """Say in whose name something was done, if not in that of who typed it."""
    for agent in household.agents:
        identity = agent.identity
        if identity is not None and identity.agent_id == owner_id:
            if agent.home != household.settings.home:
                options.out.note(f"as {shown_name(identity.name)}{where_of(agent)}")
            return


def where_of(agent: "OwnAgent") -> str:
    """The app and folder of an agent of ours, as far as they are known."""
    from pathlib import Path

    from parler.apps.registry import app_named

    app = app_named(agent.place.app) if agent.place.app else None
    words = [app.title] if app else []
    words += [f"in {Path(agent.place.folder).name}"] if agent.place.folder else []
    return f" ({visible(' '.join(words))})" if words else ""


def say_away(options: Options, away: "Iterable[Away]") -> None:
    """Name the hubs that could not be asked."""
    for one in away:
        options.out.note(f"not shown is what is on {one.hub}: {one.reason}")


def person_line(options: Options, verb: str, *words: "str | Foreign") -> str:
    """The command that the person behind us can run from any terminal."""
    home = ["--home", options.home] if options.home else []
    return " ".join(["parler", verb, *map(shell_word, [*words, *home])])
