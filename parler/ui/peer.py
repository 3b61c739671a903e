"""Whose process is at the other end of a connection on the loopback.

Any user of a machine can dial its loopback, and a browser sends a cookie to every port
of a name. Linux tells of both ends of such a connection whose they are.
"""

import sys
from importlib import import_module
from pathlib import Path

Address = tuple[str, int]
"""Of IPv4, and the port."""

ROOT = 0
_TABLE = Path("/proc/net/tcp")
_TRIES = 3
"""The table is told in pieces; what moves meanwhile may be told in none of them."""


def is_of_user(peer: Address, own: Address, *, user: int, slow: bool = False) -> bool:
    """Whether a connection comes from a process of a user, or of root.

    Args:
        user: The user's id.
        slow: Look through the user's processes where the system tells no owners; else
            it is believed there.
    """
    if not sys.platform.startswith("linux"):
        return not slow or _some_process_has(peer, own)
    for _ in range(_TRIES):
        owner = _owner(peer, own)
        if owner is not None:
            return owner in (user, ROOT)
    return False


def _owner(peer: Address, own: Address) -> int | None:
    """Whose socket it is that is open at both ends; one that was closed is nobody's."""
    wanted = f" {_hex(peer)} {_hex(own)} 01 ".encode()
    table = _TABLE.read_bytes()
    found = table.find(wanted)
    if found < 0:
        return None
    line = table[table.rfind(b"\n", 0, found) + 1 : table.find(b"\n", found)]
    return int(line.split()[7])


def _hex(address: Address) -> str:
    host, port = address
    digits = "".join(f"{int(part):02X}" for part in host.split("."))
    if sys.byteorder == "little":
        digits = "".join(reversed([digits[at : at + 2] for at in range(0, 8, 2)]))
    return f"{digits}:{port:04X}"


def _some_process_has(peer: Address, own: Address) -> bool:
    psutil = import_module("psutil")  # slow, and seldom needed

    for process in psutil.process_iter():
        try:
            connections = process.net_connections("tcp4")
        except (psutil.Error, OSError):
            continue  # somebody else's
        if any(
            one.laddr
            and one.raddr
            and (tuple(one.laddr), tuple(one.raddr)) == (peer, own)
            for one in connections
        ):
            return True
    return False
