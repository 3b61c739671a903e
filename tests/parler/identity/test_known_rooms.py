"""Which hub a room lives on, and who was approved beforehand."""

from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.identity import known_rooms as module
from parler.identity.known_rooms import FILE_NAME, SessionBook
from parler.wire.base import RoomName

DEV = RoomName("dev")


def test_the_hub_entered_last_is_the_one_of_a_room(tmp_path: Path) -> None:
    book = SessionBook(tmp_path)
    assert book.hub_of(DEV) is None
    book.remember("ws://one", DEV)
    book.remember("ws://two", DEV)
    assert SessionBook(tmp_path).hub_of(DEV) == "ws://two"
    book.remember("ws://one/", DEV)
    assert book.hub_of(DEV) == "ws://one/"
    book.forget("ws://one", DEV)
    assert book.hub_of(DEV) == "ws://two"


def test_entering_again_keeps_who_was_approved_beforehand(tmp_path: Path) -> None:
    book = SessionBook(tmp_path)
    book.remember("ws://one", DEV, preapprove=["A", "B"])
    book.remember("ws://one", DEV)
    book.used("ws://one", DEV, ["A"])
    assert book.preapproved("WS://ONE/", DEV) == ["B"]
    assert book.preapproved("ws://two", DEV) == []


def test_it_forgets_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROOMS", 2)
    book = SessionBook(tmp_path)
    for name in "abc":
        book.remember("ws://one", RoomName(name))
    assert [book.hub_of(name) for name in "abc"] == [None, "ws://one", "ws://one"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"rooms": 1}', b"[]"])
def test_a_damaged_book_is_said_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        SessionBook(tmp_path).hub_of(DEV)
    assert FILE_NAME in (refused.value.next_step or "")


def test_it_is_private(tmp_path: Path) -> None:
    SessionBook(tmp_path).remember("ws://one", DEV)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0
