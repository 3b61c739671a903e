"""The page's process is one, is found by its lock, and lets a token in once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from parler._version import __version__
from parler.errors import ConfigError, ParlerError, UsageError
from parler.ui import process
from parler.ui.peer import is_of_user
from parler.ui.process import (
    MAX_TOKENS,
    TOKEN_SECS,
    Place,
    ensure,
    find,
    mint_token,
    serving,
    take_token,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it needs POSIX")
NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path)


def test_a_token_lets_in_once_soon_and_nobody_else(place: Place) -> None:
    token = mint_token(place)
    assert not take_token(place, f"{token}x")
    assert not take_token(place, "../../running.json")
    assert not take_token(place, "\ud800")
    assert take_token(place, token)
    assert not take_token(place, token)
    late = mint_token(place)
    made = next(place.tokens.iterdir()).stat().st_mtime
    assert not take_token(place, late, now=lambda: made + TOKEN_SECS + 1)
    for file in (mint_token(place), *place.tokens.iterdir()):
        assert late not in str(file)
    assert place.tokens.stat().st_mode & 0o777 == 0o700


def test_tokens_that_nobody_brings_fill_no_folder(place: Place) -> None:
    first = mint_token(place)
    os.utime(next(place.tokens.iterdir()), (1, 1))
    tokens = [mint_token(place) for _ in range(MAX_TOKENS)]
    assert len(list(place.tokens.iterdir())) == MAX_TOKENS
    assert not take_token(place, first)
    assert take_token(place, tokens[-1])


def test_one_process_serves_and_is_found_while_it_lives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_LOCK_SECS", 0.05)
    assert find(place) is None
    with serving(place, 0) as server:
        found = find(place)
        assert found is not None
        assert (found.pid, found.port) == (os.getpid(), server.getsockname()[1])
        assert server.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ConfigError), serving(place, 0):
            pass
        assert found.version == __version__
        # A second command finds it, and starts nothing.
        assert ensure(place, ["/bin/false"], {}) == found
        other = Place.of(place.folder / "other")
        with (
            pytest.raises(UsageError, match="cannot be had"),
            serving(other, found.port),
        ):
            pass
    assert find(place) is None
    assert process.stop(place) is None


def test_another_port_is_taken_where_the_usual_one_is_not_free(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(process, "PORT", taken.getsockname()[1])
        with serving(place, None) as server:
            assert server.getsockname()[1] not in (0, process.PORT)


def test_one_that_does_not_come_up_says_why(place: Place) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('error: no such luck')"]
    with pytest.raises(ParlerError, match="the page did not start: no such luck"):
        ensure(place, failing, {"PATH": os.environ["PATH"]})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it asks Linux")
def test_only_processes_of_this_user_are_at_the_other_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = server.getsockname()
        with socket.create_connection(own) as ours, server.accept()[0]:
            peer = ours.getsockname()
            assert is_of_user(peer, own, user=os.getuid())
            assert not is_of_user(peer, (own[0], own[1] - 1), user=os.getuid())
        # Whose a socket was that is closed, nobody says any more.
        assert not is_of_user(peer, own, user=os.getuid())
        if os.getuid() != 0:
            return
        dials = f"exec 3<>/dev/tcp/{own[0]}/{own[1]}; cat"
        with subprocess.Popen(
            ["/bin/bash", "-c", dials], user=NOBODY, stdin=subprocess.PIPE
        ) as theirs:
            taken, peer = server.accept()
            with taken:
                assert not is_of_user(peer, own, user=os.getuid())
                assert is_of_user(peer, own, user=NOBODY)
            assert theirs.stdin
            theirs.stdin.close()
