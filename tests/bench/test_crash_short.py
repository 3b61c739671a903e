"""The crash bench: that a hub passes it, and that it notices each wrong it counts."""

import json
from typing import Any

import pytest

from bench import crash
from bench._crash_ledger import Ledger, Line, Reading, Said, judge
from parler.wire.base import AgentId, RoomName

ROOM = RoomName("room")
THINGS = ["blobs_lost", "blobs_torn", "rows_without_blob", "facts_lost", "facts_torn"]
THINGS += ["work_lost", "work_undone", "work_stolen"]
ANNA, BERT = AgentId("anna"), AgentId("bert")
LOG = [Line(3, Said(ANNA, 0)), Line(5, Said(BERT, 0)), Line(6, Said(ANNA, 1))]

Run = tuple[int, dict[str, Any]]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Run:
    """The exit status and the line of one short run."""
    status = crash.main(["--seconds-between", "0.15", *arguments])
    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, line


def test_nothing_is_lost_by_kills(capsys: pytest.CaptureFixture[str]) -> None:
    status, line = run(capsys, "--kills", "4", "--seed", "3")
    assert line["acknowledged"] == line["sent"] > 0
    assert (status, line["ok"], line["kills"]) == (0, True, 4)
    assert (line["lost"], line["duplicated"], line["reordered"]) == (0, 0, 0)
    assert (line["cursor_back"], line["skipped"]) == (0, 0)
    assert min(line["blobs"], line["facts"], line["claims"]) > 0
    assert (line["blobs_lost"], line["facts_lost"], line["work_lost"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("sabotage", "noticed_as"),
    [
        ("drop", ["lost", "vanished"]),
        ("rewind", ["cursor_back", "redelivered_after_ack"]),
        ("things", THINGS),
    ],
    ids=["drop", "rewind", "things"],
)
def test_wronged_database_is_noticed(
    sabotage: str, noticed_as: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = run(capsys, "--kills", "1", "--sabotage", sabotage)
    assert [count for count in noticed_as if not line[count]] == []
    assert (status, line["ok"]) == (1, False)


@pytest.mark.attack
def test_nothing_is_lost_by_kills_under_attack(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, line = run(capsys, "--kills", "20", "--attack")
    print(json.dumps(line))  # noqa: T201 - the suite tells what the attackers got
    assert line["acknowledged"] == line["sent"] > 0
    assert (status, line["ok"], line["kills"]) == (0, True, 20)
    assert (line["lost"], line["duplicated"], line["vanished"]) == (0, 0, 0)
    assert min(line["attackers_got"].values()) > 0


@pytest.mark.powercut
def test_nothing_is_lost_by_power_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    status, line = run(capsys, "--kills", "4", "--power-cut")
    assert (status, line["ok"]) == (0, True)
    assert line["power_cuts"] > 0
    assert line["acknowledged"] == line["sent"] > 0


@pytest.mark.powercut
def test_hub_that_does_not_sync_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--kills", "2", "--power-cut", "--sabotage", crash.UNSYNCED_HUB]
    status, line = run(capsys, *arguments, "--seed", "3")  # its first cut is strict
    assert line["lost"] > 0
    assert (status, line["ok"]) == (1, False)


def filled_ledger() -> Ledger:
    """Both authors' messages acknowledged, and all of them read by Bert."""
    ledger = Ledger(sent=len(LOG))
    for line in LOG:
        ledger.acknowledged[ROOM][line.said] = line.seq
        ledger.readings[BERT, ROOM].take(line, valid=True)
    ledger.readings[BERT, ROOM].confirm(6)
    return ledger


def test_faithful_log_has_no_faults() -> None:
    assert judge(filled_ledger(), {ROOM: LOG}).ok


def test_each_kind_of_wrong_log_has_its_count() -> None:
    ledger = filled_ledger()
    without_last = judge(ledger, {ROOM: LOG[:2]})
    assert (without_last.lost, without_last.vanished) == (1, 1)
    twice = judge(ledger, {ROOM: [*LOG, Line(7, Said(BERT, 0))]})
    assert (twice.duplicated, twice.lost, twice.skipped) == (1, 0, 1)
    turned = judge(
        ledger, {ROOM: [Line(3, Said(ANNA, 1)), LOG[1], Line(6, Said(ANNA, 0))]}
    )
    assert (turned.reordered, turned.misplaced, turned.vanished) == (1, 2, 2)


def test_unanswered_send_and_lower_cursor_are_counted() -> None:
    ledger = filled_ledger()
    ledger.sent += 1
    ledger.compare_cursor(BERT, ROOM, 6)
    ledger.compare_cursor(BERT, ROOM, 5)
    verdict = judge(ledger, {ROOM: LOG})
    assert (verdict.unconfirmed, verdict.cursor_back, verdict.ok) == (1, 1, False)


def test_only_what_was_confirmed_may_not_come_again() -> None:
    reading = Reading()
    for line in (LOG[0], LOG[0]):
        reading.take(line, valid=True)
    assert (reading.redelivered, reading.redelivered_after_ack) == (1, 0)
    reading.confirm(3)
    reading.take(LOG[0], valid=False)
    assert (reading.redelivered_after_ack, reading.invalid) == (1, 1)
