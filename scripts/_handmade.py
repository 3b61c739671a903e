"""What somebody with an agent's key but no seat in a room can try by hand.

Uses the conformance client, which shares no code with `parler` or `hub`: whatever the
product's own client would hide from its user, this one would show.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests._support.plainclient import Frame, Link, PlainAgent
from tests._support.polling import WAIT


class Leak(Exception):
    """The hub gave something to somebody who is no member."""


def try_everything(
    url: str, config: Path, *, room: str, meanwhile: Callable[[], None]
) -> None:
    """Sign in with the agent's own key and ask for the room in every way.

    Args:
        config: The agent's config.json; the key in it is genuine.
        meanwhile: What members do in the room while the stranger is subscribed.

    Raises:
        Leak: An answer was anything but a plain refusal.
    """
    asyncio.run(asyncio.wait_for(_try_everything(url, config, room, meanwhile), WAIT))


def try_again(url: str, config: Path, *, key: str) -> None:
    """Redeem a key after the owner has said no.

    Raises:
        Leak: The key opened something, or the request stands again.
    """
    asyncio.run(asyncio.wait_for(_try_again(url, config, key), WAIT))


async def _try_everything(
    url: str, config: Path, room: str, meanwhile: Callable[[], None]
) -> None:
    async with _agent(config).dial(url) as link:
        await link.ask("subscribed", "subscribe", events=["member", "receipt", "room"])
        for attempt in ATTEMPTS:
            _is_refused(await attempt(link, room))
        await asyncio.to_thread(meanwhile)
        for attempt in ATTEMPTS:
            _is_refused(await attempt(link, room))
        # The hub handles one connection in order: had it pushed, it came before this.
        await link.ask("pong", "ping")
        for pushed in (*link.deliveries, *link.events):
            raise Leak(f"the hub pushed {pushed} to somebody who is no member")


async def _try_again(url: str, config: Path, key: str) -> None:
    async with _agent(config).dial(url) as link:
        reply = await link.request("redeem", code=key)
        if (reply["type"], reply.get("code")) != ("error", "invalid_invite"):
            raise Leak(f"redeeming again was answered by {reply}")


def _agent(config: Path) -> PlainAgent:
    own = json.loads(config.read_text(encoding="utf-8"))
    return PlainAgent.create(own["name"], own.get("role"), own["seed"])


def _is_refused(reply: Frame) -> None:
    if (reply["type"], reply.get("code")) != ("error", "not_member"):
        raise Leak(f"the hub answered {reply} to somebody who is no member")


async def _pull(link: Link, room: str) -> Frame:
    return await link.request("pull", room=room, ack=0)


async def _old_pull(link: Link, room: str) -> Frame:
    return await link.request("pull", room=room)


async def _pull_since(link: Link, room: str) -> Frame:
    return await link.request("pull", room=room, since=0)


async def _long_pull(link: Link, room: str) -> Frame:
    return await link.request("pull", room=room, ack=0, waitSecs=1)


async def _roster(link: Link, room: str) -> Frame:
    return await link.request("roster", room=room)


async def _send(link: Link, room: str) -> Frame:
    parts = link.signed_parts(room, [{"kind": "text", "text": "let me in"}])
    target = {"kind": "room", "room": room}
    return await link.request("send", target=target, parts=parts)


ATTEMPTS: tuple[Callable[[Link, str], Awaitable[Frame]], ...] = (
    _pull,
    _old_pull,
    _pull_since,
    _long_pull,
    _roster,
    _send,
)
