"""The whole bench: that each row runs beside its limit and ends in a verdict.

The figures of so short a run mean nothing, so none of them is judged. The rows that
only put loads of `bench.hub` beside each other are left to a run of their own.
"""

import json
from pathlib import Path

import pytest

from bench import _report, all
from bench._judge import Judge

ROWS = "pull,growth,recall,blob"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_rows_are_measured_beside_their_limits_and_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--short", "--only", ROWS, "--dir", str(tmp_path)]
    assert all.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in printed if line.startswith("{")]
    sides = [(line["row"], line["side"]) for line in lines if "side" in line]
    assert {row for row, _ in sides} == set(ROWS.split(","))
    assert ("growth", "empty hub") in sides
    figures = [line for line in lines if "figure" in line]
    assert [line["met"] in (True, False) for line in figures] == [True] * 5
    table = [line for line in printed if line.startswith("| ")]
    assert len(table) == 2 + len(figures)
    assert list(tmp_path.iterdir()) == []


def test_every_row_has_a_measure_and_a_judge() -> None:
    assert list(all.ROWS)[:2] == ["send", "fanout"]
    assert {row.judge.__name__.removeprefix("judge_") for row in all.ROWS.values()} == {
        *all.ROWS
    }


def test_the_page_keeps_what_stands_around_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n\n{_report.BEGIN}\nold\n{_report.END}\nafter\n", "utf-8")
    monkeypatch.setattr(_report, "PAGE", page)
    judge = Judge("row")
    verdicts = [
        judge.at_most("cost", 3.0, 2.0, 2.0, unit="us", note="why"),
        judge.at_least("rate", 1_000.0, 2_000.0, 0.8, unit="/s"),
    ]
    for _ in range(2):
        _report.write(verdicts, {"cpu": "some"}, rounds=3, short=False)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith(f"{_report.END}\nafter\n")
    assert "old" not in text
    assert "| cost | 3 us | 2 us | 1.50 x | ≤ 2 x | met | why |" in text
    assert "| rate | 1,000/s | 2,000/s | 0.50 x | ≥ 0.8 x | missed |  |" in text
    assert text.count("| figure |") == 1
