"""The replay ledger: what it says after every crash, and what existing clients see."""

import hashlib
import json
from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.records import TaskStatus
from parler.workers import ledger as module
from parler.workers.ledger import Entry, Ledger, Outcome, Phase, Standing

ME = AgentId("U" + "A" * 55)
NOON = 1_700_000_000_000
ROOM = RoomName("room.a")
DONE = Outcome(status=TaskStatus.DONE, text="built", elapsed_ms=7)


def ledger(home: Path) -> Ledger:
    return Ledger(home, ME, now=lambda: NOON)


def entry(uid: str, seq: int = 1, room: RoomName = ROOM) -> Entry:
    return Entry(key=f"UB:{uid}", room=room, message=MessageId(f"m-{uid}"), seq=seq)


def taken_file(home: Path) -> Path:
    name = hashlib.sha256(ME.encode()).hexdigest()
    return home / "autonomous-replay" / f"{name}.json"


def open_file(home: Path) -> Path:
    return taken_file(home).with_suffix(".open.json")


def test_a_task_is_taken_once(tmp_path: Path) -> None:
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.NEW
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.OPEN
    ledger(tmp_path).finish("UB:1")
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.DONE
    assert ledger(tmp_path).unfinished(ROOM) == []


def test_existing_clients_find_an_array_of_keys_oldest_first(tmp_path: Path) -> None:
    for uid in ("1", "2"):
        ledger(tmp_path).take(entry(uid), signed=NOON)
    written = json.loads(taken_file(tmp_path).read_text(encoding="utf-8"))
    assert written == ["UB:1", "UB:2"]
    for file in (taken_file(tmp_path), open_file(tmp_path)):
        assert file.stat().st_mode & 0o777 == 0o600


def test_what_an_existing_client_took_is_not_taken_again(tmp_path: Path) -> None:
    taken_file(tmp_path).parent.mkdir(parents=True)
    taken_file(tmp_path).write_text('["UB:1"]', encoding="utf-8")
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.DONE
    assert ledger(tmp_path).take(entry("2"), signed=NOON) is Standing.NEW


def test_each_phase_outlives_the_process(tmp_path: Path) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    [one] = ledger(tmp_path).unfinished(ROOM)
    assert (one.phase, one.outcome) == (Phase.RESERVED, None)
    ledger(tmp_path).start("UB:1")
    [one] = ledger(tmp_path).unfinished(ROOM)
    assert one.phase is Phase.STARTED
    ledger(tmp_path).end("UB:1", DONE)
    [one] = ledger(tmp_path).unfinished(ROOM)
    assert (one.phase, one.outcome) == (Phase.ENDED, DONE)


def test_only_the_tasks_of_the_room_are_unfinished_there(tmp_path: Path) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    ledger(tmp_path).take(entry("2", room=RoomName("room.b")), signed=NOON)
    assert [one.key for one in ledger(tmp_path).unfinished(ROOM)] == ["UB:1"]


def test_a_crash_between_the_two_writes_of_taking_leaves_it_reserved(
    tmp_path: Path,
) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    taken_file(tmp_path).write_text("[]", encoding="utf-8")
    [one] = ledger(tmp_path).unfinished(ROOM)
    assert one.phase is Phase.RESERVED
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.OPEN
    ledger(tmp_path).finish("UB:1")
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.DONE


def test_a_crash_between_the_two_writes_of_finishing_leaves_it_owed(
    tmp_path: Path,
) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    ledger(tmp_path).end("UB:1", DONE)
    before = open_file(tmp_path).read_bytes()
    ledger(tmp_path).finish("UB:1")
    open_file(tmp_path).write_bytes(before)
    [one] = ledger(tmp_path).unfinished(ROOM)
    assert one.outcome == DONE


def test_a_released_task_may_be_taken_again(tmp_path: Path) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    ledger(tmp_path).release("UB:1")
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.NEW


def test_what_may_have_been_forgotten_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TAKEN", 8)
    monkeypatch.setattr(module, "_GENERATION", 4)
    for number in range(20):
        one = entry(str(number))
        assert ledger(tmp_path).take(one, signed=NOON + number) is Standing.NEW
        ledger(tmp_path).finish(one.key)
    kept = json.loads(taken_file(tmp_path).read_text(encoding="utf-8"))
    assert len(kept) == 8
    for number in range(20):
        again = ledger(tmp_path).take(entry(str(number)), signed=NOON + number)
        assert again in (Standing.DONE, Standing.STALE)
    assert ledger(tmp_path).take(entry("new"), signed=NOON + 20) is Standing.NEW


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "\xff"])
def test_a_damaged_ledger_is_kept_aside_and_nothing_older_is_done(
    tmp_path: Path, text: str
) -> None:
    taken_file(tmp_path).parent.mkdir(parents=True)
    taken_file(tmp_path).write_text(text, encoding="latin-1")
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.STALE
    assert ledger(tmp_path).take(entry("2"), signed=NOON + 1) is Standing.NEW
    [copy] = taken_file(tmp_path).parent.glob("*.bak")
    assert copy.read_text(encoding="latin-1") == text


def test_damaged_phases_are_kept_aside_and_nothing_older_is_done(
    tmp_path: Path,
) -> None:
    ledger(tmp_path).take(entry("1"), signed=NOON)
    open_file(tmp_path).write_text("[", encoding="utf-8")
    assert ledger(tmp_path).unfinished(ROOM) == []
    assert ledger(tmp_path).take(entry("1"), signed=NOON) is Standing.DONE
    assert ledger(tmp_path).take(entry("2"), signed=NOON) is Standing.STALE


def test_tasks_that_never_end_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    for uid in ("1", "2"):
        ledger(tmp_path).take(entry(uid), signed=NOON)
    with pytest.raises(ConfigError):
        ledger(tmp_path).take(entry("3"), signed=NOON)
    assert "UB:3" not in taken_file(tmp_path).read_text(encoding="utf-8")
