"""Real programs under the reaper: bounded in time, memory and processes."""

import asyncio
import os
import shutil
import signal
import sys
import textwrap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.machine.runner import Ended, Excerpt, Program, run
from tests._support.polling import WAIT, in_time


def program(folder: Path, source: str, **changes: float) -> Program:
    """A Python program in a file of its own."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(source), encoding="utf-8")
    return Program(
        command=[sys.executable, "-I", str(script)],
        environment={"PATH": os.environ["PATH"]},
        folder=folder,
        timeout_secs=changes.pop("timeout_secs", WAIT),
        max_output_bytes=int(changes.pop("max_output_bytes", 65_536)),
        grace_secs=changes.pop("grace_secs", 0.2),
    )


async def ran(one: Program, data: bytes = b"") -> Ended:
    return await run(one, data, hear=lambda _: None)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - it is other processes that end
            await asyncio.sleep(0.01)


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in (folder / "pids").iterdir()]


NOTE_PID = """
import os, pathlib, time
here = pathlib.Path(__file__).parent / "pids"
here.mkdir(exist_ok=True)
def note():
    (here / str(os.getpid())).touch()
"""


async def test_a_program_gets_its_input_and_its_output_comes_back(
    tmp_path: Path,
) -> None:
    heard = bytearray()
    one = program(
        tmp_path,
        """
        import sys
        print(sys.stdin.read().upper())
        print("careful", file=sys.stderr)
        raise SystemExit(3)
        """,
    )
    ended = await run(one, b"hello", hear=heard.extend)
    assert (ended.status, ended.timed_out) == (3, False)
    assert ended.output == "HELLO\n"
    assert ended.errors == "careful\n"
    assert b"HELLO" in heard
    assert b"careful" in heard


async def test_a_program_that_is_not_there_fails_like_in_a_shell(
    tmp_path: Path,
) -> None:
    one = program(tmp_path, "")
    missing = Program(
        command=["no-such-program-here"],
        environment=one.environment,
        folder=tmp_path,
        timeout_secs=WAIT,
        max_output_bytes=1024,
    )
    ended = await ran(missing)
    assert ended.status == 127
    assert "no-such-program-here" in ended.errors


async def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    one = program(tmp_path, "")
    gone = Program(
        command=one.command,
        environment=one.environment,
        folder=tmp_path / "gone",
        timeout_secs=WAIT,
        max_output_bytes=1024,
    )
    with pytest.raises(ConfigError):
        await ran(gone)


async def test_a_hanging_program_is_ended_after_its_time(tmp_path: Path) -> None:
    source = NOTE_PID + "note(); print('begun', flush=True); time.sleep(1000)"

    async def story(secs: float) -> None:
        ended = await ran(program(tmp_path, source, timeout_secs=secs))
        assert ended.timed_out
        assert ended.output == "begun\n"
        assert not any(map(alive, pids(tmp_path)))

    await in_time(story, 0.5)


async def test_a_program_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path,
) -> None:
    source = NOTE_PID + (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "note(); print('begun', flush=True); time.sleep(1000)"
    )

    async def story(secs: float) -> None:
        ended = await ran(program(tmp_path, source, timeout_secs=secs))
        assert ended.timed_out
        assert ended.output == "begun\n"
        assert not any(map(alive, pids(tmp_path)))

    await in_time(story, 0.5)


FORKING = (
    NOTE_PID
    + """
import signal, sys
for depth in range(4):
    if os.fork() == 0:
        os.setsid()                     # out of the process group
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note()
        if os.fork() == 0:
            os.setsid()                 # an orphan of an orphan
            note()
        time.sleep(1000)
while len(list(here.iterdir())) < 8:
    time.sleep(0.01)
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux")
@pytest.mark.parametrize("end", ["", "time.sleep(1000)"], ids=["ends", "hangs"])
async def test_what_a_program_forked_ends_with_it(tmp_path: Path, end: str) -> None:
    async def story(secs: float) -> None:
        shutil.rmtree(tmp_path / "pids", ignore_errors=True)
        one = program(tmp_path, FORKING + end, timeout_secs=secs)
        ended = await ran(one)
        assert ended.timed_out is bool(end)
        assert len(pids(tmp_path)) == 8
        assert not any(map(alive, pids(tmp_path)))

    await in_time(story, 1.0 if end else WAIT)


async def test_printing_without_end_takes_no_memory(tmp_path: Path) -> None:
    source = """
    import sys
    block = b"x" * 2**20
    sys.stdout.buffer.write(b"first ")
    for _ in range(100):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.write(b" last")
    """
    tracemalloc.start()
    try:
        ended = await ran(program(tmp_path, source, max_output_bytes=4096))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ended.status == 0
    assert ended.output.startswith("first x")
    assert ended.output.endswith("x last")
    assert "bytes left out" in ended.output
    assert len(ended.output) < 4096 + 100
    assert peak < 4 * 2**20


async def test_a_cancelled_run_leaves_nothing(tmp_path: Path) -> None:
    source = NOTE_PID + "note(); time.sleep(1000)"
    one = program(tmp_path, source)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ran(one))
        await until(lambda: (tmp_path / "pids").exists() and bool(pids(tmp_path)))
        running.cancel()
    assert not any(map(alive, pids(tmp_path)))


async def test_a_killed_worker_leaves_nothing(tmp_path: Path) -> None:
    program(tmp_path, NOTE_PID + "note(); time.sleep(1000)")
    worker = textwrap.dedent(
        f"""
        import asyncio, pathlib, sys
        from parler.machine.runner import Program, run
        here = pathlib.Path({str(tmp_path)!r})
        one = Program(
            command=[sys.executable, "-I", str(here / "program.py")],
            environment={{}}, folder=here, timeout_secs=1000, max_output_bytes=1024,
            grace_secs=0.2,
        )
        asyncio.run(run(one, b"", hear=lambda _: None))
        """
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", worker)
    await until(lambda: (tmp_path / "pids").exists() and bool(pids(tmp_path)))
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: not any(map(alive, pids(tmp_path))))


async def test_a_program_that_leaves_its_input_alone_is_no_trouble(
    tmp_path: Path,
) -> None:
    ended = await ran(program(tmp_path, "import os; os.close(0)"), b"x" * 2**20)
    assert ended.status == 0


def test_an_excerpt_keeps_both_ends() -> None:
    excerpt = Excerpt(8)
    for piece in (b"ab", b"cdefgh", b"ij"):
        excerpt.add(piece)
    assert excerpt.text() == "ab\n[… 2 bytes left out …]\nefghij"
    end = Excerpt(8, only_end=True)
    end.add(b"0123456789")
    assert end.text().endswith("]\n23456789")
    short = Excerpt(8)
    short.add(b"abcdefgh")
    assert short.text() == "abcdefgh"
