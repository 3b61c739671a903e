"""A network of a sandbox's own, in which there is nothing but loopback.

Where the system allows no such thing, a proxy that is closed keeps well-behaved
programs offline.
"""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

# Brings loopback up (SIOCSIFFLAGS, up and running), says so, and holds the network
# until its stdin ends, which it does with us.
_HOLDER = """
import fcntl, socket, struct, sys
request = struct.pack("16sh14x", b"lo", 0x41)
fcntl.ioctl(socket.socket(), 0x8914, request)
print("up", flush=True)
sys.stdin.read()
"""
# How it is made, as root or as anybody, and how it is entered.
_KINDS = (
    (["--net"], ["--net"]),
    (["--map-root-user", "--net"], ["--user", "--net", "--preserve-credentials"]),
)
_CLOSED = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Network:
    """How a program is started inside."""

    enter: list[str] = field(default_factory=list)
    """What comes before its own command."""

    variables: dict[str, str] = field(default_factory=dict)
    sealed: bool = False
    """Whether nothing but loopback can be reached, whatever a program tries."""


def private_network(stack: ExitStack) -> Network:
    """A network of our own for as long as the stack is open, or the next best."""
    if _only_loopback():
        return Network(sealed=True)
    if shutil.which("unshare") and shutil.which("nsenter"):
        for how, spaces in _KINDS:
            if holder := _hold(how):
                stack.callback(_end, holder)
                enter = ["nsenter", "--target", str(holder.pid), *spaces, "--"]
                return Network(enter=enter, sealed=True)
    away = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    return Network(variables=dict.fromkeys(away, _CLOSED) | here)


def _only_loopback() -> bool:
    devices = Path("/proc/self/net/dev")
    if not devices.exists():
        return False
    lines = devices.read_text(encoding="utf-8").splitlines()[2:]
    return all(line.split(":")[0].strip() == "lo" for line in lines)


def _hold(how: list[str]) -> "subprocess.Popen[str] | None":
    holder = subprocess.Popen(
        ["unshare", *how, sys.executable, "-I", "-S", "-c", _HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert holder.stdout
    if holder.stdout.readline().strip() == "up":
        return holder
    _end(holder)
    return None


def _end(holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.communicate()
