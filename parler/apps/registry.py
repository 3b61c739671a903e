"""The agent apps we know, and how one is found by what a user calls it.

Each app has a folder of its own, mostly data; how files are read, planned and written,
and whether what stands there works, is `install`.
"""

from parler.apps.amp import config as amp
from parler.apps.claude_code import config as claude_code
from parler.apps.claude_desktop import config as claude_desktop
from parler.apps.cline import config as cline
from parler.apps.codex import config as codex
from parler.apps.continue_dev import config as continue_dev
from parler.apps.copilot import config as copilot
from parler.apps.cursor import config as cursor
from parler.apps.gemini import config as gemini
from parler.apps.goose import config as goose
from parler.apps.kit.config import Host
from parler.apps.opencode import config as opencode
from parler.apps.qwen import config as qwen
from parler.apps.vscode import config as vscode
from parler.apps.windsurf import config as windsurf
from parler.apps.zed import config as zed

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
