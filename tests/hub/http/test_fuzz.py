"""Requests nobody would write by hand: never a 500, never a hang, always the contract.

The first half follows a schema of the whole surface, with tokens that are good now and
then; the second sends bytes that are hardly HTTP.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.http.origins import VARY
from parler.wire.records import DirectoryEntry
from tests._support.plainclient import PlainAgent
from tests._support.plainhttp import Answer, fetch, http_link
from tests.conformance.steps import open_room
from tests.hub.conftest import RunningHub, running_hub


class _Strict(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An object with exactly these fields."""


class _Person(_Strict):
    name: str
    role: str | None


class _Agent(_Strict):
    name: str
    role: str | None
    status: str
    activity: str | None
    last_seen: int


class _Message(_Strict):
    seq: int
    ts: int
    author: _Person = msgspec.field(name="from")
    parts: list[dict[str, Any]]


class _Spent(_Strict):
    name: str
    role: str | None
    messages: int
    estimated_tokens: int


class _Stats(_Strict):
    messages: int
    estimated_tokens: int
    first_message_at: int | None
    last_message_at: int | None
    per_agent: list[_Spent]


class _Session(_Strict):
    room: str
    kind: str
    member_count: int
    online_count: int
    agents: list[_Agent]
    messages: list[_Message]
    cursor: int
    stats: _Stats


class _Capabilities(_Strict):
    push: bool
    long_poll: bool
    blobs: bool
    max_blob_bytes: int
    max_message_bytes: int
    join_policy: str
    message_kinds: list[str]
    features: list[str]


class _Description(_Strict):
    name: str
    mode: str
    hub_id: str
    protocol_version: str
    capabilities: _Capabilities


class _HubStats(_Strict):
    live_connections: int
    connections_total: int
    messages_total: int
    estimated_tokens_total: int
    pushes_total: int


class _Hub(_Description):
    agents: int
    public_agents: int
    stats: _HubStats


class _Error(_Strict):
    error: str


BODIES: dict[str, Any] = {
    "/.well-known/parler.json": _Description,
    "/api/hub": _Hub,
    "/api/directory": list[DirectoryEntry],
    "/api/agents/{}": DirectoryEntry,
    "/api/session": _Session,
    "/.well-known/agent-card.json": dict[str, Any],
    "/a2a/directory": list[dict[str, Any]],
    "/a2a/agents/{}": dict[str, Any],
}
PATHS = [*BODIES, "/", "/health", "/ws", "/join/{}", "/api/session/blob/{}", "/{}"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The hub, and things that are good to know about it."""

    hub: RunningHub
    known: list[str]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with running_hub(tmp_path_factory.mktemp("fuzzed")) as hub:
        yield Target(hub=hub, known=asyncio.run(_prepare(hub)))


async def _prepare(hub: RunningHub) -> list[str]:
    ada = PlainAgent.create("ada \u202e\"'<&>", "rôle")
    async with ada.dial(hub.url) as link:
        card = {"id": ada.id, "name": ada.name, "kind": "agent", "tags": ["é", ""]}
        await link.ask("registered", "register", card=card, visibility="public")
        room = (await open_room(link))["room"]
        await link.send(
            room,
            [
                {"kind": "com.parler.observation", "a": [1e308, None, {"b": "\x00"}]},
                {"kind": "text", "text": "\U0001f980\ufffe"},
            ],
        )
        directory = await link.ask("directory_token", "mint_directory_token")
        watch = await link.ask("watch", "mint_watch", room=room)
        return [ada.id, directory["token"], watch["token"]]


texts = st.text(max_size=40) | st.sampled_from(
    ["", "0", "-1", "1", "abc", "hub", "public", "\x00", "../..", "%", "9" * 30, "1e9"]
)
queries = st.dictionaries(
    st.sampled_from(
        ["q", "tag", "skill", "status", "scope", "limit", "since", "token", "name"]
    )
    | st.text(max_size=8),
    texts | st.integers(0, 2),
    max_size=5,
)
header_values = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"),
    max_size=60,
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Host",
            "Authorization",
            "Origin",
            "X-Forwarded-Proto",
            "X-Forwarded-For",
            "Range",
            "If-None-Match",
            "Accept-Encoding",
            "Cookie",
        ]
    ),
    header_values,
    max_size=4,
)


@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "DELETE"]),
    path=st.sampled_from(PATHS),
    segment=texts | st.integers(0, 2),
    query=queries,
    header=headers,
    bearer=st.none() | texts | st.integers(0, 2),
)
def test_every_request_gets_an_answer_of_the_contract(
    target: Target,
    method: str,
    path: str,
    segment: str | int,
    query: dict[str, str | int],
    header: dict[str, str],
    bearer: str | int | None,
) -> None:
    def known(value: str | int) -> str:
        return target.known[value] if isinstance(value, int) else value

    asked = path.replace("{}", quote(known(segment), safe=""))
    asked += "?" + "&".join(
        f"{quote(name)}={quote(known(value))}" for name, value in query.items()
    )
    if isinstance(bearer, int):
        header = header | {"Authorization": f"Bearer {known(bearer)}"}
    answer = asyncio.run(fetch(target.hub.url, asked, method=method, headers=header))
    assert answer.status in {200, 400, 401, 403, 404, 405, 421}, answer
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == VARY
    refused = answer.status == 421 or ("Origin" in header and answer.status == 403)
    if refused:
        assert method == "HEAD" or answer.body
    elif method == "OPTIONS":
        assert (answer.status, answer.body) == (200, b"")
    elif method == "HEAD":
        assert answer.body == b""
    elif method != "GET":
        assert answer.status in (404, 405)
        assert answer.body == b""
    else:
        check_body(path, answer)


def check_body(path: str, answer: Answer) -> None:
    """An answer to GET is what the table of protocol 11 says."""
    shape = BODIES.get(path)
    if answer.status == 200 and shape is not None:
        msgspec.json.decode(answer.body, type=shape, strict=True)
        assert msgspec.json.encode(msgspec.json.decode(answer.body)) == answer.body
    elif answer.status in (401, 403):
        msgspec.json.decode(answer.body, type=_Error)
    elif answer.status == 400:
        assert answer.headers["content-type"].startswith("text/plain")


pieces = st.sampled_from(
    [
        b"GET ",
        b"POST ",
        b"/health",
        b"/api/session?since=",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/9.9\r\n",
        b"Host: localhost\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ]
) | st.binary(max_size=20)


@given(st.lists(pieces, max_size=12).map(b"".join))
def test_bytes_that_are_hardly_http_end_in_an_answer_or_a_close(
    target: Target, data: bytes
) -> None:
    async def story() -> bytes:
        async with http_link(target.hub.url) as link:
            try:
                await link.raw(data)
                link.writer.write_eof()
            except (ConnectionError, OSError):
                return b""
            return await link.closed()

    said = asyncio.run(story())
    assert not said.startswith(b"HTTP/1.1 5"), said[:200]
    assert target.hub.get("/health").status == 200
