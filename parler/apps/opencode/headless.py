"""OpenCode without a screen: `opencode run`."""

import json
import re
from typing import Any

import msgspec

from parler.apps.kit.headless import (
    Answer,
    Headless,
    Launch,
    Runner,
    Start,
    conversation,
    dollars,
    ended,
    printed_events,
    total,
)

# OpenCode asks nobody before it runs a command, and has no sandbox: edits of this
# folder and reading are left. The last rule that fits decides.
_AT_WORK = {
    "mcp": {"parler": {"enabled": False}},
    "permission": {"*": "deny"}
    | dict.fromkeys(
        ("read", "edit", "glob", "grep", "list", "todowrite", "skill", "task"), "allow"
    ),
}


def _launch(start: Start) -> Launch:
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


def _read(output: str) -> Answer:
    said: dict[str, list[str]] = {}
    session, error, usd, tokens, priced = None, None, 0.0, 0, False
    for event in printed_events(output):
        session = conversation(event.get("sessionID")) or session
        part = event.get("part")
        part = part if isinstance(part, dict) else {}
        match event.get("type"):
            case "text":
                text = part.get("text")
                if isinstance(text, str):
                    said.setdefault(str(part.get("messageID")), []).append(text)
            case "step_finish":
                cost = dollars(part.get("cost"))
                # Zero is what it says of a model whose price it does not know.
                usd, priced = usd + (cost or 0.0), priced or bool(cost)
                tokens += total(part.get("tokens"), "total") or 0
            case "error":
                error = msgspec.json.encode(event.get("error")).decode()
    last = "\n".join(list(said.values())[-1]) if said else None
    return ended(
        last,
        session=session,
        usd=usd if priced else None,
        tokens=tokens or None,
        error=error,
    )


HEADLESS = Headless(
    work=Runner(
        name="opencode",
        command=["opencode", "run"],
        keeps=["OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR", "OPENCODE_API_KEY"],
        sets={"OPENCODE_CONFIG_CONTENT": json.dumps(_AT_WORK)},
    ),
    launch=_launch,
    read=_read,
    lists_servers=("opencode", "debug", "config"),
    servers=lambda value: list(value.get("mcp") or {}),
    lost=re.compile(r"session not found", re.IGNORECASE),
)
