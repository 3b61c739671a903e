"""Codex without a screen: `codex exec`."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from parler.apps.kit.headless import (
    SECRETS,
    Answer,
    Headless,
    Launch,
    Runner,
    Start,
    conversation,
    ended,
    printed_events,
    total,
)

_NO_SERVER = {
    "command": '{enabled=false,command="false"}',
    "url": '{enabled=false,url="http://127.0.0.1:9"}',
}


def _launch(start: Start) -> Launch:
    may = start.permission
    sandbox = "workspace-write" if may.write else "read-only"
    settings = {
        "sandbox_mode": '"danger-full-access"' if may.full else f'"{sandbox}"',
        "approval_policy": '"never"',
        "mcp_servers.parler": '{command="true",enabled=false}',
    }
    if not may.full:
        # Where a Codex knows no such profiles, the sandbox above is what holds.
        settings["default_permissions"] = f'"{_PROFILE}"'
        settings[f"permissions.{_PROFILE}"] = _profile(start)
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


_PROFILE = "parler-ask"


def _profile(start: Start) -> str:
    may = start.permission
    names = [place.removesuffix("/**") for place in SECRETS]
    # Its sandbox fails where two that are missing would lie in one folder.
    there = [name for name in names if (start.home / name[2:]).exists()]
    kept = ",".join(f'"{name}"="none"' for name in there)
    base = ":workspace" if may.write else ":read-only"
    network = "network={enabled=true}," if may.network else ""
    return f'{{extends="{base}",{network}filesystem={{{kept}}}}}'


def _read(output: str) -> Answer:
    text, session, error, tokens = None, None, None, None
    for event in printed_events(output):
        match event.get("type"):
            case "thread.started":
                session = conversation(event.get("thread_id"))
            case "item.completed":
                item = event.get("item")
                item = item if isinstance(item, dict) else {}
                if item.get("type") == "agent_message":
                    text = item.get("text")
            case "turn.completed":
                tokens = total(event.get("usage"), "input_tokens", "output_tokens")
            case "turn.failed" | "error":
                why = event.get("error") or event
                error = str(why.get("message") if isinstance(why, dict) else why)
    return ended(text, session=session, tokens=tokens, error=error)


def _without_servers(environment: Mapping[str, str], folder: Path) -> Sequence[str]:
    """Turn off each MCP server that Codex would start; it has no switch for all.

    An entry must be whole even where the folder's own settings are not trusted and
    so not read: each gets a transport of its kind that leads nowhere.
    """
    home = Path(environment.get("HOME", "/"))
    places = [Path(environment.get("CODEX_HOME") or home / ".codex")]
    places += [place / ".codex" for place in (folder, *folder.parents)]
    off: dict[str, str] = {}
    for place in places:
        for name, table in _configured_servers(place / "config.toml"):
            kind = "url" if "url" in table else "command"
            off[name] = f"{json.dumps(name, ensure_ascii=False)}={_NO_SERVER[kind]}"
    return ["-c", f"mcp_servers={{{','.join(off.values())}}}"] if off else []


def _configured_servers(config: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    try:
        servers = tomllib.loads(config.read_text(encoding="utf-8"))["mcp_servers"]
    except (OSError, ValueError, KeyError):
        return  # Codex itself says what is wrong with a file of its own
    if isinstance(servers, dict):
        for name, table in servers.items():
            yield name, table if isinstance(table, dict) else {}


def _toml_key(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII)
    return name if plain else msgspec.json.encode(name).decode()


HEADLESS = Headless(
    work=Runner(
        name="codex",
        command=[
            *("codex", "exec", "--sandbox", "workspace-write", "--ephemeral"),
            # A rule that allows a command also takes it out of the sandbox.
            *("--ignore-rules", "--skip-git-repo-check", "--color", "never"),
            *("-c", "features.apps=false", "-c", "features.plugins=false"),
        ],
        keeps=["OPENAI_*", "CODEX_HOME", "CODEX_API_KEY"],
        more=_without_servers,
    ),
    launch=_launch,
    read=_read,
    lists_servers=("codex", "mcp", "list", "--json"),
    servers=lambda value: [entry["name"] for entry in value],
    lost=re.compile(r"no rollout found|thread/resume failed", re.IGNORECASE),
)
