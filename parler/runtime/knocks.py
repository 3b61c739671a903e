"""Tells the model who asks to be let into rooms of ours; a person decides.

Whoever was approved when the session was opened is let in at once.
"""

import asyncio
from typing import Protocol

from parler.errors import ConfigError, HubError, HubRefused
from parler.ops.admission import Knock, RequestsResult, join_requests
from parler.ops.affiliations import introduced
from parler.ops.context import OpContext
from parler.text.terminal import word
from parler.wire.base import RoomName

MAX_ROOMS = 20
"""Rooms asked at once."""

MAX_ANNOUNCED = 10
"""Knocks of one room told at once; the others are there when these were decided."""


class Board(Protocol):
    """Where something for the model is put."""

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        """Tell it with the next result."""

    def withdraw(self, key: str, room: str = "") -> None:
        """It is out of date."""


class Knocks:
    """Those at the rooms of one hub."""

    def __init__(self, board: Board) -> None:
        """Know of none."""
        self.stale: set[RoomName] = set()
        """Where to look next time."""

        self.not_ours: set[RoomName] = set()
        self.decided = asyncio.Event()
        """An owner decided about a knock of ours."""

        self._board = board
        self._announced: dict[RoomName, set[str]] = {}

    def forget(self) -> None:
        """Another hub has other rooms."""
        self.stale.clear()
        self.not_ours.clear()
        self._announced.clear()

    async def look(self, ctx: OpContext, active: RoomName | None) -> None:
        """Announce who waits, and withdraw who does not any more."""
        rooms = sorted(self.stale, key=lambda room: (room != active, room))[:MAX_ROOMS]
        for room in rooms:
            self.stale.discard(room)
            try:
                result = await _requests(ctx, room)
            except HubRefused:
                self.not_ours.add(room)
                continue
            except HubError:
                self.stale.add(room)  # it did not say who waits
                continue
            self._announce(result)

    def _announce(self, result: RequestsResult) -> None:
        room = result.room
        for one in result.admitted:
            text = f"{_who(one)} was let into {word(room)}, as decided beforehand."
            self._board.notice(text, key=_key("admitted", one), room=room)
        known_first = sorted(result.requests, key=lambda one: not one.is_known)
        waiting = {_key("knock", one): one for one in known_first[:MAX_ANNOUNCED]}
        for key in self._announced.get(room, set()) - waiting.keys():
            self._board.withdraw(key, room)
        for key, one in waiting.items():
            self._board.notice(knock_text(one, room), key=key, room=room)
        self._announced[room] = set(waiting)


def knock_text(one: Knock, room: RoomName) -> str:
    """A knock, and whose decision it is."""
    place = word(room)
    return (
        f"KNOCK: {_who(one)} asks to be let into {place}. Only your user may decide. "
        f"parler_approve_join agent={one.fingerprint} room={place} asks your user "
        "with name and fingerprint: call it, and do not ask before."
    )


async def _requests(ctx: OpContext, room: RoomName) -> RequestsResult:
    try:
        return await join_requests(ctx, room)
    except (
        ConfigError
    ):  # who may walk in cannot be read; who waits is told all the same
        return await join_requests(ctx, room, admit=False)


def _key(what: str, one: Knock) -> str:
    return f"{what}:{one.agent}:{one.requested_at}"


def _who(one: Knock) -> str:
    return introduced(one.name, one.role, one.agent, one.affiliation)
