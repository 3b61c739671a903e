"""What others of this machine may take of the page: no place of its user's."""

import asyncio
import os
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from parler.ui import server
from parler.ui.guard import Guard, Receive, Scope, Send, Sessions
from parler.ui.process import Place, serving
from tests._support.polling import WAIT

NOBODY = 65534
_DIALS = """
for (( n = 0; n < 9; n++ )); do exec {fd}<>"/dev/tcp/127.0.0.1/$1"; done
echo dialled
cat
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.getuid() != 0,
    reason="another user has to dial, and Linux tells whose a connection is",
)
async def test_another_user_takes_no_connection_from_the_pages_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hello(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": HTTPStatus.OK})
        await send({"type": "http.response.body", "body": b"hello"})

    monkeypatch.setattr(server, "MAX_CONNECTIONS", 3)
    with serving(Place.of(tmp_path), 0) as listener:
        port = listener.getsockname()[1]
        guard = Guard(app=hello, sessions=Sessions(port), is_ours=server._is_ours)
        page = server._Server(server.config_of(guard))
        attacker = await asyncio.create_subprocess_exec(
            *("/bin/bash", "-c", _DIALS, "bash", str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            user=NOBODY,
        )
        assert attacker.stdin
        assert attacker.stdout
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(page.serve([listener]))
            assert await attacker.stdout.readline() == b"dialled\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            host = f"Host: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            writer.write(f"GET / HTTP/1.1\r\n{host}".encode())
            answer = await reader.read()
            writer.close()
            attacker.stdin.close()
            await attacker.wait()
            page.should_exit = True
            await running
        assert answer.startswith(b"HTTP/1.1 200"), answer
