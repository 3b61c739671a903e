"""Counting in fixed windows, in bounded memory (protocol 12.2)."""

import pytest

from hub import rate_limit
from hub.rate_limit import MAX_KEYS, Windows


class Seconds:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make(limit: int, seconds: float = 60) -> tuple[Windows, Seconds]:
    clock = Seconds()
    return Windows(limit, seconds, clock), clock


def test_as_many_as_the_limit_are_admitted_and_no_more() -> None:
    window, _ = make(3)
    assert [window.admit("ann") for _ in range(5)] == [True] * 3 + [False] * 2


def test_a_window_begins_with_its_first_event_and_ends_all_at_once() -> None:
    window, clock = make(2)
    clock.now = 1030
    assert window.admit("ann")
    clock.now = 1080
    assert window.admit("ann")
    assert not window.admit("ann")
    clock.now = 1089.999
    assert not window.admit("ann")
    clock.now = 1090
    assert [window.admit("ann") for _ in range(3)] == [True, True, False]


def test_refused_events_do_not_prolong_a_window() -> None:
    window, clock = make(1)
    assert window.admit("ann")
    for _ in range(59):
        clock.now += 1
        assert not window.admit("ann")
    clock.now += 1
    assert window.admit("ann")


def test_keys_do_not_share_a_window() -> None:
    window, _ = make(1)
    assert window.admit("ann")
    assert window.admit("bob")
    assert window.admit(7)
    assert not window.admit("ann")


def test_zero_admits_all_and_keeps_nothing() -> None:
    window, _ = make(0)
    assert all(window.admit(number) for number in range(1000))
    assert len(window._open) == 0


def test_windows_that_are_over_are_forgotten() -> None:
    window, clock = make(1)
    for number in range(1000):
        assert window.admit(number)
    clock.now += 60
    assert window.admit("new")
    assert len(window._open) == 1


def test_two_hundred_thousand_strangers_take_bounded_memory() -> None:
    window, clock = make(1)
    for number in range(200_000):
        clock.now += 0.0001
        assert window.admit(number)
    assert len(window._open) <= MAX_KEYS
    assert not window.admit(199_999), "those who came last are still counted"


def test_beyond_the_bound_the_window_that_began_first_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_KEYS", 3)
    window, clock = make(10)
    for name in ("a", "b", "c", "a", "a", "d"):
        clock.now += 1
        window.admit(name)
    assert list(window._open) == ["b", "c", "d"]
