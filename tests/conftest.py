"""What holds for every test: no real home, no stray settings, no network beyond us.

A test gets a home of its own, none of the variables by which a shell or an agent app
would steer the client, and an operating system that dials the loopback only, without
the hub that whoever runs the tests has there.
"""

import errno
import ipaddress
import itertools
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests._support import coroutines

settings.register_profile(
    "ci",
    deadline=None,  # a busy machine is not a bug
    derandomize=True,  # the same examples for everybody; `thorough` looks further
    max_examples=60,
    stateful_step_count=30,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", parent=settings.get_profile("ci"), derandomize=False, max_examples=2000
)
settings.load_profile("ci")  # --hypothesis-profile=thorough overrides it

HUB_PORT = 7070  # of the own hub of whoever runs this
_STEERING = ("PARLER_", "CLAUDE", "CODEX", "CONDUCTOR")
_FOR_THE_SUITE = ("PARLER_CONFORMANCE_", "PARLER_TEST_")
_homes = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hub-url",
        metavar="URL",
        help="run tests/conformance against this hub instead of starting one",
    )
    parser.addoption(
        "--site",
        metavar="DIR",
        type=Path,
        help="keep the site that tests/docs build and check",
    )
    parser.addoption(
        "--pictures",
        metavar="DIR",
        type=Path,
        help="keep the pictures of the page that tests/ui take",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Guard also what runs before the first test, session fixtures for example."""
    for name in _steering_variables():
        del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts background jobs so, and our processes would never hear Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    elsewhere = config.getoption("--hub-url") or os.environ.get(
        "PARLER_CONFORMANCE_HUB"
    )
    if not elsewhere:
        sys.addaudithook(_loopback_only)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run a coroutine test in a loop of its own, bounded as a whole."""
    return coroutines.run(pyfuncitem)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the homes of all tests lie."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory; `PARLER_HOME` is `.parler` in it."""
    for name in _steering_variables():
        monkeypatch.delenv(name)
    folder = homes / str(next(_homes))
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("PARLER_HOME", str(folder / ".parler"))
    return folder


def _steering_variables() -> list[str]:
    return [
        name
        for name in os.environ
        if name.startswith(_STEERING) and not name.startswith(_FOR_THE_SUITE)
    ]


def _loopback_only(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse, as an unreachable network would, to dial anything but this machine."""
    if event == "socket.connect":
        address = arguments[1]
    elif event == "socket.getaddrinfo":
        address = arguments
    else:
        return
    host = address[0] if isinstance(address, tuple) else None  # else a UNIX socket
    if event == "socket.connect" and host and address[1] == HUB_PORT:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no test has a hub there")
    if isinstance(host, bytes):
        host = host.decode("ascii", errors="replace")
    if isinstance(host, str) and not _is_here(host):
        if event == "socket.getaddrinfo":
            raise socket.gaierror(socket.EAI_NONAME, f"tests may not look up {host}")
        raise OSError(errno.ENETUNREACH, f"tests may not dial {host}")


def _is_here(host: str) -> bool:
    if host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
