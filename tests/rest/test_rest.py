"""The HTTP side of a real hub against its own description, driven by the schema.

Requests that follow docs/openapi.json and requests that do not, with and without
tokens: no 500, no status, header, content type or field that is not described.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests._support.plainclient import Link, PlainAgent
from tests._support.plainhttp import fetch
from tests._support.polling import TEST_WAIT
from tests._support.processes import CHECKOUT, HubProcess
from tests.conformance.steps import open_room

pytestmark = pytest.mark.rest

PACKAGES = CHECKOUT / ".env-rest"
CONFIG = Path(__file__).with_name("schemathesis.toml")
PDF = b"%PDF-1.7\nhello\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A hub in use, its description with values that it knows, and tokens."""

    url: str
    description: Path
    tokens: dict[str, str]
    operations: int


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("rest")
    hub = HubProcess(folder / "hub", PARLER_HUB_MAX_HTTP_PER_MIN="0")
    try:
        known, tokens = asyncio.run(prepare(hub.url))
        document = json.loads(
            (CHECKOUT / "docs" / "openapi.json").read_text(encoding="utf-8")
        )
        for name, value in known.items():
            document["components"]["parameters"][name]["example"] = value
        described = folder / "openapi.json"
        described.write_text(json.dumps(document), encoding="utf-8")
        yield Target(
            url=hub.url.replace("ws://", "http://"),
            description=described,
            tokens=tokens,
            operations=3 * len(document["paths"]),  # GET, HEAD, OPTIONS
        )
    finally:
        hub.stop()


async def prepare(url: str) -> tuple[dict[str, str], dict[str, str]]:
    """Two agents, one of them private, and a room with all kinds of parts."""
    ada = PlainAgent.create("ada", "rôle")
    async with ada.dial(url) as link:
        skills = [{"id": "review", "name": "Review"}]
        await register(link, visibility="public", tags=["é"], skills=skills)
        async with PlainAgent.create("bob").dial(url) as bob:
            await register(bob, visibility="private", tags=["é"])
        room = (await open_room(link))["room"]
        blob = await upload(link, room)
        await link.send(
            room,
            [
                {"kind": "text", "text": "\U0001f980 <b>"},
                {"kind": "data", "data": {"a": 1}},
                {"kind": "com.parler.file", "name": "a.pdf", "blob": blob, "size": 15},
                {"kind": "com.parler.observation", "a": [None, 1e308, {"b": "\x00"}]},
                {"kind": "org.example.odd", "odd": True},
            ],
        )
        directory = await link.ask("directory_token", "mint_directory_token")
        watch = await link.ask("watch", "mint_watch", room=room)
    known = {"agent": ada.id, "blob": blob, "code": "ABCDEFGH", "tag": "é"}
    return known, {"directory": directory["token"], "watch": watch["token"]}


async def register(link: Link, *, visibility: str, **card: Any) -> None:
    fields = {"id": link.id, "name": link.agent.name, "kind": "agent"} | card
    await link.ask("registered", "register", card=fields, visibility=visibility)


async def upload(link: Link, room: str) -> str:
    digest = hashlib.sha256(PDF).hexdigest()
    await link.ask(
        "blob_ready",
        "put_blob",
        target={"kind": "room", "room": room},
        sha256=digest,
        size=len(PDF),
        mediaType="application/pdf",
    )
    await link.raw(PDF)
    assert (await link.next_reply())["type"] == "blob_stored"
    return digest


def drive(target: Target, folder: Path, *more: str) -> str:
    """Run schemathesis, which must find nothing; returns its report."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", str(target.description), "--url", target.url]
    command += ["--no-color", "--continue-on-failure"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "15"]
    command += ["--generation-deterministic"]
    command += ["--request-timeout", "10"]
    done = subprocess.run(
        [*command, *more],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PACKAGES), "PYTHONWARNDEFAULTENCODING": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TEST_WAIT,
        check=False,
    )
    report = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, report[-20000:]
    return report


@pytest.mark.parametrize("token", ["none", "directory", "watch", "wrong"])
def test_whatever_is_asked_the_answer_is_the_described_one(
    target: Target, tmp_path: Path, token: str
) -> None:
    words = target.tokens.get(token, "x" * 43)
    header = () if token == "none" else ("-H", f"Authorization: Bearer {words}")
    report = drive(target, tmp_path, *header)
    assert f"Tested: {target.operations}" in report
    assert ("Authentication failed" not in report) == (token == "watch")
    answer = asyncio.run(fetch(target.url.replace("http", "ws"), "/health"))
    assert answer.status == 200
