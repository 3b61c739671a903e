"""Wiring and unwiring whole apps: what others did meanwhile survives, ours goes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from parler.apps.config_files import disk
from parler.apps.config_files.edits import Format
from parler.apps.config_files.errors import AppError
from parler.apps.install.install import carry_out, plan
from parler.apps.kit.app import App
from parler.apps.registry import all_apps
from tests.parler.apps._files import HUB, Desk, desk

BROKEN = {
    Format.JSONC: b'{\n  "a": 1\n  "b": 2\n}\n',
    Format.TOML: b"a = 1\nb = = 2\n",
    Format.YAML: b"a: 1\n\tb: 2\n",
}
WITH_SERVERS = [app for app in all_apps() if app.id != "continue"]


@pytest.mark.parametrize("app", WITH_SERVERS, ids=lambda app: app.id)
def test_a_broken_file_stops_the_app_and_nothing_is_written(
    app: App, tmp_path: Path
) -> None:
    one = Desk(tmp_path, app)
    broken = BROKEN[one.edit().format]
    path = one.has(broken)
    with pytest.raises(AppError) as refused:
        one.wire()
    assert str(path) in refused.value.message
    assert "line " in refused.value.message
    assert "column " in refused.value.message
    assert one.files() == {str(path.relative_to(tmp_path)): broken}
    with pytest.raises(AppError):
        one.unwire()


def test_a_broken_second_file_keeps_the_first_from_being_written(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "claude-code")
    first = one.has("{}\n")
    one.has('{"permissions": {"allow": "all"}}', "settings")
    with pytest.raises(AppError):
        one.wire()
    assert first.read_bytes() == b"{}\n"


@pytest.mark.parametrize("app", WITH_SERVERS, ids=lambda app: app.id)
def test_a_linked_file_is_changed_behind_its_link(app: App, tmp_path: Path) -> None:
    one = Desk(tmp_path, app)
    path = one.edit().path
    path.parent.mkdir(parents=True, exist_ok=True)
    real = tmp_path / "dotfiles"
    real.write_bytes(b"")
    real.chmod(0o640)
    path.symlink_to(real)
    one.wire()
    assert path.is_symlink()
    assert b"parler" in real.read_bytes()
    assert real.stat().st_mode & 0o777 == 0o640
    one.unwire()
    assert path.is_symlink()
    assert real.read_bytes() == b""


@pytest.mark.parametrize("app", WITH_SERVERS, ids=lambda app: app.id)
def test_a_read_only_file_is_left(app: App, tmp_path: Path) -> None:
    one = Desk(tmp_path, app)
    path = one.has(b"")
    path.chmod(0o444)
    with pytest.raises(AppError, match="read-only"):
        one.wire()
    assert path.read_bytes() == b""
    assert one.manifest.apps() == []


def test_a_huge_file_is_changed_by_one_entry(tmp_path: Path) -> None:
    one = desk(tmp_path, "claude-code")
    history = [{"display": f"prompt {number} " * 20} for number in range(8000)]
    text = json.dumps({"projects": {"/w": {"history": history}}, "numStartups": 3})
    path = one.has(text)
    one.wire()
    after = json.loads(path.read_bytes())
    assert after["mcpServers"]["parler"]["args"] == ["mcp"]
    assert len(after["projects"]["/w"]["history"]) == 8000
    one.unwire()
    assert path.read_text(encoding="utf-8") == text


def test_what_the_app_changed_meanwhile_survives_removal(tmp_path: Path) -> None:
    one = desk(tmp_path, "claude-code")
    path = one.has('{\n  "numStartups": 1\n}\n')
    one.wire()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(": 1", ": 2"), encoding="utf-8")
    assert one.wire() == []
    one.unwire()
    assert path.read_text(encoding="utf-8") == '{\n  "numStartups": 2\n}\n'


def test_a_file_the_app_printed_anew_loses_only_what_is_ours(tmp_path: Path) -> None:
    one = desk(tmp_path, "claude-code")
    path = one.has('{"model": "opus", "hooks": {"Stop": []}}', "settings")
    one.wire()
    said = json.loads(path.read_bytes())
    said["hooks"]["Stop"].insert(0, {"hooks": [{"type": "command", "command": "mine"}]})
    said["hooks"]["Stop"][-1]["hooks"].append({"type": "command", "command": "too"})
    path.write_text(json.dumps(said, indent=4), encoding="utf-8")
    one.unwire()
    assert json.loads(path.read_bytes()) == {
        "model": "opus",
        "hooks": {
            "Stop": [
                {"hooks": [{"type": "command", "command": "mine"}]},
                {"hooks": [{"type": "command", "command": "too"}]},
            ]
        },
    }


def test_a_file_we_created_stays_if_somebody_else_uses_it_now(tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    one.wire()
    path = one.edit().path
    said = json.loads(path.read_bytes())
    said["mcpServers"]["github"] = {"command": "npx"}
    path.write_text(json.dumps(said), encoding="utf-8")
    one.unwire()
    assert json.loads(path.read_bytes()) == {
        "mcpServers": {"github": {"command": "npx"}}
    }


def test_removal_works_without_our_notes(tmp_path: Path) -> None:
    one = desk(tmp_path, "claude-code")
    one.has('{\n  "numStartups": 1\n}\n')
    one.has('{\n  "model": "opus"\n}\n', "settings")
    one.wire(reservations=True)
    (tmp_path / ".parler" / "connect.json").unlink()
    one.unwire()
    for data in one.files().values():
        assert b"parler" not in data


def test_another_binary_hub_or_fewer_hooks_replace_what_was_there(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "claude-code")
    before = '{\n  "model": "opus"\n}\n'
    path = one.has(before, "settings")
    one.wire(reservations=True)
    assert b"pre-edit" in path.read_bytes()
    one.wire(command=("/opt/new/parler",))
    text = path.read_text(encoding="utf-8")
    assert "pre-edit" not in text
    assert "/usr/local/bin/parler" not in text
    assert text.count("hook stop") == 1
    one.wire(hooks=False)
    assert "hook" not in path.read_text(encoding="utf-8")
    one.unwire()
    assert path.read_text(encoding="utf-8") == before


def test_hooks_go_also_from_a_file_that_was_changed_since(tmp_path: Path) -> None:
    one = desk(tmp_path, "gemini")
    path = one.has('{\n  "ui": 1\n}\n')
    one.wire()
    text = path.read_text(encoding="utf-8").replace('"ui": 1', '"ui": 2')
    path.write_text(text, encoding="utf-8")
    one.wire(hooks=False)
    assert "hooks" not in json.loads(path.read_bytes())
    one.unwire()
    assert path.read_text(encoding="utf-8") == '{\n  "ui": 2\n}\n'


@pytest.mark.parametrize(
    ("app", "before"),
    [
        ("cursor", '{"mcpServers": {"parler": {"command": "my-own-thing"}}}'),
        ("cursor", '{"mcpServers": {"parler": {"url": "https://own.example"}}}'),
        ("codex", '[mcp_servers.parler]\ncommand = "my-own-thing"\n'),
        ("goose", "extensions:\n  parler:\n    cmd: my-own-thing\n"),
    ],
)
def test_a_server_of_the_users_own_under_our_name_is_not_written_over(
    app: str, before: str, tmp_path: Path
) -> None:
    one = desk(tmp_path, app)
    one.has(before)
    with pytest.raises(AppError, match="starts something else") as refused:
        one.wire()
    assert refused.value.next_step
    one.unwire()
    assert list(one.files().values()) == [before.encode()]


def test_the_file_as_it_was_is_kept_before_the_first_change_only(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "cursor")
    one.has('{"mcpServers": {}}')
    one.wire()
    one.wire(command=("/opt/new/parler",))
    kept = list((tmp_path / ".parler" / "backups").iterdir())
    assert [path.read_bytes() for path in kept] == [b'{"mcpServers": {}}']
    record = one.manifest.get("cursor").files["servers"]
    assert record.backup == str(kept[0])


def test_a_config_home_that_moved_is_unwired_where_it_was(tmp_path: Path) -> None:
    one = desk(tmp_path, "codex")
    old = one.has('model = "x"\n')
    one.wire()
    moved = replace(one.machine, env={"CODEX_HOME": str(tmp_path / "elsewhere")})
    planned = plan(one.app, moved, one.wiring, one.manifest)
    carry_out(planned, one.manifest)
    assert old.read_bytes() == b'model = "x"\n'
    assert (tmp_path / "elsewhere" / "config.toml").exists()
    assert not (tmp_path / ".codex" / "hooks.json").exists()


def test_a_file_changed_between_plan_and_writing_is_left_and_notes_are_true(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "cursor")
    path = one.has("{}")
    planned = plan(one.app, one.machine, one.wiring, one.manifest)
    path.write_bytes(b'{"theirs": 1}')
    with pytest.raises(AppError, match="changed"):
        carry_out(planned, one.manifest)
    assert path.read_bytes() == b'{"theirs": 1}'
    assert one.manifest.apps() == []
    one.wire()
    one.unwire()
    assert path.read_bytes() == b'{"theirs": 1}'


def test_a_crash_between_the_notes_and_the_file_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk(tmp_path, "cursor")
    path = one.has("{}")

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(disk, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            one.wire()
    assert path.read_bytes() == b"{}"
    one.wire()
    one.unwire()
    assert path.read_bytes() == b"{}"


def test_the_diff_shows_our_change_and_nobodys_secret(tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    entry = {
        "command": "/opt/old/parler",
        "args": ["mcp"],
        "env": {"PARLER_JOIN_SECRET": "hunter2", "PARLER_HUB": "ws://127.0.0.1:7070"},
    }
    other = {"command": "npx", "env": {"GITHUB_TOKEN": "ghp_of_the_user"}}
    one.has(json.dumps({"mcpServers": {"github": other, "parler": entry}}, indent=1))
    planned = plan(one.app, one.machine, one.wiring, one.manifest)
    text = "\n".join(change.diff() for change in planned.needed)
    assert '+   "command": "/usr/local/bin/parler"' in text
    assert "PARLER_JOIN_SECRET" in text
    assert "hunter2" not in text
    assert "ghp_of" not in text


def test_our_notes_are_for_the_user_alone(tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    one.wire()
    assert (tmp_path / ".parler" / "connect.json").stat().st_mode & 0o777 == 0o600


def test_what_the_user_added_to_our_entry_stays_when_it_changes(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "cline")
    path = one.has(b"")
    one.wire()
    text = path.read_text(encoding="utf-8")
    text = text.replace('"args": [', '// slow here\n"timeout": 1e2, "args": [')
    text = text.replace('"disabled": false', '"disabled": true')
    text = text.replace('"autoApprove": [', '"autoApprove": ["parler_fetch",')
    text = text.replace('"env": {', '"env": {"PARLER_TOOLS": "full",')
    path.write_text(text, encoding="utf-8")
    assert one.wire() == []
    one.wire(hub="ws://127.0.0.1:9", command=("/opt/new/parler",))
    changed = text.replace(HUB, "ws://127.0.0.1:9")
    changed = changed.replace("/usr/local/bin/parler", "/opt/new/parler")
    assert path.read_text(encoding="utf-8") == changed
    one.unwire()
    assert path.read_bytes() == b"{}\n"


def test_what_an_earlier_client_allowed_or_told_is_not_kept(tmp_path: Path) -> None:
    one = desk(tmp_path, "codex")
    one.has(
        '[mcp_servers.parler]\ncommand = "/opt/old/parler"\nargs = ["mcp"]\n'
        'default_tools_approval_mode = "approve"\ntool_timeout_sec = 600\n'
        '[mcp_servers.parler.env]\nPARLER_JOIN_SECRET = "hunter2"\nMINE = "1"\n'
    )
    one.wire()
    text = one.edit().path.read_text(encoding="utf-8")
    assert "approval" not in text
    assert "hunter2" not in text
    assert "tool_timeout_sec = 600" in text
    assert 'MINE = "1"' in text

    blanket = desk(tmp_path, "cline")
    tools = ["parler_approve_join", "parler_delete_room", "parler_send"]
    server = {"command": "/opt/old/parler", "args": ["mcp"], "autoApprove": tools}
    path = blanket.has(json.dumps({"mcpServers": {"parler": server}}))
    blanket.wire()
    assert b"parler_delete_room" not in path.read_bytes()


def test_a_file_of_ours_that_was_edited_is_kept_aside_when_it_goes(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "gemini")
    one.wire()
    path = one.edit("policy").path
    path.write_text(path.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    one.unwire()
    assert not path.exists()
    kept = list((tmp_path / ".parler" / "backups").iterdir())
    assert any(one.read_bytes().endswith(b"# mine\n") for one in kept)


@pytest.mark.parametrize(
    "secret",
    [
        '"env": {"GITHUB_TOKEN": "hunter2 and more"}',
        '"headers": {"Authorization": "Bearer hunter2"}',
        '"args": ["--api-key", "hunter2"]',
        '"args": ["--api-key=hunter2"]',
        '"args": ["ghp_hunter2hunter2hunter2"]',
        '"url": "https://me:hunter2@mcp.example/sse"',
        '"apiKey" : "hunter2"',
    ],
)
def test_a_diff_shows_nobodys_secret(secret: str, tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    one.has('{"mcpServers": {"other": {' + secret + "}}}")
    planned = plan(one.app, one.machine, one.wiring, one.manifest)
    shown = "".join(change.diff() for change in planned.needed)
    assert "hunter2" not in shown
    assert '"parler"' in shown
    assert "PARLER_HUB" in shown


class Killed(BaseException):
    """The process ends here."""


def test_folders_made_by_a_run_that_was_killed_go_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk(tmp_path, "copilot")

    def killed(path: Path, *_: object, **__: object) -> None:
        assert path.parent.is_dir()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(disk, "_write_temporary", killed)
        with pytest.raises(Killed):
            one.wire()
    assert (tmp_path / ".copilot").is_dir()
    one.unwire()
    assert not (tmp_path / ".copilot").exists()
