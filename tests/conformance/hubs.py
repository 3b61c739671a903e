"""The hub under test: one that already runs elsewhere, or a process started here.

Knows how to start and stop a hub process; knows nothing about the protocol except
how to ask for the features in `welcome`.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests._support.plainclient import PlainAgent
from tests._support.polling import WAIT

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubUnderTest:
    """Where the hub is and what it says it can do."""

    url: str
    features: frozenset[str]
    managed: bool  # started by this suite: default limits, nobody else connected

    @property
    def ours(self) -> bool:
        """Whether the rules of protocol 13 and 14 are to be expected."""
        return bool(self.features)


def probe(url: str, *, managed: bool, secret: str | None = None) -> HubUnderTest:
    """Sign in once and read the advertised features."""

    async def welcome() -> frozenset[str]:
        async with PlainAgent.create("probe").dial(url, secret=secret) as link:
            return frozenset(link.welcome.get("features", ()))

    return HubUnderTest(url=url, features=asyncio.run(welcome()), managed=managed)


@contextmanager
def running_hub(
    folder: Path, *, secret: str | None = None, flags: Sequence[str] = ()
) -> Iterator[HubUnderTest]:
    """A real hub process on a free loopback port, with its database in `folder`."""
    ready, log = folder / "ready.json", folder / "hub.log"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PARLER_")
    }
    environment |= {"HOME": str(folder), "PARLER_HOME": str(folder / "home")}
    if secret is not None:
        environment["PARLER_HUB_JOIN_SECRET"] = secret  # never on a command line
    command = [sys.executable, "-m", "parler", "hub", "--addr", "127.0.0.1:0"]
    command += ["--db", str(folder / "hub.sqlite"), "--ready-file", str(ready)]
    command += flags
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        url = _wait_until_ready(process, ready, log=log)
        yield probe(url, managed=True, secret=secret)
    finally:
        process.terminate()
        try:
            process.wait(WAIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", ready: Path, *, log: Path
) -> str:
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        try:
            url = json.loads(ready.read_text(encoding="utf-8"))["url"]
        except (FileNotFoundError, json.JSONDecodeError):
            pass
        else:
            return str(url)
        try:
            status = process.wait(0.02)  # the pause ends at once if the hub dies
        except subprocess.TimeoutExpired:
            continue
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"the hub exited with status {status}:\n{said}")
    raise RuntimeError(f"the hub was not ready within {WAIT:.0f} s")
