"""The demo keeps every promise, and its picture is that of how it is played now."""

import runpy
import subprocess
import sys

import pytest

from tests._support.processes import CHECKOUT

pytestmark = [pytest.mark.docs, pytest.mark.timeout(300)]

SCRIPTS = CHECKOUT / "scripts"
DEMO_SECS = 280


def test_the_demo_is_played_as_its_picture_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    played = subprocess.run(
        [sys.executable, SCRIPTS / "demo.py"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=DEMO_SECS,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    monkeypatch.syspath_prepend(str(SCRIPTS))
    drawn = runpy.run_path(str(SCRIPTS / "_picture.py"))["picture"](played.stdout)
    kept = (CHECKOUT / "docs" / "demo.svg").read_text(encoding="utf-8")
    assert drawn.splitlines() == kept.splitlines(), "./scripts/picture demo"
