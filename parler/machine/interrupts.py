"""Ctrl-C: while a program is being imported there is nothing to undo, so it just ends.

As an exception it would come out of whatever module is imported then, as a traceback.
That goes for `signal` itself, whose enumerations take a while; what it is made of does
not.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has only what is above it


def end_by_interrupt() -> None:
    """Let an interrupt end the process at once, unless it is ignored."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def raise_interrupt() -> None:
    """Make an interrupt an exception again, as what cleans up after itself needs."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
