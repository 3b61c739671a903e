"""The hub is told each position once, and again what it did not take."""

from pathlib import Path

import pytest

from parler.errors import HubError, NotMember, ParlerError, TransportError
from parler.runtime.acknowledger import Acknowledger
from parler.runtime.log_file import LogFile
from parler.wire.base import RoomName, Seq

A, B = RoomName("room.a"), RoomName("room.b")


class Hub:
    def __init__(self) -> None:
        self.told: list[tuple[RoomName, Seq]] = []
        self.refuses: ParlerError | None = None

    async def ack(self, room: RoomName, seq: Seq) -> None:
        self.told.append((room, seq))
        if self.refuses is not None:
            raise self.refuses


def made(hub: Hub, folder: Path) -> Acknowledger:
    return Acknowledger(hub, log=LogFile(folder, now=lambda: 0, name="a/1"))


async def test_only_what_is_new_is_told(tmp_path: Path) -> None:
    hub = Hub()
    acknowledger = made(hub, tmp_path)
    await acknowledger.tell({A: 3, B: 0})
    await acknowledger.tell({A: 3, B: 2})
    await acknowledger.tell({A: 2})
    assert hub.told == [(A, 3), (B, 2)]


async def test_what_the_hub_refused_is_told_again(tmp_path: Path) -> None:
    hub = Hub()
    acknowledger = made(hub, tmp_path)
    hub.refuses = HubError("cannot store")
    await acknowledger.tell({A: 3, B: 2})
    assert "could not be told" in (tmp_path / "mcp.log").read_text(encoding="utf-8")
    hub.refuses = None
    await acknowledger.tell({A: 3, B: 2})
    assert hub.told == [(A, 3), (B, 2)] * 2


async def test_what_was_under_way_when_the_connection_broke_is_told_again(
    tmp_path: Path,
) -> None:
    hub = Hub()
    acknowledger = made(hub, tmp_path)
    hub.refuses = TransportError("gone")
    with pytest.raises(TransportError):
        await acknowledger.tell({A: 3})
    hub.refuses = None
    await acknowledger.tell({A: 3})
    assert hub.told == [(A, 3)] * 2


async def test_a_room_that_was_left_is_not_told_again(tmp_path: Path) -> None:
    hub = Hub()
    acknowledger = made(hub, tmp_path)
    hub.refuses = NotMember("not a member")
    await acknowledger.tell({A: 3})
    await acknowledger.tell({A: 3})
    assert hub.told == [(A, 3)]
