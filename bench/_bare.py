"""A server on the hub's stack that does nothing: what the stack itself costs.

    python -m bench._bare --addr 127.0.0.1:0 --ready-file FILE

uvicorn, its WebSocket driver and uvloop as the hub uses them, without a database,
limits, memberships or checks. It says what a hub would say, so that the same load runs
against both: a send is echoed, what is sent is written to every subscriber, one write a
frame, and a hello costs one verification.
"""

import argparse
import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from parler.identity.signing import verify

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NONCE = "parler-auth:v1:0123456789ab:1700000000000:7e0bd52e-6c1c-4a44-9d3e-2f24b6c3a111"
_ANSWERS = {
    "invite": {"type": "invited", "code": "A3KELDJR", "room": "load"},
    "redeem": {"type": "joined", "room": "load"},
    "subscribe": {"type": "subscribed"},
    "ping": {"type": "pong"},
}


class Bare:
    """All connections of the server."""

    def __init__(self) -> None:
        """Nobody is connected."""
        self._subscribers: dict[Send, None] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            elif text.startswith('{"op":"send"'):
                await self._echo(text[len('{"op":"send"') :], send)
            else:
                await self._answer(msgspec.json.decode(text), send)
        self._subscribers.pop(send, None)

    async def _echo(self, rest: str, send: Send) -> None:
        await send({"type": "websocket.send", "text": '{"type":"sent"' + rest})
        if self._subscribers:
            delivery = '{"type":"delivery"' + rest
            for subscriber in self._subscribers:
                await subscriber({"type": "websocket.send", "text": delivery})

    async def _answer(self, request: dict[str, Any], send: Send) -> None:
        if request["op"] == "subscribe":
            self._subscribers[send] = None
        if request["op"] == "hello":
            answer = self._greet(request)
        else:
            answer = _ANSWERS[request["op"]]
        text = msgspec.json.encode(answer).decode()
        await send({"type": "websocket.send", "text": text})

    def _greet(self, hello: dict[str, Any]) -> dict[str, Any]:
        if "sig" not in hello:
            return {"type": "challenge", "nonce": NONCE}
        assert verify(hello["id"], hello["nonce"].encode(), hello["sig"])
        return {"type": "welcome", "id": hello["id"]}


def main() -> None:
    """Listen, say where, and serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    options, _ = parser.parse_known_args()  # the rest are flags of a hub
    host, _, port = options.addr.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=1024)
    ready = options.ready_file.with_suffix(".new")
    url = f"ws://{host}:{listener.getsockname()[1]}"
    ready.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    ready.replace(options.ready_file)
    config = uvicorn.Config(
        Bare(),
        loop="auto",
        ws="websockets-sansio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        ws_max_size=2**26,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
