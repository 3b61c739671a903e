"""A hub as a process: how it starts, refuses to start, fills up, and stops (12.1)."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests._support.plainclient import Link, PlainAgent
from tests._support.polling import WAIT

CHECKOUT = Path(__file__).resolve().parents[2]
SECRET = "correct-horse-battery"


class Started:
    """A hub process and what it said."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def ends_with(self, status: int) -> None:
        assert self.process.wait(WAIT) == status


@contextmanager
def hub(folder: Path, *argv: str, **variables: str) -> Iterator[Started]:
    """A hub on a free port with its database in `folder`."""
    ready, log = folder / "run" / "ready.json", folder / "hub.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(folder, "--ready-file", str(ready), *argv),
            cwd=CHECKOUT,
            env=_environment(folder, variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + WAIT
        while not ready.exists():
            assert time.monotonic() < deadline, "the hub was not ready in time"
            try:
                status = process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(
                f"ended with {status}: {log.read_text(encoding='utf-8')}"
            )
        found = json.loads(ready.read_text(encoding="utf-8"))
        assert found["pid"] == process.pid
        ready.unlink()
        yield Started(process, found["url"], log)
    finally:
        process.kill()
        process.wait(WAIT)


def start_and_fail(folder: Path, *argv: str) -> tuple[int, str]:
    """Exit status and words of a hub that does not start."""
    done = subprocess.run(
        _command(folder, *argv),
        cwd=CHECKOUT,
        env=_environment(folder, {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    return done.returncode, done.stderr.decode()


def _command(folder: Path, *argv: str) -> list[str]:
    base = ["--addr", "127.0.0.1:0", "--db", str(folder / "hub.sqlite")]
    return [sys.executable, "-m", "hub", *base, *argv]


def _environment(folder: Path, variables: dict[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PARLER_")}
    return kept | {"HOME": str(folder)} | variables


async def open_room(link: Link) -> str:
    room: str = (await link.ask("invited", "invite", kind="channel"))["room"]
    return room


async def say(link: Link, room: str, text: str) -> dict[str, Any]:
    target = {"kind": "room", "room": room}
    return await link.request(
        "send", target=target, parts=[{"kind": "text", "text": text}]
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_hub_answers_who_waits_says_goodbye_and_keeps_all(
    tmp_path: Path, how: signal.Signals
) -> None:
    ann = PlainAgent.create("ann")
    with hub(tmp_path) as started:
        async with ann.dial(started.url) as link:
            room = await open_room(link)
            assert (await say(link, room, "kept"))["type"] == "sent"
            await link.post("pull", room=room, ack=2**40, waitSecs=30, rid="wait")
            await link.ask("pong", "ping", rid="1")
            started.process.send_signal(how)
            pulled = await link.next_reply()
            assert (pulled["type"], pulled["messages"]) == ("pulled", [])
            assert await link.closed() == 1012
        started.ends_with(0)
        assert "Traceback" not in started.output
    with hub(tmp_path) as started:
        async with ann.dial(started.url) as link:
            pulled = await link.ask("pulled", "pull", room=room, since=0)
            assert len(pulled["messages"]) == 1


async def test_a_killed_hub_starts_again_with_all_it_acknowledged(
    tmp_path: Path,
) -> None:
    ann = PlainAgent.create("ann")
    with hub(tmp_path) as started:
        async with ann.dial(started.url) as link:
            room = await open_room(link)
            for number in range(20):
                await say(link, room, str(number))
            started.process.kill()
            with pytest.raises((ConnectionClosed, AssertionError)):
                await link.ask("pong", "ping")
    with hub(tmp_path) as started:
        async with ann.dial(started.url) as link:
            pulled = await link.ask("pulled", "pull", room=room)
            said = [message["parts"][0]["text"] for message in pulled["messages"]]
            assert said == [str(number) for number in range(20)]


async def test_a_second_hub_on_the_same_database_says_so_and_harms_nobody(
    tmp_path: Path,
) -> None:
    with hub(tmp_path) as started:
        status, words = start_and_fail(tmp_path)
        assert status == 3
        assert words.startswith("error: another hub is using")
        assert words.count("\n") == 1
        taken = started.url.removeprefix("ws://")
        other = tmp_path / "other"
        other.mkdir()
        status, words = start_and_fail(other, "--addr", taken)
        assert status == 3
        assert list(other.iterdir()) == []
        assert words.startswith(f"error: cannot listen on {taken}")
        async with PlainAgent.create("ann").dial(started.url) as link:
            await link.ask("pong", "ping")


async def test_one_connection_too_many_is_told_and_room_is_made_again(
    tmp_path: Path,
) -> None:
    with hub(tmp_path, "--max-connections", "2") as started:
        ann, bob, cid = (PlainAgent.create(name) for name in ("ann", "bob", "cid"))
        async with ann.dial(started.url):
            async with bob.dial(started.url) as second:
                async with cid.dial(started.url, sign_in=False) as link:
                    assert (await link.next_reply())["code"] == "at_capacity"
                    await link.closed()
                await second.ask("pong", "ping")
            deadline = time.monotonic() + WAIT
            while True:  # until the hub has seen the goodbye of the second
                async with cid.dial(started.url, sign_in=False) as link:
                    with contextlib.suppress(ConnectionClosed):  # it is told and out
                        reply = await link.request("ping")
                        if reply["code"] == "unauthenticated":
                            break
                assert time.monotonic() < deadline


async def test_the_secret_is_in_no_output_and_opens_the_hub(tmp_path: Path) -> None:
    with hub(tmp_path, PARLER_HUB_JOIN_SECRET=SECRET) as started:
        ann = PlainAgent.create("ann")
        async with ann.dial(started.url, secret=SECRET) as link:
            await link.ask("pong", "ping")
        started.process.terminate()
        started.ends_with(0)
        assert SECRET not in started.output
        assert f"parler-hub up · {started.url}/ws · private hub" in started.output
        assert f"db: {tmp_path / 'hub.sqlite'}" in started.output


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one mebibyte that really fills up."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root on Linux can mount a small disk")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_what_is_new_and_keeps_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    ann = PlainAgent.create("ann")
    with small_disk(tmp_path / "disk") as disk:
        database = ["--db", str(disk / "hub.sqlite")]
        acknowledged: list[str] = []
        with hub(tmp_path, *database) as started:
            async with ann.dial(started.url) as link:
                room = await open_room(link)
                refused = 0
                for number in range(60):
                    text = f"{number} " + "x" * 30_000
                    reply = await say(link, room, text)
                    if reply["type"] == "sent":
                        acknowledged.append(text)
                    else:
                        assert reply["code"] == "storage_full"
                        refused += 1
                assert refused
                assert acknowledged
                _fill(disk)
                assert await _said(link, room) == acknowledged
                started.process.terminate()
                await link.closed()
            started.ends_with(0)
            assert "Traceback" not in started.output
        (disk / "filler").unlink()
        _enlarge(disk)
        with hub(tmp_path, *database) as started:
            async with ann.dial(started.url) as link:
                assert await _said(link, room) == acknowledged
                assert (await say(link, room, "there is room again"))["type"] == "sent"


def _enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)


def _fill(disk: Path) -> None:
    """Use up the last byte."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size):
                    pass


async def _said(link: Link, room: str) -> list[str]:
    pulled = await link.ask("pulled", "pull", room=room, since=0, limit=1000)
    return [message["parts"][0]["text"] for message in pulled["messages"]]


# ------------------------------------------------------------------ refusing to start


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--addr", "0.0.0.0:0"], "refusing to listen"),
        (["--addr", "nonsense"], "is not host:port"),
        (["--addr", "203.0.113.1:0", "--public"], "cannot listen on"),
        (["--db", "/dev/null/x"], "cannot use the database"),
    ],
)
def test_a_hub_that_cannot_start_says_why_in_one_line(
    tmp_path: Path, argv: list[str], words: str
) -> None:
    status, said = start_and_fail(tmp_path, *argv)
    assert status == 3
    assert words in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
