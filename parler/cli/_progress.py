"""A row on stderr that says how far something is, from its second second on.

It is written over, and gone before anything else is shown there. Whether somebody
watches is for `render` to know.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from parler.text.terminal import clip, shown_size

PATIENCE_SECS = 1.0
_REDRAW_SECS = 0.2

_lock = threading.Lock()
_drawn = 0
"""How many columns are drawn on now."""


def clear() -> None:
    """Take the row away, if there is one."""
    _draw("")


def counting(
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[str, int, int], None]:
    """What is told what is done now, how many times of how many, and shows it."""
    now: dict[str, Callable[[int, int], None]] = {}

    def tell(what: str, done: int, total: int) -> None:
        if what not in now:
            now.clear()
            now[what] = transfer(what, clock, str)
        now[what](done, total)

    return tell


def transfer(
    what: str,
    clock: Callable[[], float] = time.monotonic,
    shown: Callable[[int], str] = shown_size,
) -> Callable[[int, int], None]:
    """What is told how many bytes of how many have gone, and shows it."""
    begun: tuple[float, int] | None = None
    drawn = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal begun, drawn
        now = clock()
        if begun is None:
            begun = now, done
        if done >= total:
            clear()
        elif now - begun[0] >= PATIENCE_SECS and now - drawn >= _REDRAW_SECS:
            drawn = now
            rate = (done - begun[1]) / (now - begun[0])
            rest = f", {shown_secs((total - done) / rate)} left" if rate else ""
            _draw(
                f"{what} {100 * done // total} % of {shown(total)}, "
                f"{shown(int(rate))}/s{rest}"
            )

    return tell


@contextmanager
def waiting(what: str, at_most: float | None = None) -> Iterator[None]:
    """Show for how long we wait, as long as the block lasts."""
    begun, over = time.monotonic(), threading.Event()
    limit = f" of at most {shown_secs(at_most)}" if at_most else ""

    def tick() -> None:
        while not over.wait(PATIENCE_SECS):
            _draw(f"{what}, {shown_secs(time.monotonic() - begun)}{limit}")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()
        clear()


def shown_secs(secs: float) -> str:
    """A length of time for people."""
    whole = round(secs)
    return f"{whole} s" if whole < 120 else f"{round(whole / 60)} min"


def _draw(text: str) -> None:
    global _drawn
    with _lock:
        if not (text or _drawn):
            return
        text = clip(text, shutil.get_terminal_size().columns - 1)
        end = "" if text else "\r"
        print(f"\r{text:<{_drawn}}", end=end, file=sys.stderr, flush=True)  # noqa: T201
        _drawn = len(text)
