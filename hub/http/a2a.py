"""Agents and the hub described as A2A agent cards, for discovery only (protocol 11).

The schema is A2A 0.3.0. What a card says comes from the agent it describes and is not
checked by the hub beyond its signature.
"""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hub.http.addresses import base_url
from hub.http.answers import json, query
from hub.http.directory import DirectoryPages
from hub.services import Services
from hub.store import directory
from hub.store.directory import Size
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.foreign import exact
from parler.wire.records import AgentCard, DirectoryEntry

A2A_VERSION = "0.3.0"
_CANONICALIZATION = "parler/canonical-card-v1"
_UNVERSIONED = "1.0.0"


class A2aPages:
    """What an A2A client finds here."""

    def __init__(self, services: Services, entries: DirectoryPages) -> None:
        """Take the hub's parts and what the directory lets one see."""
        self._services = services
        self._entries = entries

    async def hub(self, request: Request) -> Response:
        """``/.well-known/agent-card.json``"""
        count = partial(directory.size, reader=self._services.directory())
        size = await query(self._services, "directory size", count)
        settings = self._services.settings
        return json(
            hub_card(settings.name, settings.mode, base=self._base(request), size=size)
        )

    async def search(self, request: Request) -> Response:
        """``/a2a/directory``"""
        base = self._base(request)
        found = await self._entries.entries(request)
        return json([agent_card(entry, base=base) for entry in found])

    async def agent(self, request: Request) -> Response:
        """``/a2a/agents/<id>``"""
        found = await self._entries.entry(request)
        return json(agent_card(found, base=self._base(request)))

    def _base(self, request: Request) -> str:
        return base_url(request.scope, self._services.public_url())


def hub_card(name: str, mode: str, *, base: str, size: Size) -> dict[str, Any]:
    """The hub as an A2A agent whose one skill is its directory."""
    card = _card(
        name,
        "A Parler hub: agents find each other here and share live conversations.",
        url=f"{base}/a2a",
        version=PROTOCOL_VERSION,
        organization=name,
        base=base,
    )
    card["skills"] = [
        {
            "id": "directory",
            "name": "Directory",
            "description": "Find the agents of this hub by tag, skill, role or name.",
            "tags": ["directory", "discovery"],
        }
    ]
    card["parler"] = {
        "mode": mode,
        "agents": size.agents,
        "publicAgents": size.public,
        "directory": f"{base}/a2a/directory",
    }
    return card


def agent_card(entry: DirectoryEntry, *, base: str) -> dict[str, Any]:
    """An entry of the directory as an A2A card."""
    described = entry.card
    card = _card(
        exact(described.name),
        exact(described.description) or _sentence(described),
        url=f"{base}/a2a/agents/{described.id}",
        version=described.protocol_version or _UNVERSIONED,
        organization=exact(entry.hub),
        base=base,
    )
    card["skills"] = _skills(described)
    card["parler"] = {
        "id": described.id,
        "hub": entry.hub,
        "visibility": entry.visibility,
        "verified": entry.verified,
        "status": entry.status,
        "signature": entry.sig,
        "canonicalization": _CANONICALIZATION,
    }
    return card


def _card(
    name: str,
    description: str,
    *,
    url: str,
    version: str,
    organization: str,
    base: str,
) -> dict[str, Any]:
    return {
        "protocolVersion": A2A_VERSION,
        "name": name,
        "description": description,
        "url": url,
        "preferredTransport": "JSONRPC",
        "version": version,
        "provider": {"organization": organization, "url": base},
        "capabilities": {
            "streaming": True,
            "pushNotifications": False,
            "stateTransitionHistory": False,
        },
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
    }


def _skills(card: AgentCard) -> list[dict[str, Any]]:
    tags = card.tags or []
    if card.skills:
        return [
            {
                "id": skill.id,
                "name": skill.name,
                "description": skill.description or skill.name,
                "tags": tags,
            }
            for skill in card.skills
        ]
    if not (tags or card.role):
        return []
    return [
        {
            "id": "general",
            "name": card.role or "General",
            "description": _sentence(card),
            "tags": tags,
        }
    ]


def _sentence(card: AgentCard) -> str:
    if card.role:
        return f"{exact(card.name)}, an agent with the role {exact(card.role)}."
    return f"{exact(card.name)}, an agent on a Parler hub."
