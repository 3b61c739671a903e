"""The page by which a person's phone talks to the person's own machine.

Files that are the same for everybody: what the page is given stands behind the ``#`` of
its address, which no browser sends. They are read when first asked for.
"""

from functools import cache
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from hub.http.answers import text

INDEX = "index.html"
_TYPES = {
    INDEX: "text/html; charset=utf-8",
    "phone.css": "text/css; charset=utf-8",
    "phone.js": "text/javascript; charset=utf-8",
    "wire.js": "text/javascript; charset=utf-8",
}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


async def phone(request: Request) -> Response:
    """``/phone``, and ``/phone/<file>``"""
    name = request.path_params.get("file", INDEX)
    if name not in _TYPES:
        return text("there is no such file", status=HTTPStatus.NOT_FOUND)
    return Response(_read(name), media_type=_TYPES[name], headers=_HEADERS)


@cache
def _read(name: str) -> bytes:
    return (Path(__file__).with_name("phone") / name).read_bytes()
