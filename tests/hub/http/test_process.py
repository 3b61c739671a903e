"""A hub as a process of its own: its log, and the address of its metrics."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests._support.plainclient import PlainAgent
from tests._support.plainhttp import bearer, fetch, http_link
from tests._support.polling import WAIT
from tests._support.processes import HubProcess
from tests.conformance.steps import open_room
from tests.hub.http.test_app import UPGRADE

CHECKOUT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_log_holds_no_token_and_metrics_have_their_own_address(tmp_path: Path) -> None:
    ready, log, metrics = tmp_path / "ready", tmp_path / "log", free_port()
    command = [sys.executable, "-m", "hub", "--addr", "127.0.0.1:0"]
    command += ["--db", str(tmp_path / "hub.sqlite"), "--ready-file", str(ready)]
    command += ["--metrics-addr", f"127.0.0.1:{metrics}", "--log-level", "debug"]
    with log.open("wb") as output:
        hub = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + WAIT
        while not ready.exists():
            assert time.monotonic() < deadline
            with contextlib.suppress(subprocess.TimeoutExpired):
                hub.wait(0.02)
                raise AssertionError(log.read_text(encoding="utf-8"))
        url = json.loads(ready.read_text(encoding="utf-8"))["url"]
        planted, scraped = asyncio.run(ask_in_every_way(url, metrics))
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(WAIT) == 0
    finally:
        hub.kill()
        hub.wait(WAIT)
    said = log.read_text(encoding="utf-8")
    assert not [secret for secret in planted if secret in said]
    assert b'parler_hub_requests_total{op="mint_watch",outcome="ok"} 1.0' in scraped


@pytest.mark.parametrize("name", ["LOCALHOST", "127.1", "[::ffff:127.0.0.1]"])
def test_hub_bound_to_the_loopback_by_any_name_answers_to_no_strangers(
    tmp_path: Path, name: str
) -> None:
    hub = HubProcess(tmp_path, address=f"{name}:0", PARLER_HUB_PUBLIC="1")
    try:
        port = urlsplit(hub.url).port

        async def ask(host: str) -> int:
            async with http_link(f"ws://127.0.0.1:{port}") as link:
                await link.raw(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                return (await link.answer()).status

        assert asyncio.run(ask("127.0.0.1")) == 200
        assert asyncio.run(ask("evil.example")) == 421
    finally:
        hub.stop()


def test_header_that_fly_does_not_vouch_for_is_warned_of(tmp_path: Path) -> None:
    on_fly = {"FLY_APP_NAME": "hub", "PARLER_HUB_TRUST_PROXY_HEADERS": "1"}
    named = {"PARLER_HUB_CLIENT_IP_HEADER": "Fly-Client-IP"}
    for folder, more, warned in (("x", {}, True), ("fly", named, False)):
        HubProcess(tmp_path / folder, **on_fly, **more).stop()
        said = (tmp_path / folder / "hub.log").read_text(encoding="utf-8")
        assert ("--client-ip-header Fly-Client-IP" in said) is warned


async def ask_in_every_way(url: str, metrics: int) -> tuple[list[str], bytes]:
    """Show tokens and keys to the hub wherever one can; returns them."""
    async with PlainAgent.create("ada").dial(url) as ada:
        opened = await open_room(ada)
        watch = (await ada.ask("watch", "mint_watch", room=opened["room"]))["token"]
        await ada.send_text(opened["room"], "a planted text")
    for target in (
        f"/api/session?token={watch}",
        f"/api/session?since=abc&token={watch}",
        f"/api/session/blob/x?token={watch}",
        f"/ws?token={watch}",
        f"/{watch}",
        f"/join/{opened['code']}",
    ):
        for headers in ({}, bearer(watch), UPGRADE):
            if target.startswith("/ws") and headers is UPGRADE:
                continue
            for method in ("GET", "POST"):
                await fetch(url, target, method=method, headers=headers)
    scraped = await fetch(f"http://127.0.0.1:{metrics}", "/metrics")
    assert (await fetch(url, "/metrics")).status == 404
    return [watch, opened["code"], "a planted text"], scraped.body
