"""The numbers for Prometheus."""

import asyncio
import re
from pathlib import Path

import pytest

from hub.http.metrics import metrics_app
from hub.server.uvicorn_server import AsgiApp
from hub.settings import read_settings
from tests._support.plainclient import PlainAgent
from tests.conformance.steps import join, open_room
from tests.hub.conftest import StartHub

LINE = re.compile(
    r"# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+=\"[^\"]*\"(,[a-z]+=\"[^\"]*\")*\})? \S+"
)


def scrape(app: AsgiApp) -> tuple[dict[str, str], str]:
    """One GET /metrics, without a socket."""
    sent: list[dict[str, object]] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}  # type: ignore[attr-defined]
    body = sent[1]["body"]
    assert isinstance(body, bytes)
    return headers, body.decode()


def test_numbers_are_those_of_the_hub(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> None:
        async with (
            PlainAgent.create("ada").dial(hub.url) as ada,
            PlainAgent.create("bob").dial(hub.url) as bob,
        ):
            opened = await open_room(ada)
            await join(bob, opened["code"])
            await bob.ask("subscribed", "subscribe")
            await ada.send_text(opened["room"], "hello")
            await bob.next_delivery()
            await ada.expect_error((), "roster", room="nowhere")
            await ada.expect_raw_error("bad_frame", "{}")

    asyncio.run(story())
    hub.get("/nope")
    headers, text = scrape(metrics_app(hub.hub, host="127.0.0.1"))
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        "parler_hub_connections 0.0",
        "parler_hub_connections_total 2.0",
        "parler_hub_messages_stored_total 1.0",
        "parler_hub_pushes_total 1.0",
        "parler_hub_pushes_dropped_total 0.0",
        "parler_hub_outbox_bytes 0.0",
        'parler_hub_requests_total{op="send",outcome="ok"} 1.0',
        'parler_hub_requests_total{op="roster",outcome="not_member"} 1.0',
        'parler_hub_requests_total{op="malformed",outcome="bad_frame"} 1.0',
        'parler_hub_http_answers_total{status="404"} 1.0',
    ):
        assert line in text.splitlines(), line
    assert "parler_hub_commits_total" in text
    assert "parler_hub_writes_total" in text
    size = re.search(r"^parler_hub_database_bytes (\S+)$", text, re.MULTILINE)
    assert size is not None
    assert float(size[1]) > 0
    for line in text.splitlines():
        assert LINE.fullmatch(line), line


def test_numbers_name_nobody(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> list[str]:
        async with PlainAgent.create("ada-lovelace").dial(hub.url) as ada:
            opened = await open_room(ada)
            return [ada.id, "ada-lovelace", opened["room"], opened["code"]]

    secrets = asyncio.run(story())
    text = scrape(metrics_app(hub.hub, host="127.0.0.1"))[1]
    assert not [secret for secret in secrets if secret in text]
    assert "127.0.0" not in text


def test_numbers_are_not_on_the_public_address(start_hub: StartHub) -> None:
    assert start_hub().get("/metrics").status == 404


def test_numbers_are_off_unless_an_address_is_given() -> None:
    assert read_settings([], {}).metrics_addr is None
    given = read_settings(["--metrics-addr", "127.0.0.1:9100"], {})
    assert given.metrics_addr == ("127.0.0.1", 9100)


@pytest.mark.parametrize("variable", ["PARLER_HUB_METRICS_ADDR"])
def test_address_of_the_numbers_comes_from_the_environment(
    variable: str, tmp_path: Path
) -> None:
    given = read_settings([], {variable: "[::1]:9100"})
    assert given.metrics_addr == ("::1", 9100)
