"""Delays between attempts."""

import pytest

from parler.machine.backoff import LONGEST_SECS, Backoff, system_fraction


def test_the_ceiling_doubles_up_to_the_longest_delay() -> None:
    backoff = Backoff(lambda: 1.0)
    delays = [backoff.next() for _ in range(10)]
    assert delays[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert delays[-1] == LONGEST_SECS


def test_jitter_is_full_so_that_a_delay_may_be_nothing() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.next() for _ in range(3)] == [0, 0, 0]


def test_reset_starts_again_with_the_shortest() -> None:
    backoff = Backoff(lambda: 0.5)
    for _ in range(5):
        backoff.next()
    backoff.reset()
    assert backoff.next() == pytest.approx(0.05)


def test_the_system_gives_fractions() -> None:
    assert all(0 <= system_fraction() < 1 for _ in range(100))
