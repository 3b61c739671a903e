"""Messages no honest program sends: any parts, in the name of an agent of a test."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from parler.client.client import Client, connect
from parler.identity.identity import load_identity
from parler.wire.base import RoomName
from parler.wire.parts import OtherPart
from parler.wire.records import RoomTarget
from tests._support.processes import Agent


def send_parts(agent: Agent, room: str, parts: list[dict[str, Any]]) -> None:
    """Send parts as they are, signed by the agent."""

    async def send(client: Client, target: RoomTarget) -> None:
        await client.send(target, [_as_it_is(part) for part in parts])

    asyncio.run(_connected(agent, room, send))


def send_files(agent: Agent, room: str, files: dict[str, bytes]) -> dict[str, str]:
    """Send files under any names; returns the id of each one's blob."""
    ids: dict[str, str] = {}

    async def send(client: Client, target: RoomTarget) -> None:
        for name, data in files.items():
            stored = await client.put_blob(target, data)
            part = {"kind": "com.parler.file", "name": name, "blob": stored.id}
            part |= {"size": len(data)}
            await client.send(target, [_as_it_is(part)])
            ids[name] = stored.id

    asyncio.run(_connected(agent, room, send))
    return ids


def send_bundle(agent: Agent, room: str, data: bytes, tip: str) -> str:
    """Send bytes as a bundle, whatever they are; returns the id of their blob."""
    ids: list[str] = []

    async def send(client: Client, target: RoomTarget) -> None:
        stored = await client.put_blob(target, data)
        part = {"kind": "com.parler.bundle", "vcs": "git", "blob": stored.id}
        part |= {"size": len(data), "tip": tip}
        await client.send(target, [_as_it_is(part)])
        ids.append(stored.id)

    asyncio.run(_connected(agent, room, send))
    return ids[0]


async def _connected(
    agent: Agent, room: str, act: Callable[[Client, RoomTarget], Awaitable[None]]
) -> None:
    identity = load_identity(agent.home)
    hub = agent.environment["PARLER_HUB"]
    async with connect(hub, identity.keypair, name=identity.name) as client:
        await act(client, RoomTarget(room=RoomName(room)))


def _as_it_is(part: dict[str, Any]) -> OtherPart:
    fields = {name: value for name, value in part.items() if name != "kind"}
    return OtherPart(kind=part["kind"], fields=fields)
