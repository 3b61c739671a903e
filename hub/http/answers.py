"""How the hub answers over HTTP: bodies, refusals, query values, bearer tokens.

What all endpoints share and nothing that any of them decides (protocol 11).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.services import Services
from hub.store import tokens
from hub.store.tokens import Access

T = TypeVar("T")
ANSWER_SECS = 30.0
"""How long a request may wait for the database."""

_SCHEME = "bearer "
_MAX_TOKEN = 512


class Refused(Exception):
    """A request that gets a status and a reason instead of its answer."""

    def __init__(self, status: HTTPStatus, reason: str, *, as_json: bool = True):
        """Take the status and words fit for a stranger."""
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.as_json = as_json

    def answer(self) -> Response:
        """The refusal as a response."""
        if not self.as_json:
            return text(self.reason, status=self.status)
        headers = {}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return json({"error": self.reason}, status=self.status, headers=headers)


def json(
    value: Any,
    *,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    """Compact JSON with its length."""
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


def text(
    words: str,
    *,
    status: int = HTTPStatus.OK,
    headers: dict[str, str] | None = None,
) -> Response:
    """A line of plain text."""
    return PlainTextResponse(words + "\n", status_code=status, headers=headers)


def integer(
    request: Request, name: str, *, default: int, lowest: int, highest: int
) -> int:
    """An integer out of the query.

    Raises:
        Refused: It is none, or out of bounds.
    """
    given = request.query_params.get(name)
    if given is None:
        return default
    digits = given.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise _bad_number(name)
    number = int(given)
    if not lowest <= number <= highest:
        raise _bad_number(name)
    return number


def _bad_number(name: str) -> Refused:
    return Refused(
        HTTPStatus.BAD_REQUEST, f"{name} must be an integer in range", as_json=False
    )


def bearer(request: Request, *, query: str | None = None) -> str | None:
    """The bearer token of a request.

    Args:
        query: The query value that may hold it too; the header comes first.
    """
    header: str = request.headers.get("authorization", "")
    token: str | None = None
    if header[: len(_SCHEME)].lower() == _SCHEME:
        token = header[len(_SCHEME) :].strip()
    elif query is not None:
        token = request.query_params.get(query)
    return token if token and len(token) <= _MAX_TOKEN else None


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    """Give what is waited for inside only so long.

    Raises:
        Refused: It took too long.
    """
    try:
        async with asyncio.timeout(ANSWER_SECS):
            yield
    except TimeoutError:
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE, "the hub is too busy", as_json=False
        ) from None


async def query(services: Services, name: str, run: Callable[[sa.Connection], T]) -> T:
    """Read from the database, within bounds and beside the agents' own reads."""
    async with bounded():
        return await services.store.read(name, run, long=True)


async def access_of(services: Services, token: str | None) -> Access | None:
    """What a token opens now; None if it is unknown, expired or missing."""
    if token is None:
        return None
    now = services.now()
    return await query(
        services, "token", lambda connection: tokens.access(connection, token, now=now)
    )
