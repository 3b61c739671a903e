"""`parler hook` as an app runs it: what it shows, and that it breaks nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from parler.apps.claude_code.hooks import ClaudeCodeHooks
from parler.apps.kit.hooks import Hooks
from parler.identity.homes import find_home
from parler.identity.person import ensure_person
from parler.machine.processes import machine
from parler.peers.reservations import (
    Holder,
    Reservation,
    Reservations,
    place_of,
    uptime_ms,
)
from parler.wake import hook
from parler.wake import spool as spools
from parler.wake.permissions import Request, Verdict, decide, requests
from parler.wake.spool import Item, Spool
from tests._support.polling import WAIT, eventually
from tests._support.processes import environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX streams")


class App:
    """An agent app on a machine: a project, and the home that connect gave it."""

    def __init__(self, folder: Path, name: str = "claude-code") -> None:
        self.folder, self.name = folder, name
        self.project = folder / "project"
        git = self.project / ".git"
        git.mkdir(parents=True)
        (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
        self.base = folder / ".parler" / "agents" / name
        self.environment = environment(folder, CLAUDE_CODE_ENTRYPOINT="cli")
        self.home = find_home(
            {"PARLER_HOME": str(self.base)}, self.project, folder, command="mcp"
        ).path
        self.home.mkdir(parents=True)
        self.spool = Spool(self.home)

    def mail(self, *texts: str, urgent: bool = True) -> None:
        self.spool.offer(
            [
                Item("room", number, text, urgent, f"{number}{text[:20]}")
                for number, text in enumerate(texts, start=1)
            ]
        )

    def start(
        self, event: str, *more: str, **streams: Any
    ) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "parler", "hook", event, "--app", self.name]
        return subprocess.Popen(
            [*command, *(more or ("--home", str(self.base)))],
            cwd=self.folder,
            env=self.environment,
            **streams,
        )

    def hook(
        self, event: str, *more: str, raw: bytes | None = None, **payload: object
    ) -> "subprocess.CompletedProcess[bytes]":
        told = {"cwd": str(self.project), "session_id": "s1"} | payload
        pipe = subprocess.PIPE
        with self.start(event, *more, stdin=pipe, stdout=pipe, stderr=pipe) as run:
            try:
                data = json.dumps(told).encode() if raw is None else raw
                out, err = run.communicate(data, timeout=WAIT)
            finally:
                run.kill()
        return subprocess.CompletedProcess(run.args, run.returncode, out, err)

    def answer(self, event: str, **payload: object) -> Any:
        done = self.hook(event, **payload)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def app(home: Path) -> App:
    return App(home)


def test_prompt_brings_what_waits_once_and_as_data(app: App) -> None:
    app.mail("from ada: look at this", "from bob: ciao")
    answer = app.answer("prompt")
    text = answer["hookSpecificOutput"]["additionalContext"]
    assert "from ada: look at this\n\nfrom bob: ciao" in text
    assert "2 items" in text
    assert "not the word of the user" in text
    assert app.answer("prompt") is None
    assert app.spool.shown() == {"room": 2}
    assert app.spool.history()[0].via == "claude-code hook prompt"
    assert set(spools.hooks_seen(app.home)) == {"prompt"}
    assert spools.session_of_hooks(app.home) == "s1"


def test_long_mail_is_cut_with_a_hint_and_the_rest_waits(app: App) -> None:
    app.mail("\U0001f600" * 4000, "next")
    answer = app.answer("session-start")
    text = answer["hookSpecificOutput"]["additionalContext"]
    assert len(text.encode()) <= 9_000
    assert "cut here" in text
    assert "1 more waits" in text
    assert "parler_recv" in text
    assert [item.text for item in app.spool.waiting()] == ["next"]


def test_turn_goes_on_when_urgent_mail_waits(app: App) -> None:
    app.mail("nothing to wake for", urgent=False)
    assert app.answer("stop", stop_hook_active=False) is None
    app.mail("urgent")
    answer = app.answer("stop", stop_hook_active=False)
    assert answer["decision"] == "block"
    assert "urgent" in answer["reason"]
    assert app.answer("stop", stop_hook_active=True) is None


def test_turns_in_a_row_are_bounded_until_the_next_prompt(app: App) -> None:
    files = app.home / "stops.json"
    app.mail("first")
    assert app.answer("stop", stop_hook_active=False)
    assert json.loads(files.read_text(encoding="utf-8")) == {"s1": 1}
    files.write_text('{"s1": 7, "other": 2}', encoding="utf-8")
    app.mail("first", "second")
    assert app.answer("stop", stop_hook_active=True) is None
    assert app.spool.waiting(), "it waits for the user"
    assert app.answer("stop", stop_hook_active=True, session_id="other")
    app.mail("first", "second", "third")
    assert app.answer("stop", stop_hook_active=False), "a turn of its own"


def test_no_turn_goes_on_where_nothing_can_be_recorded(app: App) -> None:
    """On a full disk the same mail would keep the model going for ever."""
    import resource

    app.mail("urgent")
    with app.start(
        "stop",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    ) as run:
        told = json.dumps({"cwd": str(app.project)}).encode()
        out, err = run.communicate(told, timeout=WAIT)
    assert (run.returncode, out) == (0, b"")
    assert b"cannot write" in err
    assert app.spool.waiting()


def test_app_whose_prompt_hook_cannot_show_anything_marks_nothing(home: Path) -> None:
    app = App(home, "cursor")
    app.mail("hello")
    assert app.answer("prompt") is None
    assert app.spool.waiting()
    answer = app.answer("stop", status="completed", loop_count=0)
    assert "hello" in answer["followup_message"]


def test_home_is_the_one_of_the_mcp_server(app: App) -> None:
    app.mail("hello")
    below = app.project / "src"
    below.mkdir()
    assert app.answer("prompt", cwd=str(below))
    app.mail("hello", "again")
    done = app.hook("prompt", "--quiet=no")
    assert done.returncode == 0
    assert done.stdout == b""
    done = app.hook("prompt", f"--home={app.base}")
    assert b"again" in done.stdout
    app.environment["CLAUDE_PROJECT_DIR"] = str(app.project)
    app.mail("hello", "again", "elsewhere")
    assert app.answer("prompt", cwd="/"), "the project is where the app was started"


def test_workspace_of_cursor_names_the_project(home: Path) -> None:
    app = App(home, "cursor")
    app.mail("hello")
    told = json.dumps({"workspace_roots": [str(app.project)]}).encode()
    assert b"hello" in app.hook("session-start", raw=told).stdout


JUNK = (
    b"",
    b"{",
    b"[1]",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"cwd": "\xc3',
    b"[" * 200_000,
    b'{"cwd": 5, "session_id": {}, "workspace_roots": 1, "tool_input": [1]}',
    b'{"cwd": "\\u0000"}',
)


@pytest.mark.parametrize("raw", JUNK, ids=range(len(JUNK)))
def test_junk_tells_nothing(raw: bytes) -> None:
    told = hook._payload(raw)
    assert hook._directory(told) is None
    assert hook._session(told) == ""
    assert Hooks().edited_paths(told) == []


def test_junk_on_stdin_breaks_nothing(app: App) -> None:
    app.mail("hello")
    huge = b'{"last_assistant_message": "' + b"x" * 9_000_000 + b'"}'
    for raw in (b"", b"\xff{", b"[" * 200_000, huge):
        done = app.hook("stop", raw=raw)
        assert done.returncode == 0
        assert done.stdout == b""
    assert app.spool.waiting()


def test_wrong_arguments_break_nothing(app: App) -> None:
    for arguments in (["nonsense"], [], ["stop"], ["stop", "--app"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "parler", "hook", *arguments],
            env=app.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WAIT,
        )
        assert done.returncode == 0
        assert done.stdout == b""
        assert b"usage" in done.stderr


@pytest.mark.parametrize("event", ["session-start", "prompt", "stop", "idle"])
def test_hooks_of_claude_code_do_nothing_when_another_app_runs_them(
    app: App, event: str
) -> None:
    app.mail("for claude")
    for payload in ({"cursor_version": "2.1"}, {"hookEventName": "Stop"}):
        assert app.answer(event, **payload) is None
    app.environment["CURSOR_VERSION"] = "2.1"
    del app.environment["CLAUDE_CODE_ENTRYPOINT"]
    assert app.answer(event) is None
    assert app.spool.waiting()
    assert spools.hooks_seen(app.home) == {}


def test_hook_makes_nothing_where_there_is_no_home(home: Path) -> None:
    app = App(home)
    app.home.rmdir()
    assert app.answer("stop") is None
    assert not app.home.exists()


def test_reader_that_hung_up_leaves_the_mail_waiting(app: App) -> None:
    app.mail("hello")
    reading, writing = os.pipe()
    os.close(reading)
    with app.start(
        "prompt",
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.DEVNULL,
    ) as run:
        os.close(writing)
        run.communicate(json.dumps({"cwd": str(app.project)}).encode(), timeout=WAIT)
    assert run.returncode == 0
    assert app.spool.waiting()


IMPATIENT = """
import sys
from parler.wake import hook
hook.PATIENCE_SECS = 0.5
sys.exit(hook.main(sys.argv[1:]))
"""


def test_reader_that_takes_nothing_is_given_up_and_the_mail_waits(app: App) -> None:
    app.mail("x" * 8000)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:  # until the pipe is full
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    arguments = ["prompt", "--app", app.name, "--home", str(app.base)]
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, *arguments],
        input=json.dumps({"cwd": str(app.project)}).encode(),
        env=app.environment,
        stdout=writing,
        timeout=WAIT,
    )
    assert done.returncode == 0
    os.close(writing)
    os.close(reading)
    assert app.spool.waiting()


def test_app_that_keeps_stdin_open_is_not_waited_for(app: App) -> None:
    app.mail("hello")
    told = json.dumps({"cwd": str(app.project)}).encode()
    pipe = subprocess.PIPE
    with app.start("prompt", stdin=pipe, stdout=pipe, stderr=pipe) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(told)
        run.stdin.flush()
        assert b"hello" in run.stdout.read()
        assert run.wait(WAIT) == 0


@pytest.fixture
def waiting_hook(app: App) -> "Iterator[subprocess.Popen[bytes]]":
    pipe = subprocess.PIPE
    with spools.consumer(app.home):
        run = app.start("idle", stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            assert run.stdin is not None
            run.stdin.write(json.dumps({"cwd": str(app.project)}).encode())
            run.stdin.close()
            run.stdin = None
            while not list((app.home / "waiters").glob("*.lock")):
                assert run.poll() is None
            yield run
        finally:
            run.kill()
            run.communicate()


def test_idle_hook_wakes_by_exit_2_and_stderr(
    app: App, waiting_hook: "subprocess.Popen[bytes]"
) -> None:
    assert app.hook("idle").returncode == 0, "one waits already"
    app.mail("not urgent", urgent=False)
    app.mail("wake up")
    out, err = waiting_hook.communicate(timeout=WAIT)
    assert waiting_hook.returncode == 2
    assert out == b""
    assert b"wake up" in err
    assert app.spool.waiting() == []
    assert app.spool.history()[-1].via == "claude-code hook idle"


TELLING = """
import sys, time
sleep = time.sleep
def tell(secs):
    sys.stdout.write("it waits\\n")
    sys.stdout.flush()
    sleep(secs)
time.sleep = tell
from parler.wake import hook
from parler.wake import waiter
waiter.ALONE_SECS = float(sys.argv.pop(1))
sys.exit(hook.main(sys.argv[1:]))
"""


def start_in_new_project(app: App, patience: float) -> "subprocess.Popen[bytes]":
    app.home.rmdir()
    arguments = [str(patience), "idle", "--app", app.name, "--home", str(app.base)]
    run = subprocess.Popen(
        [sys.executable, "-c", TELLING, *arguments],
        env=app.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write(json.dumps({"cwd": str(app.project)}).encode())
    run.stdin.close()
    run.stdin = None
    assert run.stdout.readline() == b"it waits\n"
    return run


def test_idle_hook_waits_for_the_server_of_a_new_project(app: App) -> None:
    run = start_in_new_project(app, WAIT)
    app.home.mkdir()
    with spools.consumer(app.home):
        app.mail("wake up")
        _, err = run.communicate(timeout=WAIT)
    assert run.returncode == 2
    assert b"wake up" in err


def test_idle_hook_does_not_wait_for_ever_where_no_server_comes(app: App) -> None:
    run = start_in_new_project(app, 0.2)
    _, err = run.communicate(timeout=WAIT)
    assert (run.returncode, err) == (0, b"")
    assert not app.home.exists()


def test_idle_hook_does_not_hold_up_a_headless_run(app: App) -> None:
    app.environment["CLAUDE_CODE_ENTRYPOINT"] = "sdk-cli"
    app.mail("hello")
    done = app.hook("idle")
    assert (done.returncode, done.stderr) == (0, b"")


def test_idle_hook_ends_when_nobody_listens_to_it(
    app: App, waiting_hook: "subprocess.Popen[bytes]"
) -> None:
    assert waiting_hook.stdout is not None
    assert waiting_hook.stderr is not None
    waiting_hook.stdout.close()
    waiting_hook.stderr.close()
    waiting_hook.stdout = waiting_hook.stderr = None
    assert waiting_hook.wait(WAIT) == 0


def test_idle_hook_is_nothing_for_apps_that_cannot_be_woken(home: Path) -> None:
    app = App(home, "codex")
    app.mail("hello")
    assert app.answer("idle") is None
    assert app.spool.waiting()


def reserve(app: App, glob: str) -> None:
    """Have somebody at another terminal reserve files."""
    key, project, within = place_of(glob, app.project)
    now = uptime_ms()
    wanted = Reservation(
        id="r1",
        key=key,
        project=project,
        glob=within,
        agent="other",
        name="ada",
        why="rewriting it",
        for_ms=600_000,
        since=now,
        until=now + 600_000,
        machine=machine(),
    )
    holder = Holder(agent="other", name="ada", host=None)
    added, _ = Reservations(app.folder / ".parler").add(wanted, holder)
    assert added is not None


def test_file_that_another_session_reserved_is_not_edited(app: App) -> None:
    edit = {"tool_name": "Edit", "tool_input": {"file_path": "src/api.py"}}
    assert app.answer("pre-edit", **edit) is None
    reserve(app, "src/*.py")
    answer = app.answer("pre-edit", **edit)["hookSpecificOutput"]
    assert answer["permissionDecision"] == "deny"
    assert "ada" in answer["permissionDecisionReason"]
    assert "rewriting it" in answer["permissionDecisionReason"]
    edit["tool_input"] = {"file_path": str(app.project / "README.md")}
    assert app.answer("pre-edit", **edit) is None


def test_files_of_a_patch_are_found(home: Path) -> None:
    app = App(home, "codex")
    reserve(app, "src/*.py")
    patch = "*** Begin Patch\n*** Update File: src/api.py\n@@\n-a\n+b\n*** End Patch\n"
    for given in (
        {"tool_input": {"command": patch}},
        {"toolArgs": patch},
        {"toolArgs": json.dumps({"path": "src/api.py"})},
    ):
        answer = app.answer("pre-edit", **given)["hookSpecificOutput"]
        assert answer["permissionDecision"] == "deny"
    free = patch.replace("src/api.py", "docs/api.md")
    assert app.answer("pre-edit", tool_input={"command": free}) is None


@pytest.mark.parametrize(
    "variables", [{"PARLER_ASK_HOPS": "1"}, {"PARLER_HOME": os.devnull + "/parler"}]
)
def test_an_app_that_answers_a_question_takes_no_mail(
    app: App, variables: dict[str, str]
) -> None:
    """Its hooks are those of the session its user works in; the mail is for that."""
    app.mail("for the session", urgent=True)
    app.environment |= variables
    for event in ("session-start", "prompt", "stop"):
        assert app.answer(event) is None
    assert app.spool.waiting()


def test_a_permission_request_waits_for_the_person_as_the_app_listens(
    app: App,
) -> None:
    home = app.folder / ".parler"
    person = ensure_person(home, hub_url="ws://127.0.0.1:7070")
    told = {
        "hook_event_name": "PermissionRequest",
        "cwd": str(app.project),
        "session_id": "s1",
        "tool_name": "Bash",
        "tool_input": {"command": "git push"},
    }
    pipe = subprocess.PIPE

    def begun() -> "subprocess.Popen[bytes]":
        run = app.start("permission", stdin=pipe, stdout=pipe, stderr=pipe)
        assert run.stdin
        run.stdin.write(json.dumps(told).encode())
        run.stdin.close()
        run.stdin = None
        return run

    def waiting() -> list[Request]:
        return requests(home, now=int(time.time() * 1000))

    with begun() as run:
        [one] = eventually(waiting, "the request")
        assert (one.asked.tool, one.asked.input) == ("Bash", {"command": "git push"})
        now = int(time.time() * 1000)
        decide(home, one, Verdict.PERMIT, key=person.keypair, now=now)
        out, err = run.communicate(timeout=WAIT)
    assert (run.returncode, err) == (0, b"")
    assert json.loads(out)["hookSpecificOutput"] == {
        "hookEventName": "PermissionRequest",
        "decision": {"behavior": "allow"},
    }
    with begun() as run:
        eventually(waiting, "the request")
        assert run.stdout
        run.stdout.close()  # the app is gone
        assert run.wait(WAIT) == 0
    with begun() as run:
        eventually(waiting, "the request")
        app.answer("stop", stop_hook_active=False)  # it was answered on the screen
        assert run.communicate(timeout=WAIT) == (b"", b"")
    assert waiting() == []


@pytest.mark.parametrize(
    "payload",
    [
        {"tool_name": "ExitPlanMode", "tool_input": {}},
        {"tool_name": "Bash", "tool_input": "git push"},
        {"tool_name": 7, "tool_input": {}},
        {},
    ],
)
def test_what_is_no_plain_permission_request_stays_with_the_app(
    payload: dict[str, object],
) -> None:
    told = {"hook_event_name": "PermissionRequest", **payload}
    assert ClaudeCodeHooks().asked_permission(told) is None
    assert Hooks().permission_secs({"CLAUDE_CODE_ENTRYPOINT": "cli"}) == 0
    assert ClaudeCodeHooks().permission_secs({"CLAUDE_CODE_ENTRYPOINT": "sdk-cli"}) == 0
