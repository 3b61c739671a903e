"""Dialling for real: a `websockets` server on a free port, and what is no hub."""

import asyncio
import http
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from parler.client.client import connect
from parler.client.transport import TransportClosed, dial_websocket
from parler.errors import ConnectFailed
from parler.identity.signing import Keypair
from parler.wire import replies, requests
from parler.wire.base import MessageId, RoomName
from parler.wire.codec import decode_request, encode
from parler.wire.parts import TextPart
from parler.wire.records import RoomTarget
from tests._support.transports import NONCE, WAIT

ME = Keypair(b"m" * 32)
DEN = RoomName("den")
SECRET = "planted-secret-of-this-hub"

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """A WebSocket server; yields its URL."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        yield url_of(server)


def url_of(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://{host}:{port}/ws"


async def shake_hands(socket: ServerConnection) -> None:
    decode_request(await socket.recv())
    await socket.send(encode(replies.Challenge(nonce=NONCE, version="0.2")))
    proof = decode_request(await socket.recv())
    assert isinstance(proof, requests.Hello)
    await socket.send(encode(replies.Welcome(id=proof.id, name=proof.name)))


async def failure(url: str) -> ConnectFailed:
    """How dialling fails."""
    with pytest.raises(ConnectFailed) as caught:
        async with asyncio.timeout(WAIT):
            await dial_websocket(url)
    assert caught.value.next_step == "parler doctor"
    return caught.value


async def test_a_send_over_a_real_socket_survives_a_hub_that_drops_it() -> None:
    heard: list[requests.Send] = []

    async def hub(socket: ServerConnection) -> None:
        await shake_hands(socket)
        frame = decode_request(await socket.recv())
        assert isinstance(frame, requests.Send)
        heard.append(frame)
        if len(heard) == 1:
            socket.transport.abort()
            return
        sent = replies.Sent(id=MessageId("m1"), seq=1, room=DEN)
        await socket.send(encode(sent))
        await socket.wait_closed()

    async with (
        listening(hub) as url,
        connect(url, ME, name="me", fraction=lambda: 0.0) as client,
        asyncio.timeout(WAIT),
    ):
        sent = await client.send(RoomTarget(room=DEN), [TextPart(text="hi")])
    assert sent.seq == 1
    assert heard[0] == heard[1]


async def test_secrets_are_in_no_log_at_any_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hub(socket: ServerConnection) -> None:
        await shake_hands(socket)
        await socket.wait_closed()

    with caplog.at_level(logging.DEBUG):
        # The server of this test would log the frames as well.
        logging.getLogger("websockets.server").setLevel(logging.INFO)
        async with (
            listening(hub) as url,
            connect(url, ME, name="me", secret=SECRET) as client,
        ):
            assert client.connected
    assert SECRET not in caplog.text
    assert NONCE not in caplog.text


async def test_text_and_binary_arrive_as_what_they_are_and_the_end_has_a_reason() -> (
    None
):
    async def hub(socket: ServerConnection) -> None:
        await socket.send("text")
        await socket.send(b"bytes")
        await socket.close(1012, "restarting")

    async with listening(hub) as url, asyncio.timeout(WAIT):
        transport = await dial_websocket(url)
        assert await transport.receive() == "text"
        assert await transport.receive() == b"bytes"
        with pytest.raises(TransportClosed, match="1012 restarting"):
            await transport.receive()
        with pytest.raises(TransportClosed):
            await transport.send("late")
        await transport.close()
        await transport.close()


async def test_text_that_is_not_utf8_ends_the_connection_and_says_so() -> None:
    async def hub(socket: ServerConnection) -> None:
        await socket.send(b"\xff", text=True)
        await socket.wait_closed()

    async with listening(hub) as url, asyncio.timeout(WAIT):
        transport = await dial_websocket(url)
        with pytest.raises(TransportClosed, match="not UTF-8"):
            await transport.receive()


async def test_a_hub_that_just_vanishes_leaves_a_reason() -> None:
    async def hub(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with listening(hub) as url, asyncio.timeout(WAIT):
        transport = await dial_websocket(url)
        with pytest.raises(TransportClosed, match="without a farewell"):
            await transport.receive()


async def test_nothing_listening_is_said_to_be_so() -> None:
    async with listening(lambda socket: socket.wait_closed()) as url:
        pass
    assert "nothing listens there" in (await failure(url)).reason


async def test_an_unknown_name_is_said_to_be_so() -> None:
    error = await failure("ws://no-such-hub.invalid/ws")
    assert "no-such-hub.invalid cannot be resolved" in error.reason


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "that is no hub"), (200, "that is no hub"), (502, "may be down")],
)
async def test_an_http_answer_is_no_hub(status: int, words: str) -> None:
    def answer(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(http.HTTPStatus(status), "a web page\n")

    async with serve(
        lambda socket: socket.wait_closed(), "127.0.0.1", 0, process_request=answer
    ) as server:
        error = await failure(url_of(server))
    assert f"HTTP {status}" in error.reason
    assert words in error.reason


async def test_hub_that_does_not_answer_to_a_name_says_what_mends_it() -> None:
    def answer(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(http.HTTPStatus.MISDIRECTED_REQUEST, "not mine\n")

    async with serve(
        lambda socket: socket.wait_closed(), "127.0.0.1", 0, process_request=answer
    ) as server:
        error = await failure(url_of(server))
    assert "--url" in error.reason


async def test_a_redirect_is_not_followed() -> None:
    visited: list[str] = []

    async def elsewhere(socket: ServerConnection) -> None:
        visited.append("here")

    def redirect(socket: ServerConnection, request: Request) -> Response:
        response = socket.respond(http.HTTPStatus.FOUND, "")
        response.headers["Location"] = target
        return response

    async with (
        listening(elsewhere) as target,
        serve(elsewhere, "127.0.0.1", 0, process_request=redirect) as server,
    ):
        error = await failure(url_of(server))
    assert target in error.reason
    assert visited == []


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.9\r\n", b"", b"\x15\x03\x01"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_another_kind_of_server_is_no_hub(scheme: str, banner: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(16)
        writer.write(banner)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(f"{scheme}://127.0.0.1:{port}/ws")
    assert error.reason
