"""Entry of the command `parler` and of ``python -m parler``."""

import sys


def main() -> int:
    """Carry out the command line; returns the exit status."""
    from parler.cli.app import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
