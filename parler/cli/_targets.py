"""To whom something goes: a room, one agent, a service, or the active session."""

from typing import TYPE_CHECKING

from parler.cli._run import HERE, Place, Run, in_room

if TYPE_CHECKING:
    from parler.wire.records import Target


def place_of(room: str | None, to: str | None, service: str | None) -> Place:
    """Which hub such a target means."""
    return in_room(room) if to is None and service is None else HERE


async def target_of(
    run: Run, *, room: str | None, to: str | None, service: str | None
) -> "Target":
    """The target that was named; says whom a name means, and if the hub reads it.

    Raises:
        UsageError: Nobody is meant, or more than one.
    """
    from parler.identity.signing import fingerprint
    from parler.ops.addressing import find_agent
    from parler.ops.sealing import leaves_seal
    from parler.text.terminal import shown_name
    from parler.wire.records import DmTarget, RoomTarget, ServiceTarget

    if (service or to) and (outside := leaves_seal(run.ctx)):
        run.out.note(outside)
    if service is not None:
        return ServiceTarget(service=service)
    if to is None:
        return RoomTarget(room=run.ctx.room(room))
    person = await find_agent(run.ctx, to)
    if person.name:
        run.out.note(f"{shown_name(person.name)} is {fingerprint(person.agent)}")
    return DmTarget(agent=person.agent)
