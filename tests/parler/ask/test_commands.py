"""What a user gets from the commands: lines, and an exit status that tells."""

import json
import os
from pathlib import Path

import pytest

from tests._support.gitrepo import Repo
from tests._support.processes import Agent
from tests.parler.ask._fakes import FakeClaude

NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture
def fake(tmp_path: Path) -> FakeClaude:
    return FakeClaude(tmp_path / "fake")


@pytest.fixture
def ann(tmp_path: Path, fake: FakeClaude) -> Agent:
    ann = Agent(tmp_path, "ann", NOWHERE)
    path = os.environ.get("PATH", "")
    ann.environment["PATH"] = f"{fake.bin}{os.pathsep}{path}"
    return ann


def test_a_question_that_is_not_answered_is_no_success(
    ann: Agent, fake: FakeClaude
) -> None:
    Repo.init(ann.folder / "shop")
    added = ann("project", "add", "shop", "shop", "--describe", "sells")
    assert added.status == 0, added.err
    fake.plays(text="with a queue", usd=0.00001)
    done = ann("ask", "shop", "how?")
    assert (done.status, done.out) == (0, "with a queue\n")
    assert "under $0.0001" in done.err
    fake.is_logged_out()
    failed = ann("ask", "shop", "how?", "--json")
    assert (failed.status, json.loads(failed.out)["status"]) == (4, "failed")
    unknown = ann("ask", "nosuch", "how?")
    assert unknown.status == 4
    assert "no project 'nosuch' on this machine, and cannot reach" in unknown.err
    assert "no project of this machine" in ann("project", "remember", "no", "x").err


def test_what_is_in_the_way_or_shows_nobody_is_no_success(ann: Agent) -> None:
    assert ann("reserve", "src/**").status == 0
    # Whoever had no identity then has one since, and it is the same.
    assert "src/**" in ann("release").out
    assert ann("reserve", "src/**").status == 0
    ann.environment["PARLER_HOME"] = str(ann.home / "agents" / "codex")
    assert ann("init", "--name", "eve").status == 0
    blocked = ann("reserve", "src/a.py")
    assert blocked.status == 6
    assert "in the way" in blocked.out
    alone = ann("summary", "building")
    assert alone.status == 2
    assert "no agent session runs here" in alone.err
