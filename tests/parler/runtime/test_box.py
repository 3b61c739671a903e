"""What may be shown of a room, and up to where the hub may be told."""

import pytest

from parler.runtime.box import MAX_ENTRIES, Box
from parler.runtime.entry import Entry
from parler.wake.spool import Item
from parler.wire.base import RoomName

ROOM = RoomName("room.a")


def item(seq: int) -> Item:
    return Item(ROOM, seq, f"text {seq}", True, f"m{seq}")


def box(*said: str) -> Box:
    """A room: w may interrupt, q may not, o is our own; numbered from 1."""
    made = Box(ROOM)
    for seq, kind in enumerate("".join(said), 1):
        shown = None if kind == "o" else item(seq)
        made.add(Entry(seq=seq, item=shown, wakes=kind == "w"))
    return made


def offered(made: Box, *, everything: bool = False) -> list[int]:
    return [one.seq for one in made.offered(everything=everything)]


@pytest.mark.parametrize(
    ("said", "unasked", "asked"),
    [
        ("www", [1, 2, 3], [1, 2, 3]),
        ("qq", [], [1, 2]),
        ("qwq", [1, 2], [1, 2, 3]),
        ("owo", [2], [2]),
        ("", [], []),
    ],
)
def test_what_may_not_interrupt_comes_with_what_may(
    said: str, unasked: list[int], asked: list[int]
) -> None:
    assert offered(box(said)) == unasked
    assert offered(box(said), everything=True) == asked
    assert box(said).held() == len(asked) - len(unasked)


@pytest.mark.parametrize(
    ("said", "shown", "due"),
    [
        ("www", [], 0),
        ("www", [1], 1),
        ("www", [2, 3], 0),  # the first is still missing
        ("www", [1, 2, 3], 3),
        ("oww", [2], 2),
        ("wwo", [1, 2], 3),
        ("qw", [2], 0),
    ],
)
def test_the_hub_is_told_only_of_what_has_no_gap_before_it(
    said: str, shown: list[int], due: int
) -> None:
    made = box(said)
    made.settle({item(seq).mark for seq in shown})
    assert made.due == due


def test_what_another_result_is_bringing_is_not_offered() -> None:
    made = box("wwww")
    made.claimed = 2
    assert offered(made) == [3, 4]
    made.claimed = 0  # it did not arrive
    assert offered(made) == [1, 2, 3, 4]
    made.taken = 3
    made.settle(set())
    assert made.due == 3
    assert offered(made) == [4]


def test_a_backlog_may_be_left_out_before_and_after_it_was_fetched() -> None:
    made = box("wwwwww")
    made.leave_out((1, 5))
    assert offered(made) == [1, 5, 6]
    later = Box(ROOM)
    later.leave_out((1, 5))
    for seq in range(1, 7):
        later.add(Entry(seq=seq, item=item(seq), wakes=True))
    assert offered(later) == [1, 5, 6]
    later.settle({item(1).mark})
    assert later.due == 4


def test_what_was_read_elsewhere_is_forgotten() -> None:
    made = box("www")
    made.forget_before(3)
    assert offered(made) == [3]


def test_a_room_is_full_at_its_bound() -> None:
    assert box("w" * MAX_ENTRIES).full
    assert not box("w" * (MAX_ENTRIES - 1)).full
