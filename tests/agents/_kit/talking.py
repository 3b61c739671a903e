"""Talking with an agent app as its own clients do: lines of JSON, HTTP, a terminal.

No model is needed for what is asked this way, except for turns.
"""

import fcntl
import json
import os
import pty
import queue
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

from tests._support.polling import WAIT, eventually
from tests.agents._kit.sandbox import Ends, Sandbox, end

Json = dict[str, Any]

# A request from inside the sandbox's network, JSON in and out.
_HTTP = """
import sys, urllib.request as web
method, url, body = sys.argv[1:]
kind = {"content-type": "application/json"}
request = web.Request(url, body.encode() or None, kind, method=method)
print(web.urlopen(request, timeout=2).read().decode())
"""
# Colours, titles and moves of the cursor, and all blanks.
_DRAWING = re.compile(
    r"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-B0]|[=>78])|\s"
)


class Lines(Ends):
    """A program that reads and writes one JSON object a line."""

    def __init__(self, box: Sandbox, command: list[str]) -> None:
        self.box = box
        self._errors = box.log(command[0]).with_suffix(".err")
        with self._errors.open("wb") as warns:
            self._process = box.popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=warns
            )
        self._fresh: queue.Queue[Json | None] = queue.Queue()
        self._asked = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: Json) -> None:
        """Tell it something."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def until(
        self, wanted: Callable[[Json], object], what: str, wait: float = WAIT
    ) -> Json:
        """The next message that is wanted; the others go to `other`."""
        deadline = time.monotonic() + wait
        while True:
            try:
                message = self._fresh.get(
                    timeout=max(deadline - time.monotonic(), 0.01)
                )
            except queue.Empty:
                raise AssertionError(f"no {what} within {wait:g} s") from None
            errors = self._errors.read_text(encoding="utf-8", errors="replace")
            assert message is not None, f"it ended without {what}: {errors[-800:]}"
            if wanted(message):
                return message
            self.other(message)

    def other(self, message: Json) -> None:
        """Something came that nobody waits for."""

    def number(self) -> int:
        """A new one for a request."""
        self._asked += 1
        return self._asked

    def close(self) -> None:
        end(self._process)

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(b"{"):
                self._fresh.put(json.loads(line))
        self._fresh.put(None)


class ClaudeControl(Lines):
    """What an editor speaks with Claude Code; reaches its MCP servers with no login."""

    def __init__(self, box: Sandbox) -> None:
        stream = ("--input-format", "stream-json", "--output-format", "stream-json")
        super().__init__(box, ["claude", "-p", *stream, "--verbose"])
        self.ask("initialize")

    def ask(self, subtype: str, **fields: Any) -> Json:
        """Ask, and return the answer."""
        number = f"r{self.number()}"
        request = {"subtype": subtype, **fields}
        self.send({"type": "control_request", "request_id": number, "request": request})
        answer = self.until(
            lambda message: (
                message["type"] == "control_response"
                and message["response"]["request_id"] == number
            ),
            f"answer to {subtype}",
        )["response"]
        assert answer["subtype"] == "success", answer
        return answer.get("response") or {}

    def servers(self) -> dict[str, bool]:
        """The MCP servers it knows, and whether it is connected, once that is clear."""

        def settled() -> list[Json] | None:
            servers: list[Json] = self.ask("mcp_status")["mcpServers"]
            pending = any(server["status"] == "pending" for server in servers)
            return None if pending else [*servers, {}]

        *servers, _ = eventually(settled, "settled state of the servers")
        return {one["name"]: one["status"] == "connected" for one in servers}

    def call(self, server: str, tool: str, arguments: Json) -> str:
        """What a tool says."""
        full = f"mcp__{server}__{tool}"
        return _said(self.ask("mcp_call", tool=full, arguments=arguments))


class CodexServer(Lines):
    """`codex app-server`, which editors and desktop clients speak with; no login."""

    def __init__(self, box: Sandbox, *flags: str) -> None:
        super().__init__(box, ["codex", "app-server", *flags])
        me = {"name": "tests", "title": "tests", "version": "1"}
        self.ask("initialize", clientInfo=me, capabilities={"experimentalApi": True})
        self.send({"method": "initialized", "params": {}})

    def ask(self, method: str, **fields: Any) -> Json:
        """Ask, and return the answer."""
        number = self.number()
        self.send({"id": number, "method": method, "params": fields})
        answer = self.until(
            lambda message: message.get("id") == number and "method" not in message,
            f"answer to {method}",
        )
        assert "error" not in answer, f"{method}: {answer}"
        result: Json = answer["result"]
        return result

    def other(self, message: Json) -> None:
        if "method" in message and "id" in message:  # it asks for leave: given
            yes = {"action": "accept", "content": {}, "decision": "accept"}
            self.send({"id": message["id"], "result": yes})

    def servers(self) -> dict[str, bool]:
        """The MCP servers it knows, and whether each shook hands."""
        listed = self.ask("mcpServerStatus/list")["data"]
        return {server["name"]: bool(server["serverInfo"]) for server in listed}

    def hooks(self) -> list[Json]:
        """The hooks it knows for the project."""
        project = str(self.box.project)
        hooks: list[Json] = self.ask("hooks/list", cwds=[project])["data"][0]["hooks"]
        return hooks

    def new_thread(self) -> str:
        """A conversation in the project folder."""
        return str(self.ask("thread/start", cwd=str(self.box.project))["thread"]["id"])

    def call(self, thread: str, server: str, tool: str, arguments: Json) -> str:
        """What a tool says."""
        where = {"threadId": thread, "server": server}
        result = self.ask(
            "mcpServer/tool/call", **where, tool=tool, arguments=arguments
        )
        return _said(result)

    def turn(self, thread: str, text: str) -> str:
        """Begin a turn."""
        given = [{"type": "text", "text": text}]
        return str(self.ask("turn/start", threadId=thread, input=given)["turn"]["id"])

    def finish(self, turn: str) -> None:
        """Wait for its end."""
        self.until(
            lambda message: (
                message.get("method") == "turn/completed"
                and message["params"]["turn"]["id"] == turn
            ),
            "end of the turn",
        )


class OpenCodeServer(Ends):
    """`opencode serve`, which its other clients speak with."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        command = ["opencode", "serve", "--hostname", "127.0.0.1", "--port", "0"]
        self._started = box.start(command)
        listening = re.compile(r"listening on (http://\S+)")
        self.url = eventually(lambda: listening.search(self._started.said()), "server")[
            1
        ]
        # The first request after it began to listen may never be answered.
        eventually(lambda: self.ask("GET", "/config"), "answer")

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        """A request's answer; None if it was refused or took long."""
        sent = "" if body is None else json.dumps(body)
        command = [sys.executable, "-I", "-c", _HTTP, method, self.url + path, sent]
        done = self.box.start(command).wait(WAIT)
        return None if done.status else json.loads(done.out.strip() or "{}")

    def new_session(self) -> str:
        """A conversation."""
        return str(self.ask("POST", "/session", {"title": "tests"})["id"])

    def idle(self, session: str) -> bool:
        """Whether nothing goes on in a conversation."""
        busy = self.ask("GET", "/session/status")
        return busy is not None and session not in busy

    def close(self) -> None:
        end(self._started.process)


class Terminal(Ends):
    """A program that draws on a terminal, and somebody who types there."""

    def __init__(self, box: Sandbox, command: list[str]) -> None:
        self._model = box.model
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self._process = box.popen(command, **streams)
        os.close(theirs)
        self._drawn = b""
        self._news = threading.Condition()
        threading.Thread(target=self._watch, daemon=True).start()

    def until(self, words: str, wait: float = WAIT) -> None:
        """Wait for something to be drawn; blanks do not count."""
        wanted = words.replace(" ", "")
        with self._news:
            seen = self._news.wait_for(lambda: wanted in self._text(), wait)
            assert seen, f"{words!r} was not drawn; last {self._text()[-300:]!r}"

    def type(self, keys: str) -> None:
        """Type something."""
        os.write(self._ours, keys.encode())

    def tell(self, line: str) -> None:
        """Type a line, which the model is told then."""
        before = len(self._model.asked)
        self.type(line)
        self.until(line)
        self._model.hear(line, lambda: self.type("\r"), before)

    def close(self) -> None:
        end(self._process)
        os.close(self._ours)

    def _text(self) -> str:
        return _DRAWING.sub("", self._drawn.decode("utf-8", "replace"))

    def _watch(self) -> None:
        try:
            while data := os.read(self._ours, 2**16):
                with self._news:
                    self._drawn += data
                    self._news.notify_all()
        except OSError:
            pass  # nobody holds the other side any more


def _said(result: Json) -> str:
    text = "\n".join(block.get("text", "") for block in result["content"])
    assert not result.get("isError"), text
    return text
