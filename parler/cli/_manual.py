"""The manual page: ``parler help --man``."""

import os
import shutil
from pathlib import Path

from parler.cli.render import Output, at_terminal
from parler.errors import UsageError

PAGE = Path(__file__).with_name("parler.1")


def show_manual() -> int:
    """Show it by `man` on a terminal, else print what `man` reads.

    Raises:
        UsageError: There is no `man`.
    """
    if not at_terminal():
        Output(json=False, quiet=False).verbatim(PAGE.read_text(encoding="utf-8"))
        return 0
    if (man := shutil.which("man")) is None:
        raise UsageError("man is not installed here", next_step="parler --help")
    os.execv(man, [man, str(PAGE)])  # noqa: S606 - the user's own
