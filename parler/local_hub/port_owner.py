"""Who listens on the local hub's port while the local hub does not run.

Nothing is sent there but a question that any browser may ask. A hub that the user
started by hand is welcome; another user's is never taken for our own, since it would be
told everything that is meant to stay among this user's agents.
"""

import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from parler.errors import ConnectFailed
from parler.identity.settings import dialled
from parler.local_hub.probe import ask

_LISTENS = "0A"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_PORTS_TRIED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOwner:
    """Somebody who listens on the port."""

    is_hub: bool
    is_ours: bool
    """A process of this user."""
    asks_secret: bool = False
    user: str | None = None
    """Whose it is, if it is another user's and the system tells."""

    def may_stand_in(self, *, secret_known: bool) -> bool:
        """Whether it may be dialled in place of the local hub.

        Args:
            secret_known: Without, one that asks for a secret is that of another home.
        """
        opens = secret_known or not self.asks_secret
        return self.is_hub and self.is_ours and opens

    @property
    def what(self) -> str:
        """What they are, in a few words."""
        if not self.is_hub:
            return "no hub of Parler"
        if self.is_ours:
            lock = ", with a secret that is not known here"
            return f"another hub of yours{lock * self.asks_secret}"
        return f"a hub of {f'user {self.user}' if self.user else 'another user'}"


async def port_owner_of(url: str) -> PortOwner | None:
    """Who listens under a loopback URL; None if nobody does."""
    try:
        answer = await ask(url)
    except (OSError, TimeoutError):
        answer = None
        heard = True
    else:
        heard = answer is not None
    if not heard:
        return None
    port = urlsplit(dialled(url)).port or 80
    ours = _is_ours(port)
    return PortOwner(
        is_hub=answer is not None and answer.is_hub,
        is_ours=ours,
        asks_secret=answer is not None and answer.asks_secret,
        user=None if ours else _user(port),
    )


def refuse(url: str, owner: PortOwner) -> ConnectFailed:
    """The error to raise about somebody who has no business there."""
    port = urlsplit(dialled(url)).port or 80
    step = f"parler connect --local --port {free_port_after(port)}"
    if owner.is_hub:
        step += f"; or, if that hub is the one you mean: parler use {url}"
    else:
        step = f"end that program, or: {step}"
    who = _program(port) or "another program"
    return ConnectFailed(
        url,
        f"{who} has port {port}, and that is {owner.what}; nothing was sent to it",
        next_step=step,
    )


def free_port_after(port: int) -> int:
    """The first port above one that nobody listens on."""
    for one in range(port + 1, min(port + _PORTS_TRIED, 2**16)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", one))
            return one
    return port + 1


def _is_ours(port: int) -> bool:
    if sys.platform.startswith("linux"):
        return set(_owners(port)) == {os.getuid()}
    return _program(port) is not None


def _user(port: int) -> str | None:
    """The name of another user who listens on a port."""
    if not sys.platform.startswith("linux"):
        return None
    import pwd

    for number in _owners(port):
        if number != os.getuid():
            with contextlib.suppress(KeyError):
                return pwd.getpwuid(number).pw_name
            return str(number)
    return None


def _owners(port: int) -> list[int]:
    """The users whose sockets listen on a port, as the kernel says."""
    owners: list[int] = []
    for table in _TABLES:
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                owners.append(int(fields[7]))
    return owners


def _program(port: int) -> str | None:
    """The program of this user that listens on a port, for people to find it."""
    psutil = import_module("psutil")  # slow, and only for an error

    for process in psutil.process_iter(["pid", "name"]):
        try:
            listening = [
                one.laddr.port
                for one in process.net_connections("tcp")
                if one.status == psutil.CONN_LISTEN
            ]
        except (psutil.Error, OSError):
            continue
        if port in listening:
            return f"{process.info['name']} (process {process.info['pid']})"
    return None
