"""The agent CLIs: how each is made ready offline, and asked for a turn or a tool.

`prepare` answers the questions of a first run and points the CLI at the scripted
model. What a CLI's own `mcp add` writes and what `parler connect` writes go on top.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests._support.polling import WAIT
from tests._support.processes import Done
from tests.agents._kit.sandbox import Asked, Sandbox, Started
from tests.agents._kit.talking import ClaudeControl, CodexServer

KEY = "the-key-of-a-scripted-model"

Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """A headless turn that ended."""

    text: str
    """The agent's last words."""

    asked: list[Asked]
    """What its model was sent meanwhile."""


class Cli:
    """What all of them do alike."""

    name: ClassVar[str]
    config: ClassVar[str]
    """Where in the home it keeps the servers it knows."""

    headless: ClassVar[Sequence[str]]
    """What makes it answer one prompt, which comes last."""

    write: ClassVar[Json]
    """A step that makes a file `made` in the project, by the CLI's own tool."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box

    def prepare(self) -> None:
        """Make it ready to work in the project folder."""
        raise NotImplementedError

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """Run it to its end."""
        return self.box.run([self.name, *arguments], stdin=stdin, wait=WAIT)

    def file(self, name: str) -> Path:
        """A file in the home, its folder made."""
        path = self.box.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def merge(self, name: str, values: Json) -> None:
        """Change a JSON file in the home; what else is in it stays."""
        path = self.file(name)
        old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps(_merged(old, values), indent=2), encoding="utf-8")

    def add_server(
        self, name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        """By its own `mcp add`."""
        given = [
            word for key in variables for word in ("--env", f"{key}={variables[key]}")
        ]
        self.run("mcp", "add", name, *given, "--", *command)

    def trust(self, server: str) -> None:
        """What a user does who lets the tools of a server run unasked."""

    def servers(self) -> dict[str, bool]:
        """The MCP servers it knows, and whether it is connected to each."""
        done = self.run("mcp", "list")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", done.out + done.err)
        found = re.findall(r"^\W*?([✓✔✗✘○])\s+([\w.-]+)", plain, re.M)
        return {name: mark in "✓✔" for mark, name in found}

    def call(self, server: str, tool: str, arguments: Json) -> str:
        """What a tool says when the agent calls it."""
        self.box.model.script({"call": tool, "with": arguments})
        return self.turn(f"call {tool}").text

    def turn(self, prompt: str) -> Turn:
        """One headless turn."""
        before = len(self.box.model.asked)
        done = self.run(*self.headless, prompt)
        return Turn(self.last_words(done.out), self.box.model.asked[before:])

    def start(self, prompt: str) -> Started:
        """Start a headless turn."""
        return self.box.start([self.name, *self.headless, prompt])

    def last_words(self, output: str) -> str:
        """The agent's, in what a headless turn printed."""
        return output.strip()


class Claude(Cli):
    name, config = "claude", ".claude.json"
    headless = ("-p", "--output-format", "json")
    write: ClassVar[Json] = {
        "call": "Write",
        "with": {"file_path": "{project}/made", "content": "by an agent"},
    }

    def prepare(self) -> None:
        answered = ("hasTrustDialogAccepted", "hasCompletedProjectOnboarding")
        self.merge(
            self.config,
            {
                "hasCompletedOnboarding": True,
                "theme": "dark",
                "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
                "projects": {str(self.box.project): dict.fromkeys(answered, True)},
            },
        )
        variables = {
            "ANTHROPIC_BASE_URL": self.box.model.url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        self.merge(".claude/settings.json", {"env": variables})
        # Else a turn may begin before the servers are there.
        self.box.variables["MCP_CONNECTION_NONBLOCKING"] = "0"

    def add_server(
        self, name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        given = [
            word for key in variables for word in ("-e", f"{key}={variables[key]}")
        ]
        self.run("mcp", "add", name, "--scope", "user", *given, "--", *command)

    def trust(self, server: str) -> None:
        rule = f"mcp__{server}__*"
        self.merge(".claude/settings.json", {"permissions": {"allow": [rule]}})

    def servers(self) -> dict[str, bool]:
        with ClaudeControl(self.box) as control:
            return control.servers()

    def call(self, server: str, tool: str, arguments: Json) -> str:
        with ClaudeControl(self.box) as control:
            assert control.servers().get(server), f"{server} is not connected"
            return control.call(server, tool, arguments)

    def last_words(self, output: str) -> str:
        return str(json.loads(output)["result"])


class Codex(Cli):
    name, config = "codex", ".codex/config.toml"
    headless = ("exec", "--json", "--skip-git-repo-check")
    write: ClassVar[Json] = {
        "call": "exec_command",
        "with": {"cmd": "printf 'by an agent' > made"},
    }

    def prepare(self) -> None:
        self.file(self.config).write_text(
            f"""\
model = "scripted"
model_provider = "scripted"
check_for_update_on_startup = false
mcp_optional_startup_grace_ms = 30000

[analytics]
enabled = false

[model_providers.scripted]
name = "scripted"
base_url = "{self.box.model.url}/v1"
wire_api = "responses"
request_max_retries = 1

[projects."{self.box.project}"]
trust_level = "trusted"
""",
            encoding="utf-8",
        )

    def trust(self, server: str) -> None:
        path, table = self.file(self.config), f"[mcp_servers.{server}]\n"
        text = path.read_text(encoding="utf-8")
        assert table in text
        approved = f'{table}default_tools_approval_mode = "approve"\n'
        path.write_text(text.replace(table, approved), encoding="utf-8")

    def servers(self) -> dict[str, bool]:
        with CodexServer(self.box) as server:
            return server.servers()

    def call(self, server: str, tool: str, arguments: Json) -> str:
        with CodexServer(self.box) as app:
            return app.call(app.new_thread(), server, tool, arguments)

    def last_words(self, output: str) -> str:
        lines = [json.loads(one) for one in output.splitlines() if one.startswith("{")]
        items = [line.get("item", {}) for line in lines]
        said = [item["text"] for item in items if item.get("type") == "agent_message"]
        return str(said[-1])


class Gemini(Cli):
    name, config = "gemini", ".gemini/settings.json"
    headless = ("--output-format", "json", "-p")
    write: ClassVar[Json] = {
        "call": "write_file",
        "with": {"file_path": "{project}/made", "content": "by an agent"},
    }

    def prepare(self) -> None:
        self.merge(
            self.config,
            {
                "security": {"auth": {"selectedType": "gemini-api-key"}},
                "general": {"enableAutoUpdate": False},
                "privacy": {"usageStatisticsEnabled": False},
                "model": {"name": "gemini-2.5-flash"},  # else it asks a model which
            },
        )
        url = self.box.model.url
        self.file(".gemini/.env").write_text(
            f"GEMINI_API_KEY={KEY}\nGOOGLE_GEMINI_BASE_URL={url}\n", encoding="utf-8"
        )
        trusted = {str(self.box.project): "TRUST_FOLDER"}
        self.merge(".gemini/trustedFolders.json", trusted)

    def add_server(
        self, name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        given = [f"{key}={variables[key]}" for key in variables]
        last = ["-e", *given] if given else []  # takes all that follows
        self.run("mcp", "add", "--scope", "user", "--trust", name, *command, *last)

    def trust(self, server: str) -> None:
        # Without it a headless turn is offered only tools that change nothing.
        self.merge(self.config, {"mcpServers": {server: {"trust": True}}})

    def last_words(self, output: str) -> str:
        return str(json.loads(output)["response"])


class OpenCode(Cli):
    name, config = "opencode", ".config/opencode/opencode.json"
    headless = ("run",)
    write: ClassVar[Json] = {
        "call": "write",
        "with": {"filePath": "{project}/made", "content": "by an agent"},
    }

    def prepare(self) -> None:
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "scripted",
            "models": {"scripted": {"name": "scripted", "tool_call": True}},
            "options": {"baseURL": f"{self.box.model.url}/v1", "apiKey": KEY},
        }
        self.merge(
            self.config,
            {
                "autoupdate": False,
                "share": "disabled",
                "model": "scripted/scripted",
                "small_model": "scripted/scripted",
                "provider": {"scripted": provider},
            },
        )


class Cline(Cli):
    name, config = "cline", ".cline/data/settings/cline_mcp_settings.json"
    headless = ("--json", "--timeout", "120")

    def prepare(self) -> None:
        given = ("-p", "openai-compatible", "-k", KEY, "-m", "scripted")
        self.run("auth", *given, "-b", f"{self.box.model.url}/v1")

    def add_server(
        self, name: str, command: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        assert not variables, "its own command takes none"
        self.run("mcp", "add", name, "--yes", "--json", "--", *command)

    def servers(self) -> dict[str, bool]:
        raise NotImplementedError("it has no such command")

    def last_words(self, output: str) -> str:
        lines = [json.loads(one) for one in output.splitlines() if one.startswith("{")]
        return str([line["text"] for line in lines if line["type"] == "run_result"][-1])


class Copilot(Cli):
    name, config = "copilot", ".copilot/mcp-config.json"
    headless = ("--allow-all-tools", "--silent", "-p")

    def prepare(self) -> None:
        self.box.variables |= {
            "COPILOT_OFFLINE": "true",
            "COPILOT_AUTO_UPDATE": "false",
            "COPILOT_MODEL": "scripted",
            "COPILOT_PROVIDER_BASE_URL": f"{self.box.model.url}/v1",
        }
        trusted = {"trusted_folders": [str(self.box.project)]}
        self.merge(".copilot/config.json", trusted)

    def servers(self) -> dict[str, bool]:
        raise NotImplementedError("it launches them for a turn only")


WORKERS: tuple[type[Cli], ...] = (Claude, Codex, Gemini, OpenCode)
"""Those that `parler work` knows."""

ALL: tuple[type[Cli], ...] = (*WORKERS, Cline, Copilot)


def _flags(flag: str, variables: Mapping[str, str]) -> list[str]:
    return [word for key in variables for word in (flag, f"{key}={variables[key]}")]


def _merged(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merged(old.get(key), new[key]) for key in new}
    if isinstance(old, list) and isinstance(new, list):
        return old + [item for item in new if item not in old]
    return new
