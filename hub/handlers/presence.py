"""How an agent is doing: ``ping``, ``presence``, ``set_attention`` (10.2, 10.3)."""

from functools import partial

from hub.handlers.caller import Caller
from hub.services import Services
from hub.store import agents
from parler.wire import requests
from parler.wire.records import ENDED, OFFLINE
from parler.wire.replies import AttentionOk, Pong, PresenceOk

TOUCH_MS = 30_000
"""How often a ping is written down; a presence is fresh for ten times as long."""


async def ping(services: Services, caller: Caller, request: requests.Ping) -> Pong:
    """Refresh the presence's time and say that everything before was processed."""
    now = services.now()
    late = abs(now - caller.touched_ms) >= TOUCH_MS  # it may have been set back
    if late and not caller.looks:
        caller.touched_ms = now
        await services.store.write(
            "touch", partial(agents.touch, agent=caller.agent, now=now)
        )
    return Pong()


async def set_presence(
    services: Services, caller: Caller, request: requests.Presence
) -> PresenceOk:
    """Replace status and activity, and whether they end with the connection."""
    _mark(services, caller, present=bool(request.while_connected))
    await services.store.write(
        "presence",
        partial(
            agents.set_presence,
            agent=caller.agent,
            status=request.status,
            activity=request.activity,
            attention=request.attention,
            now=services.now(),
        ),
    )
    return PresenceOk()


async def leave(services: Services, caller: Caller) -> None:
    """Note that a connection ended, and its agent with it, unless it has another.

    Raises:
        Refusal: It cannot be stored.
    """
    if not caller.is_present:
        return
    _mark(services, caller, present=False)
    if caller.agent not in services.present:
        await services.store.write(
            "presence",
            partial(
                agents.set_presence,
                agent=caller.agent,
                status=OFFLINE,
                activity=ENDED,
                attention=None,
                now=services.now(),
            ),
        )


def _mark(services: Services, caller: Caller, *, present: bool) -> None:
    if present == caller.is_present:
        return
    caller.is_present = present
    services.present[caller.agent] += 1 if present else -1
    if not services.present[caller.agent]:
        del services.present[caller.agent]


async def set_attention(
    services: Services, caller: Caller, request: requests.SetAttention
) -> AttentionOk:
    """Replace what may interrupt the agent."""
    await services.store.write(
        "attention",
        partial(
            agents.set_attention,
            agent=caller.agent,
            attention=request.attention,
            now=services.now(),
        ),
    )
    return AttentionOk()
