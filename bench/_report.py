"""The table of a run, and the page of the documentation that holds the last one."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import _machine
from bench._judge import Verdict

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""Between them `--write` replaces everything; the rest of the page stays."""

_HEAD = ("figure", "measured", "beside", "compared", "aim", "", "more")


def table(verdicts: Sequence[Verdict]) -> str:
    """A Markdown table."""
    rows = [
        (
            verdict.figure,
            _shown(verdict.measured, verdict.unit),
            _shown(verdict.beside, verdict.unit),
            verdict.compared,
            verdict.aim,
            "met" if verdict.met else "missed",
            verdict.note,
        )
        for verdict in verdicts
    ]
    lines = [_HEAD, ("---", "--:", "--:", "--:", "---", "---", "---"), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(
    verdicts: Sequence[Verdict], facts: dict[str, Any], *, rounds: int, short: bool
) -> None:
    """Put the table into the page, in place of the last one."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    kind = "a short run, which says nothing" if short else f"medians of {rounds} rounds"
    machine = ", ".join(f"{name} {value}" for name, value in facts.items())
    text = f"Measured {today}, {kind}, on: {machine}.\n\n{table(verdicts)}"
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    tidy = _machine.tidy(value)
    number = f"{tidy:,}" if tidy >= 1000 else f"{tidy:g}"
    return f"{number}{unit}" if unit.startswith("/") else f"{number} {unit}"
