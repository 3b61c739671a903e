"""The kit itself: that what it says of a CLI is so, before anything is said by it."""

import sys
from pathlib import Path

import pytest

from tests.agents._kit import probe
from tests.agents._kit.clis import ALL, WORKERS, Cli
from tests.agents._kit.sandbox import Sandbox

pytestmark = pytest.mark.agents

AWAY = "import socket; socket.create_connection(('192.0.2.1', 443), 2)"


def test_a_sealed_sandbox_reaches_nothing_beyond_loopback(box: Sandbox) -> None:
    done = box.start([sys.executable, "-I", "-c", AWAY]).wait()
    assert done.status == 1
    assert not box.network.sealed or "unreachable" in done.err


def test_nothing_survives_its_sandbox(tmp_path: Path, clis: Path) -> None:
    with Sandbox(tmp_path / "box", clis) as box:
        leave = "import os, signal; os.fork() or (os.setsid(), signal.pause())"
        box.run([sys.executable, "-I", "-c", leave])
        assert any(leave in line for line in box.command_lines())
    assert not box.processes()


@pytest.mark.parametrize("kind", ALL)
def test_a_turn_calls_a_tool_of_a_server_that_the_cli_was_given(
    box: Sandbox, kind: type[Cli]
) -> None:
    cli = kind(box)
    cli.prepare()
    seen = box.home / "seen"
    cli.add_server("probe", [sys.executable, "-I", str(probe.__file__), str(seen)], {})
    cli.trust("probe")
    if kind in WORKERS:
        cli.add_server("broken", ["/bin/false"], {})
        assert cli.servers() == {"probe": True, "broken": False}
    seen.unlink(missing_ok=True)
    box.model.script(
        {"call": "mark", "with": {"text": "KEY: k-77"}},
        {"call": "mark", "with": {"text": {"read": r"KEY: (k-\w+)"}}},
        {"say": "over"},
    )
    turn = cli.turn("mark it")
    assert turn.text == "over"
    assert "marked k-77" in turn.asked[-1].text
    assert seen.exists()
