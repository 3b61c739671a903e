"""What is drawn for the pages: how the parts meet, how one joins, what was measured."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _drawing import WIDTH, Drawing

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROW = re.compile(r"\| (.+?) \| ([\d.,]+) ?(\S*) \| ([\d.,]*) ?\S* \| (.*?) \| (.*?) \|")


def drawings() -> Iterator[tuple[Path, str]]:
    """Every drawing, and where it is kept."""
    measured = (DOCS / "performance.md").read_text(encoding="utf-8")
    yield DOCS / "pictures" / "parts.svg", parts()
    yield DOCS / "pictures" / "join.svg", join()
    yield DOCS / "pictures" / "limits.svg", limits(measured)
    yield DOCS / "pictures" / "times.svg", times(measured)


CHAR = 6.6
"""About as wide is a character, in pixels."""

MAIL = "its own key and mail"


def parts() -> str:
    """Persons, windows, a hub and its rooms."""
    drawing = Drawing(
        "How the parts of Parler meet",
        "Anna's machine and Bob's machine each have a person and the windows of agent "
        "apps. Every window is an agent with a key and mail of its own, and the person "
        "vouches for it. All of them connect to one hub, which keeps rooms: each is a "
        "log of signed messages.",
        height=420,
    )
    for x, who, first, second, about in (
        (10, "Anna", "Claude Code in api", "Codex in api", MAIL),
        (228, "Bob", "Claude Code in shop", "any terminal", "Bob himself"),
    ):
        drawing.box(x, 10, 202, 204, f"{who}'s machine", "")
        drawing.box(x + 10, 40, 182, 44, who, "vouches for each window", kind="strong")
        drawing.box(x + 10, 94, 182, 50, first, MAIL, kind="inner")
        drawing.box(x + 10, 154, 182, 50, second, about, kind="inner")
        drawing.arrow((x + 70, 262), (x + 70, 216))
        drawing.arrow((x + 120, 216), (x + 120, 262))
    drawing.text(WIDTH / 2, 240, "signed", "small middle")
    drawing.text(WIDTH / 2, 257, "messages", "small middle")
    drawing.box(
        *(10, 264, 420, 146, "Hub"),
        "this machine's own, your team's, or any with an address",
    )
    drawing.box(
        *(20, 312, 240, 88, "Room “cart split”"),
        "1  Anna's Claude Code: the recap",
        "2  Bob's Claude Code: a question",
        "3  Anna's Codex: the answer",
        kind="inner",
    )
    drawing.box(
        *(270, 312, 150, 88, "Direct room"),
        "of two agents,",
        "made by the first",
        "message",
        kind="inner",
    )
    return drawing.svg()


STEPS = (
    (0, 1, "opens a session; a recap is message 1"),
    (1, 0, "a key"),
    (0, 2, "Anna gives Bob the key, over any chat"),
    (2, 1, "knocks with the key, reads nothing yet"),
    (1, 0, "who knocks: name, fingerprint"),
    (0, 0, "Anna compares the fingerprint, approves"),
    (0, 1, "lets Bob's agent in"),
    (1, 2, "the recap, and all that was said"),
    (2, 1, "from here on both talk"),
)


def join() -> str:
    """From a key to a common conversation."""
    first, apart = 96, 44
    height = first + apart * len(STEPS) + 14
    drawing = Drawing(
        "How an agent joins a session",
        "In order, between Anna's agent, the hub and Bob's agent: "
        + "; ".join(words for _, _, words in STEPS)
        + ".",
        height=height,
    )
    lanes = (66, 220, 374)
    for x, name in zip(lanes, ("Anna's agent", "Hub", "Bob's agent"), strict=True):
        drawing.line((x, 44), (x, height - 12), kind="line thin")
        drawing.rect(x - 56, 12, 112, 32, "strong" if name != "Hub" else "box")
        drawing.text(x, 33, name, "name middle")
    for number, (start, end, words) in enumerate(STEPS):
        y = first + apart * number
        a, b = lanes[start], lanes[end]
        if start == end:
            drawing.rect(10, y - 22, 300, 28, "strong")
            drawing.text(20, y - 3, f"{number + 1}  {words}", "")
            continue
        said = f"{number + 1}  {words}"
        wide = len(said) * CHAR
        on_left = lanes[0] in (a, b)
        x = 12 if on_left else WIDTH - 12
        drawing.rect(x if on_left else x - wide, y - 21, wide, 17, "ground")
        drawing.text(x, y - 8, said, "" if on_left else "end")
        drawing.arrow((a, y), (b, y))
    return drawing.svg()


class Row(NamedTuple):
    """A figure of the table: in itself, beside its limit, and what it was to be."""

    figure: str
    measured: float
    unit: str
    beside: float | None
    compared: str
    aim: str


def rows(page: str) -> Iterator[Row]:
    """The table of the page."""
    for found in ROW.finditer(page):
        figure, measured, unit, beside, compared, aim = found.groups()
        yield Row(
            figure.replace("`", ""),
            float(measured.replace(",", "")),
            unit,
            float(beside.replace(",", "")) if beside else None,
            compared,
            aim,
        )


def limits(page: str) -> str:
    """Each ratio beside its limit, with the aim as a mark."""
    ratios = [
        (row.figure, float(row.compared.split()[0]), row.aim[0], float(row.aim[2:-2]))
        for row in rows(page)
        if row.compared.endswith(" x")
    ]
    apart, top = 46, 74
    scale = (WIDTH - 130) / max(max(ratio, aim) for _, ratio, _, aim in ratios)
    drawing = Drawing(
        "Measured, as a multiple of what limits it",
        "; ".join(
            f"{figure}: {ratio:g}, aim {sign} {aim:g}"
            for figure, ratio, sign, aim in ratios
        ),
        height=top + apart * len(ratios) + 6,
    )
    drawing.text(14, 26, "Measured, as a multiple of what limits it", "name")
    drawing.text(14, 46, "The mark is the aim: ≤ at most there, ≥ at least.", "small")
    for number, (figure, ratio, sign, aim) in enumerate(ratios):
        y = top + apart * number
        drawing.text(14, y, _short(figure), "small")
        drawing.rect(14, y + 6, ratio * scale, 15, "bar")
        drawing.text(14 + max(ratio, aim) * scale + 8, y + 18, f"{ratio:g}")
        drawing.line((14 + aim * scale, y + 3), (14 + aim * scale, y + 24), kind="aim")
        drawing.text(WIDTH - 14, y + 18, f"{sign} {aim:g}", "small end")
    return drawing.svg()


def times(page: str) -> str:
    """What one waits for, beside what it cannot be faster than."""
    waits = [
        (row.figure, row.measured, row.beside)
        for row in rows(page)
        if row.unit == "ms" and row.beside is not None
    ]
    apart, top = 52, 74
    drawing = Drawing(
        "What one waits for, in milliseconds",
        "; ".join(
            f"{figure}: {measured:g} ms beside {beside:g} ms"
            for figure, measured, beside in waits
        ),
        height=top + apart * len(waits) + 6,
    )
    drawing.text(14, 26, "What one waits for, in milliseconds", "name")
    about = "Grey: what it cannot be faster than. Each row has its scale."
    drawing.text(14, 46, about, "small")
    for number, (figure, measured, beside) in enumerate(waits):
        y = top + apart * number
        scale = (WIDTH - 110) / max(measured, beside)
        drawing.text(14, y, _short(figure), "small")
        drawing.rect(14, y + 6, measured * scale, 14, "bar")
        drawing.text(14 + measured * scale + 8, y + 18, f"{measured:.3g} ms")
        drawing.rect(14, y + 22, beside * scale, 8, "other")
        drawing.text(14 + beside * scale + 8, y + 31, f"{beside:.3g}", "small")
    return drawing.svg()


def _short(figure: str, *, chars: int = 58) -> str:
    return figure if len(figure) <= chars else f"{figure[: chars - 1].rstrip()}…"
