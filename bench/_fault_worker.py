"""A worker that dies, or waits while its hub does, after the step it is told.

It is the product's own `supervise`; only who watches it is ours. It says one JSON line
for each thing that happens and reads one for each fault: ``{"step", "victim"}``.

    python -m bench._fault_worker HUB HOME ROLE COMMAND
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from parler.client.client import connect
from parler.errors import ParlerError
from parler.identity.identity import ensure_identity
from parler.identity.known_rooms import KnownRooms
from parler.ops.context import OpContext
from parler.ops.supervise import SuperviseParams, supervise
from parler.ops.work import Limits, Step, Surroundings, TaskEnd
from parler.wire.base import MessageId

LEASE_SECS = 15
"""The shortest a hub gives (protocol 10.4)."""


class Watcher:
    """Dies, or stands still, at the step it was told."""

    def __init__(self) -> None:
        """Wait for the first fault."""
        self._fault = _hear()

    def reached(self, step: Step, task: MessageId) -> None:
        """Stand still or die if this is the step."""
        if step.value != self._fault.get("step"):
            return
        if self._fault["victim"] == "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        _say(reached=step.value, task=task)
        self._fault = _hear()

    def note(self, text: str) -> None:
        """Keep it to ourselves."""

    def output(self, data: bytes) -> None:
        """Keep it to ourselves."""

    def done(self, end: TaskEnd) -> None:
        """Say so."""
        _say(done=end.task, status=end.status.value)


async def main(hub: str, home: Path, role: str, command: str) -> None:
    """Work until killed; a hub that is away is waited for."""
    identity, _ = ensure_identity(home, hub_url=hub, name=home.name)
    watcher = Watcher()
    params = SuperviseParams(
        runner=command,
        role=role,
        lease_secs=LEASE_SECS,
        limits=Limits(timeout_secs=60, per_hour=0, per_conversation=0),
    )
    while True:
        try:
            async with connect(hub, identity.keypair, name=home.name) as client:
                await supervise(
                    OpContext(
                        client=client,
                        identity=identity,
                        hub=hub,
                        known_rooms=KnownRooms(home),
                        now=lambda: time.time_ns() // 1_000_000,
                    ),
                    params,
                    surroundings=Surroundings(
                        environment=dict(os.environ), folder=home, grace_secs=0.2
                    ),
                    watcher=watcher,
                    done=watcher.done,
                )
        except ParlerError as error:
            if not error.retryable:
                raise
            await asyncio.sleep(0.05)


def _say(**news: Any) -> None:
    print(json.dumps(news), flush=True)


def _hear() -> dict[str, str]:
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    fault: dict[str, str] = json.loads(line)
    return fault


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
