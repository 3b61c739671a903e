"""Patterns for all that is outside of a folder, for an app that only knows refusals.

A rule that refuses a file holds against whatever else its user has allowed; one that
allows does not. So everything beside the folder, and beside each folder it lies in, is
named: by the first letter in which its name differs. The patterns are those of
``.gitignore`` without its negation, which not every app understands.
"""

from pathlib import PurePath

# What a name may go on with. Punctuation is left out: it has a meaning in patterns.
_RANGES = (
    *((0x2E, 0x2E), (0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    (0xA1, 0xFFFF),
)
# Letters that without regard to case are i, k and s to some.
_FOLDED = frozenset({0x130, 0x131, 0x17F, 0x212A})
_MEANINGFUL = frozenset("[]\\!*?#()")


def outside(folder: PurePath) -> list[str]:
    """Absolute patterns for what is not in a folder; each means all that is below.

    A name that differs by a sign of punctuation is not covered.
    """
    patterns: list[str] = []
    base = ""
    for part in folder.parts[1:]:
        patterns += [f"{base}/{other}" for other in _others(part)]
        base += f"/{_literal(part)}"
    return patterns


def _others(name: str) -> list[str]:
    """Patterns for all names but this one, with no regard to case."""
    found: list[str] = []
    for index, letter in enumerate(name):
        begin = _literal(name[:index])
        found.append(f"{begin}[{_all_but(letter)}]*")
        if begin:
            found.append(begin)
    return [*found, f"{_literal(name)}?*"]


def _all_but(letter: str) -> str:
    left_out = {ord(one[0]) for one in (letter, letter.lower(), letter.upper())}
    left_out |= _FOLDED
    ranges: list[str] = []
    for first, last in _RANGES:
        begin = first
        for end in sorted(left_out | {last + 1}):
            if begin <= end <= last + 1:
                if end > begin:
                    ranges.append(_range(begin, end - 1))
                begin = end + 1
    return "".join(ranges)


def _range(first: int, last: int) -> str:
    return chr(first) if first == last else f"{chr(first)}-{chr(last)}"


def _literal(text: str) -> str:
    return "".join(f"\\{one}" if one in _MEANINGFUL else one for one in text)
