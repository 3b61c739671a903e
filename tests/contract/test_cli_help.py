"""Every command explains itself, with the options all of them share."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from hub.admin.commands import _parser as commands_parser
from hub.settings import parser as hub_parser
from parler.cli import app
from parler.cli._help import SECTIONS
from parler.text.terminal import COMMAND
from tests._support.polling import WAIT


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """All commands that are no group, as they are typed."""
    if not isinstance(command, click.Group):
        yield " ".join(path)
        return
    for name, one in command.commands.items():
        yield from leaves(one, (*path, name))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )


COMMANDS = list(leaves(typer.main.get_command(app.app)))
HIDDEN = {"join", "session approve", "session reject", "session deny"}
"""Other names, which go on."""

PROMISED = {
    *("hub", "init", "whoami", "send", "recv", "handoff", "rooms", "roster"),
    *("invite", "invites", "revoke", "join", "delete-room", "members remove"),
    *("doctor", "trust-hub", "presence", "version", "session open", "session join"),
    *("session requests", "session approve", "session reject", "session deny"),
    *("session leave", "session watch", "remember", "recall", "forget"),
    *("register", "discover", "card", "token", "serve", "queue", "claim"),
    *("complete", "task", "attention", "status"),
    *("push", "apply", "bundles", "send-file", "fetch"),
    *("peers", "summary", "reserve", "reservations", "release", "ask", "answer"),
    *("project add", "project discover", "project list", "project remove"),
    *("project allow", "project deny", "project log", "project forget-session"),
    *("project remember", "session list", "session use", "completion"),
}


def test_every_promised_command_exists() -> None:
    assert set(COMMANDS) >= PROMISED


@pytest.mark.parametrize("command", COMMANDS)
def test_help_runs_and_says_what_all_commands_have(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        status = app.run([*command.split(), "--help"])
    except SystemExit as end:  # of the hub's own parser
        status = end.code or 0
    assert status == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    assert "example:" in shown.out.lower()
    if command != "hub":  # it has its own options
        for option in ("--json", "--quiet", "--hub", "--home", "--help"):
            assert option in shown.out


def test_the_list_has_every_command_once_under_a_heading_and_in_one_line() -> None:
    listed = [word for words in SECTIONS.values() for word in words]
    assert sorted(listed) == sorted(set(app.COMMANDS) - HIDDEN)
    shown = run("-m", "parler", "--help").stdout
    for word, (_, about) in app.COMMANDS.items():
        is_listed = f"\n  {word:<13} {about}\n" in shown
        assert is_listed == (word not in HIDDEN), word
        assert about.endswith(".")
        assert not about.endswith("...")
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "words", [[], ["recv"], ["session"], ["session", "open"], ["hub", "status"]]
)
def test_help_is_a_word_too(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["help", *words]) == 0
    asked = capfd.readouterr().out
    app.run([*words, "--help"])
    assert asked == capfd.readouterr().out


def pages(columns: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """All help pages that are ours, on a terminal of that width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    root = typer.main.get_command(app.tree())
    contexts = [root.context_class(root, info_name="parler")]
    while contexts:
        context = contexts.pop()
        yield context.command.get_help(context)
        inner = getattr(context.command, "commands", {})
        contexts += [
            one.context_class(one, info_name=name, parent=context)
            for name, one in sorted(inner.items())
            if name != "hub" and not one.hidden
        ]


def test_no_help_page_of_a_hub_breaks_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for columns in ("200", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        data = commands_parser({})
        action = next(one for one in data._actions if one.choices)
        shown = [hub_parser({}), *dict(action.choices or {}).values()]
        said.append(" ".join(one.format_help() for one in shown).split())
    assert said[0] == said[1]


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_no_help_page_breaks_a_word_or_a_command(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = list(pages(80, monkeypatch))
    for page, narrow in zip(wide, pages(columns, monkeypatch), strict=True):
        lines = narrow.splitlines()
        words, joined = (one.replace(" \\\n", " ").split() for one in (page, narrow))
        assert joined == words
        too_long = [line for line in lines if len(line) > columns]
        assert not any(" " in re.sub('".*"', "", one.strip()) for one in too_long)
        prose, _, _ = " ".join(words).partition("Example:")
        for command in COMMAND.finditer(prose):
            if len(command.group()) < columns / 2 - 4:
                assert any(command.group() in line for line in lines)


def test_the_manual_page_has_every_command_and_no_fault() -> None:
    page = run("-m", "parler", "help", "--man").stdout
    shown = page.replace("\\-", "-")
    for command in COMMANDS:
        if "hub" not in command and command not in HIDDEN:
            assert f"\n\\fBparler {command}\\fR" in shown
    if shutil.which("groff"):
        linted = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-b", "-z"],
            input=page,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
            timeout=WAIT,
        )
        assert linted.stderr == ""


def test_the_exit_statuses_are_documented(capfd: pytest.CaptureFixture[str]) -> None:
    app.run(["--help"])
    shown = capfd.readouterr().out
    for status in ("0", "1", "2", "3", "4", "5", "6", "7", "130"):
        assert f"\n  {status}  " in shown


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from parler.cli.app import run\n"
        "run(['--help'])\n"
        "heavy = {'websockets', 'sqlalchemy', 'uvicorn', 'nacl', 'asyncio',\n"
        "         'rich', 'parler.client.client', 'parler.ops.context', 'hub',\n"
        "         'msgspec'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    assert run("-c", program).stderr.strip() == "[]"


@pytest.mark.parametrize("words", ["history R", "session use R", "session picture R"])
def test_a_room_is_named_with_and_without_the_word_for_it(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLER_HOME", str(tmp_path))
    command: Any = typer.main.get_command(app.app)
    *names, room = words.split()
    for name in names:
        command = command.commands[name]
    for line in ([room], ["--room", room], [f"--room={room}"], ["--json", room]):
        assert command.make_context("x", list(line)).params["room"] == room
    for line in ([room, "more"], ["--room", room, "more"]):
        with pytest.raises(click.UsageError):
            command.make_context("x", list(line))
