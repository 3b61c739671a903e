"""A machine on which `parler connect` has wired the agent apps, and its people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.agents._kit.clis import Claude, Cli, Cline, Codex, Copilot, Gemini, OpenCode
from tests.agents._kit.sandbox import PARLER, Peer, Sandbox
from tests.agents._kit.talking import CodexServer

APPS: dict[type[Cli], str] = {
    Claude: "claude-code",
    Codex: "codex",
    Gemini: "gemini",
    OpenCode: "opencode",
    Cline: "cline-cli",
    Copilot: "copilot",
}
"""What `connect` calls them."""


@dataclass(frozen=True)
class Machine:
    """Where the apps are wired to a hub."""

    box: Sandbox
    hub: str

    def connect(self, *arguments: str) -> str:
        """Run `parler connect`, as the user in a shell."""
        return self.box.run([PARLER, "connect", *arguments]).out

    def shell_of(self, kind: type[Cli]) -> Peer:
        """The user in a shell, as the agent of that app in the project folder."""
        home = self.box.home / ".parler" / "agents" / APPS[kind]
        return Peer(self.box, {"PARLER_HOME": str(home)}, self.box.project)


def wire(box: Sandbox, kinds: Sequence[type[Cli]]) -> tuple[Machine, list[Cli]]:
    """Make some apps ready, and let `parler connect` wire them to a new hub."""
    clis = [kind(box) for kind in kinds]
    for cli in clis:
        cli.prepare()
    machine = Machine(box, box.hub())
    machine.connect("--hub", machine.hub, *(APPS[kind] for kind in kinds))
    return machine, clis


def trust_hooks(box: Sandbox) -> None:
    """What a user's yes in the hook review of Codex does; it skips hooks until then."""
    with CodexServer(box) as app:
        hooks = app.hooks()
    lines = [
        f"\n[hooks.state.{json.dumps(hook['key'])}]\n"
        f'trusted_hash = "{hook["currentHash"]}"\n'
        for hook in hooks
    ]
    with (box.home / Codex.config).open("a", encoding="utf-8") as config:
        config.write("".join(lines))
