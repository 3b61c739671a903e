"""``python -m hub``: the hub alone, for containers and services."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # what is imported stays; looking through it over and over is slow
    from hub.app import main

    gc.freeze()
    gc.enable()
    sys.exit(main())
