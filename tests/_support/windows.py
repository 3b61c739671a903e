"""Windows of agent apps: processes that are called as the app is, and what runs below.

A window is a process with a real MCP server at its pipes; on request it runs hooks and
shell commands, each with what that app tells them. Every wait is bounded.
"""

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests._support.polling import WAIT
from tests._support.processes import Done, environment

PARLER = (sys.executable, "-m", "parler")

PROGRAM = """\
import json, os, socket, subprocess, sys, threading
told = json.loads(sys.argv[1])
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
servers = [
    subprocess.Popen(told["server"], env=os.environ | told["env"], **streams)
    for streams in ({}, pipes)[: told["servers"]]
]
control = socket.socket(fileno=told["control"])

def run(asked):
    done = subprocess.run(
        asked["command"], input=asked["stdin"].encode(), cwd=asked["cwd"],
        env=os.environ | asked["env"], capture_output=True,
    )
    said = {"id": asked["id"], "status": done.returncode,
            "out": done.stdout.decode(), "err": done.stderr.decode()}
    control.sendall(json.dumps(said).encode() + b"\\n")

for line in control.makefile("rb"):
    threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
"""


@dataclass(frozen=True)
class Kind:
    """What an app is called, and what it tells of its conversations."""

    id: str
    program: str
    client: str
    to_server: str | None = None
    """The variable that tells its MCP server the conversation."""

    to_shell: str | None = None
    in_calls: bool = False


CLAUDE = Kind(
    "claude-code",
    "claude",
    "claude-code",
    to_server="CLAUDE_CODE_SESSION_ID",
    to_shell="CLAUDE_CODE_SESSION_ID",
)
CODEX = Kind(
    "codex", "codex", "codex-mcp-client", to_shell="CODEX_THREAD_ID", in_calls=True
)
GEMINI = Kind("gemini", "gemini", "gemini-cli-mcp-client")


@dataclass
class Desk:
    """A person's machine: a home, a hub, and a folder in which apps work."""

    folder: Path
    hub: str
    project: Path = field(init=False)

    def __post_init__(self) -> None:
        """Make the folder a repository."""
        self.project = self.folder / "Shop"
        (self.project / ".git").mkdir(parents=True)
        head = self.project / ".git" / "HEAD"
        head.write_text("ref: refs/heads/main\n", encoding="utf-8")

    def app_home(self, kind: Kind) -> Path:
        """The home that `connect` gives an app."""
        home = self.folder / ".parler" / "agents" / kind.id
        home.mkdir(parents=True, exist_ok=True)
        return home

    @contextmanager
    def window(self, kind: Kind = CLAUDE, **given: Any) -> "Iterator[AppWindow]":
        """An open window, until the block ends."""
        with AppWindow(self, kind, **given) as window:
            yield window


class AppWindow:
    """One window; its process ends with the block, as when it is closed."""

    def __init__(
        self,
        desk: Desk,
        kind: Kind,
        *,
        conversation: str | None = None,
        folder: Path | None = None,
        servers: int = 1,
        **variables: str,
    ) -> None:
        self.desk, self.kind, self.conversation = desk, kind, conversation
        self._folder = folder or desk.project
        self._servers = servers
        self._variables = variables
        self._ids = itertools.count(1)
        self._lines: dict[int, bytes] = {}
        self._told: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        program = self.desk.folder / "bin" / self.kind.program
        program.parent.mkdir(exist_ok=True)
        if not program.exists():
            program.symlink_to(Path(sys.executable).resolve())
        told = self.conversation if self.kind.to_server else None
        own = {"PARLER_HOME": str(self.desk.app_home(self.kind))}
        own |= {"PARLER_HUB": self.desk.hub}
        own |= {self.kind.to_server: told} if self.kind.to_server and told else {}
        self._control, theirs = socket.socketpair()
        options = {
            "server": [*PARLER, "mcp"],
            "env": own | self._variables,
            "servers": self._servers,
            "control": theirs.fileno(),
        }
        self.process = subprocess.Popen(
            [str(program), "-I", "-c", PROGRAM, json.dumps(options)],
            cwd=self._folder,
            env=environment(self.desk.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._shake_hands()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it, and with it what it started."""
        if self.process.returncode is not None:
            return
        self.process.kill()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait(WAIT)
        self.process.stdout.close()
        self._control.close()
        # What ran below it ends as after a closed terminal.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    # Its MCP server

    def _shake_hands(self) -> None:
        self._ask(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities={},
            clientInfo={"name": self.kind.client, "version": "1"},
        )
        self._say({"method": "notifications/initialized"})
        self._ask("tools/list")

    def calls(self, tool: str, **arguments: Any) -> str:
        """What the model reads of a call."""
        meta = {"threadId": self.conversation} if self.kind.in_calls else {}
        result = self._ask("tools/call", name=tool, arguments=arguments, _meta=meta)
        return str(result["content"][0]["text"])

    def _ask(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        self._say({"id": number, "method": method, "params": params})
        assert self.process.stdout
        while True:
            frame = json.loads(self._line(self.process.stdout.fileno()))
            if frame.get("id") == number and "method" not in frame:
                assert "result" in frame, frame
                return frame["result"]

    def _say(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **frame}).encode())
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    # What it runs

    def hook(self, event: str, **payload: object) -> Done:
        """Run a hook to its end."""
        return self.ended(self.starts_hook(event, **payload))

    def starts_hook(self, event: str, **payload: object) -> int:
        """Run a hook; its end is asked for by the number."""
        told = {"session_id": self.conversation, "cwd": str(self._folder)} | payload
        command = [*PARLER, "hook", event, "--app", self.kind.id]
        return self._runs(command, json.dumps(told), CLAUDE_CODE_ENTRYPOINT="cli")

    def shell(self, *arguments: str, cwd: Path | None = None) -> Done:
        """Run a command of ours in its shell."""
        told = (
            {self.kind.to_shell: self.conversation or ""} if self.kind.to_shell else {}
        )
        return self.ended(self._runs([*PARLER, *arguments], "", cwd=cwd, **told))

    def runs(self, command: list[str], **variables: str) -> Done:
        """Run any command in its shell."""
        return self.ended(self._runs(command, "", **variables))

    def _runs(
        self, command: list[str], stdin: str, *, cwd: Path | None = None, **env: str
    ) -> int:
        number = next(self._ids)
        asked = {
            "id": number,
            "command": command,
            "stdin": stdin,
            "cwd": str(cwd or self._folder),
            "env": env,
        }
        self._control.sendall(json.dumps(asked).encode() + b"\n")
        return number

    def has_ended(self, number: int) -> bool:
        """Whether what was started ended before what was asked for last."""
        return number in self._told

    def ended(self, number: int) -> Done:
        """How what was started ended."""
        while number not in self._told:
            said = json.loads(self._line(self._control.fileno()))
            self._told[said["id"]] = said
        said = self._told.pop(number)
        return Done(said["status"], said["out"], said["err"])

    def _line(self, source: int) -> bytes:
        deadline = time.monotonic() + WAIT
        buffer = self._lines.get(source, b"")
        while b"\n" not in buffer:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([source], [], [], left)[0], "nothing came in time"
            more = os.read(source, 65536)
            assert more, "the other end is gone"
            buffer += more
        line, _, self._lines[source] = buffer.partition(b"\n")
        return line
