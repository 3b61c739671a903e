"""Errors become exit statuses and one line on stderr."""

import errno
import json
import re
from pathlib import Path

import click
import pytest

from parler import errors
from parler.cli import app
from parler.identity.message_signing import Signature
from parler.wire.records import TaskStatus

MAY_NOT = (errno.EACCES, errno.EPERM, errno.EROFS)


def ends_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setattr(app, "_invoke", fail)
    return app.run(args)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("x"), 2),
        (errors.IdentityError("x"), 3),
        (errors.ConnectFailed("ws://x", "y"), 4),
        (errors.RemoteProtocolError("x"), 5),
        (errors.NotMember("x", hub_code="not_member"), 6),
        (errors.RelayedChallenge("x"), 7),
        (OSError(28, "No space left on device"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("x"), 2),
        (ExceptionGroup("g", [ValueError(), errors.NotOwner("x")]), 6),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130),
        (ZeroDivisionError(), 1),
    ],
)
def test_each_error_has_its_exit_status(
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert ends_with(error, monkeypatch) == status
    assert capfd.readouterr().out == ""


def test_an_error_is_one_neutral_line_with_the_next_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = errors.refusal("no\nentry\x1b[2J", "not_member")
    ends_with(refused, monkeypatch)
    said = capfd.readouterr().err
    assert said == 'error: "no␊entry␛[2J" — next: parler rooms\n'


@pytest.mark.parametrize("code", [*errno.errorcode, 10_000])
def test_what_the_system_refuses_has_a_next_step(
    code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if code not in (errno.EPIPE, errno.ESHUTDOWN, errno.EINTR):
        assert ends_with(OSError(code, "x", "f"), monkeypatch) == app.UNWRITABLE
        _, _, step = capfd.readouterr().err.partition(" — next: ")
        assert ("disk" in step) == (code in (errno.ENOSPC, errno.EDQUOT))
        assert ("may write" in step) == (code in MAY_NOT)
        assert step.strip()


def test_wrong_usage_leads_to_the_help_of_the_command_if_to_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = errors.UsageError("there is no file x")
    ends_with(missing, monkeypatch, "--quiet", "send-file", "x")
    assert capfd.readouterr().err.endswith("next: parler send-file --help\n")
    ends_with(missing, monkeypatch, "session", "picture", "--quiet")
    assert capfd.readouterr().err.endswith("next: parler session picture --help\n")
    ends_with(missing, monkeypatch, "--quiet")
    assert capfd.readouterr().err.endswith("next: parler --help\n")


def test_with_json_an_error_is_one_object(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ends_with(errors.refusal("no", "not_owner"), monkeypatch, "x", "--json")
    error = json.loads(capfd.readouterr().err)["error"]
    assert (error["code"], error["message"]) == ("not_owner", "no")
    assert error["next"]


def test_an_unexpected_error_tells_nothing_but_its_kind(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ends_with(ValueError("secret"), monkeypatch, "--json")
    last = capfd.readouterr().err.splitlines()[-1]
    assert json.loads(last)["error"]["code"] == "unexpected"
    assert "secret" not in last


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["send"],
        ["recv", "--limit", "0"],
        ["recv", "--watch", "--all"],
        ["recv", "--all", "--since", "3"],
        ["handoff", "--to", "x"],
        ["send", "hi", "--room", "a", "--to", "b"],
        ["session", "join", "not a key"],
        ["session", "join", "IO01IO01"],
        ["session", "open", "--context", "a", "--context-file", "b"],
        ["session", "open", "--context-file", "/nonexistent"],
        ["invite", "--group", "a", "--service", "b"],
        ["delete-room"],
    ],
)
def test_wrong_usage_never_reaches_a_hub(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run([*arguments, "--hub", "ws://127.0.0.1:9"]) == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("roms", "rooms"),
        ("open", "session open"),
        ("session requets", "requests"),
        ("hub sta", "status"),
        ("rooms --jsn", "--json"),
        ("nothing-like-it", None),
    ],
)
def test_of_a_word_that_is_none_one_that_is_like_it_is_named_once(
    typed: str, meant: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert app.run(typed.split()) == 2
    said = capfd.readouterr().err
    assert re.findall(r"Did you mean '(.*?)'\?", said) == ([meant] if meant else [])
    assert said.count("Did you mean") == (meant is not None)


@pytest.mark.parametrize(
    "line",
    [
        "--json --home HERE whoami",
        "--home=HERE whoami --json",
        "--json session --home HERE leave",
        "--json --home HERE send - -- --json",
        "--home HERE --json",
    ],
)
def test_what_all_commands_take_may_stand_before_them(
    line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    app.run(line.replace("HERE", str(tmp_path)).split())
    said = capfd.readouterr()
    assert isinstance(json.loads(said.err or said.out), dict)
    assert list(tmp_path.iterdir()) == [tmp_path / "config.json"]


HUGE = "9" * 20


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["session", "open", "--max-uses", "0"], "--max-uses"),
        (["session", "open", "--max-uses", HUGE], "--max-uses"),
        (["session", "open", "--ttl", "0"], "--ttl"),
        (["session", "open", "--ttl", "-5"], "--ttl"),
        (["session", "open", "--ttl", HUGE], "--ttl"),
        (["invite", "--max-uses", "-1"], "--max-uses"),
        (["invite", "--ttl", "soon"], "--ttl"),
        (["token", "--ttl", "0"], "--ttl"),
        (["session", "watch", "--ttl", HUGE], "--ttl"),
        (["recv", "--since", HUGE], "--since"),
        (["recv", "--since", "-1"], "--since"),
        (["recv", "--since", "9" * 5000], "--since"),
        (["recv", "--limit", HUGE], "--limit"),
        (["status", "0"], "SEQ"),
        (["status", HUGE], "SEQ"),
        (["session", "join", "ABCDEFGH", "--wait", "nan"], "--wait"),
        (["session", "join", "ABCDEFGH", "--wait", "inf"], "--wait"),
        (["session", "join", "ABCDEFGH", "--wait", "-1"], "--wait"),
        (["join", "ABCDEFGH", "--wait", "1e300"], "--wait"),
        (["task", "done", "--tokens", HUGE], "--tokens"),
        (["task", "done", "--elapsed-ms", "-1"], "--elapsed-ms"),
        (["queue", "qa", "--limit", HUGE], "--limit"),
        (["claim", "qa", "m", "--lease", HUGE], "--lease"),
        (["recall", "x", "--limit", HUGE], "--limit"),
        (["discover", "--limit", HUGE], "--limit"),
        (["work", "--max-per-hour", HUGE], "--max-per-hour"),
        (["work", "--timeout-secs", "0"], "--timeout-secs"),
        (["supervise", "--runner", "x", "--timeout-secs", HUGE], "--timeout-secs"),
        (["supervise", "--runner", "x", "--max-per-hour", HUGE], "--max-per-hour"),
    ],
)
def test_a_number_out_of_bounds_is_refused_here_in_one_sentence(
    arguments: list[str], option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status = app.run([*arguments, "--hub", "ws://127.0.0.1:9", "--json"])
    said = capfd.readouterr()
    assert (status, said.out) == (2, "")
    error = json.loads(said.err)["error"]
    assert error["code"] == "usage"
    assert option in error["message"]
    assert len(error["message"]) < 200
    assert re.search(r"\bfrom \d+ to \d+", error["message"])


@pytest.mark.parametrize("perhaps", [True, False])
def test_a_timeout_tells_programs_whether_it_may_have_happened(
    perhaps: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    late = errors.TimedOut("send", 2.5, may_have_happened=perhaps)
    assert ends_with(late, monkeypatch, "x", "--json") == 4
    error = json.loads(capfd.readouterr().err)["error"]
    assert error["mayHaveHappened"] is perhaps
    ends_with(errors.UsageError("x"), monkeypatch, "x", "--json")
    assert "mayHaveHappened" not in json.loads(capfd.readouterr().err)["error"]


def test_the_version_is_an_option_and_a_command(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert app.run(["--version"]) == 0
    assert app.run(["version", "--json"]) == 0
    first, second = capfd.readouterr().out.splitlines()
    assert json.loads(second)["version"] in first


def test_json_is_one_line_whatever_a_part_contains() -> None:
    import msgspec

    from parler.cli.render import json_line
    from parler.ops.message_view import ShownMessage
    from parler.wire.base import AgentId, MessageId, RoomName
    from parler.wire.records import EndpointRef

    shown = ShownMessage(
        seq=1,
        id=MessageId("m"),
        room=RoomName("r"),
        author=EndpointRef(id=AgentId("U"), name="b"),
        parts=msgspec.Raw(b'[\n{"kind": "data", "data": [1.50, 1e2, "\xc2\x9b"]}]'),
        ts=1,
        signature=Signature.VALID,
    )
    line = json_line(shown)
    assert "\n" not in line
    assert "\x9b" not in line
    assert "[1.50,1e2," in line  # numbers stay as they were signed
    decoded = json.loads(line)
    assert decoded["from"] == {"id": "U", "name": "b"}
    assert decoded["signature"] == "valid"


@pytest.mark.parametrize(
    ("line", "follow"),
    [
        ("parler ser", ["serve"]),
        ("parler session pi", ["picture"]),
        ("parler send --ro", ["--room", "--role"]),
        ("parler peers --scope m", ["machine"]),
        ("parler task ", [one.value for one in TaskStatus]),
    ],
)
def test_a_shell_is_told_what_may_follow(
    line: str,
    follow: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_PARLER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert app.run([]) == 0
    assert capfd.readouterr().out.split() == [f"plain,{word}" for word in follow]


def test_where_no_man_is_the_help_that_is_named_instead_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("parler.cli._manual.at_terminal", lambda: True)
    assert app.run(["help", "--man"]) == errors.UsageError.exit_status
    assert "next: parler --help" in capsys.readouterr().err
    assert app.run(["--help"]) == 0
    assert "Begin:" in capsys.readouterr().out
