"""Asking an address over HTTP whether a hub is there, without saying who asks.

One GET for the hub's public description: no key, no name and no secret is sent, so a
stranger behind that address learns nothing.
"""

import asyncio
import contextlib
import email.utils
import errno
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from parler.identity.settings import dialled
from parler.text.terminal import visible

PROBE_SECS = 3.0
MAX_ANSWER_BYTES = 64 * 1024
_PATH = "/.well-known/parler.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is at an address."""

    is_hub: bool
    name: str | None = None
    """As the hub calls itself: a stranger's words, made fit to be shown."""
    mode: str | None = None
    protocol: str | None = None
    asks_secret: bool = False
    skew_secs: float | None = None
    """How far its clock is ahead of ours, to a second or so."""


async def ask(
    url: str, *, timeout: float = PROBE_SECS, now: Callable[[], float] = time.time
) -> Answer | None:
    """What answers under a hub's URL; None if nothing listens there.

    Raises:
        ConfigError: The text names no hub.
        OSError: The name cannot be resolved, or TLS failed.
        TimeoutError: Somebody listens, and says nothing.
    """
    parts = urlsplit(dialled(url))
    secure = parts.scheme == "wss"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    path = parts.path.removesuffix("/ws") + _PATH
    context = ssl.create_default_context() if secure else None
    async with asyncio.timeout(timeout):
        try:
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
        except OSError as error:
            if _all_refused(error):
                return None
            raise
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Accept: application/json\r\nConnection: close\r\n\r\n".encode()
            )
            raw = await _read(reader)
        except ConnectionError:
            raw = b""
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()
    return _answer(raw, now())


def _all_refused(error: OSError) -> bool:
    # Several addresses of one name come as one error that has only a text.
    return f"[Errno {errno.ECONNREFUSED}]" in str(error)


async def _read(reader: asyncio.StreamReader) -> bytes:
    raw = b""
    while len(raw) < MAX_ANSWER_BYTES:
        more = await reader.read(MAX_ANSWER_BYTES - len(raw))
        if not more:
            break
        raw += more
    return raw


def _answer(raw: bytes, now: float) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    said = _described(first, body)
    if said is None:
        return Answer(is_hub=False)
    return Answer(
        is_hub=True,
        name=_text(said, "name"),
        mode=_text(said, "mode"),
        protocol=_text(said, "protocolVersion"),
        asks_secret=_asks_secret(said.get("capabilities")),
        skew_secs=_skew(headers.get("date"), now),
    )


def _described(first: str, body: bytes) -> dict[str, object] | None:
    start = body.find(b"{")  # a chunked answer puts its size before it
    end = body.rfind(b"}") + 1
    if not first.startswith("HTTP/1.") or " 200" not in first or start < 0:
        return None
    try:
        said = json.loads(body[start:end])
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("protocolVersion"), str):
        return None
    return said


def _text(said: dict[str, object], name: str) -> str | None:
    value = said.get(name)
    return visible(value)[:80] if isinstance(value, str) else None


def _asks_secret(capabilities: object) -> bool:
    return isinstance(capabilities, dict) and capabilities.get("joinPolicy") == "secret"


def _skew(date: str | None, now: float) -> float | None:
    if not date:
        return None
    try:
        theirs = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    # The header is cut to the second: half of one is the best guess.
    return round(theirs + 0.5 - now, 1)
