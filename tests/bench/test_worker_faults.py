"""The bench that kills workers: that they pass it, and that it notices each wrong."""

import json

import pytest

from bench import workers
from bench.workers import Verdict, judge

TASK = "task-1"


def test_no_task_is_lost_or_ends_twice(capsys: pytest.CaptureFixture[str]) -> None:
    status = workers.main(["--faults", "10", "--takeovers", "0", "--seed", "7"])
    line = json.loads(capsys.readouterr().out)
    assert (line["faults"], line["tasks"]) == (10, 11)
    assert line["done"] + line["failed"] == line["tasks"]
    assert (line["lost"], line["doubled"], line["contradicted"]) == (0, 0, 0)
    assert (status, line["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("told", "stored", "runs", "noticed_as"),
    [
        ([], {}, [], "lost"),
        (["done", "failed"], {TASK: "done"}, ["a"], "doubled"),
        (["done"], {TASK: "active"}, ["a"], "contradicted"),
        (["done"], {}, ["a"], "contradicted"),
        (["failed"], {TASK: "failed"}, ["a", "a"], "repeated"),
        (["done"], {TASK: "done"}, [], "idle"),
    ],
)
def test_each_wrong_has_its_count(
    told: list[str], stored: dict[str, str], runs: list[str], noticed_as: str
) -> None:
    verdict = judge([TASK], {TASK: told}, stored, {TASK: runs})
    assert getattr(verdict, noticed_as) == 1
    assert not verdict.ok


def test_what_is_right_is_not_counted() -> None:
    told = {"a": ["done"], "b": ["failed"]}
    stored = {"a": "done", "b": "failed"}
    runs = {"a": ["gone", "heir"]}
    assert judge(["a", "b"], told, stored, runs) == Verdict(done=1, failed=1)
    assert judge(["a", "b"], told, stored, runs).ok
