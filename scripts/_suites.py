"""Runs the linters, the types and the tests, or one of the suites that need more.

Runs inside the environment that scripts/_env made. The exit status is that of the first
thing that failed.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def compiler() -> str | None:
    """What is missing for building the power-cut simulator, if anything."""
    if not sys.platform.startswith("linux"):
        return "Linux"
    return None if shutil.which("cc") else "a C compiler (cc)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests with a mark of their own, because they need more than Python and git."""

    mark: str
    about: str
    missing: Callable[[], str | None] = lambda: None
    packages: tuple[str, ...] = ()
    """Installed into a folder of the suite's own, from the package registry."""


# One line per suite: its option is --MARK, its tests carry the mark, and the plain run
# leaves it out.
SUITES = (
    Suite(mark="powercut", about="the simulated power cut", missing=compiler),
    Suite(
        mark="a2a",
        about="cards against the official A2A SDK",
        packages=("a2a-sdk==1.3.0",),
    ),
)
LINT = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


def main(arguments: list[str]) -> int:
    """Do what the options ask for; anything else is for pytest."""
    options, for_pytest = parse(arguments)
    os.chdir(CHECKOUT)
    wanted = [suite for suite in SUITES if getattr(options, suite.mark)]
    for suite in wanted:
        lacking = suite.missing()
        if lacking:
            print(f"test: --{suite.mark} needs {lacking}", file=sys.stderr)
            return 1
        if suite.packages and not provide(suite):
            return 1
    if wanted:
        marks = " or ".join(suite.mark for suite in wanted)
        return run("pytest", "-n", "2", "-m", marks, *for_pytest)
    for command in LINT:
        status = run(*command)
        if status:
            return status
    if options.only_lint:
        return 0
    marks = " and ".join(f"not {suite.mark}" for suite in SUITES)
    return run("pytest", "-n", "2", "-m", marks, *for_pytest)


def provide(suite: Suite) -> bool:
    """Install what a suite needs, once, and let its tests import it."""
    folder = CHECKOUT / f".env-{suite.mark}"
    stamp = folder / "installed"
    wanted = "\n".join(suite.packages)
    if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        if run(
            "python",
            "-m",
            "pip",
            "install",
            "-q",
            "--target",
            str(folder),
            *suite.packages,
        ):
            print(f"test: --{suite.mark} needs {wanted}", file=sys.stderr)
            return False
        stamp.write_text(wanted, encoding="utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    return True


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split our options from those of pytest."""
    parser = argparse.ArgumentParser(
        prog="./scripts/test",
        description="Lint, types and tests. Other arguments go to pytest.",
        allow_abbrev=False,
    )
    parser.add_argument("--only-lint", action="store_true", help="run no tests")
    for suite in SUITES:
        parser.add_argument(
            f"--{suite.mark}",
            action="store_true",
            help=f"run only {suite.about} (skipped otherwise)",
        )
    return parser.parse_known_args(arguments)


def run(tool: str, *arguments: str) -> int:
    """Run a tool of this environment; a signal counts as a failure."""
    print(f"test: {shlex.join([tool, *arguments])}", file=sys.stderr, flush=True)
    environment = os.environ | {"PYTHONWARNDEFAULTENCODING": "1"}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment.get('PATH', os.defpath)}"
    status = subprocess.run(
        [BIN / tool, *arguments], env=environment, check=False
    ).returncode
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
