"""The agent apps we know, and how one is found by what a user calls it.

Each app has a module of its own, mostly data; how files are read, planned and written
is `install`, whether what stands there works is `health`.
"""

from parler.hosts import (
    amp,
    claude_code,
    claude_desktop,
    cline,
    codex,
    continue_dev,
    copilot,
    cursor,
    gemini,
    goose,
    opencode,
    qwen,
    vscode,
    windsurf,
    zed,
)
from parler.hosts.host import Host

HOSTS: tuple[Host, ...] = (
    claude_code.HOST,
    codex.HOST,
    cursor.HOST,
    windsurf.HOST,
    gemini.HOST,
    claude_desktop.HOST,
    opencode.HOST,
    vscode.HOST,
    vscode.INSIDERS,
    vscode.VSCODIUM,
    cline.HOST,
    cline.CLI,
    copilot.HOST,
    zed.HOST,
    continue_dev.HOST,
    goose.HOST,
    amp.HOST,
    qwen.HOST,
)


def host_by_id(name: str) -> Host | None:
    """The app of this name or alias, None if there is none."""
    wanted = name.strip().lower()
    for host in HOSTS:
        if wanted in (host.id, *host.aliases):
            return host
    return None
