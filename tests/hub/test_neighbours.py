"""No connection is lost, and none is confused, by what another client sends.

Ann stays connected over all examples. Eve says anything: as a stranger, as a member of
ann's room, as somebody who does not even speak WebSocket or HTTP.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from hub.settings import Settings
from parler.wire.codec import decode_reply, encode
from parler.wire.requests import AnyRequest
from tests._support.plainclient import Link, PlainAgent
from tests._support.plainhttp import http_link
from tests.conformance.steps import join, open_room
from tests.hub.conftest import running
from tests.hub.test_hostile_peers import UPGRADE, frame
from tests.properties.frames import requests, texts, values

EVE = PlainAgent.create("eve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """The hub, the loop of the test's own links, and the neighbour who minds nobody."""

    url: str
    loop: asyncio.Runner
    ann: Link
    room: str
    key: str


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    folder: Path = tmp_path_factory.mktemp("street")
    unhurried = Settings(
        host="127.0.0.1",
        port=0,
        db=folder / "hub.sqlite",
        max_http_per_min=0,
        max_ops_per_min=0,
        max_sends_per_min=0,
        max_room_sends_per_min=0,
        max_knocks_per_min=0,
        max_knocks_per_ip_per_min=0,
    )
    with running(unhurried) as hub, asyncio.Runner() as loop:
        stack = contextlib.AsyncExitStack()
        ann = loop.run(
            stack.enter_async_context(PlainAgent.create("ann").dial(hub.url))
        )
        loop.run(ann.ask("subscribed", "subscribe", events=["member", "room"]))
        opened = loop.run(open_room(ann, maxUses=10_000))
        room, key = opened["room"], opened["code"]
        yield Street(url=hub.url, loop=loop, ann=ann, room=room, key=key)
        loop.run(stack.aclose())


def in_room(request: AnyRequest, room: str) -> str:
    """The frame, about ann's room if it is about one."""
    fields = json.loads(encode(request))
    if "room" in fields:
        fields["room"] = room
    if "target" in fields:
        fields["target"] = {"kind": "room", "room": room}
    return json.dumps(fields)


HOME = "room-of-ann"
good = requests.map(lambda request: in_room(request, HOME))
broken = st.builds(
    lambda text, cut, put: text[: cut % (len(text) + 1)] + put,
    good,
    st.integers(0, 400),
    texts | st.just(""),
)
garbage = st.dictionaries(texts | st.sampled_from(["op", "rid", "type"]), values).map(
    json.dumps
)
upload = {"op": "put_blob", "target": {"kind": "room", "room": HOME}}
upload |= {"sha256": "0" * 64, "size": 5}
binaries = st.binary(max_size=200)
said = good | good | broken | garbage | texts | binaries | st.just(json.dumps(upload))
scraps = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda opcode, data, fin: frame(opcode, data, fin=fin),
        st.integers(0, 15),
        st.binary(max_size=200),
        st.booleans(),
    ),
)


async def ann_is_well(street: Street) -> None:
    """Her connection stands, answers in order, and told her only what she can read."""
    ann = street.ann
    await ann.ask("pong", "ping", rid="mine")
    sent = await ann.send_text(street.room, "still here")
    assert sent["type"] == "sent"
    await ann.ask("pulled", "pull", room=street.room, since=sent["seq"] - 1)
    assert not ann.replies
    assert not ann.binaries
    for pushed in [*ann.deliveries, *ann.events]:
        decode_reply(json.dumps(pushed))
    ann.deliveries.clear()
    ann.events.clear()


@given(lines=st.lists(said, min_size=1, max_size=6), member=st.booleans())
def test_frames_of_one_client_harm_no_other(
    street: Street, lines: list[str | bytes], member: bool
) -> None:
    async def story() -> None:
        async with EVE.dial(street.url, sign_in=member) as eve:
            if member:
                await join(eve, street.key)
            for line in lines:
                with contextlib.suppress(ConnectionClosed):
                    if isinstance(line, str):
                        line = line.replace(HOME, street.room)
                    await eve.raw(line)
            await ann_is_well(street)
        await ann_is_well(street)

    street.loop.run(story())


@settings(max_examples=40)
@given(data=st.lists(scraps, max_size=8), upgraded=st.booleans(), leaves=st.booleans())
def test_bytes_of_one_peer_harm_no_other(
    street: Street, data: list[bytes], upgraded: bool, leaves: bool
) -> None:
    async def story() -> None:
        async with http_link(street.url) as eve:
            with contextlib.suppress(ConnectionError):
                if upgraded:
                    await eve.raw(UPGRADE.encode())
                await eve.raw(b"".join(data))
            if leaves:
                eve.writer.transport.abort()
            await ann_is_well(street)

    street.loop.run(story())
