"""Which seat a window takes: its own through every restart, and never another's."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from parler.errors import ConfigError
from parler.identity.homes import PLACE_FILE, seat_home
from parler.identity.places import read_place
from parler.machine.processes import Process, process
from parler.peers.seats import (
    MAX_CONVERSATIONS,
    STALE_SECS,
    Seats,
    SeatUnknown,
    Window,
)
from tests._support.processes import CHECKOUT

MANY = 30


@dataclass
class Open:
    """A window that is open, as the model knows it."""

    process: Process
    seat: int
    conversation: str | None
    """What is told by the variables of its server and its shell, for ever."""

    current: str | None
    """The one that it is in, as far as it was told."""


class SeatTaking(RuleBasedStateMachine):
    """Windows of one app in one folder come and go, and turn to other conversations."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.home = Path(self.folder.name) / "home"
        self.windows: list[Open] = []
        self.owners: dict[str, int] = {}
        """Which seat each conversation has."""

        self.pids = self.names = 0
        self.seats = Seats(self.home, here="here", runs=self.runs)

    def teardown(self) -> None:
        self.folder.cleanup()

    def runs(self, process: Process) -> bool:
        return any(one.process == process for one in self.windows)

    def taken(self, *, but: Open | None = None) -> set[int]:
        return {one.seat for one in self.windows if one is not but}

    def lowest(self, *, but: Open | None = None) -> int:
        taken = self.taken(but=but)
        return next(seat for seat in range(1, 99) if seat not in taken)

    def fresh(self) -> str:
        self.names += 1
        return f"conversation {self.names}"

    def some(self, data: st.DataObject) -> Open:
        return data.draw(st.sampled_from(self.windows))

    def opened(self, told: str | None) -> Open:
        self.pids += 1
        window = Open(Process(self.pids % 3 + 1, str(self.pids)), 0, told, told)
        self.windows.append(window)
        window.seat = self.seats.seat_of(Window(window.process, told))
        if told is not None:
            self.owners.setdefault(told, window.seat)
        return window

    def turned_to(self, window: Open, conversation: str) -> None:
        """A hook of a window tells the conversation that it is in."""
        owner = self.owners.get(conversation)
        is_free = owner is not None and owner not in self.taken(but=window)
        expected = owner if owner is not None and is_free else window.seat
        window.seat = self.seats.seat_of(
            Window(window.process, conversation, is_current=True)
        )
        assert window.seat == expected
        window.current = conversation
        self.owners.setdefault(conversation, window.seat)

    @rule(silent=st.booleans())
    def a_window_opens(self, silent: bool) -> None:
        expected = self.lowest()
        assert self.opened(None if silent else self.fresh()).seat == expected

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), hook=st.booleans())
    def a_conversation_is_resumed(self, data: st.DataObject, hook: bool) -> None:
        conversation = data.draw(st.sampled_from(sorted(self.owners)))
        before, lowest = self.taken(), self.lowest()
        owner = self.owners[conversation]
        if hook:  # its server started before that was known
            window = self.opened(None)
            assert window.seat == lowest
            self.turned_to(window, conversation)
        else:
            window = self.opened(conversation)
        assert window.seat == (lowest if owner in before else owner)

    @precondition(lambda self: self.windows)
    @rule(data=st.data())
    def it_is_cleared(self, data: st.DataObject) -> None:
        self.turned_to(self.some(data), self.fresh())

    @precondition(lambda self: self.windows and self.owners)
    @rule(data=st.data())
    def it_turns_to_another_conversation(self, data: st.DataObject) -> None:
        conversation = data.draw(st.sampled_from(sorted(self.owners)))
        self.turned_to(self.some(data), conversation)

    @precondition(lambda self: self.windows)
    @rule(data=st.data())
    def a_second_server_and_a_shell_share_the_seat(self, data: st.DataObject) -> None:
        window = self.some(data)
        place = read_place(seat_home(self.home, window.seat))
        assert place is not None
        if place.conversation is None and window.conversation is None:
            assert self.seats.seat_of(Window(window.process)) == window.seat
        elif place.conversation is not None:
            stale = Window(window.process, window.conversation)
            assert self.seats.seat_of(stale) == window.seat

    @precondition(lambda self: self.windows)
    @rule(data=st.data(), restarts=st.booleans())
    def it_is_killed(self, data: st.DataObject, restarts: bool) -> None:
        window = self.some(data)
        self.windows.remove(window)
        if restarts:
            self.a_window_opens(silent=True)

    @invariant()
    def nobody_shares_a_seat(self) -> None:
        if not hasattr(self, "windows"):
            return
        assert len(self.taken()) == len(self.windows)
        for one in self.windows:
            place = read_place(seat_home(self.home, one.seat))
            assert place is not None
            assert place.holder == one.process
            assert place.conversation == one.current


TestSeatTaking = SeatTaking.TestCase
# Each step is synced to the disk.
TestSeatTaking.settings = settings(max_examples=settings().max_examples // 4)


def seats(home: Path, here: str = "here", *running: Process) -> Seats:
    return Seats(home, here=here, runs=lambda one: one in running)


ONE, TWO, THREE = (Process(pid, "5") for pid in (1, 2, 3))


def test_a_holder_that_cannot_be_seen_is_judged_by_the_age_of_its_record(
    tmp_path: Path,
) -> None:
    there = seats(tmp_path, "another container", ONE)
    assert there.seat_of(Window(ONE)) == 1
    here = seats(tmp_path, "here", TWO, THREE)
    assert here.seat_of(Window(TWO)) == 2
    record = tmp_path / PLACE_FILE
    now = (tmp_path / "seats.lock").stat().st_mtime
    os.utime(record, (now, now + 9 * STALE_SECS))  # somebody's clock is wrong
    assert here.seat_of(Window(THREE)) == 3
    assert there.seat_of(Window(ONE)) == 1
    os.utime(record, (now, now - STALE_SECS - 60))
    later = Process(4, "5")
    assert seats(tmp_path, "here", TWO, later).seat_of(Window(later)) == 1
    assert there.seat_of(Window(ONE)) == 4, "it has lost the first"


def test_who_has_a_seat_makes_its_record_new(tmp_path: Path) -> None:
    mine = seats(tmp_path, "here", ONE)
    mine.seat_of(Window(ONE))
    record = tmp_path / PLACE_FILE
    now = record.stat().st_mtime
    os.utime(record, (now, now - 60))
    mine.seat_of(Window(ONE))
    assert record.stat().st_mtime > now - 30


def test_a_record_that_is_damaged_is_held_until_it_is_old(tmp_path: Path) -> None:
    record = tmp_path / PLACE_FILE
    record.write_bytes(b'{"seat": 1, "pid":')
    record.chmod(0o600)
    assert seats(tmp_path, "here", ONE).seat_of(Window(ONE)) == 2
    os.utime(record, (0, 0))
    assert seats(tmp_path, "here", TWO).seat_of(Window(TWO)) == 1


def test_a_server_that_outlives_its_window_takes_no_other_seat(tmp_path: Path) -> None:
    seats(tmp_path, "here", ONE).seat_of(Window(ONE))
    seats(tmp_path, "here", TWO).seat_of(Window(TWO))
    with pytest.raises(SeatUnknown, match="has ended"):
        seats(tmp_path, "here", TWO).seat_of(Window(ONE))


def test_what_is_kept_is_bounded_and_the_newest_conversations_stay(
    tmp_path: Path,
) -> None:
    mine = seats(tmp_path, "here", ONE)
    for number in range(MAX_CONVERSATIONS + 9):
        told = f"{number} " + "x" * 5_000
        assert mine.seat_of(Window(ONE, told, is_current=True)) == 1
    place = read_place(tmp_path)
    assert place is not None
    assert len(place.conversations) == MAX_CONVERSATIONS
    assert place.conversations[-1].startswith(f"{MAX_CONVERSATIONS + 8} ")
    assert (tmp_path / PLACE_FILE).stat().st_size < 32_000
    assert (tmp_path / PLACE_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nobody writes there")
def test_where_nothing_can_be_written_the_first_seat_is_meant() -> None:
    assert seats(Path("/proc/parler")).seat_of(Window(ONE, "a")) == 1


def test_a_shell_whose_window_is_not_above_it_goes_by_the_conversation(
    tmp_path: Path,
) -> None:
    """A shell in a sandbox sees no processes; one that its parents left has none."""
    both = seats(tmp_path, "here", ONE, TWO)
    assert both.seat_of(Window(None)) == 1, "nobody is here yet"
    both.seat_of(Window(ONE, "a"))
    assert both.seat_of(Window(None)) == 1, "it can be no other"
    assert both.seat_of(Window(None, "of a helper")) == 1
    with pytest.raises(SeatUnknown):
        both.seat_of(Window(None, "of another", is_current=True))
    both.seat_of(Window(TWO, "b"))
    inside = seats(tmp_path, "a sandbox")
    assert inside.seat_of(Window(None, "b")) == 2
    for told in (None, "c"):
        with pytest.raises(SeatUnknown, match="this project: 2"):
            inside.seat_of(Window(None, told))


def test_a_hook_of_one_process_with_several_windows_names_the_one_without_a_name(
    tmp_path: Path,
) -> None:
    both = seats(tmp_path, "here", ONE, TWO)
    both.seat_of(Window(ONE, "a", is_current=True))
    both.seat_of(Window(TWO))
    assert both.seat_of(Window(None, "b", is_current=True)) == 2
    assert both.seat_of(Window(None, "a", is_current=True)) == 1
    assert both.seat_of(Window(TWO)) == 2


def test_a_helper_of_what_may_be_no_window_takes_no_seat(tmp_path: Path) -> None:
    both = seats(tmp_path, "here", ONE, TWO)
    both.seat_of(Window(ONE, "a"))
    assert both.seat_of(Window(TWO, "a", is_current=True, takes=False)) == 1
    assert [place.holder for place in both.places()] == [ONE]


PROGRAM = """\
import os, sys
from pathlib import Path
from parler.machine.processes import process
from parler.peers.seats import Seats, Window
mine = process(os.getpid())
print(flush=True)
sys.stdin.readline()
print(Seats(Path(sys.argv[1])).seat_of(Window(mine)), flush=True)
sys.stdin.read()
"""


def test_thirty_windows_at_once_take_thirty_seats(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        )
        for _ in range(MANY)
    ]
    try:
        for one in started:
            assert one.stdin
            assert one.stdout
            one.stdout.readline()
        for one in started:
            assert one.stdin
            one.stdin.write(b"\n")
            one.stdin.flush()
        found = [int(one.stdout.readline()) for one in started if one.stdout]
        assert sorted(found) == list(range(1, MANY + 1))
        first = found.index(1)
        started[first].kill()
        started[first].communicate()
        with pytest.raises(StopIteration):
            next(one for one in Seats(tmp_path).places() if one.seat > MANY)
        own = process(os.getpid())
        assert Seats(tmp_path).seat_of(Window(own)) == 1
    finally:
        for one in started:
            one.kill()
            one.communicate()


def test_place_tells_who_lists_agents_the_app_the_folder_and_the_seat(
    tmp_path: Path,
) -> None:
    known = {"app": "codex", "folder": "/src/shop", "here": "here"}
    mine = Seats(tmp_path, runs=lambda one: True, **known)
    mine.seat_of(Window(ONE))
    mine.seat_of(Window(TWO))
    raw = json.loads((tmp_path / "seats" / "2" / PLACE_FILE).read_text("utf-8"))
    assert (raw["app"], raw["folder"], raw["seat"]) == ("codex", "/src/shop", 2)


def test_no_seat_beyond_the_last_is_made_up(tmp_path: Path) -> None:
    from parler.peers import seats as module

    mine = Seats(tmp_path, here="here", runs=lambda one: True)
    for number in range(1, 4):
        mine.seat_of(Window(Process(number, "")))
    bound, module.MAX_SEATS = module.MAX_SEATS, 3
    try:
        with pytest.raises(ConfigError, match="3 windows"):
            mine.seat_of(Window(Process(9, "")))
    finally:
        module.MAX_SEATS = bound
