"""The example programs, as their README says, against a real hub."""

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests._support.gitrepo import Repo
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT, Agent, HubProcess, Running, running_hub

EXAMPLES = CHECKOUT / "examples"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


class Programmer(Agent):
    """An agent that runs programs of its own."""

    @contextmanager
    def program(self, name: str, *arguments: str) -> Iterator[Running]:
        """Run an example, with `parler` on PATH; it is ended with the block."""
        path = f"{Path(sys.executable).parent}:{self.environment['PATH']}"
        process = subprocess.Popen(
            [sys.executable, "-u", str(EXAMPLES / name), *arguments],
            cwd=self.folder,
            env=self.environment | {"PARLER_HOME": str(self.home), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield Running(process)
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def ann(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "ann", hub.url)


@pytest.fixture
def room(ann: Agent) -> dict[str, str]:
    opened: dict[str, str] = ann("session", "open", "--no-approval", "--json").json
    return opened


def joined(tmp_path: Path, hub: HubProcess, room: dict[str, str]) -> Programmer:
    bot = Programmer(tmp_path, "bot", hub.url)
    assert bot("session", "join", room["portable"]).status == 0
    return bot


def test_the_echo_bot_answers(
    tmp_path: Path, hub: HubProcess, ann: Agent, room: dict[str, str]
) -> None:
    bot = joined(tmp_path, hub, room)
    assert ann("send", "hello bot").status == 0
    with (
        bot.program("echo_bot.py", room["room"]),
        ann.running("recv", "--watch") as watching,
    ):
        assert "bot" in watching.until("you said: hello bot")


def test_the_echo_bot_has_twenty_lines() -> None:
    text = (EXAMPLES / "echo_bot.py").read_text(encoding="utf-8")
    body = text.split('"""', 2)[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize(
    ("verdict", "status"), [("Approved, nice", 0), ("rejected", 1)]
)
def test_a_ci_job_ends_as_the_reviewer_says(
    tmp_path: Path,
    hub: HubProcess,
    ann: Agent,
    room: dict[str, str],
    verdict: str,
    status: int,
) -> None:
    bot = joined(tmp_path, hub, room)
    repo = Repo.init(tmp_path / "repo")
    repo.commit("one.txt", "1\n", "first")
    tip = repo.commit("two.txt", "2\n", "second")
    bot.folder = repo.folder
    with bot.program(
        "review_in_ci.py", "--room", room["room"], "--base", "HEAD~1"
    ) as job:
        assert tip[:12] in job.until("pushed")
        assert "two.txt" in ann("recv").out or "second" in ann("recv", "--all").out
        assert ann("send", verdict).status == 0
        assert verdict in job.until(verdict)
        assert job.process.wait(WAIT) == status


def test_a_webhook_reaches_the_session(
    tmp_path: Path, hub: HubProcess, ann: Agent, room: dict[str, str]
) -> None:
    bot = joined(tmp_path, hub, room)
    with bot.program("webhook_bridge.py", room["room"], "0") as bridge:
        url = bridge.until("listening").split()[-1]
        with urllib.request.urlopen(url, b"build 512 is green", timeout=WAIT) as answer:
            assert answer.status == 200
        assert "build 512 is green" in ann("recv").out
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(url, b"x" * 20_000, timeout=WAIT)
