"""What is known of each app: its places on three systems, what it is given, trusted."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from parler.apps.config_files import edits
from parler.apps.config_files.edits import Add, Format
from parler.apps.gemini import config
from parler.apps.kit.app import App
from parler.apps.kit.config import Wiring
from parler.apps.kit.offered import OFFERED_TOOLS
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.trust import (
    ASKED_TOOLS,
    SAFE_TOOLS,
    Entry,
    is_our_hook_command,
    is_our_server,
)
from parler.apps.registry import all_apps, app_named
from tests.parler.apps._files import HUB, desk

HOME = Path("/home/ada")
LINUX = Machine(platform=Platform.LINUX, env={}, home=HOME)
MACOS = Machine(platform=Platform.MACOS, env={}, home=HOME)
WINDOWS = Machine(
    platform=Platform.WINDOWS, env={"APPDATA": "/home/ada/AppData/Roaming"}, home=HOME
)
WIRING = Wiring(
    app="x",
    command=("/usr/local/bin/parler",),
    home=HOME / ".parler" / "agents" / "x",
    hub=HUB,
)

DANGEROUS = (
    "parler_approve_join",
    "parler_deny_join",
    "parler_apply",
    "parler_push",
    "parler_send_file",
    "parler_fetch",
    "parler_delete_room",
    "parler_open_session",
    "parler_join_session",
    "parler_join",
    "parler_invite",
    "parler_bring",
    "parler_ask",
    "parler_watch_session",
    "parler_register",
)


@pytest.mark.parametrize(
    ("app", "machine", "path"),
    [
        ("claude-code", LINUX, ".claude.json"),
        ("codex", LINUX, ".codex/config.toml"),
        ("cursor", WINDOWS, ".cursor/mcp.json"),
        ("windsurf", WINDOWS, ".codeium/windsurf/mcp_config.json"),
        ("gemini", LINUX, ".gemini/settings.json"),
        ("claude-desktop", LINUX, ".config/Claude/claude_desktop_config.json"),
        (
            "claude-desktop",
            MACOS,
            "Library/Application Support/Claude/claude_desktop_config.json",
        ),
        (
            "claude-desktop",
            WINDOWS,
            "AppData/Roaming/Claude/claude_desktop_config.json",
        ),
        ("opencode", LINUX, ".config/opencode/opencode.jsonc"),
        ("opencode", MACOS, ".config/opencode/opencode.jsonc"),
        ("vscode", LINUX, ".config/Code/User/mcp.json"),
        ("vscode", MACOS, "Library/Application Support/Code/User/mcp.json"),
        ("vscode", WINDOWS, "AppData/Roaming/Code/User/mcp.json"),
        ("vscode-insiders", LINUX, ".config/Code - Insiders/User/mcp.json"),
        ("vscodium", WINDOWS, "AppData/Roaming/VSCodium/User/mcp.json"),
        ("cline-cli", LINUX, ".cline/data/settings/cline_mcp_settings.json"),
        ("copilot", LINUX, ".copilot/mcp-config.json"),
        ("zed", MACOS, ".config/zed/settings.json"),
        ("zed", WINDOWS, "AppData/Roaming/Zed/settings.json"),
        ("continue", LINUX, ".continue/mcpServers/parler.json"),
        ("goose", LINUX, ".config/goose/config.yaml"),
        ("goose", WINDOWS, "AppData/Roaming/Block/goose/config/config.yaml"),
        ("amp", MACOS, ".config/amp/settings.json"),
        ("qwen", LINUX, ".qwen/settings.json"),
    ],
)
def test_the_servers_of_an_app_are_where_it_looks(
    app: str, machine: Machine, path: str
) -> None:
    found = app_named(app)
    assert found is not None
    assert found.config().files(machine, WIRING)[0].path == HOME / path


@pytest.mark.parametrize(
    ("app", "env", "path"),
    [
        ("claude-code", {"CLAUDE_CONFIG_DIR": "/c"}, "/c/.claude.json"),
        ("codex", {"CODEX_HOME": "/c"}, "/c/config.toml"),
        ("gemini", {"GEMINI_CLI_HOME": "/c"}, "/c/.gemini/settings.json"),
        ("opencode", {"XDG_CONFIG_HOME": "/c"}, "/c/opencode/opencode.jsonc"),
        ("copilot", {"COPILOT_HOME": "/c"}, "/c/mcp-config.json"),
        ("goose", {"XDG_CONFIG_HOME": "~/c"}, "/home/ada/c/goose/config.yaml"),
    ],
)
def test_an_apps_own_home_variable_is_honoured(
    app: str, env: dict[str, str], path: str
) -> None:
    found = app_named(app)
    assert found is not None
    machine = replace(LINUX, env=env)
    assert found.config().files(machine, WIRING)[0].path == Path(path)


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_what_an_app_is_given_starts_our_server_and_is_known_again(
    app: App, platform: Platform, tmp_path: Path
) -> None:
    one = replace(desk(tmp_path, app.id), platform=platform)
    one.wire()
    edit = one.edit()
    text = edit.path.read_text(encoding="utf-8")
    assert edit.server is not None
    value = edits.value_at(edits.read(edit, text), edit.server)
    entry = Entry.of(value)
    assert entry is not None
    assert entry.command == ("/usr/local/bin/parler", "mcp")
    assert dict(entry.env) == one.wiring.env
    assert not entry.disabled
    assert is_our_server(value)


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_no_file_allows_more_than_the_safe_tools(app: App, tmp_path: Path) -> None:
    one = desk(tmp_path, app.id)
    one.wire(reservations=True)
    for data in one.files().values():
        text = data.decode()
        # One that shows forms lets its user answer ours, instead of a question before.
        asked = ASKED_TOOLS if app.id == "claude-code" else ()
        for tool in set(DANGEROUS) - set(asked):
            assert f'"{tool}"' not in text
            assert f'__{tool}"' not in text
        for blanket in ("mcp__parler__*", "Bash(", '"trust"', "approval_mode"):
            assert blanket not in text
    assert not set(SAFE_TOOLS) & set(DANGEROUS)


def test_no_secret_is_among_what_apps_are_told() -> None:
    assert set(WIRING.env) == {"PARLER_HOME", "PARLER_HUB"}
    assert set(replace(WIRING, name="a").env) == {*WIRING.env, "PARLER_NAME"}


@pytest.mark.parametrize("platform", Platform)
@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_every_hook_is_known_again(
    app: App, platform: Platform, tmp_path: Path
) -> None:
    one = replace(desk(tmp_path, app.id), platform=platform)
    wiring = replace(
        one.wiring, reservations=True, command=("/with space/parler", "-x")
    )
    hooks = [
        change.value
        for edit in app.config().files(one.machine, wiring)
        for change in edit.changes
        if isinstance(change, Add) and "hooks" in change.path
    ]
    for hook in hooks:
        assert isinstance(hook, dict)
        for handler in hook.get("hooks", [hook]):
            assert is_our_hook_command(handler["command"])


def test_hooks_of_others_are_not_taken_for_ours() -> None:
    for command in (
        "say hook stop",
        "/home/parler/bin/notify hook stop",
        "git hook stop --app x",
        "parler send done",
        "my-parler hook stop",
        "",
    ):
        assert not is_our_hook_command(command)
    for command in (
        "'/opt/my tools/parler' hook stop --app codex",
        "PARLER_HOME='/home/ada/.parler' '/opt/old/parler' hook stop",
        '"C:/Program Files/parler.exe" hook idle --app claude-code',
        "/usr/bin/python3 -m parler hook prompt --app gemini",
    ):
        assert is_our_hook_command(command)


def test_the_policy_of_gemini_names_tools_one_by_one() -> None:
    (rule,) = tomllib.loads(config.policy())["rule"]
    assert rule["mcpName"] == "parler"
    assert rule["toolName"] == [one for one in SAFE_TOOLS if one in OFFERED_TOOLS]
    assert rule["decision"] == "allow"
    assert "plan" not in rule["modes"]


def test_a_hook_command_survives_the_shell() -> None:
    import shlex

    wiring = replace(WIRING, command=("/a b/par$(x)ler",), home=Path("/h'o me"))
    assert shlex.split(wiring.hook("stop")) == [
        "/a b/par$(x)ler",
        *("hook", "stop", "--app", "x", "--home", "/h'o me"),
    ]
    windows = replace(
        WIRING, command=("C:\\my tools\\parler.exe",), platform=Platform.WINDOWS
    )
    assert windows.hook("stop").startswith('"C:/my tools/parler.exe" hook')


def test_apps_are_found_by_their_traces_and_by_their_command(tmp_path: Path) -> None:
    def found(machine: Machine) -> set[str]:
        return {app.id for app in all_apps() if app.is_installed(machine)}

    machine = Machine(platform=Platform.LINUX, env={}, home=tmp_path)
    assert found(machine) == set()
    (tmp_path / ".codex").mkdir()
    extension = tmp_path / ".config/Code/User/globalStorage/saoudrizwan.claude-dev"
    extension.mkdir(parents=True)
    assert found(machine) == {"codex", "vscode", "cline"}
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    on_path = replace(machine, env={"PATH": str(program.parent)})
    assert "claude-code" in found(on_path)


def test_an_app_is_found_by_what_people_call_it() -> None:
    assert app_named(" Claude ") is app_named("cc")
    assert app_named("clod") is None


def test_a_cline_in_two_editors_is_wired_in_both(tmp_path: Path) -> None:
    one = desk(tmp_path, "cline")
    for editor in ("Code", "VSCodium"):
        folder = f".config/{editor}/User/globalStorage/saoudrizwan.claude-dev"
        (tmp_path / folder).mkdir(parents=True)
    assert len(one.wire()) == 2
    one.unwire()
    assert one.files() == {}


def test_the_blanket_permission_of_an_earlier_client_goes_from_opencode(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "opencode")
    old = {"type": "local", "command": ["/opt/old/parler", "mcp"], "enabled": True}
    said = {
        "permission": {"*": "ask", "parler_*": "allow"},
        "mcp": {"parler": old},
    }
    path = one.has(json.dumps(said), "json")
    one.wire()
    assert json.loads(path.read_bytes()) == {"permission": {"*": "ask"}, "mcp": {}}


def test_the_rule_file_of_an_earlier_client_goes_from_codex(tmp_path: Path) -> None:
    one = desk(tmp_path, "codex")
    rules = one.has(
        '# marker\nprefix_rule(pattern=["parler"], decision="allow")\n', "rules"
    )
    one.wire()
    assert not rules.exists()
    mine = one.has("# mine\nprefix_rule()\n", "rules")
    one.wire()
    one.unwire()
    assert mine.exists()


@pytest.mark.parametrize("app", ["continue", "copilot", "gemini"])
def test_a_file_of_the_users_where_ours_should_be_is_left(
    app: str, tmp_path: Path
) -> None:
    one = desk(tmp_path, app)
    files = one.app.config().files(one.machine, one.wiring)
    edit = next(edit for edit in files if edit.format is Format.OWN)
    path = one.has("# mine\n", edit.role)
    with pytest.raises(Exception, match="not ours"):
        one.wire()
    assert path.read_bytes() == b"# mine\n"
    one.unwire()
    assert path.read_bytes() == b"# mine\n"
