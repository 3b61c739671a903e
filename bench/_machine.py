"""What a figure depends on besides the code: the machine, its disk, the versions.

Also where processes run on it, and how rounds become one figure.
"""

import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HUB_CORE, LOAD_CORE = 0, 1
_PACKAGES = ("uvicorn", "websockets", "uvloop", "httptools", "msgspec", "sqlalchemy")
_SYNCS = 100


def facts(folder: Path, *, pinned: bool) -> dict[str, Any]:
    """Describe the machine; `folder` is where the database will be."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "pinned": pinned,
        "fsync_us": _sync_micros(folder),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: _version(name) for name in _PACKAGES},
    }


def pin_load() -> bool:
    """Move this process off the hub's core; False where that cannot be done."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    if not {HUB_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        return False
    os.sched_setaffinity(0, {LOAD_CORE})
    return True


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def medians(rounds: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Per figure the median of all rounds."""
    collected = list(rounds)
    return {
        name: tidy(statistics.median(figures[name] for figures in collected))
        for name in collected[0]
    }


def tidy(value: float) -> float:
    """Four significant digits: no figure here is worth more."""
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _sync_micros(folder: Path) -> float:
    """Median time to append 4 KiB and sync them."""
    path = folder / "sync-probe"
    taken: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - started)
    path.unlink()
    return tidy(statistics.median(taken) * 1e6)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
