"""How a figure is held against its aim: what was measured, beside what, and how far."""

from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict, Unpack

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


class _Words(TypedDict):
    """What is only printed."""

    unit: str
    note: NotRequired[str]


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
        **words: Unpack[_Words],
    ) -> Verdict:
        """Something that costs no more than so many times what stands beside it."""
        found = measured / beside
        outcome = _Outcome(f"{found:.2f} x", f"≤ {ratio:g} x", found <= ratio)
        return self._verdict(figure, measured, beside, outcome, words)

    def at_least(
        self,
        figure: str,
        measured: float,
        beside: float,
        ratio: float,
        **words: Unpack[_Words],
    ) -> Verdict:
        """A rate that reaches such a share of what stands beside it."""
        found = measured / beside
        outcome = _Outcome(f"{found:.2f} x", f"≥ {ratio:g} x", found >= ratio)
        return self._verdict(figure, measured, beside, outcome, words)

    def within(
        self,
        figure: str,
        measured: float,
        beside: float,
        above: float,
        **words: Unpack[_Words],
    ) -> Verdict:
        """Something that is so much above what stands beside it."""
        found, unit = measured - beside, words["unit"]
        outcome = _Outcome(
            f"{found:+.2f} {unit}", f"≤ +{above:g} {unit}", found <= above
        )
        return self._verdict(figure, measured, beside, outcome, words)

    def below(
        self,
        figure: str,
        measured: float,
        limit: float,
        beside: float | None = None,
        **words: Unpack[_Words],
    ) -> Verdict:
        """Something that has a limit of its own."""
        outcome = _Outcome("", f"≤ {limit:g} {words['unit']}", measured <= limit)
        return self._verdict(figure, measured, beside, outcome, words)

    def _verdict(
        self,
        figure: str,
        measured: float,
        beside: float | None,
        outcome: "_Outcome",
        words: _Words,
    ) -> Verdict:
        return Verdict(
            row=self._row,
            figure=figure,
            measured=measured,
            beside=beside,
            compared=outcome.compared,
            aim=outcome.aim,
            met=outcome.met,
            **words,
        )


class _Outcome(NamedTuple):
    """How a comparison ended, and as it is printed."""

    compared: str
    aim: str
    met: bool
