"""How a figure is held against its aim: what was measured, beside what, and how far."""

from dataclasses import dataclass
from typing import Any

from bench import _machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the table."""

    row: str
    figure: str
    measured: float
    beside: float | None
    unit: str
    compared: str
    """The ratio or the difference, as it is printed."""

    aim: str
    met: bool
    note: str = ""

    def as_line(self) -> dict[str, Any]:
        """What is printed as JSON."""
        beside = None if self.beside is None else _machine.tidy(self.beside)
        return {
            "figure": self.figure,
            "measured": _machine.tidy(self.measured),
            "beside": beside,
            "unit": self.unit,
            "compared": self.compared,
            "aim": self.aim,
            "met": self.met,
            "note": self.note,
        }


class Judge:
    """Judges the figures of one row."""

    def __init__(self, row: str) -> None:
        """Take the row's name."""
        self._row = row

    def at_most(
        self,
        figure: str,
        measured: float,
        beside: float,
        ratio: float,
        *,
        unit: str,
        note: str = "",
    ) -> Verdict:
        """Something that costs no more than so many times what stands beside it."""
        found = measured / beside
        return self._verdict(
            figure,
            measured,
            beside,
            unit=unit,
            compared=f"{found:.2f} x",
            aim=f"≤ {ratio:g} x",
            met=found <= ratio,
            note=note,
        )

    def at_least(
        self,
        figure: str,
        measured: float,
        beside: float,
        ratio: float,
        *,
        unit: str,
        note: str = "",
    ) -> Verdict:
        """A rate that reaches such a share of what stands beside it."""
        found = measured / beside
        return self._verdict(
            figure,
            measured,
            beside,
            unit=unit,
            compared=f"{found:.2f} x",
            aim=f"≥ {ratio:g} x",
            met=found >= ratio,
            note=note,
        )

    def within(
        self,
        figure: str,
        measured: float,
        beside: float,
        above: float,
        *,
        unit: str,
        note: str = "",
    ) -> Verdict:
        """Something that is so much above what stands beside it."""
        found = measured - beside
        return self._verdict(
            figure,
            measured,
            beside,
            unit=unit,
            compared=f"{found:+.2f} {unit}",
            aim=f"≤ +{above:g} {unit}",
            met=found <= above,
            note=note,
        )

    def below(
        self,
        figure: str,
        measured: float,
        limit: float,
        beside: float | None = None,
        *,
        unit: str,
        note: str = "",
    ) -> Verdict:
        """Something that has a limit of its own."""
        return self._verdict(
            figure,
            measured,
            beside,
            unit=unit,
            compared="",
            aim=f"≤ {limit:g} {unit}",
            met=measured <= limit,
            note=note,
        )

    def _verdict(
        self,
        figure: str,
        measured: float,
        beside: float | None,
        *,
        unit: str,
        compared: str,
        aim: str,
        met: bool,
        note: str,
    ) -> Verdict:
        return Verdict(
            row=self._row,
            figure=figure,
            measured=measured,
            beside=beside,
            unit=unit,
            compared=compared,
            aim=aim,
            met=met,
            note=note,
        )
