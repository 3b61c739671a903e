"""Runs one target under libFuzzer, guided by what of our code its inputs reach.

``python -m tests.fuzz.decoder_target TARGET LIBFUZZER-ARGUMENTS...``, where atheris
can be imported; ``./scripts/test --fuzz`` looks after that. Ends with a status other
than 0 at the first input that breaks the target, and writes that input down.
"""

import sys

import atheris

with atheris.instrument_imports(include=["parler", "hub", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> None:
    """Hand libFuzzer the target and what else it was told."""
    atheris.Setup([arguments[0], *arguments[2:]], TARGETS[arguments[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
