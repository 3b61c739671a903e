"""The agent apps that answer questions: how each is started, and how its answer reads.

What holds an agent back is a list of the only tools it is given, or a sandbox of the
app's own. An app's "plan" mode is not enough: in three of these apps a command that
the user once allowed for good still runs in it and writes. The words of a question are
no part of a command line.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from parler.apps.claude_code.deny_patterns import outside
from parler.ask.projects import App, Permission
from parler.workers.runners import AGENTS, Runner

MAX_SESSION_CHARS = 200
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_NO_SERVERS = '{"mcpServers":{}}'
_PROMPT = "Do what stdin asks for, within the rules it begins with."

# What an answer must never hold; in these places keys and tokens are kept.
_SECRETS = (
    *("~/.ssh/**", "~/.gnupg/**", "~/.aws/**", "~/.azure/**", "~/.kube/**"),
    *("~/.config/gcloud/**", "~/.config/gh/**", "~/.docker/**", "~/.netrc"),
    *("~/.npmrc", "~/.pypirc", "~/.git-credentials", "~/.parler/**"),
    *("~/.claude.json", "~/.claude/.credentials.json", "~/.codex/auth.json"),
    *("~/.gemini/oauth_creds.json", "~/.gemini/.env"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one run of an agent depends on."""

    permission: Permission
    session: str | None
    """The app's name of the conversation to go on with; None begins one."""

    fresh_id: str
    """A name that a new conversation may be given."""

    usd: float
    folder: Path
    """A private folder of ours, for what must be a file."""

    place: Path
    """Where it works: the project's folder."""

    home: Path
    """The user's, as the app sees it."""

    servers: Sequence[str] = ()
    """Names of MCP servers that the app would start, where it has to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How an agent is started; `files` have to be there first."""

    command: list[str]
    variables: Mapping[str, str]
    files: Mapping[Path, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent said in the end."""

    text: str = ""
    session: str | None = None
    usd: float | None = None
    tokens: int | None = None
    error: str | None = None
    """Why there is no answer, in the app's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent app."""

    app: App
    launch: Callable[[Start], Launch]
    read: Callable[[str], Answer]
    lists_servers: Sequence[str] = ()
    """The command that names its MCP servers without starting them."""

    servers: Callable[[Any], list[str]] = lambda _: []
    """The names in what that prints; raises if they are not there."""

    lost: re.Pattern[str]
    """What it says when it has lost a conversation."""

    @property
    def runner(self) -> Runner:
        """Which of our variables it needs."""
        return AGENTS[self.app.value]


def _claude(start: Start) -> Launch:
    may = start.permission
    command = ["claude", "-p", "--output-format", "json"]
    command += ["--max-budget-usd", f"{start.usd:.4f}"]
    settings: dict[str, Any] = {"deniedMcpServers": [{"serverName": "parler"}]}
    if not may.full:
        # What its user allowed for good would else hold for the whole disk.
        places = [*_SECRETS, *(f"/{one}" for one in _outside(start.place))]
        denied = [f"{tool}({one})" for one in places for tool in ("Read", "Edit")]
        settings["permissions"] = {"deny": denied}
    command += ["--settings", msgspec.json.encode(settings).decode()]
    if may.full:
        command += ["--permission-mode", "bypassPermissions"]
    else:
        tools = ["Read", "Glob", "Grep"]
        tools += ["Edit", "Write", "NotebookEdit"] if may.write else []
        web = ["WebFetch", "WebSearch"] if may.network else []
        mode = "acceptEdits" if may.write else "default"
        command += ["--tools", ",".join([*tools, *web]), "--permission-mode", mode]
        command += ["--allowedTools", ",".join(web)] if web else []
        if not may.servers:
            command += ["--strict-mcp-config", "--mcp-config", _NO_SERVERS]
    if start.session:
        command += ["--resume", start.session]
    else:
        command += ["--session-id", start.fresh_id]
    return Launch(command=command, variables={}, files={})


def _outside(place: Path) -> list[str]:
    return outside(place.resolve()) if os.name == "posix" else []


def _codex(start: Start) -> Launch:
    may = start.permission
    sandbox = "workspace-write" if may.write else "read-only"
    settings = {
        "sandbox_mode": '"danger-full-access"' if may.full else f'"{sandbox}"',
        "approval_policy": '"never"',
        "mcp_servers.parler": '{command="true",enabled=false}',
    }
    if not may.full:
        # Where a Codex knows no such profiles, the sandbox above is what holds.
        settings["default_permissions"] = f'"{_CODEX_PROFILE}"'
        settings[f"permissions.{_CODEX_PROFILE}"] = _codex_profile(start)
        settings["web_search"] = '"live"' if may.network else '"disabled"'
        network = "true" if may.network else "false"
        settings["sandbox_workspace_write.network_access"] = network
        settings["features.multi_agent"] = "false"
        if not may.servers:
            for name in start.servers:
                if name != "parler":
                    settings[f"mcp_servers.{_toml_key(name)}.enabled"] = "false"
    command = ["codex", "exec"]
    if start.session:
        command.append("resume")
    command += ["--json", "--skip-git-repo-check"]
    if not may.full:
        # A rule that allows a command runs it outside of the sandbox.
        command.append("--ignore-rules")
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    command += [start.session, "-"] if start.session else ["-"]
    return Launch(command=command, variables={}, files={})


_CODEX_PROFILE = "parler-ask"


def _codex_profile(start: Start) -> str:
    may = start.permission
    names = [place.removesuffix("/**") for place in _SECRETS]
    # Its sandbox fails where two that are missing would lie in one folder.
    there = [name for name in names if (start.home / name[2:]).exists()]
    kept = ",".join(f'"{name}"="none"' for name in there)
    base = ":workspace" if may.write else ":read-only"
    network = "network={enabled=true}," if may.network else ""
    return f'{{extends="{base}",{network}filesystem={{{kept}}}}}'


_GEMINI_READS = (
    *("read_file", "read_many_files", "list_directory", "glob", "grep_search"),
    "search_file_content",
)
_GEMINI_WRITES = ("write_file", "replace")
_GEMINI_WEB = ("google_web_search", "web_fetch")
_GEMINI_REST = (
    *("run_shell_command", "exit_plan_mode", "enter_plan_mode", "invoke_agent"),
    *("save_memory", "activate_skill"),
)


def _gemini(start: Start) -> Launch:
    may = start.permission
    command = ["gemini", "--output-format", "json"]
    files = {}
    if may.full:
        command += ["--approval-mode", "yolo"]
    else:
        policy = start.folder / "gemini-policy.toml"
        files[policy] = _gemini_policy(may)
        command += ["--approval-mode", "auto_edit" if may.write else "default"]
        command += ["--admin-policy", str(policy)]
        if not may.servers:
            command += ["--allowed-mcp-server-names", "none"]
    settings = start.folder / "gemini-settings.json"
    files[settings] = '{"mcp":{"excluded":["parler"]}}\n'
    if start.session:
        command += ["--resume", start.session]
    else:
        command += ["--session-id", start.fresh_id]
    return Launch(
        command=[*command, "-p", _PROMPT],
        variables={"GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(settings)},
        files=files,
    )


def _gemini_policy(may: Permission) -> str:
    allowed = [*_GEMINI_READS]
    denied = [*_GEMINI_REST]
    (allowed if may.write else denied).extend(_GEMINI_WRITES)
    (allowed if may.network else denied).extend(_GEMINI_WEB)
    # With servers, whose tools have names of their own, only what we know is denied.
    refused = denied if may.servers else ["*"]
    rules = [("deny", 900, refused), ("allow", 950, allowed)]
    return "\n".join(
        f"[[rule]]\ntoolName = {msgspec.json.encode(names).decode()}\n"
        f'decision = "{decision}"\npriority = {priority}\n'
        for decision, priority, names in rules
    )


def _opencode(start: Start) -> Launch:
    may = start.permission
    # A server whose tools are not offered would be started all the same.
    off = [*start.servers, "parler"] if not may.servers else ["parler"]
    config: dict[str, Any] = {"mcp": {name: {"enabled": False} for name in off}}
    command = ["opencode", "run", "--format", "json"]
    if may.full:
        command += ["--agent", "build", "--auto"]
    else:
        command += ["--agent", "parler-ask"]
        given = ["read", "glob", "grep", "list"]
        given += ["edit", "write", "patch"] if may.write else []
        given += ["webfetch", "websearch"] if may.network else []
        rest = ("bash", "task", "edit", "write", "patch", "webfetch", "websearch")
        tools = dict.fromkeys(rest, False) if may.servers else {"*": False}
        permission = {"bash": "deny", "task": "deny", "external_directory": "deny"}
        base = {} if may.servers else {"*": "deny"}
        config["agent"] = {
            "parler-ask": {
                "mode": "primary",
                "description": "Answers a question from another project.",
                "tools": tools | dict.fromkeys(given, True),
                "permission": base | permission | dict.fromkeys(given, "allow"),
            }
        }
    if start.session:
        command += ["-s", start.session]
    return Launch(
        command=command,
        variables={"OPENCODE_CONFIG_CONTENT": msgspec.json.encode(config).decode()},
        files={},
    )


def _read_object(output: str) -> dict[str, Any]:
    """The JSON object that is printed, whatever stands before or after it."""
    start, end = output.find("{"), output.rfind("}")
    try:
        value = msgspec.json.decode(output[start : end + 1]) if start >= 0 else None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _events(output: str) -> Iterable[dict[str, Any]]:
    """The JSON objects that are printed, one on each line; other lines do not count."""
    for line in output.splitlines():
        if line.startswith("{"):
            value = _read_object(line)
            if value:
                yield value


_UNREADABLE = Answer(error="its answer cannot be read")


def _read_claude(output: str) -> Answer:
    value = _read_object(output)
    if value.get("type") != "result":
        return _UNREADABLE
    session, usd = _session(value.get("session_id")), _usd(value.get("total_cost_usd"))
    text = value.get("result")
    tokens = _sum(value.get("usage"), "input_tokens", "output_tokens")
    if value.get("is_error") or not isinstance(text, str):
        why = text if isinstance(text, str) else str(value.get("subtype", "it failed"))
        return Answer(session=session, usd=usd, tokens=tokens, error=why)
    return Answer(text=text, session=session, usd=usd, tokens=tokens)


def _read_codex(output: str) -> Answer:
    text, session, error, tokens = None, None, None, None
    for event in _events(output):
        match event.get("type"):
            case "thread.started":
                session = _session(event.get("thread_id"))
            case "item.completed":
                item = event.get("item")
                item = item if isinstance(item, dict) else {}
                if item.get("type") == "agent_message":
                    text = item.get("text")
            case "turn.completed":
                tokens = _sum(event.get("usage"), "input_tokens", "output_tokens")
            case "turn.failed" | "error":
                why = event.get("error") or event
                error = str(why.get("message") if isinstance(why, dict) else why)
    return _final(text, session=session, tokens=tokens, error=error)


def _read_gemini(output: str) -> Answer:
    value = _read_object(output)
    error = value.get("error")
    if isinstance(error, dict):
        return Answer(error=str(error.get("message", "it failed")))
    stats = value.get("stats")
    models = stats.get("models") if isinstance(stats, dict) else None
    each = models.values() if isinstance(models, dict) else []
    totals = [
        _sum(one.get("tokens"), "total") or 0 for one in each if isinstance(one, dict)
    ]
    return _final(
        value.get("response"),
        session=_session(value.get("session_id")),
        tokens=sum(totals) or None,
    )


def _read_opencode(output: str) -> Answer:
    said: dict[str, list[str]] = {}
    session, error, usd, tokens, priced = None, None, 0.0, 0, False
    for event in _events(output):
        session = _session(event.get("sessionID")) or session
        part = event.get("part")
        part = part if isinstance(part, dict) else {}
        match event.get("type"):
            case "text":
                text = part.get("text")
                if isinstance(text, str):
                    said.setdefault(str(part.get("messageID")), []).append(text)
            case "step_finish":
                cost = _usd(part.get("cost"))
                # Zero is what it says of a model whose price it does not know.
                usd, priced = usd + (cost or 0.0), priced or bool(cost)
                tokens += _sum(part.get("tokens"), "total") or 0
            case "error":
                error = msgspec.json.encode(event.get("error")).decode()
    last = "\n".join(list(said.values())[-1]) if said else None
    return _final(
        last,
        session=session,
        usd=usd if priced else None,
        tokens=tokens or None,
        error=error,
    )


def _final(
    text: object,
    *,
    session: str | None,
    usd: float | None = None,
    tokens: int | None = None,
    error: str | None = None,
) -> Answer:
    if isinstance(text, str) and text.strip():
        return Answer(text=text, session=session, usd=usd, tokens=tokens)
    why = error or _UNREADABLE.error
    return Answer(session=session, usd=usd, tokens=tokens, error=why)


def _session(value: object) -> str | None:
    """An app's name of a conversation, if it can be one: it goes on a command line."""
    if not isinstance(value, str) or len(value) > MAX_SESSION_CHARS:
        return None
    return value if _SESSION.fullmatch(value) else None


def _usd(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1_000_000 else None


def _sum(value: object, *names: str) -> int | None:
    if not isinstance(value, dict):
        return None
    numbers = [value.get(name) for name in names]
    found = [number for number in numbers if type(number) is int and number >= 0]
    return sum(found) if found else None


def _toml_key(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII)
    return name if plain else msgspec.json.encode(name).decode()


def server_names(agent: Agent, output: str) -> list[str] | None:
    """The names of an app's MCP servers; None if that is not what was printed."""
    try:
        names = agent.servers(msgspec.json.decode(output.strip()))
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return names if all(isinstance(name, str) for name in names) else None


_ALL = (
    Agent(
        app=App.CLAUDE,
        launch=_claude,
        read=_read_claude,
        lost=re.compile(r"No conversation found", re.IGNORECASE),
    ),
    Agent(
        app=App.CODEX,
        launch=_codex,
        read=_read_codex,
        lists_servers=("codex", "mcp", "list", "--json"),
        servers=lambda value: [entry["name"] for entry in value],
        lost=re.compile(r"no rollout found|thread/resume failed", re.IGNORECASE),
    ),
    Agent(
        app=App.GEMINI,
        launch=_gemini,
        read=_read_gemini,
        lost=re.compile(r"resuming session|session identifier", re.IGNORECASE),
    ),
    Agent(
        app=App.OPENCODE,
        launch=_opencode,
        read=_read_opencode,
        lists_servers=("opencode", "debug", "config"),
        servers=lambda value: list(value.get("mcp") or {}),
        lost=re.compile(r"session not found", re.IGNORECASE),
    ),
)
ANSWERERS = {agent.app: agent for agent in _ALL}
