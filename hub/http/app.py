"""The routes of the hub's HTTP side, and what holds for every request (protocol 11):
who may come in, the budget per address, empty refusals, errors that say nothing of the
inside.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import Refusal
from hub.http import web
from hub.http.a2a import A2aPages
from hub.http.addresses import is_near, peer_address
from hub.http.answers import Refused, text
from hub.http.directory import DirectoryPages
from hub.http.origins import OriginPolicy
from hub.http.pages import Connections, Pages
from hub.http.phone_page import phone
from hub.http.viewer import Viewer
from hub.services import Services
from parler.wire.codes import MEANINGS

log = logging.getLogger(__name__)

HEALTH = "/health"
_PREFLIGHT = {
    "access-control-allow-methods": "*",
    # Browsers do not let the star cover `authorization`.
    "access-control-allow-headers": "authorization, content-type, *",
}


class Site:
    """The hub's HTTP side as an ASGI application."""

    def __init__(self, services: Services, connections: Connections) -> None:
        """Put the pages together.

        Args:
            connections: Counts of WebSockets, for the statistics.
        """
        settings = services.settings
        self._services = services
        self._origins = OriginPolicy(
            host=settings.host,
            url=settings.url,
            public=settings.public,
            allowed=settings.allow_origin,
        )
        self._routes = _routes(services, connections)
        self.answers: Counter[int] = Counter()
        """Answers by status, for the metrics."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        with contextlib.suppress(Exception):  # `_failed` has logged it
            await self.answer(self._answering(scope), scope, receive, send)

    async def answer(
        self, answer: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request or an upgrade, and say which pages may read that."""

        async def send_safely(message: Message) -> None:
            if message["type"].endswith("http.response.start"):
                self.answers[message["status"]] += 1
                headers = [*message["headers"], *self._origins.headers(scope)]
                message = {**message, "headers": headers}
            await send(message)

        await answer(scope, receive, send_safely)

    @property
    def methods(self) -> dict[str, frozenset[str]]:
        """The paths that are answered, each with its methods."""
        return {
            route.path: frozenset(route.methods or ()) | {"OPTIONS"}
            for route in self._routes.routes
            if isinstance(route, Route)
        }

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to whoever may not come in at all; nothing is counted.

        A page that is refused so cannot use up what its user's own agents may ask.
        """
        if self._services.settings.lan_only and not is_near(scope.get("client")):
            return text(
                "this hub is for its own network only", status=HTTPStatus.FORBIDDEN
            )
        return self._origins.refusal(scope)

    def admits(self, scope: Scope) -> bool:
        """Count a request or an upgrade; False if its address had too many."""
        header = self._services.settings.address_header
        address = peer_address(scope, header=header)
        return address is None or self._services.limits.admits_http(address)

    def _answering(self, scope: Scope) -> ASGIApp:
        refusal = self.refusal(scope)
        if refusal is not None:
            return refusal
        if scope["method"] == "OPTIONS":
            return Response(headers=_PREFLIGHT)
        if scope["path"] != HEALTH and not self.admits(scope):
            return too_many()
        return self._routes


def too_many() -> Response:
    """The answer to somebody over its budget."""
    return text(
        "too many requests from this address; wait a minute",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        headers={"retry-after": "60"},
    )


def _routes(services: Services, connections: Connections) -> Starlette:
    pages = Pages(services, connections)
    directory = DirectoryPages(services)
    a2a = A2aPages(services, directory)
    viewer = Viewer(services)
    table: dict[str, Callable[[Request], object]] = {
        "/": pages.landing,
        HEALTH: pages.health,
        "/ws": pages.socket,
        "/join/{code}": pages.join,
        "/phone": phone,
        "/phone/{file}": phone,
        "/.well-known/parler.json": pages.describe,
        "/api/hub": pages.hub,
        "/api/directory": directory.search,
        "/api/agents/{agent}": directory.agent,
        "/session": web.session,
        **{f"/{name}": web.static for name in web.STATIC},
        "/api/session": viewer.session,
        "/api/session/blob/{blob}": viewer.blob,
        "/.well-known/agent-card.json": a2a.hub,
        "/a2a/directory": a2a.search,
        "/a2a/agents/{agent}": a2a.agent,
    }
    site = Starlette(
        routes=[Route(path, endpoint) for path, endpoint in table.items()],
        exception_handlers={
            HTTPException: _empty,
            Refused: _refused,
            Refusal: _refusal,
            Exception: _failed,
        },
    )
    site.router.redirect_slashes = False
    return site


async def _empty(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(status_code=error.status_code, headers=error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer()


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    status = 400 if error.code is None else MEANINGS[error.code].http_status
    return text(error.message, status=status)


async def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error.__cause__, Refused):  # its right ended in mid-answer
        log.info("an HTTP answer was cut off: %s", error.__cause__.reason)
    else:
        log.error("an HTTP request failed", exc_info=error)
    return text("the hub failed", status=HTTPStatus.INTERNAL_SERVER_ERROR)
