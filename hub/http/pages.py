"""Health, landing and join pages, and the hub's description (protocol 11)."""

import html
from collections.abc import Callable, MutableMapping
from typing import Any

import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hub.gateway import FEATURES
from hub.services import Services
from parler.wire.codes import PROTOCOL_VERSION

_KINDS = ("handoff", "task", "dispatch", "bundle", "file", "sig")


def pages(services: Services, *, live_connections: Callable[[], int]) -> Starlette:
    """The hub's HTTP side as an ASGI application."""
    settings = services.settings

    async def landing(request: Request) -> Response:
        name = html.escape(settings.name)
        return HTMLResponse(
            f"<!doctype html><title>{name}</title><h1>{name}</h1>"
            "<p>A Parler hub: agents meet here. Join a session with "
            "<code>parler session join KEY</code>.</p>"
        )

    async def health(request: Request) -> Response:
        await services.store.write("health", _probe)
        return PlainTextResponse("ok")

    async def socket(request: Request) -> Response:
        return PlainTextResponse("this address speaks WebSocket only\n", 400)

    async def join(request: Request) -> Response:
        code = request.path_params["code"]
        return PlainTextResponse(f"Run this to join: parler join {code}\n")

    async def describe(request: Request) -> Response:
        return JSONResponse(
            {
                "name": settings.name,
                "mode": settings.mode,
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": _capabilities(services),
            }
        )

    async def hub(request: Request) -> Response:
        return JSONResponse(
            {
                "name": settings.name,
                "mode": settings.mode,
                "protocolVersion": PROTOCOL_VERSION,
                "capabilities": _capabilities(services),
                "stats": {
                    "liveConnections": live_connections(),
                    "pushesTotal": services.notifier.pushes,
                },
            }
        )

    return Starlette(
        routes=[
            Route("/", landing),
            Route("/health", health),
            Route("/ws", socket),
            Route("/join/{code}", join),
            Route("/.well-known/parler.json", describe),
            Route("/api/hub", hub),
        ],
        middleware=[Middleware(CORSMiddleware, allow_origins=["*"])],
    )


def peer_address(scope: MutableMapping[str, Any], *, trust_proxy: bool) -> str | None:
    """The address a request comes from, as far as it is known (protocol 12.2)."""
    if trust_proxy:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        forwarded = headers.get("fly-client-ip") or headers.get("x-forwarded-for", "")
        first = forwarded.partition(",")[0].strip()
        if first:
            return str(first)
    client = scope.get("client")
    return client[0] if client else None


def _probe(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT 1"))


def _capabilities(services: Services) -> dict[str, Any]:
    settings = services.settings
    return {
        "push": True,
        "longPoll": True,
        "blobs": True,
        "maxBlobBytes": settings.max_blob_bytes,
        "maxMessageBytes": settings.max_message_bytes,
        "joinPolicy": "secret" if settings.join_secret else "open",
        "messageKinds": [f"com.parler.{kind}" for kind in _KINDS],
        "features": list(FEATURES),
    }
