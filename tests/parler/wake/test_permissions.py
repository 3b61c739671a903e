"""Permission requests and their decisions, and what others who write there achieve."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parler.errors import ConfigError, UsageError
from parler.identity.person import ensure_person
from parler.identity.signing import Keypair
from parler.machine import processes
from parler.ops import permissions as ops
from parler.ops.machine_context import Here
from parler.wake import permissions
from parler.wake.permissions import FOLDER, Question, Request, Verdict, ask, requests

NOW = 1_800_000_000_000
HUB = "ws://127.0.0.1:7070"


class Machine:
    """A machine home with its person, seen from the hook that asks."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / FOLDER
        self.person = ensure_person(home, hub_url=HUB)
        self.now = NOW

    def ask(
        self, *steps: Callable[[], Any], window: str = "w", **given: object
    ) -> Verdict | None:
        """Ask; each step happens while the hook waits, and then the app is gone."""
        left = list(steps)

        def is_heard(seconds: float) -> bool:
            if left:
                left.pop(0)()
                return True
            return False

        question = Question(
            app="claude-code",
            window=window,
            folder="/project",
            tool="Bash",
            input=given or {"command": "git push"},
            secs=600,
        )
        return ask(
            self.home,
            question,
            person=self.person.agent_id,
            is_heard=is_heard,
            now=lambda: self.now / 1000,
        )

    @property
    def waiting(self) -> list[Request]:
        return requests(self.home, now=self.now)

    def decide(
        self, verdict: Verdict = Verdict.PERMIT, key: Keypair | None = None
    ) -> None:
        for one in self.waiting:
            key = key or self.person.keypair
            permissions.decide(self.home, one, verdict, key=key, now=self.now)

    def file(self, kind: str) -> Path:
        [found] = self.folder.glob(f"*.{kind}")
        return found

    def here(self, **environment: str) -> Here:
        return Here(
            home=self.home,
            folder=self.home,
            environment=environment,
            agent=None,
            name="ann",
            pid=1,
            now=lambda: self.now,
            token=lambda size: "0" * size,
        )


@pytest.fixture
def at(tmp_path: Path) -> Machine:
    return Machine(tmp_path / ".parler")


def test_the_persons_word_is_the_verdict_and_nothing_of_it_stays(at: Machine) -> None:
    def decide(run: Callable[[Here, str], ops.PermissionResult]) -> None:
        [one] = ops.permissions(at.here())
        assert ops.input_lines(one) == ["command: git push"]
        if sys.platform != "win32":
            assert at.file("request").stat().st_mode & 0o777 == 0o600
            assert at.folder.stat().st_mode & 0o777 == 0o700
        run(at.here(), one.id.lower())

    assert at.ask(lambda: decide(ops.permit)) is Verdict.PERMIT
    assert at.ask(lambda: decide(ops.refuse)) is Verdict.REFUSE
    assert at.ask(lambda: None) is None
    assert [one.name for one in at.folder.iterdir()] == ["requests.lock"]


def changed(at: Machine) -> None:
    path = at.file("request")
    path.write_bytes(path.read_bytes().replace(b"git push", b"git pull"))
    assert at.waiting == []
    at.decide()


def linked(at: Machine) -> None:
    path = at.file("request")
    path.replace(at.home / "elsewhere")
    path.symlink_to(at.home / "elsewhere")
    assert at.waiting == []
    at.decide()


def forged(at: Machine) -> None:
    at.decide(key=Keypair.generate())


def turned(at: Machine) -> None:
    at.decide(Verdict.REFUSE)
    path = at.file("decision")
    path.write_bytes(path.read_bytes().replace(b"refuse", b"permit"))


def late(at: Machine) -> None:
    at.decide()
    at.now += permissions.DECISION_SECS * 1000


def prolonged(at: Machine) -> None:
    at.decide()
    path = at.file("decision")
    path.write_bytes(path.read_bytes().replace(b":18000000", b":18000099"))


def garbage(at: Machine) -> None:
    path = at.file("request").with_suffix(".decision")
    path.write_bytes(b"[" * 1000)
    path.chmod(0o600)


def withdrawn(at: Machine) -> None:
    permissions.withdraw(at.home, app="claude-code", window="w")
    assert at.waiting == []


@pytest.mark.parametrize(
    "attack", [changed, linked, forged, turned, late, prolonged, garbage, withdrawn]
)
def test_whatever_else_is_written_there_decides_nothing(
    at: Machine, attack: Callable[[Machine], None]
) -> None:
    assert at.ask(lambda: attack(at)) is None


def test_a_decision_is_for_one_request_and_not_for_the_same_words_again(
    at: Machine,
) -> None:
    kept = at.home / "kept"

    def keep() -> None:
        at.decide()
        shutil.copy(at.file("decision"), kept)

    def replay() -> None:
        shutil.copy(kept, at.file("request").with_suffix(".decision"))

    assert at.ask(keep) is Verdict.PERMIT
    assert at.ask(replay) is None


def test_an_id_names_what_was_shown_and_an_agent_cannot_use_it(at: Machine) -> None:
    def attempt() -> None:
        [one] = ops.permissions(at.here())
        with pytest.raises(UsageError, match="an agent cannot permit"):
            ops.permit(at.here(CLAUDECODE="1"), one.id)
        for wrong in (one.id[:-1], one.id[:4], "", "ABCD-EFGH-IJKL-MNOP"):
            with pytest.raises(UsageError, match="no such request waits"):
                ops.permit(at.here(), wrong)
        assert list(at.folder.glob("*.decision")) == []

    assert at.ask(attempt) is None


def test_what_is_too_long_or_one_too_many_stays_with_its_app(at: Machine) -> None:
    asked: list[int] = []

    def nested() -> None:
        asked.append(len(at.waiting))
        if len(asked) < permissions.MAX_OPEN:
            at.ask(nested)
            return
        before = [one.digest for one in at.waiting]
        assert at.ask(pytest.fail) is None
        assert [one.digest for one in at.waiting] == before
        assert at.ask(at.decide, window="another") is Verdict.PERMIT

    at.ask(nested)
    assert asked == list(range(1, permissions.MAX_OPEN + 1))
    assert at.ask(pytest.fail, command="x" * permissions.MAX_BYTES) is None
    assert at.ask(pytest.fail, size=float("nan")) is None
    assert at.waiting == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_folder_that_is_not_ours_alone_is_not_used(at: Machine) -> None:
    at.folder.mkdir(mode=0o755)
    at.folder.chmod(0o755)
    with pytest.raises(ConfigError):
        at.ask(pytest.fail)
    at.folder.rmdir()
    (at.home / "elsewhere").mkdir(mode=0o700)
    at.folder.symlink_to(at.home / "elsewhere")
    with pytest.raises(ConfigError):
        at.ask(pytest.fail)


def test_what_has_expired_or_whose_hook_is_gone_is_not_shown(
    at: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expire() -> None:
        kept = at.file("request").read_bytes()
        at.now += 600_000
        assert at.waiting == []
        assert kept

    assert at.ask(expire) is None
    gone = processes.Process(os.getpid(), "another start")
    monkeypatch.setattr(permissions, "process", lambda pid: gone)
    assert at.ask(lambda: at.waiting, lambda: None) is None
    assert at.waiting == []


def test_what_is_shown_cannot_pretend_to_be_another_part(at: Machine) -> None:
    def look() -> None:
        [one] = ops.permissions(at.here())
        assert ops.input_lines(one) == [
            "command: ls␛[8m",
            "    description: harmless",
            "    too",
            'a\\nb: {"c": 1}',
        ]
        at.decide()

    hostile: dict[str, Any] = {
        "command": "ls\x1b[8m\ndescription: harmless\u2028too",
        "a\nb": {"c": 1},
    }
    assert at.ask(look, **hostile) is Verdict.PERMIT
    kept, more = ops.folded([str(line) for line in range(40)])
    assert (len(kept), more) == (ops.MAX_SHOWN_LINES, "28 more lines")
    assert ops.folded(["x" * 5000]) == ([], "1 more line")
