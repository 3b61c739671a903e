"""The program that shows long text a screen at a time."""

import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

_DEFAULT = "less"
_LESS = "FRX"
"""Of `less`, unless the user chose: end if all fits, show colour, leave it there."""


def pager_of(environment: Mapping[str, str]) -> list[str] | None:
    """The user's pager as a command line; None if none is wanted."""
    chosen = environment.get("PARLER_PAGER", environment.get("PAGER", _DEFAULT))
    with suppress(ValueError):
        words = shlex.split(chosen)
        return words if words and words != ["cat"] else None
    return None


def show_paged(text: str, pager: list[str], environment: Mapping[str, str]) -> bool:
    """Show a text until the user has seen enough; False if the pager is not there.

    Ctrl-C is the pager's to heed as long as it runs.
    """
    variables = {"LESS": _LESS, "LV": "-c", **environment}
    try:
        process = subprocess.Popen(  # noqa: S603 - the user chose it
            pager, stdin=subprocess.PIPE, env=variables
        )
    except OSError:
        return False
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate(text.encode("utf-8", "backslashreplace"))
    finally:
        signal.signal(signal.SIGINT, before)
    return True
