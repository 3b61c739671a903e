"""What runs on GitHub is well formed and asks for no more than it needs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests._support.polling import TEST_WAIT
from tests._support.processes import CHECKOUT

pytestmark = pytest.mark.workflows

BIN = CHECKOUT / ".env-workflows" / "bin"
GITHUB = CHECKOUT / ".github"
AS_ON_WINDOWS = """
import asyncio, psutil, sys

import parler.local_hub.status, parler.machine.files, parler.mcp_server.stdio

# Those import them where there are such modules; from here on nobody can.
for name in ("fcntl", "grp", "pty", "resource", "termios"):
    sys.modules[name] = None
"""
GOOD = """
on: push
permissions: {}
jobs:
  one:
    name: one
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - run: echo "$HOME"
"""


def check(program: str, *arguments: str | Path) -> tuple[int, str]:
    """The exit status of a checker, and what it says."""
    done = subprocess.run(
        [BIN / program, *arguments],
        cwd=CHECKOUT,
        # actionlint finds shellcheck on PATH.
        env={"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TEST_WAIT,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def zizmor(*arguments: str | Path) -> tuple[int, str]:
    return check("zizmor", "--offline", "--no-progress", "--pedantic", *arguments)


def test_actionlint_finds_nothing() -> None:
    assert check("actionlint", "-shellcheck", BIN / "shellcheck") == (0, "")


def test_zizmor_finds_nothing() -> None:
    status, said = zizmor(GITHUB)
    assert status == 0, said


@pytest.mark.parametrize(
    ("good", "bad"),
    [("runs-on", "run-on"), ('"$HOME"', "$HOME $(ls $1)"), ("ubuntu-24.04", "plan9")],
    ids=["a key", "a shell line", "a runner"],
)
def test_actionlint_would_find(good: str, bad: str, tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(GOOD, encoding="utf-8")
    assert check("actionlint", path) == (0, "")
    path.write_text(GOOD.replace(good, bad), encoding="utf-8")
    status, said = check("actionlint", path)
    assert status == 1, said


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("permissions: {}", "permissions: write-all"),
        ('run: echo "$HOME"', "uses: actions/checkout@v7"),
        ('"$HOME"', '"${{ github.head_ref }}"'),
    ],
    ids=["permissions", "an action without its commit", "an injection"],
)
def test_zizmor_would_find(good: str, bad: str, tmp_path: Path) -> None:
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "one.yml").write_text(GOOD.replace(good, bad), encoding="utf-8")
    status, said = zizmor(tmp_path)
    assert status >= 10, said


def test_a_commit_is_pinned_under_one_version_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in GITHUB.rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        for action, pin in re.findall(r"uses: ([\w/-]+)@(.+)", text):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), path
            pins.setdefault(action, set()).add(pin)
    assert pins
    assert all(len(known) == 1 for known in pins.values()), pins


def test_what_runs_on_windows_imports_nothing_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "as_on_windows.py").write_text(AS_ON_WINDOWS, encoding="utf-8")
    workflow = (GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8")
    [folders] = re.findall(r"Scripts/python -m pytest -n 2 (.+)", workflow)
    collect = ("-m", "pytest", "-p", "as_on_windows", "--collect-only", "-q")
    done = subprocess.run(
        [sys.executable, *collect, *folders.split()],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TEST_WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
