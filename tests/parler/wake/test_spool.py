"""Waiting mail is shown by one path, and again only if that path died meanwhile."""

import errno
import json
import os
import stat
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.machine import files
from parler.wake import spool
from parler.wake.spool import Item, Spool
from tests._support.polling import WAIT
from tests._support.processes import environment

HUB = "ws://127.0.0.1:7070"


def mail(*numbers: int, room: str = "room", urgent: bool = True) -> list[Item]:
    return [
        Item(room, number, f"text {number}", urgent, f"id-{number}")
        for number in numbers
    ]


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items]


def test_what_was_taken_is_not_given_again(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1, 2))
    with box.take(via="one") as items:
        assert items == mail(1, 2)
    with Spool(home).take(via="other") as items:
        assert items == []
    assert [(record.seq, record.via) for record in box.history()] == [
        (1, "one"),
        (2, "one"),
    ]


def test_what_was_being_shown_when_it_failed_waits_again(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))

    def broken() -> None:
        with box.take() as items:
            assert items
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        broken()
    assert box.waiting() == mail(1)
    assert box.shown() == {}


def test_what_the_taker_leaves_out_still_waits(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1, 2))
    with box.take() as items:
        items.pop()
    assert box.waiting() == mail(2)


def test_only_as_much_is_given_as_fits_but_one_item_at_least(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1, 2, 3))
    with box.take(max_chars=13) as items:
        assert items == mail(1, 2)
    box.offer(mail(3, 4))
    with box.take(max_bytes=1) as items:
        assert items == mail(3)


def test_cursor_stops_before_the_first_item_that_nobody_has_shown(home: Path) -> None:
    box = Spool(home)
    box.offer([*mail(4, 7), *mail(2, room="other")])
    with box.take() as items:
        del items[0]
    assert box.shown() == {"other": 2}
    with box.take():
        pass
    assert box.shown() == {"room": 7, "other": 2}


def test_records_outlive_an_offer_that_leaves_the_items_out(home: Path) -> None:
    Spool(home).offer(mail(1))
    with Spool(home).take():
        pass
    again = Spool(home)
    again.offer([])
    again.offer(mail(1, 2))
    assert again.waiting() == mail(2)


def test_notices_have_a_key_and_move_no_cursor(home: Path) -> None:
    box = Spool(home)
    box.offer([Item("room", 0, "someone knocks", True, "knock-1")])
    with box.take() as items:
        assert texts(items) == ["someone knocks"]
    box.offer([Item("room", 0, "someone else", True, "knock-2")])
    assert texts(box.waiting()) == ["someone else"]
    assert box.shown() == {}
    assert [record.key for record in box.history()] == ["knock-1"]


def test_numbers_that_start_anew_hide_nothing(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1, 2), hub=HUB)
    with box.take():
        pass
    wiped = [Item("room", 1, "of the new database", True, "id-new")]
    box.offer(wiped, hub=HUB)
    assert box.waiting() == wiped
    box.offer(mail(1), hub="ws://other")
    assert box.waiting() == mail(1)
    assert box.shown() == {}


def test_held_items_are_hidden_until_confirmed(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))
    held = box.hold(via="tool")
    assert held.items == mail(1)
    box.offer(mail(1, 2))
    with Spool(home).take(via="hook") as items:
        assert items == mail(2)
    assert box.shown() == {}, "the first is not known to have arrived"
    held.confirm()
    held.confirm()
    assert box.shown() == {"room": 2}
    assert not list((home / spool.HELD_FOLDER).iterdir())


def test_released_items_wait_again(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))
    held = box.hold()
    held.release()
    assert box.waiting() == mail(1)
    held.confirm()
    assert box.waiting() == mail(1)


def test_home_that_cannot_be_written_gives_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What cannot be recorded as shown would be shown at every turn.
    box = Spool(home)
    box.offer(mail(1))
    with box.take():
        pass
    box.offer(mail(2))
    really = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL:
            raise OSError(errno.EROFS, "read-only")
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(ConfigError), box.take():
        raise AssertionError("nothing may be shown")
    with pytest.raises(ConfigError):
        box.hold()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")
def test_files_are_for_us_alone(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))
    with box.take():
        pass
    for name in (spool.WAITING_FILE, spool.SHOWN_FILE):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    box.offer(mail(2))
    (home / spool.WAITING_FILE).chmod(0o666)
    assert box.waiting() == [], "somebody else may have written it"


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"items": 1, "shown": {}}',
        b'{"items": [1, [], ["r", 1], ["r", "1", "t", true, "k"]], "shown": [1]}',
        b"[" * 100_000,
    ],
)
def test_damaged_files_count_as_empty(home: Path, junk: bytes) -> None:
    box = Spool(home)
    box.offer(mail(1))
    files.write_private(home / spool.SHOWN_FILE, junk)
    assert box.waiting() == mail(1)
    files.write_private(home / spool.WAITING_FILE, junk)
    assert box.waiting() == []
    assert box.shown() == {}
    Spool(home).offer(mail(2))
    with box.take() as items:
        assert items == mail(2)


def test_offer_is_bounded_in_number_and_size(home: Path) -> None:
    box = Spool(home)
    assert box.offer(mail(*range(1, 1000))) == spool.MAX_ITEMS
    huge = [Item("room", 1, "\U0001f600" * 10**6, True)] * 50
    assert 0 < box.offer(huge) < 50
    assert (home / spool.WAITING_FILE).stat().st_size <= files.MAX_OWN_FILE_BYTES
    assert len(box.waiting()[0].text) == spool.MAX_TEXT_CHARS
    nasty = [Item("room", 1, "\x00\x01\ud800" * 10**4, True)] * 50
    box.offer(nasty)
    assert box.waiting()
    for number in range(10):
        box.offer(mail(*range(number * 200, number * 200 + 200)))
        with box.take():
            pass
    assert len(box.history()) == spool.MAX_RECORDS


def test_same_offer_writes_nothing(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))
    before = (home / spool.WAITING_FILE).stat()
    box.offer(mail(1))
    assert (home / spool.WAITING_FILE).stat().st_ino == before.st_ino


def test_wait_sees_what_nobody_has_shown(home: Path) -> None:
    box = Spool(home)
    looks = []

    def sleep(_: float) -> None:
        looks.append(1)
        if len(looks) == 2:
            box.offer(mail(1, urgent=False))
        if len(looks) == 4:
            box.offer(mail(1, 2))

    assert box.wait(60, sleep=sleep, urgent=True)
    assert len(looks) == 4
    assert box.wait(0)
    with box.take():
        pass
    assert not box.wait(0)
    assert not box.wait(0.5, going=lambda: False)


def test_wait_hears_of_items_that_their_holder_let_go(home: Path) -> None:
    box = Spool(home)
    box.offer(mail(1))
    held = box.hold()
    assert box.wait(60, sleep=lambda _: held.release())


def test_one_consumer_at_a_time(home: Path) -> None:
    assert not spool.has_consumer(home)
    with spool.consumer(home):
        assert spool.has_consumer(home)
        with pytest.raises(ConfigError), spool.consumer(home):
            raise AssertionError
    assert not spool.has_consumer(home)


def test_hooks_leave_a_trace_only_where_there_is_a_home(home: Path) -> None:
    spool.note_hook(home / "missing", "stop")
    assert spool.hooks_seen(home / "missing") == {}
    assert not (home / "missing").exists()
    spool.note_hook(home, "stop")
    assert set(spool.hooks_seen(home)) == {"stop"}


TAKER = """
import sys
from pathlib import Path
from parler.wake.spool import Spool
print("ready", flush=True)
sys.stdin.readline()
box = Spool(Path(sys.argv[1]))
while box.waiting():
    with box.take(max_chars=1, wait_secs=100) as items:
        for item in items:
            print(item.seq, flush=True)
"""


def start(script: str, home: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(home), *more],
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_racing_processes_give_each_item_once(home: Path) -> None:
    wanted = list(range(1, 31))
    Spool(home).offer(mail(*wanted))
    takers = [start(TAKER, home) for _ in range(2)]
    try:
        for taker in takers:
            assert taker.stdout is not None
            assert taker.stdout.readline() == "ready\n"
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.write("go\n")
            taker.stdin.flush()
        said = [taker.communicate(timeout=WAIT)[0] for taker in takers]
    finally:
        for taker in takers:
            taker.kill()
            taker.wait(WAIT)
    assert [taker.returncode for taker in takers] == [0, 0]
    given = Counter(int(line) for out in said for line in out.split())
    assert given == Counter(wanted)


DYING = """
import sys
from pathlib import Path
from parler.wake.spool import Spool
box = Spool(Path(sys.argv[1]))
if sys.argv[2] == "take":
    taking = box.take()
    items = taking.__enter__()
else:
    held = box.hold()
    items = held.items
print(items[0].text, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", ["take", "hold"])
def test_process_killed_between_showing_and_recording_loses_nothing(
    home: Path, how: str
) -> None:
    box = Spool(home)
    box.offer(mail(1))
    dying = start(DYING, home, how)
    try:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "text 1\n"
        refused = pytest.raises(ConfigError) if how == "take" else nullcontext()
        with refused, box.take(wait_secs=0) as items:
            assert items == []
    finally:
        dying.kill()
        dying.communicate(timeout=WAIT)
    with box.take(wait_secs=0) as items:
        assert items == mail(1)
    assert box.waiting() == []


def test_records_are_plain_json(home: Path) -> None:
    box = Spool(home, clock=lambda: 12.5)
    box.offer(mail(1), hub=HUB)
    with box.take(via="hook stop"):
        pass
    data = json.loads((home / spool.SHOWN_FILE).read_text(encoding="utf-8"))
    assert data == {"shown": [[HUB, "room", 1, "id-1", "hook stop", 12500]]}
