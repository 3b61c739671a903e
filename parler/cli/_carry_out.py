"""Carrying out what is only declared: on which hub, in which room, then doing it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from parler.cli._machine import here_of
from parler.cli._run import HERE, Options, Place, Run, carry_out, in_room, settings_of
from parler.cli._targets import place_of, target_of
from parler.ops.capability import Capability, Means

Lines: TypeAlias = Callable[[Any], Iterable[str]]


def carry_out_declared(
    options: Options,
    capability: Capability,
    given: Mapping[str, Any],
    lines: Lines,
    *,
    place: Place | None = None,
    foreign: bool = False,
    paged: bool = False,
) -> None:
    """Do what was asked for, and show the result.

    Args:
        foreign: Strangers wrote a part of what is shown.
        paged: It may be long: it is shown once the hub need not wait for its reader.
        place: Which hub is meant, if the parameters do not say it.
    """
    if (here := _here(options, capability)) is not None:
        import asyncio
        import inspect

        result = capability.perform(here, values_of(capability, given))
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        options.out.result(result, lines(result), foreign=foreign)
        return

    results = []

    async def work(run: Run) -> None:
        values = await found(run, capability, given)
        result = await capability.perform(run.ctx, values)
        if paged:
            results.append(result)
        else:
            run.out.result(result, lines(result), foreign=foreign)

    carry_out(options, work, place=place or place_for(capability, given))
    for result in results:
        options.out.result(result, lines(result), foreign=foreign, paged=True)


def _here(options: Options, capability: Capability) -> Any:
    """What an operation that needs no hub is given; None if it needs one."""
    if capability.needs == "Here":
        return here_of(options)
    if capability.needs == "Path":
        return settings_of(options).base_home
    return None


def values_of(capability: Capability, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by the names that the operation has for it."""
    return {
        one.source: given[one.key]
        for one in capability.params
        if one.source and one.key in given and one.param.means is not Means.TARGET
    }


async def found(
    run: Run, capability: Capability, given: Mapping[str, Any]
) -> dict[str, Any]:
    """As `values_of`, with the room or the target that is meant.

    Raises:
        UsageError: None is meant.
    """
    values = values_of(capability, given)
    if session := capability.means(Means.SESSION):
        values[session.source] = run.ctx.room(given[session.key])
    if target := capability.means(Means.TARGET):
        named = {key: given[key] for key in ("room", "to", "service")}
        values[target.source] = await target_of(run, **named)
    return values


def place_for(capability: Capability, given: Mapping[str, Any]) -> Place:
    """Which hub is meant."""
    from parler.wire.names import service_room

    if capability.means(Means.TARGET):
        return place_of(given["room"], given["to"], given["service"])
    if one := capability.means(Means.SESSION):
        return in_room(given[one.key])
    if one := capability.means(Means.ROOM):
        return Place(room=given[one.key])
    if one := capability.means(Means.SERVICE):
        return Place(room=service_room(given[one.key]))
    return HERE
