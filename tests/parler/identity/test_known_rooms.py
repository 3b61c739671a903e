"""Which hub a room lives on, and who was approved beforehand."""

from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.identity import known_rooms as module
from parler.identity.known_rooms import FILE_NAME, KnownRooms
from parler.wire.base import RoomName

DEV = RoomName("dev")


def test_the_hub_entered_last_is_the_one_of_a_room(tmp_path: Path) -> None:
    rooms = KnownRooms(tmp_path)
    assert rooms.hub_of(DEV) is None
    rooms.remember("ws://one", DEV)
    rooms.remember("ws://two", DEV)
    assert KnownRooms(tmp_path).hub_of(DEV) == "ws://two"
    rooms.remember("ws://one/", DEV)
    assert rooms.hub_of(DEV) == "ws://one"
    rooms.forget("ws://one", DEV)
    assert rooms.hub_of(DEV) == "ws://two"


def test_entering_again_keeps_who_was_approved_beforehand(tmp_path: Path) -> None:
    rooms = KnownRooms(tmp_path)
    rooms.remember("ws://one", DEV, preapprove=["A", "B"])
    rooms.remember("ws://one", DEV)
    rooms.used("ws://one", DEV, ["A"])
    assert rooms.preapproved("WS://ONE/", DEV) == ["B"]
    assert rooms.preapproved("ws://two", DEV) == []


def test_it_forgets_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROOMS", 2)
    rooms = KnownRooms(tmp_path)
    for name in "abc":
        rooms.remember("ws://one", RoomName(name))
    assert [rooms.hub_of(name) for name in "abc"] == [None, "ws://one", "ws://one"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"rooms": 1}', b"[]"])
def test_a_damaged_book_is_said_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        KnownRooms(tmp_path).hub_of(DEV)
    assert FILE_NAME in (refused.value.next_step or "")


def test_it_is_private(tmp_path: Path) -> None:
    KnownRooms(tmp_path).remember("ws://one", DEV)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


def test_a_topic_that_cannot_be_noted_keeps_nobody_from_seeing_rooms(
    tmp_path: Path,
) -> None:
    rooms = KnownRooms(tmp_path)
    rooms.remember("ws://one", DEV)
    lock = tmp_path / f"{FILE_NAME}.lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(ConfigError):
        rooms.forget("ws://one", DEV)
    rooms.note_topics("ws://one", {DEV: "code"})
    assert [record.topic for record in rooms.records()] == [None]
