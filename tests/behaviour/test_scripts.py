"""The scripts of the checkout where Python is not as they need it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT

PROGRAMS = (
    "bash",
    "cat",
    "dirname",
    "mktemp",
    "date",
    "env",
    "grep",
    "mkdir",
    "readlink",
    "rm",
    "sh",
)
BARE = "case $* in *ensurepip*) exit 1;; esac\n"
OLD = "exit 1\n"
STARTS = 'case $* in *"-m "*|*.py\\ *) echo "STARTED $*"; exit 1;; esac\n'
RUNS = f'exec {sys.executable} "$@"\n'


@pytest.fixture(params=["demo", "test", "install.sh"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of the scripts, in a checkout without an environment."""
    folder = tmp_path / "checkout" / "scripts"
    folder.mkdir(parents=True)
    for name in ("_env", "_environment.py", request.param):
        shutil.copy2(CHECKOUT / "scripts" / name, folder / name)
    return folder / str(request.param)


def run(script: Path, python: str | None, **variables: str) -> str:
    """What it says where `python3` does this and there is no other."""
    programs = script.parents[2] / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found
        (programs / name).symlink_to(found)
    if python is not None:
        (programs / "python3").write_text(f"#!/bin/sh\n{python}", encoding="utf-8")
        (programs / "python3").chmod(0o755)
    done = subprocess.run(
        ["sh" if script.suffix else "bash", script],
        env={"PATH": str(programs), "HOME": os.environ["HOME"], **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


@pytest.mark.parametrize(
    ("python", "cure"),
    [
        (None, "apt install python3 python3-venv; macOS: brew install python"),
        (OLD, "apt install python3 python3-venv; macOS: brew install python"),
        (BARE + RUNS, "apt install python{}.{}-venv".format(*sys.version_info)),
    ],
    ids=["none", "old", "without ensurepip"],
)
def test_python_that_lacks_something_is_told_with_its_cure(
    script: Path, python: str | None, cure: str
) -> None:
    said = run(script, python)
    assert cure in said
    assert "Traceback" not in said


def test_variables_of_another_python_are_not_for_ours(
    script: Path, tmp_path: Path
) -> None:
    (tmp_path / "venv.py").write_text("1 / 0\n", encoding="utf-8")
    variables = {"PYTHONHOME": "/nowhere", "PYTHONPATH": str(tmp_path)}
    assert "STARTED" in run(script, STARTS + RUNS, **variables)
