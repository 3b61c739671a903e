"""Who may ask the page, checked before anything is looked up.

The page can let agents in and speak as the person, so it is guarded like a key: one
Host, one Origin, processes of this user, a cookie that came for a token of one use, and
for whatever changes something a second token that only our page was told.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.responses import PlainTextResponse, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = "127.0.0.1"
MAX_SESSIONS = 16
"""Browsers that are let in at a time; the oldest has to make room."""

MAX_POST_BYTES = 256 * 2**10
TOKEN_HEADER = b"x-parler-token"
OPEN = frozenset({"/", "/enter"})
"""Paths that tell a browser without a cookie how to get one, and nothing else."""

STATIC = "/static/"
SCRIPTS = (
    "enter.js",
    "page.js",
    "words.js",
    "live.js",
    "notify.js",
    "room.js",
    "tools.js",
)

_SESSION = "parler.session"


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that was let in."""

    token: str
    """What its pages show with whatever they change."""


@dataclass(slots=True)
class Sessions:
    """The browsers that were let in, while this process lives."""

    port: int
    _known: dict[str, Session] = field(default_factory=dict)

    @property
    def cookie_name(self) -> str:
        """Two pages, of two homes, keep two cookies."""
        return f"parler-{self.port}"

    def let_in(self, answer: Response) -> None:
        """Give the browser of an answer a cookie."""
        cookie = secrets.token_urlsafe(32)
        while len(self._known) >= MAX_SESSIONS:
            del self._known[next(iter(self._known))]
        self._known[_digest(cookie)] = Session(secrets.token_urlsafe(32))
        answer.set_cookie(
            self.cookie_name, cookie, path="/", httponly=True, samesite="strict"
        )

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie."""
        return self._known.get(_digest(cookie)) if cookie else None


def _digest(cookie: str) -> str:
    # Looked up by its digest: how long that takes tells nothing of the cookie.
    return sha256(cookie.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Lets requests through to an application, or answers them itself."""

    app: App
    sessions: Sessions
    is_ours: Callable[[Scope], bool]
    """Whether the connection comes from this user (`parler.ui.peer`)."""

    @property
    def host(self) -> str:
        """The one name that the page answers to."""
        return f"{HOST}:{self.sessions.port}"

    @property
    def origin(self) -> str:
        """The one origin that pages of ours have."""
        return f"http://{self.host}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, answer, and put our headers on whatever the answer is."""
        if scope["type"] != "http":  # a WebSocket: there is none here
            await send({"type": "websocket.close", "code": 1008})
            return
        answer: App = self.refusal(scope) or self.app
        await answer(scope, receive, self._with_headers(send))

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not come so; None if it may."""
        if not self.is_ours(scope):
            return _no("this page is another user's", HTTPStatus.FORBIDDEN)
        if _values(scope, b"host") != [self.host]:
            return _no(f"open {self.origin}", HTTPStatus.MISDIRECTED_REQUEST)
        if not self._is_same_origin(scope):
            return _no("other pages may not ask this", HTTPStatus.FORBIDDEN)
        session = self._session(scope)
        scope[_SESSION] = session
        path = scope["path"]
        if session is None and path not in OPEN and not path.startswith(STATIC):
            return _no("run `parler ui` again", HTTPStatus.UNAUTHORIZED)
        if scope["method"] == "POST":
            return self._refused_post(scope, session)
        if scope["method"] != "GET":
            return _no("GET and POST only", HTTPStatus.METHOD_NOT_ALLOWED)
        return None

    def _refused_post(self, scope: Scope, session: Session | None) -> Response | None:
        if _values(scope, b"origin") != [self.origin]:
            return _no("this does not come from the page", HTTPStatus.FORBIDDEN)
        if _values(scope, b"content-type") != ["application/json"]:
            return _no("JSON only", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        [length, *_] = [*_values(scope, b"content-length"), ""]
        chunked = bool(_values(scope, b"transfer-encoding"))  # as long as it likes
        if chunked or not length.isdecimal() or int(length) > MAX_POST_BYTES:
            return _no("too much", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if scope["path"] == "/enter":
            return None
        shown = next(iter(_values(scope, TOKEN_HEADER)), "")
        if session is None or not hmac.compare_digest(
            shown.encode(), session.token.encode()
        ):
            return _no("the page is from before: load it again", HTTPStatus.FORBIDDEN)
        return None

    def _is_same_origin(self, scope: Scope) -> bool:
        origins = _values(scope, b"origin")
        # What needs no permission to be sent may come without an origin.
        sites = {*_values(scope, b"sec-fetch-site")}
        return origins in ([], [self.origin]) and sites <= {"none", "same-origin"}

    def _session(self, scope: Scope) -> Session | None:
        """That of any cookie of ours: a browser sends those of all ports of a host, and
        what other servers name or write in theirs keeps nobody out."""
        for pair in ";".join(_values(scope, b"cookie")).split(";"):
            name, _, value = pair.strip().partition("=")
            if name == self.sessions.cookie_name and (
                found := self.sessions.find(value)
            ):
                return found
        return None

    def _with_headers(self, send: Send) -> Send:
        headers = self._headers()

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        return with_headers

    def _headers(self) -> list[tuple[bytes, bytes]]:
        here = f"{self.origin}{STATIC}"
        policy = "; ".join(
            (
                "default-src 'none'",
                f"script-src {' '.join(here + name for name in SCRIPTS)}",
                f"style-src {here}page.css",
                f"img-src {here}icon.svg",
                f"connect-src {self.origin}",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
                "trusted-types parler",
            )
        )
        return [
            (b"content-security-policy", policy.encode()),
            (b"x-frame-options", b"DENY"),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-store"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
        ]


def session_of(scope: Scope) -> Session | None:
    """The session of a request that the guard let through."""
    found = scope.get(_SESSION)
    return found if isinstance(found, Session) else None


def _no(why: str, status: HTTPStatus) -> Response:
    return PlainTextResponse(f"{why}\n", status_code=status)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [
        value.decode("latin-1").strip()
        for name, value in headers
        if name.lower() == wanted
    ]
