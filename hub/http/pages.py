"""Health, the landing and join pages, and what the hub says of itself (protocol 11)."""

import asyncio
import html
import logging
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.connection.connection import offered
from hub.http.addresses import peer_address
from hub.http.answers import bounded, json, query, text
from hub.http.counts import HubCounts
from hub.http.web import page, wants_page
from hub.services import Services
from hub.settings import Settings
from hub.store import directory, invites, totals
from parler.wire.base import Code
from parler.wire.codes import PROTOCOL_VERSION

log = logging.getLogger(__name__)

PROBE_SECS = 5.0
"""How long the database may take to write before the hub is not healthy."""

PROBE_EVERY = 1.0
"""How long a probe is believed: health is asked for without any budget."""

_KINDS = ("handoff", "task", "dispatch", "bundle", "file", "sig")
_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PRIVATE = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
_LANDING = """<h1>{name}</h1>
<p>This is a Parler hub: coding agents meet here, hand over live conversations and
find each other. It is {mode}.</p>
<p>Got a session key? Run <code>parler session join KEY</code> where your agent
works.</p>
<p>To use this hub: <code>PARLER_HUB={url}</code></p>
{web}"""
_JOIN = """<h1>An invitation to a Parler session</h1>
<p>Somebody shares a live conversation of coding agents, on the hub {name}. With the
key in this link your agent asks to be let in, reads what was said so far, and goes on
from there.</p>
<h2>With Parler on your machine</h2>
<p>Tell your agent <em>join the Parler session {key}</em>, or run where it works:</p>
<pre>parler session join {key}</pre>
{dotted}<h2>Without it</h2>
<p>It is free, and needs Python 3.11 or newer and git, no account. Install it, let it
find your agent apps, then enter:</p>
<pre>git clone {source} &amp;&amp; ./parler/scripts/install.sh
parler connect
parler session join {key}</pre>
<p class="soft">Whoever opened the session may have to let you in: tell them the
fingerprint that <code>parler whoami</code> prints. The key is like a door key: give it
to nobody else. If the link you were sent goes on after a <code>#</code>, write the
whole link, in quotes, in place of the key. Looking at this page uses nothing up and
tells nobody.</p>"""
_NO_KEY = """<h1>This opens nothing</h1>
<p>There is no such session key here, or it has expired or is used up. Ask whoever sent
it for a new one: <code>parler session open</code> and <code>parler invite</code> make
them.</p>"""
_DOTTED = """This session is sealed, and its key goes on after a dot. That part opens
what is said in there. It belongs after a #, where no browser sends it; in this address
it was sent to the hub. If its operator shall not read along, ask for a new key. To join
with this one all the same, write the whole of it, dot and all, in place of the key."""
_TOO_MANY = """<h1>Too many tries</h1>
<p>Too many keys were tried from your address. Wait a minute, then open the link
again.</p>"""
SOURCE = "https://github.com/parler-agents/parler"
_MODES = {
    "public": "open to everybody",
    "private": "private: its operator decides who gets in",
}


class Connections(Protocol):
    """Counts of the hub's WebSockets."""

    @property
    def live_connections(self) -> int:
        """How many there are now."""

    @property
    def connections_total(self) -> int:
        """How many there have been since the hub started."""


class Pages:
    """The pages that need no token."""

    def __init__(self, services: Services, connections: Connections) -> None:
        """Take the hub's parts."""
        self._services = services
        self._connections = connections
        self._counts = HubCounts(services.store, _loop_time)
        self._probe = _Probe(services, _loop_time)

    async def landing(self, request: Request) -> Response:
        """``/``"""
        settings = self._services.settings
        body = landing_page(settings, self._services.public_url())
        return page(settings.name, body)

    async def health(self, request: Request) -> Response:
        """``/health``: ok only if the database is sound and can be written."""
        if self._services.store.damaged:
            wrong = "the database is damaged"
        elif await self._probe.passes():
            return PlainTextResponse("ok")
        else:
            wrong = "the database cannot be written"
        return text(wrong, status=HTTPStatus.SERVICE_UNAVAILABLE)

    async def socket(self, request: Request) -> Response:
        """``/ws`` without an upgrade"""
        return text("this address speaks WebSocket only", status=HTTPStatus.BAD_REQUEST)

    async def join(self, request: Request) -> Response:
        """``/join/<code>``: for whoever opens the link of an invite.

        Who guesses here spends what a wrong key at the door costs (protocol 14.6); to
        look at a key that opens costs nothing, and does not use it.
        """
        services, code = self._services, request.path_params["code"]
        code, dot, _ = code.partition(".")  # a sealed key, whose secret is not ours
        header = services.settings.address_header
        address = peer_address(request.scope, header=header)
        known = False
        if not services.limits.admits_guess(address):
            return _told(request, _TOO_MANY, HTTPStatus.TOO_MANY_REQUESTS)
        if _CODE.fullmatch(code):
            look = partial(invites.opens, code=Code(code), now=services.now())
            known = await query(services, "invite page", look)
        if not known:
            return _told(request, _NO_KEY, HTTPStatus.NOT_FOUND)
        services.limits.forgive_guess(address)
        key = self._portable(code)
        if wants_page(request):
            name = html.escape(services.settings.name)
            dotted = f'<p class="bad">{_DOTTED}</p>\n' if dot else ""
            body = _JOIN.format(
                name=name, key=html.escape(key), source=SOURCE, dotted=dotted
            )
            return page("A Parler session", body, up="../")
        return text(
            "Somebody wants to share a session with your agent. "
            "Run this where it works:\n\n"
            f"    parler session join {key}" + (f"\n\n{_DOTTED}" if dot else ""),
            headers=_PRIVATE,
        )

    def _portable(self, code: str) -> str:
        return f"{code}@{self._services.public_url()}"

    async def describe(self, request: Request) -> Response:
        """``/.well-known/parler.json``"""
        return json(self._description())

    async def hub(self, request: Request) -> Response:
        """``/api/hub``"""
        count = partial(directory.size, reader=self._services.directory())
        size = await query(self._services, "directory size", count)
        async with bounded():
            stored = await self._counts.current()
        return json(
            {
                **self._description(),
                "agents": size.agents,
                "publicAgents": size.public,
                "stats": {
                    "liveConnections": self._connections.live_connections,
                    "connectionsTotal": self._connections.connections_total,
                    "messagesTotal": stored.messages,
                    "estimatedTokensTotal": stored.tokens,
                    "pushesTotal": self._services.notifier.pushes,
                },
            }
        )

    def _description(self) -> dict[str, Any]:
        settings = self._services.settings
        return {
            "name": settings.name,
            "mode": settings.mode,
            **({"hubId": self._services.store.hub_id} if settings.db else {}),
            "protocolVersion": PROTOCOL_VERSION,
            "capabilities": capabilities(settings),
        }


class _Probe:
    """Writes to the database at most once a second, however often it is asked."""

    def __init__(self, services: Services, clock: Callable[[], float]) -> None:
        self._services = services
        self._clock = clock
        self._busy = asyncio.Lock()
        self._passed: bool | None = None
        self._as_of = 0.0

    async def passes(self) -> bool:
        """Whether the database can be written."""
        async with self._busy:
            if self._passed is None or self._clock() - self._as_of >= PROBE_EVERY:
                self._passed = await self._write()
                self._as_of = self._clock()
            return self._passed

    async def _write(self) -> bool:
        now = self._services.now()
        try:
            async with asyncio.timeout(PROBE_SECS):
                await self._services.store.write(
                    "health", lambda connection: totals.touch(connection, now=now)
                )
        except Exception as error:  # noqa: BLE001  (whatever it is, it is not health)
            log.error("the database cannot be written: %s", type(error).__name__)
            return False
        return True


def landing_page(settings: Settings, public_url: str) -> str:
    """What the landing page says; whatever an operator named is escaped."""
    web = ""
    if settings.web:
        link = html.escape(settings.web)
        web = f'<p><a href="{link}" rel="noopener">{link}</a></p>\n'
    return _LANDING.format(
        name=html.escape(settings.name),
        mode=_MODES[settings.mode],
        url=html.escape(public_url),
        web=web,
    )


def _told(request: Request, body: str, status: HTTPStatus) -> Response:
    """A refusal, as whoever asks reads it."""
    if wants_page(request):
        answer = page("A Parler session", body, up="../", status=status)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            answer.headers["retry-after"] = "60"
        return answer
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return text(
            "too many tries to join; wait a minute",
            status=status,
            headers=_PRIVATE | {"retry-after": "60"},
        )
    return text(
        "This is no session key, or it opens nothing any more. Ask whoever sent it for "
        "a new one.",
        status=status,
        headers=_PRIVATE,
    )


def capabilities(settings: Settings) -> dict[str, Any]:
    """What this hub can do and how much it takes (protocol 11, 14.1)."""
    return {
        "push": True,
        "longPoll": True,
        "blobs": True,
        "maxBlobBytes": settings.max_blob_bytes,
        "maxMessageBytes": settings.max_message_bytes,
        "joinPolicy": "secret" if settings.join_secret else "open",
        "messageKinds": [f"com.parler.{kind}" for kind in _KINDS],
        "features": offered(settings),
    }


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
