"""Git as a process: bounded, on its own, and failing in words."""

import asyncio
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from parler.errors import GitFailed, TooManyBytes
from parler.handoff import git as module
from parler.handoff.git import (
    MAX_FILE_KIB,
    MAX_RECORD_BYTES,
    MEMORY_KIB,
    Git,
    by_record,
    filters_off,
)
from tests._support.gitrepo import Repo
from tests._support.memory_hub import WAIT, until


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("one.txt", "1\n")
    return repo


def impostor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Git:
    """Something called git that misbehaves."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return Git(folder=tmp_path)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text("ascii").split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_it_says_what_git_said(repo: Repo) -> None:
    git = Git(folder=repo.folder)
    assert await git.text("rev-parse", "HEAD") == repo.tip()
    assert (await git.run("rev-parse", "HEAD", "HEAD^{tree}")).lines[0] == repo.tip()
    with pytest.raises(GitFailed, match="git rev-parse failed: "):
        await git.run("rev-parse", "--verify", "nope")
    assert (await git.run("rev-parse", "-q", "--verify", "no", may_fail=True)).status


async def test_a_missing_git_is_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitFailed, match="not installed") as caught:
        await Git(folder=tmp_path).run("version")
    assert caught.value.next_step


async def test_a_folder_that_went_away_is_said_to_be_gone(tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="gone is not there any more"):
        await Git(folder=tmp_path / "gone").run("version")


async def test_a_git_that_hangs_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! > {pids}.new; mv {pids}.new {pids}; wait"
    git = impostor(tmp_path, monkeypatch, script)

    with pytest.raises(GitFailed, match="did not finish"):
        await git.run("fetch", secs=1)
    child = int(pids.read_text(encoding="ascii"))
    deadline = time.monotonic() + WAIT
    while is_running(child):  # it was killed: only its end is to come
        assert time.monotonic() < deadline


async def test_a_cancelled_git_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    git = impostor(tmp_path, monkeypatch, f"echo $$ > {started}; exec sleep 600")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(git.run("fetch"))
        await until(lambda: started.exists() and bool(started.read_text("ascii")))
        task.cancel()
    assert not is_running(int(started.read_text("ascii")))


async def test_a_git_that_prints_without_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_OUTPUT_BYTES", 100_000)
    git = impostor(tmp_path, monkeypatch, "exec yes")
    with pytest.raises(GitFailed, match="more than 100000 bytes"):
        await git.run("log")


async def test_a_git_that_complains_without_end_keeps_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo fatal: enough >&2; exit 1"
    )
    git = impostor(tmp_path, monkeypatch, script)
    with pytest.raises(GitFailed) as caught:
        await git.run("log")
    assert caught.value.message.endswith("enough")
    assert len(caught.value.message) < 5000


async def test_a_sink_that_has_enough_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = impostor(tmp_path, monkeypatch, "exec yes")

    def take(piece: bytes) -> None:
        raise TooManyBytes("enough")

    with pytest.raises(TooManyBytes):
        await git.run("log", into=take)


async def test_git_need_not_read_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = impostor(tmp_path, monkeypatch, "echo done")
    assert await git.text("log") == "done"
    assert (await git.run("log", stdin=b"x\n" * 100_000)).text == "done"


async def test_no_setting_of_a_repository_raises_what_packing_takes(
    repo: Repo,
) -> None:
    for key in ("pack.threads", "pack.windowMemory", "pack.deltaCacheSize"):
        repo.git("config", key, "1000000000")
        assert len(await Git(folder=repo.folder).text("config", key)) <= 3


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
async def test_every_git_runs_within_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "ulimit -d; ulimit -f; ulimit -t; ulimit -c"
    git = impostor(tmp_path, monkeypatch, script)
    limits = (await git.run("log", secs=6.5)).lines
    assert limits == [str(MEMORY_KIB), str(MAX_FILE_KIB * 2), "8", "0"]
    program = tmp_path / "bin" / "git"
    hungry = f"#!{sys.executable}\nbytearray({2 * MEMORY_KIB * 1024})\n"
    program.write_text(hungry, encoding="utf-8")
    with pytest.raises(GitFailed, match="MemoryError"):
        await git.run("log")


async def test_a_git_that_is_ended_by_a_signal_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = impostor(tmp_path, monkeypatch, "kill -SEGV $$")
    with pytest.raises(GitFailed, match="ended by SIGSEGV"):
        await git.run("log")


async def test_git_may_print_while_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = impostor(tmp_path, monkeypatch, "exec cat")
    data = b"x\n" * 10**6
    assert (await git.run("log", stdin=data)).out == data


async def test_records_are_handed_on_however_they_are_cut() -> None:
    taken: list[bytes] = []
    sink = by_record(taken.append)
    for piece in (b"a", b"b\0", b"\0c", b"d\0e"):
        sink(piece)
    assert taken == [b"ab", b"", b"cd"]
    with pytest.raises(GitFailed, match="a name of more than"):
        sink(b"x" * (MAX_RECORD_BYTES + 1))


async def test_no_variable_of_ours_reaches_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLER_JOIN_SECRET", "planted")
    monkeypatch.setenv("GIT_DIR", "planted")
    git = impostor(tmp_path, monkeypatch, "exec env")
    shown = await git.text("log")
    assert "planted" not in shown
    assert "GIT_CONFIG_GLOBAL=/dev/null" in shown
    assert "GIT_ALLOW_PROTOCOL=none" in shown


def test_filters_are_turned_off_by_name_whatever_the_name() -> None:
    settings = dict(filters_off(["filter.lfs.clean", "filter.a=b.c.process"]))
    assert settings["filter.lfs.clean"] == ""
    assert settings["filter.lfs.required"] == "false"
    assert settings["filter.a=b.c.process"] == ""


async def test_how_far_it_is_is_told_and_is_no_part_of_an_error(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int, int]] = []
    watch = lambda *far: told.append(far)  # noqa: E731
    git = Git(folder=repo.folder, watch=watch)
    options = ("--revs", "--stdout", *git.told("--all-progress", "--quiet"))
    await git.run("pack-objects", *options, stdin=b"HEAD\n", into=lambda piece: None)
    what, done, total = told[-1]
    assert (what, done) == ("writing objects", total)
    assert Git(folder=repo.folder).told("--all-progress", "--quiet") == ("--quiet",)
    said = r"printf 'Writing objects:  50%% (1/2)\rWriting objects: 100%% (2/2)\n' >&2"
    failing = impostor(tmp_path, monkeypatch, f"{said}; echo no >&2; exit 1")
    with pytest.raises(GitFailed, match=r"^git pack-objects failed: no$"):
        await replace(failing, watch=watch).run("pack-objects")
    assert told[-1] == ("writing objects", 2, 2)
