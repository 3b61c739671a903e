"""Who listens on the local hub's port while the local hub does not run.

Nothing is sent there but a question that any browser may ask. A hub that the user
started by hand is welcome; another user's program in its place is not, since it would
be told the join secret and everything else.
"""

import os
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOwner:
    """Somebody who listens on the port."""

    is_hub: bool
    is_ours: bool
    """A process of this user."""

    def may_stand_in(self, *, known: bool) -> bool:
        """Whether it may be dialled in place of the local hub.

        Args:
            known: This machine has run a hub of its own at that address: agents have
                secrets for it, and no other user's program is to be told those.
        """
        return self.is_hub and (self.is_ours or not known)


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
    return PortOwner(
        is_hub=answer is not None and answer.is_hub, is_ours=_is_ours(port)
    )


def refuse(url: str, owner: PortOwner) -> ConnectFailed:
    """The error to raise about somebody who has no business there."""
    port = urlsplit(dialled(url)).port or 80
    who = _program(port) or "another program"
    what = "a hub of another user" if owner.is_hub else "no hub"
    return ConnectFailed(
        url,
        f"{who} has port {port}, and that is {what}; nothing was sent to it",
        next_step=f"end that program, or: parler connect --local --port {port + 1}",
    )


def _is_ours(port: int) -> bool:
    if sys.platform.startswith("linux"):
        return set(_owners(port)) == {os.getuid()}
    return _program(port) is not None


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
