"""The programs that work: the agent CLIs we know, or a command of the local user.

What they are called with and which of our environment they are given. A peer's words
are never part of either; the name of the one who asks is, made safe.
"""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parler.errors import UsageError
from parler.text.terminal import visible
from parler.workers.selection import Request

NOWHERE = "/dev/null/parler"
"""No folder, and none can be made: a program that uses Parler is not us by accident."""

_NO_SERVER = {
    "command": '{enabled=false,command="false"}',
    "url": '{enabled=false,url="http://127.0.0.1:9"}',
}

# OpenCode asks nobody before it runs a command, and has no sandbox: edits of this
# folder and reading are left. The last rule that fits decides.
_OPENCODE = {
    "mcp": {"parler": {"enabled": False}},
    "permission": {"*": "deny"}
    | dict.fromkeys(
        ("read", "edit", "glob", "grep", "list", "todowrite", "skill", "task"), "allow"
    ),
}

MAX_LABEL_CHARS = 256
CHECK_SECS = 10.0

_COMMON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM"),
    *("TMPDIR", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy"),
    *("https_proxy", "all_proxy", "no_proxy"),
)
_COMMON_PREFIXES = ("LC_", "XDG_")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./+-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A program that does a task and ends."""

    name: str
    command: Sequence[str]
    is_agent: bool
    """Is given a prompt; otherwise one object of JSON."""

    keeps: Sequence[str] = ()
    """Variables it needs beside the common ones; a final ``*`` stands for any end."""

    sets: Mapping[str, str]
    """Variables that are ours to set, unless the user passes them on."""

    more: Callable[[Mapping[str, str], Path], Sequence[str]] = lambda *_: ()
    """Arguments that depend on its environment and on the folder."""

    def arguments(self, environment: Mapping[str, str], folder: Path) -> list[str]:
        """The whole command, for now: settings of the user's may change meanwhile."""
        return [*self.command, *self.more(environment, folder)]


def _without_codex_servers(
    environment: Mapping[str, str], folder: Path
) -> Sequence[str]:
    """Turn off each MCP server that Codex would start; it has no switch for all.

    An entry must be whole even where the folder's own settings are not trusted and
    so not read: each gets a transport of its kind that leads nowhere.
    """
    home = Path(environment.get("HOME", "/"))
    places = [Path(environment.get("CODEX_HOME") or home / ".codex")]
    places += [place / ".codex" for place in (folder, *folder.parents)]
    off: dict[str, str] = {}
    for place in places:
        for name, table in _codex_servers(place / "config.toml"):
            kind = "url" if "url" in table else "command"
            off[name] = f"{json.dumps(name, ensure_ascii=False)}={_NO_SERVER[kind]}"
    return ["-c", f"mcp_servers={{{','.join(off.values())}}}"] if off else []


def _codex_servers(config: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        servers = tomllib.loads(config.read_text(encoding="utf-8"))["mcp_servers"]
    except (OSError, ValueError, KeyError):
        return  # Codex itself says what is wrong with a file of its own
    if isinstance(servers, dict):
        for name, table in servers.items():
            yield name, table if isinstance(table, dict) else {}


_AGENTS = (
    Runner(
        name="claude",
        command=[
            *("claude", "-p", "--permission-mode", "auto", "--output-format", "text"),
            *("--no-session-persistence", "--strict-mcp-config"),
            *("--mcp-config", '{"mcpServers":{}}'),
        ],
        is_agent=True,
        keeps=["ANTHROPIC_*", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN"],
        sets={},
    ),
    Runner(
        name="codex",
        command=[
            *("codex", "exec", "--sandbox", "workspace-write", "--ephemeral"),
            # A rule that allows a command also takes it out of the sandbox.
            *("--ignore-rules", "--skip-git-repo-check", "--color", "never"),
            *("-c", "features.apps=false", "-c", "features.plugins=false"),
        ],
        is_agent=True,
        keeps=["OPENAI_*", "CODEX_HOME", "CODEX_API_KEY"],
        sets={},
        more=_without_codex_servers,
    ),
    Runner(
        name="gemini",
        command=[
            *("gemini", "--approval-mode", "auto_edit", "--output-format", "text"),
            *("--allowed-mcp-server-names", "none"),
            *("-p", "Do what stdin asks for, within the rules it begins with."),
        ],
        is_agent=True,
        keeps=["GEMINI_*", "GOOGLE_*"],
        sets={},
    ),
    Runner(
        name="opencode",
        command=["opencode", "run"],
        is_agent=True,
        keeps=["OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR", "OPENCODE_API_KEY"],
        sets={"OPENCODE_CONFIG_CONTENT": json.dumps(_OPENCODE)},
    ),
)
AGENTS = {runner.name: runner for runner in _AGENTS}


def runner_of(named: str) -> Runner:
    """An agent CLI by its name; anything else is a command for the user's shell.

    Raises:
        UsageError: Nothing was named.
    """
    word = named.strip()
    if not word:
        raise UsageError(
            "the runner is empty", next_step=f"--runner {'|'.join(AGENTS)}|COMMAND"
        )
    return AGENTS.get(word) or Runner(
        name=word, command=["sh", "-c", named], is_agent=False, sets={}
    )


def require(runner: Runner, environment: Mapping[str, str], folder: Path) -> None:
    """See that a runner is there, before anything is taken.

    Raises:
        UsageError: It is not.
    """
    path = environment.get("PATH")
    if shutil.which(runner.command[0], path=path) is None:
        raise UsageError(
            f"there is no {runner.command[0]} on PATH",
            next_step=f"install it, or --runner {'|'.join(AGENTS)}|COMMAND",
        )
    first = runner.name.split()[0]
    if runner.is_agent or not _PLAIN_WORD.fullmatch(first):
        return
    # The shell alone knows its builtins and functions.
    known = subprocess.run(  # noqa: S603 - the local user's own word, as an argument
        ["sh", "-c", 'command -v -- "$1"', "sh", first],  # noqa: S607 - on their PATH
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=CHECK_SECS,
        check=False,
    )
    if known.returncode != 0:
        raise UsageError(
            f"the runner's command {first!r} is not found",
            next_step="name an existing program with --runner",
        )


def environment(
    inherited: Mapping[str, str],
    runner: Runner,
    *,
    extra: Iterable[str] = (),
    home: Path | None = None,
) -> dict[str, str]:
    """What a runner is given of our environment; of ours it gets nothing.

    Args:
        extra: Names of variables the user lets through.
        home: The identity the runner may use, if the user says so.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name in _COMMON
        or name.startswith(_COMMON_PREFIXES)
        or any(_fits(name, wanted) for wanted in (*runner.keeps, *extra))
    }
    kept = {**runner.sets, **kept}
    ours = [name for name in kept if name.upper().startswith("PARLER_")]
    for name in ours:
        del kept[name]
    return kept | {"PARLER_HOME": str(home) if home else NOWHERE}


def about(request: Request, role: str | None) -> dict[str, str]:
    """The task as variables (protocol 2.4)."""
    author = request.message.author
    told = {
        "PARLER_TASK_ID": request.message.id,
        "PARLER_ROOM": request.message.room,
        "PARLER_FROM": author.id,
        "PARLER_FROM_NAME": author.name,
        "PARLER_ROLE": role or "",
    }
    return {name: visible(text)[:MAX_LABEL_CHARS] for name, text in told.items()}


def _fits(name: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return name.startswith(wanted[:-1])
    return name == wanted
