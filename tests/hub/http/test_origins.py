"""Which pages may ask, and under which names a hub answers."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from hub.app import Hub
from hub.http.metrics import metrics_app
from hub.http.origins import OriginPolicy, is_loopback_name
from hub.settings import Settings
from tests._support.plainhttp import Answer, http_link
from tests.hub.conftest import RunningHub, StartHub

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
EVIL = "https://evil.example"
FRIEND = "https://viewer.example"
PUBLIC_PATHS = ["/", "/health", "/api/hub", "/api/directory", "/a2a/directory", "/no"]
PRIVATE_PATHS = ["/api/session", "/api/session/blob/nothing"]
OUR_NAMES = [
    *("localhost", "localhost:1", "LOCALHOST:7070", "localhost.", "LocalHost.:9"),
    *("127.0.0.1", "127.0.0.1:65535", "127.0.0.1.:80", "127.1.2.3", "127.1"),
    *("0x7f.0.0.1", "0177.0.0.1", "2130706433", "hub.localhost:7070"),
    *("[::1]", "[::1]:7070", "[0:0:0:0:0:0:0:1]", "[::0001]:1", "[::ffff:127.0.0.1]"),
    *("[::FFFF:7F00:1]", "team.example", "TEAM.example.:443"),
]
OTHER_NAMES = [
    *(
        "evil.example",
        "evil.example:7070",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
    ),
    *("localhost..", "xlocalhost", "local_host", "127.0.0.1evil", "128.0.0.1", "127"),
    *("0.0.0.0:7070", "192.168.1.5:7070", "[::2]", "[fe80::1]", "[::1", "::1", "[]"),
    *("user@localhost", "localhost/x", "localhost:x", "localhost:7070:7070", ""),
    *("localhost evil.example", "localhost,evil.example", "[::ffff:10.0.0.1]"),
    *("[::1%25lo]", "team.example.evil.example", "xn--localhost"),
]


def policy(**changes: Any) -> OriginPolicy:
    values: dict[str, Any] = {"host": "127.0.0.1", "url": "wss://team.example"}
    return OriginPolicy(**values | changes)


def scope(
    *headers: tuple[str, str], path: str = "/api/hub", method: str = "GET"
) -> dict[str, Any]:
    lines = [
        (name.lower().encode(), value.encode("latin-1")) for name, value in headers
    ]
    return {"type": "http", "path": path, "method": method, "headers": lines}


def status(answer: Response | None) -> int | None:
    return None if answer is None else answer.status_code


def send(
    hub: RunningHub, *headers: tuple[str, str], target: str = "/ws", method: str = "GET"
) -> Answer:
    """One request with exactly these headers, in this order."""

    async def ask() -> Answer:
        async with http_link(hub.url) as link:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            await link.raw(
                f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
            )
            return await link.answer(to_head=True)

    return asyncio.run(ask())


# names


@pytest.mark.parametrize("name", OUR_NAMES)
def test_hub_on_the_loopback_answers_to_its_own_names(name: str) -> None:
    assert policy().refusal(scope(("Host", name))) is None


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_hub_on_the_loopback_answers_to_no_other_name(name: str) -> None:
    assert status(policy().refusal(scope(("Host", name)))) == 421


@pytest.mark.parametrize("name", ["evil.example", "192.168.1.5:7070"])
def test_hub_on_a_network_answers_to_every_name(name: str) -> None:
    assert policy(host="0.0.0.0").refusal(scope(("Host", name))) is None


def test_request_without_a_host_is_no_browsers_and_answered() -> None:
    assert policy().refusal(scope()) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_two_hosts_are_a_bad_request(host: str) -> None:
    asked = scope(("Host", "localhost"), ("Host", "evil.example"))
    assert status(policy(host=host).refusal(asked)) == 400


@given(st.text(max_size=40))
def test_no_text_is_a_loopback_name_by_accident(name: str) -> None:
    mentions = "localhost" in name or "::" in name or name[:1].isdigit() or "[" in name
    assert mentions or not is_loopback_name(name)


TARGETS = {
    "http://localhost/api/hub": 200,
    "http://localhost:7070/api/hub?x": 200,
    "HTTP://[::1]/api/hub": 200,
    "http://evil.example/api/hub": 421,
    "http://evil.example": 421,
    "http://evil.example?a=/": 421,
    "http://user@localhost/api/hub": 421,
    "//evil.example/api/hub": 404,
}


def test_authority_of_an_absolute_target_is_the_host(start_hub: StartHub) -> None:
    hub = start_hub()
    for target, expected in TARGETS.items():
        here = send(hub, ("Host", "localhost"), target=target)
        assert (target, here.status) == (target, expected)
        there = send(hub, ("Host", "evil.example"), target=target)
        assert (target, there.status) == (target, 200 if expected == 200 else 421)
    upgrade = send(
        hub, ("Host", "localhost"), *UPGRADE, target="http://evil.example/ws"
    )
    assert upgrade.status == 421
    here = send(hub, ("Host", "evil.example"), *UPGRADE, target="http://localhost/ws")
    assert here.status == 101


# upgrades


STRANGE_ORIGINS = (
    *(EVIL, "null", "", "file://", "http://localhost:7070", "http://127.0.0.1"),
    *("http://team.example", "https://team.example:8443", "https://TEAM.example"),
    *("https://team.example.evil.example", "moz-extension://0123"),
)


@pytest.mark.parametrize("public", [False, True])
def test_upgrade_by_a_page_is_refused_before_any_frame(
    start_hub: StartHub, public: bool
) -> None:
    hub = start_hub(url="wss://team.example", public=public)
    for origin in STRANGE_ORIGINS:
        answer = send(hub, ("Host", "localhost"), ("Origin", origin), *UPGRADE)
        assert (origin, answer.status) == (origin, 403)
        assert "access-control-allow-origin" not in answer.headers
    assert hub.hub.connections_total == 0


@pytest.mark.parametrize("second", [EVIL, "https://team.example"])
def test_two_origins_are_none(start_hub: StartHub, second: str) -> None:
    sent = [("Host", "localhost"), ("Origin", "https://team.example")]
    sent.append(("Origin", second))
    assert status(policy().refusal(scope(*sent))) == 403
    hub = start_hub(url="wss://team.example")
    assert send(hub, *sent, *UPGRADE).status in (400, 403)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("wss://team.example", "https://team.example"),
        ("https://Team.Example/hub/ws", "https://team.example"),
        ("wss://team.example:443", "https://team.example"),
        ("wss://team.example:8443", "https://team.example:8443"),
        ("wss://bücher.example", "https://xn--bcher-kva.example"),
        ("wss://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_origin_of_an_encrypted_url_may_connect(
    start_hub: StartHub, url: str, origin: str
) -> None:
    hub = start_hub(url=url)
    sent = (("Host", "localhost"), ("Origin", origin))
    assert send(hub, *sent, *UPGRADE).status == 101


@pytest.mark.parametrize("url", ["ws://team.example", "parler://team.example", None])
def test_url_without_encryption_allows_no_origin(
    start_hub: StartHub, url: str | None
) -> None:
    hub = start_hub(url=url)
    for origin in ("http://team.example", "https://team.example"):
        sent = (("Host", "localhost"), ("Origin", origin), *UPGRADE)
        assert send(hub, *sent).status == 403


def test_named_origin_may_connect_and_read_everything(start_hub: StartHub) -> None:
    hub = start_hub(allow_origin=frozenset({EVIL}))
    sent = (("Host", "localhost"), ("Origin", EVIL))
    assert send(hub, *sent, *UPGRADE).status == 101
    for path in PUBLIC_PATHS + PRIVATE_PATHS:
        answer = send(hub, *sent, target=path)
        assert answer.headers["access-control-allow-origin"] == EVIL
    other = send(hub, ("Host", "localhost"), ("Origin", "https://e.example"), *UPGRADE)
    assert other.status == 403


def test_star_lets_every_page_in_as_before(start_hub: StartHub) -> None:
    hub = start_hub(allow_origin=frozenset({"*"}))
    for origin in (EVIL, "null"):
        sent = (("Host", "localhost"), ("Origin", origin))
        assert send(hub, *sent, *UPGRADE).status == 101
        answer = send(hub, *sent, target="/api/session")
        assert answer.status == 401
        assert answer.headers["access-control-allow-origin"] == "*"
    rebound = send(hub, ("Host", "evil.example"), ("Origin", EVIL), *UPGRADE)
    assert rebound.status == 421


def test_upgrade_under_a_rebound_name_is_refused(start_hub: StartHub) -> None:
    hub = start_hub()
    for origin in ([], [("Origin", "http://evil.example:7070")]):
        sent = (("Host", "evil.example:7070"), *origin, *UPGRADE)
        assert send(hub, *sent).status == 421
    assert hub.hub.connections_total == 0


# plain requests


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
def test_private_hub_answers_no_page(method: str) -> None:
    pages = itertools.product(PUBLIC_PATHS + PRIVATE_PATHS, (EVIL, "null"))
    for path, origin in pages:
        asked = scope(("Origin", origin), path=path, method=method)
        assert status(policy().refusal(asked)) == 403
        assert b"access-control-allow-origin" not in dict(policy().headers(asked))


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_public_hub_shows_every_page_what_is_public(path: str) -> None:
    asked = scope(("Origin", EVIL), path=path)
    public = policy(public=True)
    assert public.refusal(asked) is None
    assert dict(public.headers(asked))[b"access-control-allow-origin"] == b"*"


@pytest.mark.parametrize(
    "asked",
    [
        *(scope(("Origin", EVIL), path=path) for path in PRIVATE_PATHS),
        scope(("Origin", EVIL), ("Authorization", "Bearer x"), path="/api/directory"),
        scope(("Origin", EVIL), method="POST"),
        scope(("Origin", "null"), method="DELETE"),
    ],
)
def test_public_hub_shows_no_page_what_is_private(asked: dict[str, Any]) -> None:
    public = policy(public=True)
    assert status(public.refusal(asked)) == 403
    assert b"access-control-allow-origin" not in dict(public.headers(asked))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something-new"])
@pytest.mark.parametrize(
    ("mode", "dest", "method"),
    [
        ("no-cors", "script", "GET"),
        ("no-cors", "image", "GET"),
        ("navigate", "iframe", "GET"),
        ("navigate", "document", "POST"),
        ("websocket", "websocket", "GET"),
    ],
)
def test_request_of_a_page_without_an_origin_is_known_by_its_metadata(
    site: str, mode: str, dest: str, method: str
) -> None:
    told = (
        ("Sec-Fetch-Site", site),
        ("Sec-Fetch-Mode", mode),
        ("Sec-Fetch-Dest", dest),
    )
    assert status(policy().refusal(scope(*told, method=method))) == 403


@pytest.mark.parametrize(
    "told",
    [
        (("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")),
        (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Dest", "image")),
        (
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ),
    ],
)
def test_person_may_open_a_page_of_the_hub(told: tuple[tuple[str, str], ...]) -> None:
    assert policy().refusal(scope(*told, path="/join/ABCD2345")) is None


def test_refused_page_uses_up_nothing_of_its_users_budget(start_hub: StartHub) -> None:
    hub = start_hub(max_http_per_min=1)
    for _ in range(5):
        assert send(hub, ("Host", "h"), *UPGRADE).status == 421
        sent = (("Host", "localhost"), ("Origin", EVIL))
        assert send(hub, *sent, target="/api/hub").status == 403
    assert send(hub, ("Host", "localhost"), *UPGRADE).status == 101


def test_numbers_for_the_operator_are_for_no_page(tmp_path: Path) -> None:
    settings = Settings(
        host="127.0.0.1",
        port=0,
        db=tmp_path / "hub.sqlite",
        url="wss://team.example",
        allow_origin=frozenset({FRIEND}),
    )
    hub = Hub(settings)
    app = metrics_app(hub, host="127.0.0.1")

    def ask(*headers: tuple[str, str]) -> int:
        sent: list[Any] = []

        async def story() -> None:
            async def receive() -> dict[str, Any]:
                return {"type": "http.request"}

            async def note(message: Any) -> None:
                sent.append(message)

            asked = scope(*headers, path="/metrics") | {"query_string": b""}
            await app(asked, receive, note)

        asyncio.run(story())
        return int(sent[0]["status"])

    assert ask(("Host", "localhost:9100")) == 200
    assert ask(("Host", "team.example:9100")) == 200
    assert ask(("Host", "localhost:9100"), ("Origin", FRIEND)) == 200
    assert ask(("Host", "evil.example:9100")) == 421
    assert ask(("Host", "localhost:9100"), ("Origin", EVIL)) == 403
    asyncio.run(hub.store.close())
