"""What is told of an app that is wired: does it work, and which command mends it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from parler.apps.install.health import Health, State, _texts, examine
from parler.apps.kit.config import Wiring
from tests.parler.apps._files import Desk, desk


def program(folder: Path) -> Path:
    """An installed parler."""
    path = folder / "bin" / "parler"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"#!/bin/sh\n")
    path.chmod(0o755)
    return path


def wired(folder: Path, app: str) -> tuple[Desk, Wiring]:
    """An app that starts an installed parler."""
    one = desk(folder, app)
    wiring = replace(one.wiring, command=(str(program(folder)),))
    one.wire(command=wiring.command)
    return one, wiring


def health(one: Desk, wiring: Wiring) -> Health:
    before = one.files()
    found = examine(one.app, one.machine, wiring, one.manifest.get(one.app.id))
    assert one.files() == before
    return found


def words(found: Health) -> str:
    return " ".join(f"{one.what} {one.mend}" for one in found.troubles)


def test_an_app_that_is_not_here_is_absent_and_one_without_us_not_wired(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "cursor")
    assert health(one, one.wiring).state is State.ABSENT
    (tmp_path / ".cursor").mkdir()
    assert health(one, one.wiring).state is State.UNWIRED


def test_a_wired_app_works_and_shows_its_hub(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "cursor")
    found = health(one, wiring)
    assert found.state is State.WORKING
    assert found.troubles == ()
    assert found.hub == wiring.hub


def test_a_program_that_moved_breaks_it(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "goose")
    Path(wiring.command[0]).unlink()
    found = health(one, wiring)
    assert found.state is State.BROKEN
    assert "is gone" in words(found)
    assert "parler connect goose" in words(found)


@pytest.mark.parametrize(
    "start",
    ["#!{}", "#!/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''"],
    ids=["short", "long"],
)
def test_a_python_that_was_removed_breaks_it_until_it_is_wired_again(
    tmp_path: Path, start: str
) -> None:
    one, wiring = wired(tmp_path, "goose")
    python = tmp_path / "python3.11"
    python.symlink_to(sys.executable)
    Path(wiring.command[0]).write_text(start.format(python), encoding="utf-8")
    assert health(one, wiring).state is State.WORKING
    python.unlink()
    found = health(one, wiring)
    assert found.state is State.BROKEN
    assert f"runs on is gone: {python}" in words(found)
    assert "parler connect goose" in words(found)
    other = replace(wiring, command=(str(program(tmp_path / "other")),))
    one.wire(command=other.command)
    assert health(one, other).state is State.WORKING


def test_another_parler_is_noted(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "zed")
    found = health(one, replace(wiring, command=("/usr/local/bin/parler",)))
    assert found.state is State.WORKING
    assert "another parler" in words(found)


def test_a_broken_file_is_told_with_its_place(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "cursor")
    one.edit().path.write_bytes(b'{\n"a" 1}')
    found = health(one, wiring)
    assert found.state is State.BROKEN
    assert "line 2, column 5" in words(found)


@pytest.mark.parametrize("app", ["cursor", "codex", "opencode"])
def test_a_server_that_is_switched_off_in_the_app_is_told(
    app: str, tmp_path: Path
) -> None:
    one, wiring = wired(tmp_path, app)
    path = one.edit().path
    text = path.read_text(encoding="utf-8")
    if app == "codex":
        text = text.replace("args =", "enabled = false\nargs =")
    elif app == "opencode":
        text = text.replace('"enabled": true', '"enabled": false')
    else:
        text = text.replace('"args"', '"disabled": true, "args"')
    path.write_text(text, encoding="utf-8")
    found = health(one, wiring)
    assert found.state is State.BROKEN
    assert "switched off" in words(found)


def test_an_entry_of_something_else_under_our_name_is_told(tmp_path: Path) -> None:
    one = desk(tmp_path, "cursor")
    one.has('{"mcpServers": {"parler": {"command": "other"}}}')
    found = health(one, one.wiring)
    assert found.state is State.BROKEN
    assert "other" in words(found)


def test_a_secret_in_the_apps_file_is_told(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "cursor")
    path = one.edit().path
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace('"PARLER_HUB"', '"PARLER_JOIN_SECRET": "x", "PARLER_HUB"'),
        encoding="utf-8",
    )
    assert "in clear" in words(health(one, wiring))


def test_hooks_that_somebody_took_away_are_missed(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "claude-code")
    assert health(one, wiring).state is State.WORKING
    one.edit("settings").path.write_bytes(b"{}")
    assert "settings.json" in words(health(one, wiring))


def test_claude_code_tells_what_stands_before_our_entry(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "claude-code")
    here = str(one.machine.cwd)
    path = one.edit().path
    said = json.loads(path.read_bytes())
    said["projects"] = {here: {"mcpServers": {"parler": {"command": "x"}}}}
    path.write_text(json.dumps(said), encoding="utf-8")
    assert "--scope local" in words(health(one, wiring))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".mcp.json").write_bytes(b'{"mcpServers": {"parler": {}}}')
    assert "--scope project" in words(health(one, wiring))


@pytest.mark.parametrize(
    ("text", "word"),
    [("// mine\n{}", "comments"), ('{"disableAllHooks": true}', "disableAllHooks")],
)
def test_claude_code_tells_what_makes_it_ignore_its_settings(
    text: str, word: str, tmp_path: Path
) -> None:
    one = desk(tmp_path, "claude-code")
    wiring = replace(one.wiring, command=(str(program(tmp_path)),))
    one.has(text, "settings")
    one.wire(command=wiring.command)
    assert word in words(health(one, wiring))


CODEX_HASHES = {
    "session_start": "209f095bb356e734f7ab6a051c8603a73039d310168a0a95fc91b09ccb088056",
    "user_prompt_submit": (
        "63d8a0d5379d65e000d218e76d28f9fa1c4c641d57a8d8c21181b78c6032497c"
    ),
    "pre_tool_use": "5e80d65937da4730695cc984c873c2186dd3bc6d48a2c375806aa98188ec41fc",
    "stop": "cd01d7f30ba5abc5c1c4c7c7028889cce017e958dc7f6ca8f39695c56c163cc8",
}
"""What Codex 0.169.0 said of the hooks that are written on the desk."""


def test_codex_tells_that_hooks_wait_for_trust_until_they_have_it(
    tmp_path: Path,
) -> None:
    one = desk(tmp_path, "codex")
    wiring = replace(one.wiring, reservations=True)
    one.wire(reservations=True)

    def trouble() -> str:
        found = one.app.config().examine(
            one.machine, _texts(one.app, one.machine, wiring)
        )
        return " ".join(f"{trouble.what} {trouble.mend}" for trouble in found)

    assert "until you have trusted our hooks" in trouble()
    hooks = one.edit("hooks").path
    trust = "".join(
        f'[hooks.state."{hooks}:{event}:0:0"]\ntrusted_hash = "sha256:{digest}"\n'
        for event, digest in CODEX_HASHES.items()
    )
    path = one.edit().path
    path.write_text(path.read_text(encoding="utf-8") + trust, encoding="utf-8")
    assert trouble() == ""
    one.wire(command=("/opt/moved/parler",), reservations=True)
    assert "our hooks changed" in trouble()
    assert "/hooks" in trouble()


def test_gemini_tells_whether_the_folder_is_trusted(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "gemini")
    asked = health(one, wiring)
    assert "will ask whether" in words(asked)
    assert asked.state is State.WORKING
    trusted = tmp_path / ".gemini" / "trustedFolders.json"
    here = str(one.machine.cwd)
    for rule, state in ("DO_NOT_TRUST", State.BROKEN), ("TRUST_FOLDER", State.WORKING):
        trusted.write_text(json.dumps({here: rule}), encoding="utf-8")
        assert health(one, wiring).state is state


def test_opencode_tells_of_a_second_entry(tmp_path: Path) -> None:
    one, wiring = wired(tmp_path, "opencode")
    one.has('{"mcp": {"parler": {"enabled": false}}}', "json")
    assert "opencode.json" in words(health(one, wiring))
