"""Claude Code without a screen: `claude -p`."""

import os
import re
from pathlib import Path
from typing import Any

import msgspec

from parler.apps.claude_code.deny_patterns import outside
from parler.apps.kit.headless import (
    SECRETS,
    UNREADABLE,
    Answer,
    Headless,
    Launch,
    Runner,
    Start,
    conversation,
    dollars,
    printed_object,
    total,
)

_NO_SERVERS = '{"mcpServers":{}}'


def _launch(start: Start) -> Launch:
    may = start.permission
    command = ["claude", "-p", "--output-format", "json"]
    command += ["--max-budget-usd", f"{start.usd:.4f}"]
    settings: dict[str, Any] = {"deniedMcpServers": [{"serverName": "parler"}]}
    if not may.full:
        # What its user allowed for good would else hold for the whole disk.
        places = [*SECRETS, *(f"/{one}" for one in _outside(start.place))]
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


def _read(output: str) -> Answer:
    value = printed_object(output)
    if value.get("type") != "result":
        return UNREADABLE
    session, usd = (
        conversation(value.get("session_id")),
        dollars(value.get("total_cost_usd")),
    )
    text = value.get("result")
    tokens = total(value.get("usage"), "input_tokens", "output_tokens")
    if value.get("is_error") or not isinstance(text, str):
        why = text if isinstance(text, str) else str(value.get("subtype", "it failed"))
        return Answer(session=session, usd=usd, tokens=tokens, error=why)
    return Answer(text=text, session=session, usd=usd, tokens=tokens)


HEADLESS = Headless(
    work=Runner(
        name="claude-code",
        command=[
            *("claude", "-p", "--permission-mode", "auto", "--output-format", "text"),
            *("--no-session-persistence", "--strict-mcp-config"),
            *("--mcp-config", _NO_SERVERS),
        ],
        keeps=["ANTHROPIC_*", "CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN"],
    ),
    launch=_launch,
    read=_read,
    lost=re.compile(r"No conversation found", re.IGNORECASE),
)
