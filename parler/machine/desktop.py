"""The desktop's notifications, by the program that a system has for them."""

import shutil
import subprocess
from collections.abc import Callable, Mapping

from parler.errors import UsageError

SECS = 5.0
"""For the program; who is slower has no desktop to show it on."""

_SCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def notifier(environment: Mapping[str, str]) -> Callable[[str, str], None]:
    """What shows a title and a text; a notification that fails is not tried again.

    Raises:
        UsageError: There is no such program.
    """
    path = environment.get("PATH")
    if program := shutil.which("notify-send", path=path):
        words = [program, "--app-name=parler", "--"]
    elif program := shutil.which("osascript", path=path):
        words = [program, *(word for line in _SCRIPT for word in ("-e", line))]
    else:
        raise UsageError(
            "this desktop has no notifications for us: neither notify-send nor "
            "osascript is on PATH",
            next_step="parler inbox --watch, which rings in the terminal",
        )

    def notify(title: str, text: str) -> None:
        try:
            subprocess.run(  # noqa: S603 - a program of the system, by its path
                [*words, title, text],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return  # it is on the screen as well

    return notify
