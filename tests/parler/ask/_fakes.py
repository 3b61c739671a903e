"""Stand-ins for agent apps: programs that answer as the real ones print it."""

import json
import os
import stat
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parler.ops.machine_context import Here
from parler.wire.base import AgentId

_PROGRAM = """\
#!{python} -I
import json, os, pathlib, sys, time, uuid
play = pathlib.Path({play!r})
script = json.loads((play / "script.json").read_text())
run = dict(argv=sys.argv, stdin=sys.stdin.read(), cwd=os.getcwd(), env=dict(os.environ))
(play / "runs").mkdir(exist_ok=True)
number = len(list((play / "runs").iterdir()))
(play / "runs" / f"{{number:03}}-{{uuid.uuid4()}}.json").write_text(json.dumps(run))
for name in script.get("touch", []):
    pathlib.Path(name).touch()
if script.get("hang"):
    time.sleep(600)
if script.get("wait_for"):
    (play / "waiting").touch()
    while not pathlib.Path(script["wait_for"]).exists():
        time.sleep(0.01)
sessions = play / "sessions"
sessions.touch()
argv = sys.argv[1:]
resumed = argv[argv.index("--resume") + 1] if "--resume" in argv else None
if resumed and resumed not in sessions.read_text().split():
    print("No conversation found with session ID: " + resumed, file=sys.stderr)
    sys.exit(1)
session = resumed or argv[argv.index("--session-id") + 1]
with sessions.open("a") as file:
    file.write(session + "\\n")
if "raw" in script:
    sys.stdout.write(script["raw"] * script.get("times", 1))
else:
    print(json.dumps(dict(
        type="result", is_error=script.get("is_error", False), session_id=session,
        result=script.get("text", "answer %d" % number),
        total_cost_usd=script.get("usd", 0.01),
        usage=dict(input_tokens=3, output_tokens=4),
    )))
sys.stderr.write(script.get("stderr", ""))
sys.exit(script.get("status", 0))
"""


@dataclass(slots=True)
class FakeClaude:
    """A program called ``claude`` on a PATH of its own."""

    folder: Path
    _script: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True)
        program = self.bin / "claude"
        text = _PROGRAM.format(python=sys.executable, play=str(self.folder))
        program.write_text(textwrap.dedent(text), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.plays()

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def plays(self, **script: Any) -> None:
        """What it does from now on."""
        (self.folder / "script.json").write_text(json.dumps(script), encoding="utf-8")

    def loses_its_sessions(self) -> None:
        (self.folder / "sessions").write_text("", encoding="utf-8")

    def is_logged_out(self) -> None:
        self.plays(is_error=True, text="Not logged in · Please run /login", status=1)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Each time that it was started: argv, stdin, cwd, env."""
        folder = self.folder / "runs"
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def here(
    home: Path,
    folder: Path,
    fake: FakeClaude | None = None,
    *,
    agent: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Here:
    """This machine, seen from a folder, with that one agent app on PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    path = f"{fake.bin}:/usr/bin:/bin" if fake else "/usr/bin:/bin"
    clock = iter(range(1_000_000, 10**9, 1000))
    return Here(
        home=home,
        folder=folder,
        environment={"PATH": path, "HOME": str(home.parent), **(env or {})},
        agent=AgentId(agent) if agent else None,
        name="ann",
        # No process above: a person's terminal, for all that can be seen.
        pid=os.getpid(),
        now=lambda: next(clock),
        token=lambda size: os.urandom(size).hex(),
        user_home=home.parent,
    )
