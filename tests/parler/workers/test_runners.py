"""Which program works, and what it is given of our environment."""

import tomllib
from pathlib import Path

import pytest

from parler.errors import UsageError
from parler.wire.parts import TextPart
from parler.workers.runners import (
    NOWHERE,
    about,
    environment,
    require,
    runner_of,
)
from parler.workers.selection import Request, Rules, choose
from tests.parler.workers._messages import ME, NOON, message

EVERYBODY = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/ann",
    "LC_ALL": "C.UTF-8",
    "ANTHROPIC_API_KEY": "a",
    "OPENAI_API_KEY": "o",
    "GEMINI_API_KEY": "g",
    "GITHUB_TOKEN": "t",
    "SSH_AUTH_SOCK": "/s",
    "PARLER_JOIN_SECRET": "s",
    "PARLER_HOME": "/home/ann/.parler",
    "PARLER_SESSION_KEY": "k",
    "CLAUDE_CODE_SESSION_ID": "c",
    "CODEX_THREAD_ID": "c",
    "PYTHONPATH": "/p",
    "LD_PRELOAD": "/l",
}


def test_agents_are_known_by_name_and_run_without_a_shell() -> None:
    for name in ("claude", "codex", "gemini", "opencode"):
        runner = runner_of(f" {name} ")
        assert runner.command[0] == name
        assert runner.is_agent


def test_anything_else_is_a_command_for_the_users_shell() -> None:
    runner = runner_of("make test | tail")
    assert list(runner.command) == ["sh", "-c", "make test | tail"]
    assert not runner.is_agent


def test_a_runner_must_be_named() -> None:
    with pytest.raises(UsageError):
        runner_of("  ")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("claude", {"ANTHROPIC_API_KEY"}),
        ("codex", {"OPENAI_API_KEY"}),
        ("gemini", {"GEMINI_API_KEY"}),
        ("./run.sh", set()),
    ],
)
def test_a_runner_gets_its_own_key_and_nothing_of_ours(
    name: str, keys: set[str]
) -> None:
    given = environment(EVERYBODY, runner_of(name))
    assert set(given) == {"PATH", "HOME", "LC_ALL", "PARLER_HOME", *keys}
    assert given["PARLER_HOME"] == NOWHERE


def test_the_home_of_a_runner_cannot_come_to_be() -> None:
    with pytest.raises(OSError, match=NOWHERE):
        Path(NOWHERE).mkdir(parents=True)


def test_the_user_may_pass_on_more_but_nothing_of_ours() -> None:
    extra = ["GITHUB_TOKEN", "PARLER_JOIN_SECRET", "PARLER_HOME"]
    given = environment(EVERYBODY, runner_of("x"), extra=extra, home=Path("/me"))
    assert given["GITHUB_TOKEN"] == "t"
    assert "PARLER_JOIN_SECRET" not in given
    assert given["PARLER_HOME"] == "/me"


def test_what_the_user_passes_on_comes_before_what_we_set() -> None:
    mine = EVERYBODY | {"OPENCODE_CONFIG_CONTENT": "{}"}
    runner = runner_of("opencode")
    assert environment(mine, runner)["OPENCODE_CONFIG_CONTENT"] != "{}"
    given = environment(mine, runner, extra=["OPENCODE_CONFIG_CONTENT"])
    assert given["OPENCODE_CONFIG_CONTENT"] == "{}"


def test_codex_starts_none_of_the_users_servers(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for place in (home, project):
        (place / ".codex").mkdir(parents=True)
    (home / ".codex" / "config.toml").write_text(
        '[mcp_servers.mail]\ncommand = "mail"\n'
        '[mcp_servers."a.\\"b"]\nurl = "https://example.org"\n',
        encoding="utf-8",
    )
    (project / ".codex" / "config.toml").write_text(
        '[mcp_servers.build]\ncommand = "make"\n', encoding="utf-8"
    )
    runner, here = runner_of("codex"), {"HOME": str(home)}
    *_, flag, value = runner.arguments(here, project)
    assert flag == "-c"
    off = tomllib.loads(value)["mcp_servers"]
    assert {name: one["enabled"] for name, one in off.items()} == {
        "mail": False,
        'a."b': False,
        "build": False,
    }
    assert set(off['a."b']) == {"enabled", "url"}
    (home / ".codex" / "config.toml").write_text("mcp_servers = 3", encoding="utf-8")
    (project / ".codex" / "config.toml").write_text("= broken", encoding="utf-8")
    assert runner.arguments(here, project) == list(runner.command)


def test_the_task_is_told_without_control_characters() -> None:
    asked = message([TextPart(text="hi")], name="a\nb\x1b[31m" + "x" * 1000)
    found = choose(asked, Rules(me=ME, everything=True), now=NOON)
    assert isinstance(found, Request)
    told = about(found, "review")
    assert set(told) == {
        "PARLER_TASK_ID",
        "PARLER_ROOM",
        "PARLER_FROM",
        "PARLER_FROM_NAME",
        "PARLER_ROLE",
    }
    assert told["PARLER_ROLE"] == "review"
    assert told["PARLER_FROM_NAME"].startswith("a␊b␛")
    assert len(told["PARLER_FROM_NAME"]) == 256


def test_a_missing_program_is_noticed_before_anything_is_taken(
    tmp_path: Path,
) -> None:
    here = {"PATH": "/usr/bin:/bin"}
    with pytest.raises(UsageError) as missing:
        require(runner_of("claude"), {"PATH": str(tmp_path)}, tmp_path)
    assert "claude" in missing.value.message
    for command in ("no-such-command-here --flag", "./missing.sh"):
        with pytest.raises(UsageError):
            require(runner_of(command), here, tmp_path)


@pytest.mark.parametrize(
    "command", ["cat", "echo hi", "cd / && ls", "FOO=1 cat", "(cat)", "./here.sh x"]
)
def test_what_the_shell_knows_is_there(tmp_path: Path, command: str) -> None:
    script = tmp_path / "here.sh"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o700)
    require(runner_of(command), {"PATH": "/usr/bin:/bin"}, tmp_path)
