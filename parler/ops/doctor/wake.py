"""Finding out how a message reaches the agents that run in this folder.

A key that is kept for this in each agent's home sends the agent a direct message, and
the agent's own records tell which path showed it to the model.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from parler.apps.kit.waker import WakeKind
from parler.client.client import Client
from parler.errors import ParlerError, UsageError
from parler.identity.identity import Identity, ensure_identity, load_identity
from parler.identity.own_agents import PROBE_HOME
from parler.ops.context import Result
from parler.wake.spool import Shown, Spool, has_consumer, hooks_seen
from parler.wake.waiter import is_armed
from parler.wake.wakers import wake_kind
from parler.wire.parts import TextPart
from parler.wire.records import DmTarget

SENDER = "parler-doctor"
WAIT_SECS = 30.0
_POLL_SECS = 0.2

Dial = Callable[[str, Identity], AbstractAsyncContextManager[Client]]


class Probe(Result):
    """What became of one test message."""

    agent: str
    home: str
    arrived: bool
    wake: WakeKind
    """How messages reach it, as far as can be told from outside."""

    path: str | None = None
    """What showed it to the model."""

    after_ms: int | None = None
    hooks: tuple[str, ...] = ()
    """The hooks that the app has ever run here."""

    waiting: bool = False
    """It is in this machine's spool, and nobody has shown it yet."""

    problem: str | None = None


class WakeResult(Result):
    """A probe of each agent that runs here."""

    ok: bool
    probes: list[Probe]


def live_homes(homes: Sequence[Path]) -> list[Path]:
    """The homes whose messages are being read now.

    Raises:
        UsageError: There is none.
    """
    live = [home for home in dict.fromkeys(homes) if has_consumer(home)]
    if not live:
        raise UsageError(
            "no agent app with Parler's tools runs in this folder",
            next_step="start the agent app here, then: parler doctor --wake",
        )
    return live


async def probe_wake(
    homes: Sequence[Path], *, dial: Dial, nonce: str, wait_secs: float = WAIT_SECS
) -> WakeResult:
    """Send each agent a test message and see which path brings it."""
    async with asyncio.TaskGroup() as tasks:
        probing = [
            tasks.create_task(_probe(home, dial, nonce, wait_secs)) for home in homes
        ]
    probes = [one.result() for one in probing]
    return WakeResult(ok=all(one.arrived for one in probes), probes=probes)


async def _probe(home: Path, dial: Dial, nonce: str, wait_secs: float) -> Probe:
    name = str(home)
    problem, found, started = None, None, 0.0
    clock = asyncio.get_running_loop().time
    key = ""
    try:
        agent = load_identity(home)
        name = agent.name
        sender, _ = ensure_identity(
            home / PROBE_HOME, hub_url=agent.hub_url, name=SENDER
        )
        async with dial(agent.hub_url, sender) as client:
            text = (
                f"This is the test message {nonce} of `parler doctor --wake`. "
                "It asks for nothing and needs no answer."
            )
            started = clock()
            sent = await client.send(
                DmTarget(agent=agent.agent_id), [TextPart(text=text)]
            )
            key = sent.id
        found = await _shown(home, key, wait_secs)
    except ParlerError as error:
        problem = error.message
    waiting = [item for item in Spool(home).waiting() if key and item.key == key]
    return Probe(
        agent=name,
        home=str(home),
        arrived=found is not None,
        wake=WakeKind.PUSH if is_armed(home) else wake_kind(home, None),
        path=found.via if found else None,
        after_ms=round((clock() - started) * 1000) if found else None,
        hooks=tuple(sorted(hooks_seen(home))),
        waiting=bool(waiting),
        problem=problem,
    )


async def _shown(home: Path, key: str, wait_secs: float) -> Shown | None:
    spool = Spool(home)
    try:
        async with asyncio.timeout(wait_secs):
            while True:
                for record in await asyncio.to_thread(spool.history):
                    if record.key == key:
                        return record
                await asyncio.sleep(_POLL_SECS)
    except TimeoutError:
        return None
