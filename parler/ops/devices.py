"""The phones that act for the person: which there are, and ending one."""

from typing import Annotated

from parler.identity.devices import Device, Devices
from parler.identity.signing import fingerprint
from parler.ops.capability import Capability, Param
from parler.ops.context import Result
from parler.ops.machine_context import Here
from parler.wire.base import AgentId, Millis, RoomName


class ShownDevice(Result):
    """A phone."""

    name: str
    agent: AgentId
    fingerprint: str
    hub: str
    room: RoomName
    since: Millis
    used: Millis | None = None
    """When it last asked for something."""


class DevicesResult(Result):
    """All of them, by name."""

    devices: list[ShownDevice]


class DeviceRemovedResult(Result):
    """Which one acts no more."""

    device: ShownDevice


def devices(here: Here) -> DevicesResult:
    """List the phones that act for the person.

    Raises:
        ConfigError: The list of them is damaged.
    """
    return DevicesResult(devices=[_shown(one) for one in Devices(here.home).all()])


DEVICES = Capability(
    run=devices,
    about="List the phones that act for you.",
    command="devices list",
    example="parler devices",
    no_tool="they are the person's",
)


def remove_device(
    here: Here,
    name: Annotated[str, Param("Its name.", "NAME", positional=True)],
) -> DeviceRemovedResult:
    """End what a phone may do, at once: this machine does nothing it asks for.

    Raises:
        UsageError: There is no such phone.
        ConfigError: The list of them is damaged.
    """
    return DeviceRemovedResult(device=_shown(Devices(here.home).remove(name)))


REMOVE = Capability(
    run=remove_device,
    about="End what a phone may do for you, at once.",
    more="It cannot be let in again but by a new code of parler ui --phone.",
    command="devices remove",
    example="parler devices remove iPhone",
    no_tool="they are the person's",
)


def _shown(one: Device) -> ShownDevice:
    return ShownDevice(
        name=one.name,
        agent=one.id,
        fingerprint=fingerprint(one.id),
        hub=one.hub,
        room=one.room,
        since=one.since,
        used=one.used or None,
    )
