"""Puts what a webhook says into a session: python webhook_bridge.py ROOM [PORT]

    curl -d 'build 512 is green' http://127.0.0.1:8099/

The answer is 200 only when the hub has stored the message, so that the caller knows
when to try again. It listens on the loopback: put it behind what checks who calls.
"""

import asyncio
import os
import sys
from pathlib import Path

from parler import (
    Client,
    ParlerError,
    RoomName,
    RoomTarget,
    TextPart,
    connect,
    load_identity,
)

MAX_BYTES = 16 * 1024


async def answer(
    client: Client,
    room: RoomName,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Take one request of HTTP/1.1 and close."""
    try:
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lines = dict(
                line.split(":", 1) for line in head.splitlines() if ":" in line
            )
            size = int(lines.get("content-length", 0))
            if not (head.startswith("post ") and 0 < size <= MAX_BYTES):
                status = "400 Bad Request"
            else:
                text = (await reader.readexactly(size)).decode(errors="replace")
                await client.send(RoomTarget(room=room), [TextPart(text=text)])
                status = "200 OK"
    except ParlerError as error:
        print(f"not delivered: {error}", file=sys.stderr)
        status = "503 Service Unavailable"
    except (ValueError, TimeoutError, asyncio.IncompleteReadError):
        status = "400 Bad Request"
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    writer.close()


async def main(room: RoomName, port: int) -> None:
    me = load_identity(Path(os.environ.get("PARLER_HOME", Path.home() / ".parler")))
    async with connect(me.hub_url, me.keypair, name=me.name) as client:
        server = await asyncio.start_server(
            lambda reader, writer: answer(client, room, reader, writer),
            "127.0.0.1",
            port,
        )
        shown = server.sockets[0].getsockname()[1]
        print(f"listening on http://127.0.0.1:{shown}/", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        main(RoomName(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8099)
    )
