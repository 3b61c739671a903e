"""Who is on this machine: ghosts never show, junk is ignored, nothing is endless."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from parler.identity import homes
from parler.machine import processes
from parler.machine.processes import Process, process
from parler.peers import presence
from parler.peers.live_folder import live_folder
from parler.peers.presence import (
    HostProcess,
    Kind,
    LiveRecord,
    announce,
    read_live,
    record_here,
)
from parler.wire.base import AgentId
from tests._support.polling import WAIT

AGENT = AgentId("UAGENT")


@pytest.fixture
def host() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that stays until it is ended: an agent app, for all we know."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    child.stdout.readline()
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def record(host: Process | None = None, **fields: object) -> LiveRecord:
    own = process(os.getpid())
    assert own
    known = {
        "agent": AGENT,
        "name": "ann",
        "app": "codex",
        "host": HostProcess.of(host or own),
        "helper": HostProcess.of(own),
        "folder": "/project",
    }
    return LiveRecord(**(known | fields))  # type: ignore[arg-type]


def of(child: "subprocess.Popen[bytes]") -> Process:
    found = process(child.pid)
    assert found
    return found


def test_an_agent_shows_until_it_leaves(tmp_path: Path) -> None:
    handle = announce(tmp_path, record())
    handle.update(branch="main", wake="push")
    [shown] = read_live(tmp_path)
    assert (shown.name, shown.branch, shown.wake) == ("ann", "main", "push")
    handle.close()
    assert read_live(tmp_path) == []


def test_a_record_dies_with_its_host_process_and_not_with_our_helper(
    tmp_path: Path, host: "subprocess.Popen[bytes]"
) -> None:
    gone = HostProcess(of(host).pid, "0")
    announce(tmp_path, record(of(host), helper=gone))
    assert [one.helper.runs for one in read_live(tmp_path)] == [False]
    host.send_signal(signal.SIGKILL)
    host.wait(WAIT)
    assert read_live(tmp_path) == []
    assert list(live_folder(tmp_path).glob("*.json")) == []


def test_a_host_that_was_killed_and_that_nobody_waited_for_is_dead(
    tmp_path: Path, host: "subprocess.Popen[bytes]"
) -> None:
    announce(tmp_path, record(of(host)))
    host.send_signal(signal.SIGKILL)
    # It ends as a zombie here, until this process asks for its status.
    os.waitid(os.P_PID, host.pid, os.WEXITED | os.WNOWAIT)
    assert read_live(tmp_path) == []


def test_a_process_id_given_out_again_resurrects_nobody(
    tmp_path: Path, host: "subprocess.Popen[bytes]"
) -> None:
    before = Process(host.pid, str(int(of(host).started) - 1))
    announce(tmp_path, record(before))
    assert read_live(tmp_path) == []


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(tmp_path, record())
    for seconds in (-(10**9), 10**9):
        jumped = time.time() + seconds
        monkeypatch.setattr(presence.time, "time", lambda at=jumped: at)
        assert [one.name for one in read_live(tmp_path)] == ["ann"]


def test_what_another_boot_or_container_said_is_neither_shown_nor_removed(
    tmp_path: Path,
) -> None:
    announce(tmp_path, record(machine="another"))
    assert read_live(tmp_path) == []
    [path] = live_folder(tmp_path).glob("*.json")
    os.utime(path, (0, 0))
    assert read_live(tmp_path) == []
    assert not path.exists()


def test_all_homes_of_a_user_see_each_other_and_what_lies_in_the_place_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    kept = record(name="before", kind=Kind.WORKER)
    before = one / "live" / f"{kept.key}.json"
    before.parent.mkdir(parents=True)
    before.write_bytes(msgspec.json.encode(kept))
    handle = announce(other, record(name="ann"))
    for _ in range(2):
        assert [found.name for found in read_live(one)] == ["ann", "before"]
        assert [found.name for found in read_live(other)] == ["ann"]
    assert presence.amend(one, kept, said="still here")
    assert not (live_folder(one) / before.name).exists()  # its own helper looks there
    taken = announce(one, kept)
    assert taken.record.said == "still here"
    assert not before.exists()
    assert [found.name for found in read_live(other)] == ["ann", "before"]
    handle.close()
    taken.close()
    monkeypatch.delenv("HOME")
    of_user = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert live_folder(one) == of_user / ".parler" / "live"
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert live_folder(one) == one / "live"


def test_junk_is_ignored_and_left_alone(tmp_path: Path) -> None:
    kept = announce(tmp_path, record()).record
    folder = live_folder(tmp_path)
    good = (folder / f"{kept.key}.json").read_bytes()
    junk = {
        f"{0:032x}.json": b"",
        f"{1:032x}.json": b'{"agent": 7}',
        f"{2:032x}.json": b"[" * 100_000,
        f"{3:032x}.json": b"x" * (presence.MAX_RECORD_BYTES + 1),
        f"{4:032x}.json": good,  # under a name that is not its own
        f"{5:032x}.json": b"\xff\xfe",
        "notes.txt": b"hello",
        "../../etc.json".replace("/", "_"): good,
    }
    for name, content in junk.items():
        (folder / name).write_bytes(content)
    (folder / f"{6:032x}.json").mkdir()
    (folder / f"{7:032x}.json").symlink_to(folder / f"{kept.key}.json")
    os.mkfifo(folder / f"{8:032x}.json")
    assert read_live(tmp_path) == [kept]
    assert all((folder / name).exists() for name in junk)


def test_records_are_private_and_bounded(tmp_path: Path) -> None:
    handle = announce(tmp_path, record())
    names = [f"{number:03}" + "é" * 10_000 for number in range(1000)]
    handle.update(changed=names, said="s" * 10_000, derived="d" * 10_000)
    handle.update(branch="b" * 9999, changed=[*names[:5], "bad\udcffname"])
    [path] = live_folder(tmp_path).glob("*.json")
    assert path.stat().st_size < presence.MAX_RECORD_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    [shown] = read_live(tmp_path)
    assert len(shown.summary or "") == presence.MAX_SUMMARY_CHARS
    assert len(shown.changed) == 6
    assert max(map(len, shown.changed)) == presence.MAX_NAME_CHARS


def test_a_helper_that_starts_again_takes_over_what_the_agent_said(
    tmp_path: Path,
) -> None:
    first = announce(tmp_path, record())
    presence.amend(tmp_path, first.record, said="building the page", last_taken=7)
    again = record(helper=HostProcess(1, "later"))
    second = announce(tmp_path, again)
    assert (second.record.said, second.record.last_taken) == ("building the page", 7)
    first.close()
    assert len(read_live(tmp_path)) == 1
    second.close()
    assert read_live(tmp_path) == []


def test_what_others_amend_survives_the_helpers_own_updates(tmp_path: Path) -> None:
    handle = announce(tmp_path, record())
    assert presence.amend(tmp_path, handle.record, said="mine")
    handle.update(branch="b")
    assert [(one.said, one.branch) for one in read_live(tmp_path)] == [("mine", "b")]
    handle.close()
    assert presence.amend(tmp_path, handle.record, said="too late") is None
    assert read_live(tmp_path) == []


def test_two_windows_of_one_identity_are_two_records(
    tmp_path: Path, host: "subprocess.Popen[bytes]"
) -> None:
    announce(tmp_path, record())
    announce(tmp_path, record(of(host)))
    announce(tmp_path, record(of(host), kind=Kind.ANSWERER))
    assert len(read_live(tmp_path)) == 3


def test_no_folder_is_nobody(tmp_path: Path) -> None:
    assert read_live(tmp_path / "nowhere") == []


def test_all_apps_of_a_user_share_one_folder(tmp_path: Path) -> None:
    codex = tmp_path / "agents" / "codex"
    for home in (codex, codex / "ws" / "0123", tmp_path / "answerers" / "shop"):
        assert homes.machine_home(home) == tmp_path
    assert homes.machine_home(tmp_path) == tmp_path


def test_a_record_of_this_process_names_the_app_above_it(tmp_path: Path) -> None:
    own = record_here(AGENT, "ann", folder=tmp_path, kind=Kind.ANSWERER)
    assert own.host == own.helper
    session = record_here(AGENT, "ann", folder=tmp_path, app="gemini", wake="next")
    assert (session.app, session.wake) == ("gemini", "next")
    assert session.host.runs
    assert announce(tmp_path, session).record in read_live(tmp_path)


PROGRAMS = [
    ("claude", ["claude", "--continue"], "claude"),
    ("2.1.197", ["/home/a/.local/bin/claude"], "claude"),
    ("node", ["node", "--no-warnings", "/usr/bin/gemini", "-p"], "gemini"),
    ("node", ["/usr/bin/node22", "/x/node_modules/cline/bin/cline.mjs"], "cline"),
    ("MainThread", ["/opt/Cursor/cursor", "--type=x"], "cursor"),
    ("Code.exe", [r"C:\Programs\Code.exe"], "code"),
    ("python3.12", ["/v/bin/python3.12", "-m", "parler", "mcp"], "parler"),
    ("bash", ["-bash"], "bash"),
    ("kworker", [], "kworker"),
]


@pytest.mark.parametrize(("name", "words", "program"), PROGRAMS)
def test_what_a_process_runs(name: str, words: list[str], program: str) -> None:
    assert processes._names(name, words)[0] == program


def test_a_record_from_a_later_version_is_read(tmp_path: Path) -> None:
    kept = announce(tmp_path, record()).record
    path = live_folder(tmp_path) / f"{kept.key}.json"
    fields = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode(fields | {"mood": {"good": True}}))
    assert read_live(tmp_path) == [kept]
