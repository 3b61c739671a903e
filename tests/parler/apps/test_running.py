"""Which app a process works for, found out by real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="programs as Linux names them"
)
PROGRAM = (
    "import os; from parler.apps.running import app_above as f;"
    "from parler.machine.processes import process as p;"
    "h = f(os.getpid()); print(h.app and h.app.id, h.process.pid, p(h.process.pid))"
)


def above(folder: Path, program: str, called: str) -> tuple[str, str]:
    """What is found from below a shell in a program that calls itself something."""
    app = folder / program
    app.symlink_to("/bin/sh")
    inner = f"{sys.executable} -c '{PROGRAM}'; true"
    done = subprocess.run(
        [called, "-c", f'echo $$; sh -c "{inner}"; true'],
        executable=app,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
    )
    pid, found = done.stdout.splitlines()
    return pid, found


@pytest.mark.parametrize("called", ["codex", "/usr/bin/codex", "a-task"])
def test_the_nearest_app_above_is_found_whatever_is_between_or_it_calls_itself(
    tmp_path: Path, called: str
) -> None:
    pid, found = above(tmp_path, "codex", called)
    assert found.startswith(f"codex {pid} Process(")
