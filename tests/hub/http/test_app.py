"""What holds for every HTTP request: headers, methods, budget, connections."""

import asyncio
from typing import Any

import pytest

from hub.http.origins import VARY
from tests._support.plainhttp import Answer, fetch, http_link
from tests.hub.conftest import RunningHub, StartHub

PATHS = [
    "/",
    "/health",
    "/ws",
    "/join/ABCD2345",
    "/phone",
    "/phone/phone.js",
    "/api/hub",
    "/.well-known/parler.json",
    "/api/directory",
    "/api/agents/nobody",
    "/api/session",
    "/api/session/blob/nothing",
    "/.well-known/agent-card.json",
    "/a2a/directory",
    "/a2a/agents/nobody",
    "/no/such/path",
]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def is_for_no_page(answer: Answer) -> bool:
    return (
        "access-control-allow-origin" not in answer.headers
        and answer.headers["cross-origin-resource-policy"] == "same-origin"
        and answer.headers["vary"] == VARY
    )


@pytest.mark.parametrize("path", PATHS)
def test_answer_of_a_private_hub_is_for_no_page(hub: RunningHub, path: str) -> None:
    assert is_for_no_page(hub.get(path))


def test_preflight_of_any_path_lists_the_authorization_header(
    start_hub: StartHub,
) -> None:
    hub = start_hub(allow_origin=frozenset({"https://viewer.example"}))
    origin = {"Origin": "https://viewer.example"}
    for path in PATHS:
        answer = hub.get(path, method="OPTIONS", headers=origin)
        assert (answer.status, answer.body) == (200, b""), path
        assert answer.headers["access-control-allow-methods"] == "*"
        allowed = answer.headers["access-control-allow-headers"]
        assert "authorization, content-type" in allowed
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_like_get_without_a_body(hub: RunningHub, path: str) -> None:
    got, headed = hub.get(path), hub.get(path, method="HEAD")
    assert headed.status == got.status
    assert headed.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_wrong_method_is_refused_with_an_empty_body(
    hub: RunningHub, method: str
) -> None:
    for path in PATHS[:-1]:
        answer = hub.get(path, method=method, body=b"some bytes")
        assert (answer.status, answer.body) == (405, b""), path
        assert is_for_no_page(answer)


@pytest.mark.parametrize("path", ["/nope", "/health/", "//", "/api", "/join/"])
def test_unknown_path_is_not_found_with_an_empty_body(
    hub: RunningHub, path: str
) -> None:
    answer = hub.get(path)
    assert (answer.status, answer.body) == (404, b"")


def test_connection_serves_many_requests_until_asked_to_close(hub: RunningHub) -> None:
    async def story() -> None:
        async with http_link(hub.url) as link:
            for path in PATHS:
                assert (await link.ask(path)).headers["content-length"]
            await link.ask("/nope", method="POST", body=b"x" * 100_000)
            last = await link.ask("/health", headers={"Connection": "close"})
            assert last.headers["connection"] == "close"
            assert await link.closed() == b""

    asyncio.run(story())


def test_pipelined_requests_are_answered_in_order(hub: RunningHub) -> None:
    async def story() -> None:
        async with http_link(hub.url) as link:
            await link.raw(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"
                b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            statuses = [(await link.answer()).status for _ in range(3)]
            assert statuses == [200, 404, 400]

    asyncio.run(story())


def test_budget_of_an_address_covers_everything_but_health(
    start_hub: StartHub,
) -> None:
    hub = start_hub(max_http_per_min=3)
    assert [hub.get("/api/hub").status for _ in range(3)] == [200, 200, 200]
    over = hub.get("/api/hub")
    assert over.status == 429
    assert over.headers["retry-after"] == "60"
    assert over.headers["content-type"].startswith("text/plain")
    assert is_for_no_page(over)
    assert hub.get("/nope").status == 429
    assert hub.get("/health").status == 200
    assert hub.get("/api/hub", method="OPTIONS").status == 200


def test_upgrades_count_against_the_budget_and_are_refused_over_it(
    start_hub: StartHub,
) -> None:
    hub = start_hub(max_http_per_min=2)

    async def upgrade() -> Answer:
        async with http_link(hub.url) as link:
            head = "GET /ws HTTP/1.1\r\nHost: localhost\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in UPGRADE.items()
            )
            await link.raw(head.encode() + b"\r\n")
            return await link.answer(to_head=True)

    statuses = [asyncio.run(upgrade()).status for _ in range(3)]
    assert statuses == [101, 101, 429]
    assert hub.hub.connections_total == 2


def test_upgrade_of_another_path_is_not_found(hub: RunningHub) -> None:
    answer = hub.get("/api/session", headers=UPGRADE)
    assert (answer.status, answer.body) == (404, b"")


def test_budgets_of_two_addresses_are_apart(start_hub: StartHub) -> None:
    hub = start_hub(max_http_per_min=1)

    def ask(address: str) -> int:
        return asyncio.run(fetch(hub.url, "/nope", local_address=address)).status

    assert [ask("127.0.0.2"), ask("127.0.0.2"), ask("127.0.0.3")] == [404, 429, 404]


def test_spoofed_forwarding_header_buys_no_budget(start_hub: StartHub) -> None:
    hub = start_hub(max_http_per_min=1)
    statuses = [
        hub.get("/nope", headers={"X-Forwarded-For": f"198.51.100.{last}"}).status
        for last in (1, 2)
    ]
    assert statuses == [404, 429]


@pytest.mark.parametrize(
    ("setting", "header"),
    [
        ({"trust_proxy_headers": True}, "X-Forwarded-For"),
        ({"client_ip_header": "fly-client-ip"}, "Fly-Client-IP"),
        # The name is what counts where both are set.
        (
            {"client_ip_header": "fly-client-ip", "trust_proxy_headers": True},
            "Fly-Client-IP",
        ),
    ],
)
def test_address_that_the_proxy_appended_is_the_one_that_counts(
    start_hub: StartHub, setting: dict[str, Any], header: str
) -> None:
    hub = start_hub(max_http_per_min=1, **setting)
    statuses = [
        hub.get("/nope", headers={header: f"203.0.113.{spoofed}, {seen}"}).status
        for spoofed, seen in ((1, "198.51.100.7"), (2, "198.51.100.7"), (3, "::1"))
    ]
    assert statuses == [404, 429, 404]


@pytest.mark.parametrize(
    "header", ["Fly-Client-IP", "X-Real-IP", "True-Client-IP", "Forwarded"]
)
def test_header_that_nobody_named_buys_no_budget(
    start_hub: StartHub, header: str
) -> None:
    hub = start_hub(max_http_per_min=1, trust_proxy_headers=True)
    statuses = [
        hub.get(
            "/nope",
            headers={header: f"203.0.113.{last}", "X-Forwarded-For": "198.51.100.7"},
        ).status
        for last in (1, 2)
    ]
    assert statuses == [404, 429]


def test_failure_inside_is_answered_without_telling_anything(
    start_hub: StartHub, caplog: pytest.LogCaptureFixture
) -> None:
    hub = start_hub()
    del hub.hub.services.notifier.pushes  # whatever breaks
    answer = hub.get("/api/hub?token=planted-secret")
    assert (answer.status, answer.text) == (500, "the hub failed\n")
    assert is_for_no_page(answer)
    assert "an HTTP request failed" in caplog.text
    assert "planted-secret" not in caplog.text
    assert hub.get("/health").status == 200
