"""What `parler mcp` costs: one JSON line per server, ours beside the bare SDK.

    python -m bench.mcp [--rounds N] [--calls N]

Each round starts both servers anew, in turn, with the same tools, on one core, and the
host on another: the time from the start of the process to its answers to `initialize`
and to `tools/list`, the time of a call that does nothing, and the memory after all of
it. No hub is there: none of this may need one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from bench import _machine

CHECKOUT = Path(__file__).resolve().parents[1]
NO_HUB = "ws://127.0.0.1:9"
HANDSHAKE = "2025-11-25"
MIB = 2**20

Figures = dict[str, float]


class Host:
    """An app that has just started a server."""

    def __init__(
        self, command: list[str], env: Mapping[str, str], folder: Path
    ) -> None:
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=_to_server_core,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._ids = 0

    def asks(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and read its answer."""
        self._ids += 1
        self._says({"id": self._ids, "method": method, "params": params})
        while True:
            frame = json.loads(self._out.readline())
            if frame.get("id") == self._ids:
                return dict(frame["result"])

    def shakes_hands(self) -> None:
        """Initialize."""
        self.asks(
            "initialize",
            {
                "protocolVersion": HANDSHAKE,
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            },
        )
        self._says({"method": "notifications/initialized"})

    def memory(self) -> float:
        """Resident memory of the server, in MiB."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii")
        return int(pages.split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB

    def leaves(self) -> None:
        """Close the pipe and wait for the end."""
        self._in.close()
        self._process.wait(20)

    def _says(self, frame: dict[str, Any]) -> None:
        self._in.write(json.dumps({"jsonrpc": "2.0", **frame}).encode() + b"\n")
        self._in.flush()


def measure(
    command: list[str], env: Mapping[str, str], folder: Path, tool: str, calls: int
) -> Figures:
    """One server, from its start to its end."""
    host = Host(command, env, folder)
    try:
        host.shakes_hands()
        initialized = time.perf_counter()
        host.asks("tools/list", {})
        listed = time.perf_counter()
        arguments: dict[str, Any] = {"name": tool, "arguments": {"refs": []}}
        host.asks("tools/call", arguments)  # the first one loads what is behind
        time.sleep(1.5)
        taken = []
        for _ in range(calls):
            began = time.perf_counter()
            host.asks("tools/call", arguments)
            taken.append(time.perf_counter() - began)
        return {
            "initialize_ms": (initialized - host.started) * 1000,
            "tools_list_ms": (listed - host.started) * 1000,
            "call_us": _machine.percentile(taken, 0.5) * 1e6,
            "call_p99_us": _machine.percentile(taken, 0.99) * 1e6,
            "rss_mib": host.memory(),
        }
    finally:
        host.leaves()


def one_round(folder: Path, *, calls: int) -> dict[str, Figures]:
    """Both servers, one after the other."""
    tools = folder / "tools.json"
    tools.write_text(json.dumps(_offers()), encoding="utf-8")
    env = _environment(folder)
    servers = {
        "parler mcp": [sys.executable, "-m", "parler", "mcp"],
        "bare SDK": [sys.executable, "-m", "bench._bare_mcp", str(tools)],
    }
    return {
        name: measure(command, env, folder, "parler_seen", calls)
        for name, command in servers.items()
    }


def main(arguments: list[str]) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args(arguments)
    pinned = _machine.pin_load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rounds = [
            one_round(folder, calls=options.calls) for _ in range(options.rounds + 1)
        ]
        facts = _machine.facts(folder, pinned=pinned)
    measured = rounds[1:]  # the first round warms the caches
    medians = {
        name: _machine.medians(one[name] for one in measured) for name in measured[0]
    }
    for name, figures in medians.items():
        line = {"server": name, "tools": len(_offers()), **figures}
        print(json.dumps(line))
    ours, bare = medians["parler mcp"], medians["bare SDK"]
    ratios = {f"{key}_ratio": round(ours[key] / bare[key], 3) for key in ours}
    print(json.dumps({"compared": ratios, "rounds": options.rounds, "machine": facts}))
    return 0


def _offers() -> list[dict[str, Any]]:
    from parler.mcp_server.tool_call import Host as Caller
    from parler.mcp_server.tools.registry import offered

    return [tool.as_offer() for tool in offered(Caller(name="claude-code"), full=False)]


def _environment(folder: Path) -> dict[str, str]:
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return kept | {
        "HOME": str(folder),
        "PYTHONPATH": str(CHECKOUT),
        "PARLER_HOME": str(folder / ".parler"),
        "PARLER_HUB": NO_HUB,
    }


def _to_server_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {_machine.HUB_CORE})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
