"""The doctor: what is whole, what is broken, what mends it; nothing is changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl", reason="a hub needs POSIX")

from hub.admin.lock_file import LockFile
from parler._version import __version__
from parler.cli import app
from parler.local_hub import Record, hub_paths, write_record
from parler.local_hub.probe import Answer
from parler.ops.doctor import installation as module
from parler.ops.doctor.installation import Check, Finding, examine, ok
from tests._support.processes import HubProcess, running_hub

NOWHERE = "ws://127.0.0.1:9"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine these tests run on may have agent apps."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def examined(
    capfd: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    capfd.readouterr()
    status = app.run(["doctor", "--json", *arguments])
    result = json.loads(capfd.readouterr().out)
    return status, {check["name"]: check for check in result["checks"]}


def everything_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_healthy_installation_is_told_so_and_left_as_it_was(
    home: Path, hub: HubProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["init", "--hub", hub.url, "--name", "ann", "--quiet"]) == 0
    before = everything_below(home)
    status, checks = examined(capfd)
    assert status == 0
    assert {check["finding"] for check in checks.values()} == {"ok"}
    assert {"version", "packages", "dependencies", "git", "identity"} <= set(checks)
    assert {"hub", "clock"} <= set(checks)
    assert everything_below(home) == before


def test_without_an_identity_the_hub_is_asked_and_nobody_is_made(
    home: Path, hub: HubProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    status, checks = examined(capfd, "--hub", hub.url)
    assert status == 0
    assert "nobody signed in" in checks["hub"]["detail"]
    assert everything_below(home) == {}


@pytest.mark.parametrize("identity", [True, False])
def test_a_dead_hub_is_broken_with_a_status(
    home: Path, capfd: pytest.CaptureFixture[str], *, identity: bool
) -> None:
    if identity:
        assert app.run(["init", "--quiet"]) == 0
    status, checks = examined(capfd, "--hub", NOWHERE)
    assert status == 4
    assert checks["hub"]["finding"] == "broken"
    assert checks["hub"]["next"]


def test_a_session_key_is_looked_at_and_not_redeemed(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLER_SESSION_KEY", f"ABCD2345@{NOWHERE}")
    _, checks = examined(capfd, "--hub", NOWHERE)
    assert checks["session key"]["finding"] == "ok"
    monkeypatch.setenv("PARLER_SESSION_KEY", "no key at all")
    status, checks = examined(capfd, "--hub", NOWHERE)
    assert checks["session key"]["finding"] == "broken"
    assert status == 3


def test_secrets_that_others_can_read_are_broken(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = home / ".parler"
    folder.mkdir()
    secrets = folder / "secrets.json"
    secrets.write_text("{}", encoding="utf-8")
    secrets.chmod(0o644)
    status, checks = examined(capfd, "--hub", NOWHERE)
    assert status == 3
    assert checks["secrets"]["next"].startswith("chmod 600 ")


# ----------------------------------------------------------------------- the local hub


@pytest.fixture
def own(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose own hub was set up, at a port where nobody can listen."""
    base = home / ".parler"
    write_record(hub_paths(base), Record(addr="127.0.0.1:9"))
    monkeypatch.setenv("PARLER_HUB", NOWHERE)
    return base


def test_a_local_hub_that_is_not_needed_yet_is_no_fault_and_not_started(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = everything_below(own)
    status, checks = examined(capfd)
    assert status == 0
    assert checks["local hub"]["finding"] == "ok"
    assert "hub" not in checks
    hub_paths(own).stopped.touch()
    status, checks = examined(capfd)
    assert status == 0
    assert checks["local hub"]["finding"] == "warn"
    assert checks["local hub"]["next"] == "parler hub start"
    hub_paths(own).stopped.unlink()
    assert everything_below(own) == before


def test_a_local_hub_of_another_version_is_worth_a_word(
    own: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with LockFile(hub_paths(own).running) as running:
        running.say(url=NOWHERE, version="0.0.1")
        _, checks = examined(capfd)
        assert checks["local hub"]["finding"] == "warn"
        assert "0.0.1" in checks["local hub"]["detail"]
        running.say(version=__version__)
        assert examined(capfd)[1]["local hub"]["finding"] == "ok"
        running.say(ending=True)
        assert examined(capfd)[1]["local hub"]["finding"] == "warn"
        running.say(url="ws://127.0.0.1:10", ending=False)
        status, checks = examined(capfd)
        assert (status, checks["local hub"]["finding"]) == (4, "broken")


# ------------------------------------------------------------------------ the findings


@pytest.mark.parametrize(
    ("skew", "finding", "words"),
    [
        (0.4, Finding.OK, "within 1 s"),
        (-29.0, Finding.OK, "within 29 s"),
        (120.0, Finding.WARN, "120 s behind"),
        (-120.0, Finding.WARN, "120 s ahead of"),
    ],
)
def test_a_clock_that_is_off_is_told(skew: float, finding: Finding, words: str) -> None:
    (check,) = module._clock(Answer(is_hub=True, skew_secs=skew))
    assert check.finding is finding
    assert words in check.detail


async def test_whatever_else_is_looked_at_joins_the_list(home: Path) -> None:
    from parler.cli._run import Options, settings_of
    from parler.errors import ConfigError

    settings = settings_of(Options(command="doctor", hub=NOWHERE))

    async def fine() -> list[Check]:
        return [ok("app", "wired")]

    async def damaged() -> list[Check]:
        raise ConfigError("the notes are damaged", next_step="rm notes")

    def never(identity: object) -> Any:
        raise AssertionError("nobody signs in without an identity")

    result = await examine(settings, hub=NOWHERE, dial=never, more=[fine, damaged])
    assert not result.ok
    assert [check.name for check in result.checks[-2:]] == ["app", "apps"]
    assert result.checks[-1].next == "rm notes"
