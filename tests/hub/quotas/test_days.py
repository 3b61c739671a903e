"""Shares of a day: counted, kept in steps, and taken up again."""

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hub.quotas.days import DAY_SECS, STEPS, Days, Taken
from hub.store import shares
from hub.store.schema import metadata
from hub.store.shares import KeptShare
from tests.hub.test_rate_limit import Seconds

SHARE = 1024 * STEPS


def days() -> tuple[Days, Seconds, dict[str, Taken]]:
    clock, kept = Seconds(), dict[str, Taken]()
    made = Days({"agent": SHARE, "room": 0}, clock)
    made.keep = lambda taken: kept.__setitem__(taken.key, taken)
    return made, clock, kept


@given(st.lists(st.integers(1, SHARE // 4)))
def test_a_restart_forgets_less_than_a_step_of_a_share(sizes: list[int]) -> None:
    before, _, kept = days()
    admitted = [before.admit("agent", "eve", size) for size in sizes]
    after, _, _ = days()
    after.resume(list(kept.values()))
    used = before.used("agent", "eve")
    if all(admitted):
        assert 0 <= used - after.used("agent", "eve") < 1024
    else:
        assert not after.admit("agent", "eve", 1)


def test_who_is_refused_writes_nothing_more() -> None:
    some, _, kept = days()
    assert not some.admit("agent", "eve", 2 * SHARE)
    taken = kept.pop("eve")
    assert not some.admit("agent", "eve", SHARE)
    assert (taken.bytes, kept) == (2 * SHARE, {})


def test_a_day_that_is_over_counts_no_more() -> None:
    before, clock, kept = days()
    assert before.admit("agent", "eve", SHARE)
    clock.now += DAY_SECS - 10
    assert before.admit("agent", "ann", 1024)
    assert before.admit("room", "hall", 10 * SHARE)
    ages = {"eve": 0, "ann": 0}
    assert {key: taken.age for key, taken in kept.items()} == ages
    after, clock, _ = days()
    gone = Taken(kind="agent", key="bob", bytes=SHARE, age=DAY_SECS)
    old = Taken(kind="agent", key="eve", bytes=SHARE, age=DAY_SECS - 10)
    future = Taken(kind="agent", key="ann", bytes=SHARE, age=-5)  # a clock set back
    after.resume([future, gone, old])
    assert after.used("agent", "bob") == 0
    assert not after.admit("agent", "eve", 1)
    clock.now += 10
    assert after.admit("agent", "eve", 1)
    assert not after.admit("agent", "ann", 1)


def test_what_was_kept_is_replaced_read_and_forgotten() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        eve = KeptShare("agent", "EVE", 1_700_000_000_000, 5)
        room = KeptShare("room", "a %_room", 1_800_000_000_000, 7)
        shares.keep(connection, [eve._replace(bytes=4), room])
        shares.keep(connection, [eve])
        assert sorted(shares.load(connection)) == [eve, room]
        shares.forget(connection, before=1_750_000_000_000)
        assert shares.load(connection) == [room]
