"""How the help of the hub's command line is set: no word, option or command is broken.

What it says is in `settings` and `admin.commands`.
"""

import argparse
import textwrap

_FURTHER = "      "
"""What the further rows of a line begin with that is indented."""


class Pages(argparse.HelpFormatter):
    """Help pages whose lines are kept, and broken between words alone."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(" ".join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = textwrap.dedent(text).strip("\n").split("\n")
        return "\n".join(
            indent + row for line in lines for row in _wrapped(line, width) or [""]
        )


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=_FURTHER if line.startswith(" ") else "",
        break_on_hyphens=False,
        break_long_words=False,
    )
