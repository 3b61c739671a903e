"""Gemini CLI without a screen: `gemini -p`."""

import re

import msgspec

from parler.apps.kit.headless import (
    PROMPT,
    Answer,
    Headless,
    Launch,
    Runner,
    Start,
    conversation,
    ended,
    printed_object,
    total,
)
from parler.apps.kit.permission import Permission

_READS = (
    *("read_file", "read_many_files", "list_directory", "glob", "grep_search"),
    "search_file_content",
)
_WRITES = ("write_file", "replace")
_WEB = ("google_web_search", "web_fetch")
_REST = (
    *("run_shell_command", "exit_plan_mode", "enter_plan_mode", "invoke_agent"),
    *("save_memory", "activate_skill"),
)


def _launch(start: Start) -> Launch:
    may = start.permission
    command = ["gemini", "--output-format", "json"]
    files = {}
    if may.full:
        command += ["--approval-mode", "yolo"]
    else:
        policy = start.folder / "gemini-policy.toml"
        files[policy] = _policy(may)
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
        command=[*command, "-p", PROMPT],
        variables={"GEMINI_CLI_SYSTEM_SETTINGS_PATH": str(settings)},
        files=files,
    )


def _policy(may: Permission) -> str:
    allowed = [*_READS]
    denied = [*_REST]
    (allowed if may.write else denied).extend(_WRITES)
    (allowed if may.network else denied).extend(_WEB)
    # With servers, whose tools have names of their own, only what we know is denied.
    refused = denied if may.servers else ["*"]
    rules = [("deny", 900, refused), ("allow", 950, allowed)]
    return "\n".join(
        f"[[rule]]\ntoolName = {msgspec.json.encode(names).decode()}\n"
        f'decision = "{decision}"\npriority = {priority}\n'
        for decision, priority, names in rules
    )


def _read(output: str) -> Answer:
    value = printed_object(output)
    error = value.get("error")
    if isinstance(error, dict):
        return Answer(error=str(error.get("message", "it failed")))
    stats = value.get("stats")
    models = stats.get("models") if isinstance(stats, dict) else None
    each = models.values() if isinstance(models, dict) else []
    totals = [
        total(one.get("tokens"), "total") or 0 for one in each if isinstance(one, dict)
    ]
    return ended(
        value.get("response"),
        session=conversation(value.get("session_id")),
        tokens=sum(totals) or None,
    )


HEADLESS = Headless(
    work=Runner(
        name="gemini",
        command=[
            *("gemini", "--approval-mode", "auto_edit", "--output-format", "text"),
            *("--allowed-mcp-server-names", "none"),
            *("-p", PROMPT),
        ],
        keeps=["GEMINI_*", "GOOGLE_*"],
    ),
    launch=_launch,
    read=_read,
    lost=re.compile(r"resuming session|session identifier", re.IGNORECASE),
)
