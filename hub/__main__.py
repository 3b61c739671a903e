"""``python -m hub``: the hub alone, for containers and services."""

import sys

from hub.app import main

if __name__ == "__main__":
    sys.exit(main())
