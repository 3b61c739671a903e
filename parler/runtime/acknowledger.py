"""Tells the hub up to where the model has the messages of each room."""

from collections.abc import Mapping
from typing import Protocol

from parler.errors import HubError, NotMember
from parler.runtime.log_file import LogFile
from parler.wire.base import RoomName, Seq


class Hub(Protocol):
    """As much of `Client` as is needed here."""

    async def ack(self, room: RoomName, seq: Seq) -> None:
        """Raise our cursor in a room."""


class Acknowledger:
    """Tells one hub each position once, and again only what it did not take."""

    def __init__(self, hub: Hub, *, log: LogFile) -> None:
        """Nothing was told yet."""
        self._hub = hub
        self._log = log
        self._told: dict[RoomName, Seq] = {}

    async def tell(self, due: Mapping[RoomName, Seq]) -> None:
        """Tell what is new of this.

        Raises:
            TransportError: The hub did not answer; it is told again the next time.
        """
        for room, upto in due.items():
            if upto > self._told.get(room, 0):
                await self._tell(room, upto)

    async def _tell(self, room: RoomName, upto: Seq) -> None:
        try:
            await self._hub.ack(room, upto)
        except NotMember:
            pass  # nobody asks any more
        except HubError as refused:
            self._log.note(f"what was read could not be told: {refused.code}")
            return  # until the next time
        self._told[room] = upto
