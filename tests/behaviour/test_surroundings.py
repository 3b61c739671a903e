"""Commands where not all is as they would like it: signals, streams, variables."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import parler
from parler.cli import app
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT, HubProcess, environment, running_hub

INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
from parler.__main__ import main
status = main()
print('was not interrupted')
sys.exit(status)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("click", ["rooms"]),
        ("parler.cli.rooms", ["rooms"]),
        ("asyncio", ["rooms"]),
        ("websockets.asyncio.client", ["rooms", "--hub", "ws://127.0.0.1:9"]),
        ("parler.wake.hook", ["hook", "prompt", "--app", "codex"]),
        ("asyncio", ["mcp"]),
        ("parler.cli.render", ["--version"]),
    ],
)
def test_interrupt_while_importing_is_no_traceback(
    module: str, line: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module=module, number=number), *line],
        env=environment(tmp_path),
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode in (-number, 128 + number)


def test_modules_of_the_users_pythonpath_do_not_replace_what_we_were_installed_with(
    tmp_path: Path,
) -> None:
    site, theirs = tmp_path / "site", tmp_path / "theirs"
    for folder in (site, theirs):
        folder.mkdir()
    for package in (parler, click):
        place = Path(package.__file__).parent
        (site / place.name).symlink_to(place, target_is_directory=True)
    (theirs / "click.py").write_text("1 / 0\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "parler", "whoami"],
        env=environment(tmp_path, PYTHONPATH=f"{theirs}{os.pathsep}{site}"),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running


def test_a_conversation_needs_no_locale_no_terminal_and_no_umask(
    hub: HubProcess, tmp_path: Path
) -> None:
    variables = {"HOME": str(tmp_path), "PARLER_HUB": hub.url, "LC_ALL": "C"}
    variables |= {"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT)}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "parler", *words],
            env=variables,
            cwd=tmp_path,
            umask=0,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=WAIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("session", "open")
    run("send", "Größe ✓")
    assert "Größe ✓" in run("history", "-n", "1")
    made = list((tmp_path / ".parler").rglob("*"))
    assert made
    assert [path for path in made if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize(
    ("call", "refusal"),
    [
        ("os.mkdir", errno.EACCES),
        ("os.open", errno.EROFS),
        ("os.replace", errno.EPERM),
        ("os.fchmod", errno.EPERM),
        ("fcntl.flock", errno.EACCES),
        ("os.fsync", errno.ENOSPC),
    ],
)
def test_what_the_system_refuses_is_told_with_its_file(
    call: str,
    refusal: int,
    home: Path,
    hub: HubProcess,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As SELinux, a read-only disk or a container without rights does."""
    monkeypatch.setenv("PARLER_HUB", hub.url)
    module, name = call.split(".")
    real = getattr(sys.modules[module], name)

    def refuse(given: object, *more: int, **named: object) -> object:
        ours = isinstance(given, int) or str(given).startswith(str(home))
        reads = name == "open" and not more[0] & os.O_CREAT
        if not ours or reads:
            return real(given, *more, **named)
        raise OSError(refusal, os.strerror(refusal), given)

    monkeypatch.setattr(call, refuse)
    (home / ".cursor").mkdir() if name != "mkdir" else None
    for line in ("init", "attention focus", "reserve x", "session open", "connect"):
        status = app.run(line.split())
        said = capfd.readouterr().err
        assert status in (3, 9), said
        assert os.strerror(refusal) in said
        assert str(home) in said
        assert "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "line", [["--version"], ["--help"], ["whoami"], ["whoami", "--json"]]
)
def test_output_that_finds_no_space_is_an_error_and_no_traceback(
    line: list[str], tmp_path: Path
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "parler", *line],
            env=environment(tmp_path, PYTHONUNBUFFERED=""),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=WAIT,
            check=False,
        )
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
