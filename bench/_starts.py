"""How long commands take from their start to their end, beside an empty program."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import _machine
from bench._hub_process import HubProcess

CHECKOUT = Path(__file__).resolve().parents[1]
NO_HUB = "ws://127.0.0.1:9"
Figures = dict[str, float]

NOTHING = ("-c", "pass")
COMMANDS: Mapping[str, Sequence[str]] = {
    "version": ("-m", "parler", "--version"),
    "hook": ("-m", "parler", "hook", "prompt", "--app", "claude-code"),
    "send": ("-m", "parler", "send", "the build is green"),
}


class Shell:
    """Somebody who types commands."""

    def __init__(self, folder: Path, hub: str) -> None:
        """Take a folder to be at home and to work in, and a hub."""
        self._folder = folder
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        self._env = kept | {
            "HOME": str(folder),
            "PYTHONPATH": str(CHECKOUT),
            "PARLER_HOME": str(folder / "agent"),
            "PARLER_HUB": hub,
            "PARLER_NAME": "bench",
        }

    def run(self, arguments: Sequence[str], *, said: str = "") -> None:
        """Run a command, which must succeed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env=self._env,
            input=said,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            preexec_fn=_to_server_core,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{arguments} failed: {done.stderr[-500:]}")

    def take(self, arguments: Sequence[str], *, said: str = "") -> tuple[float, float]:
        """How many milliseconds a command took, and how many of them it computed."""
        began, cost = time.perf_counter(), _spent()
        self.run(arguments, said=said)
        return (time.perf_counter() - began) * 1e3, (_spent() - cost) * 1e3


def starts(folder: Path, *, times: int) -> dict[str, Figures]:
    """Medians of all commands, which take turns."""
    hub = HubProcess(folder / "data" / "hub.sqlite", folder, core=None)
    hub.start()
    try:
        shell = Shell(folder, hub.url)
        shell.run(("-m", "parler", "session", "open"))
        told = json.dumps(
            {"session_id": "bench", "cwd": str(folder), "prompt": "go on"}
        )
        taken: dict[str, list[tuple[float, float]]] = {}
        for round_ in range(times + 1):
            for name, command in ({"nothing": NOTHING} | dict(COMMANDS)).items():
                # Nobody is connected where the hook is called.
                where = Shell(folder / "elsewhere", NO_HUB) if name == "hook" else shell
                (folder / "elsewhere").mkdir(exist_ok=True)
                spent = where.take(command, said=told if name == "hook" else "")
                if round_:  # the first one compiles
                    taken.setdefault(name, []).append(spent)
    finally:
        hub.kill()
    return {
        name: {
            "ms": statistics.median(wall for wall, _ in values),
            "cpu_ms": statistics.median(cpu for _, cpu in values),
        }
        for name, values in taken.items()
    }


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _to_server_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {_machine.HUB_CORE})
