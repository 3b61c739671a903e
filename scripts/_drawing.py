"""Drawings of boxes, arrows and bars as SVG, for light pages and dark ones.

Text stays text; a title and a description are read aloud. All sizes are in pixels, of
a drawing that is `WIDTH` wide: a phone shows that with hardly any scaling.
"""

from collections.abc import Sequence
from html import escape

WIDTH = 440
LINE = 17
"""From one line of text to the next."""

STYLE = """\
.ground { fill: #ffffff }
.box { fill: #f3f5f8; stroke: #aab3c0 }
.inner { fill: #ffffff; stroke: #aab3c0 }
.strong { fill: #e3efff; stroke: #4a7fc1 }
.line { fill: none; stroke: #5b6675; stroke-width: 1.5 }
.thin { stroke: #d5dae1 }
.head { fill: #5b6675 }
.bar { fill: #4a7fc1 }
.other { fill: #b9c3d0 }
.aim { stroke: #c2410c; stroke-width: 2 }
text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; \
fill: #1f2733 }
.small { font-size: 12px; fill: #4d5866 }
.name { font-weight: 600 }
.code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12px }
.middle { text-anchor: middle }
.end { text-anchor: end }
@media (prefers-color-scheme: dark) {
.ground { fill: #16181d }
.box { fill: #20242c; stroke: #4c5563 }
.inner { fill: #16181d; stroke: #4c5563 }
.strong { fill: #1d3049; stroke: #5b93d8 }
.line { stroke: #9aa5b4 }
.thin { stroke: #333a45 }
.head { fill: #9aa5b4 }
.bar { fill: #5b93d8 }
.other { fill: #4c5563 }
.aim { stroke: #fb923c }
text { fill: #e4e8ee }
.small { fill: #b3bcc8 }
}"""


class Drawing:
    """A drawing that grows by what is put into it."""

    def __init__(self, title: str, about: str, *, height: int) -> None:
        self._title, self._about, self._height = title, about, height
        self._parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """A line of text on the base line `y`."""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words, quote=False)}'
            "</text>"
        )

    def rect(self, x: float, y: float, wide: float, high: float, kind: str) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="5" '
            f'class="{kind}"/>'
        )

    def box(
        self,
        x: float,
        y: float,
        wide: float,
        high: float,
        name: str,
        *lines: str,
        kind: str = "box",
    ) -> None:
        """A box with its name and what is to be said of it."""
        self.rect(x, y, wide, high, kind)
        self.text(x + 9, y + 19, name, "name")
        for number, line in enumerate(lines, 1):
            self.text(x + 9, y + 19 + number * LINE, line, "small")

    def line(self, *points: tuple[float, float], kind: str = "line") -> None:
        """A line through these points."""
        where = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline points="{where}" class="{kind}"/>')

    def arrow(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """An arrow, level or upright."""
        (x, y), (right, low) = start, end
        self.line(start, end)
        if y == low:
            back = right - (7 if right > x else -7)
            points: Sequence[tuple[float, float]] = (
                (right, low),
                (back, low - 4),
                (back, low + 4),
            )
        else:
            back = low - (7 if low > y else -7)
            points = ((right, low), (right - 4, back), (right + 4, back))
        where = " ".join(f"{across:g},{down:g}" for across, down in points)
        self._parts.append(f'<polygon points="{where}" class="head"/>')

    def svg(self) -> str:
        """The drawing."""
        size = f'width="{WIDTH}" height="{self._height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
                f'viewBox="0 0 {WIDTH} {self._height}" role="img" '
                'aria-labelledby="title about">',
                f'<title id="title">{escape(self._title, quote=False)}</title>',
                f'<desc id="about">{escape(self._about, quote=False)}</desc>',
                f"<style>\n{STYLE}\n</style>",
                '<rect class="ground" width="100%" height="100%" rx="8"/>',
                *self._parts,
                "</svg>\n",
            ]
        )
