"""Entry of the command `parler` and of ``python -m parler``."""

import atexit
import gc
import os
import sys

from parler.machine.interrupts import end_by_interrupt

COLLECT = (100_000, 20, 50)
"""How many new objects, then runs, make each generation of the garbage collector run.
To start and to do one thing makes 60,000, nearly all of which stay."""


def main() -> int:
    """Carry out the command line; returns the exit status."""
    end_by_interrupt()
    # What was installed with us comes before what PYTHONPATH or the folder has.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    atexit.register(gc.freeze)  # what is left at the end need not be walked again
    if sys.argv[1:2] == ["hook"]:  # apps wait for it, often: no command tree
        from parler.wake.hook import main as hook

        return hook(sys.argv[2:])
    if sys.argv[1:2] == ["mcp"]:  # so do they for its first answer
        from parler.mcp_server.main import main as mcp

        if (status := mcp(sys.argv[2:])) is not None:
            return status
    if sys.argv[1:] in (["--version"], ["-V"]):
        from parler.cli.render import show_version

        if (status := show_version()) is not None:
            return status
    gc.set_threshold(*COLLECT)
    from parler.cli.app import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
