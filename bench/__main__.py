"""`python -m bench all`: the product and its limits, measured in one run."""

import sys

from bench.all import main

if __name__ == "__main__":
    if sys.argv[1:2] != ["all"]:
        sys.exit("usage: python -m bench all [--short] [--write] [--only ROW,ROW]")
    sys.exit(main(sys.argv[2:]))
