"""The power-cut simulator: that it takes what was not synced, and only that.

Every child is a real process, and the database is the real sqlite3. The controls come
first: a simulator that loses nothing would prove nothing.
"""

import os
import selectors
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.powercut import PowerCut, PowerCutError
from tests._support.polling import WAIT

pytestmark = pytest.mark.powercut


SCHEMA = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("pragma synchronous=full")
db.execute("create table message (seq integer primary key, text text)")
db.close()
"""

# Commits rows for ever and says each number after its commit has returned.
SENDER = """
import sqlite3, sys
path, level, pages = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None)
db.execute(f"pragma synchronous={level}")
db.execute(f"pragma wal_autocheckpoint={pages}")
while True:
    row = db.execute("insert into message (text) values (?)", ("x" * 1500,))
    print(row.lastrowid, flush=True)
"""


@pytest.fixture
def power(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> PowerCut:
    build = tmp_path_factory.getbasetemp() / "powercut-build"
    return PowerCut(tmp_path / "root", tmp_path / "shadow", build)


def run(power: PowerCut, source: str, *arguments: str) -> None:
    """Runs a child to its end, in the root, as on the machine that will lose power."""
    subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, **power.environment()},
        cwd=power.root,
        check=True,
        timeout=WAIT,
    )


def acknowledged_before_a_kill(power: PowerCut, *arguments: str, acks: int) -> int:
    """Runs a sender, kills it after so many acks, and returns the last one it gave."""
    child = subprocess.Popen(
        [sys.executable, "-c", SENDER, str(power.root / "hub.db"), *arguments],
        env={**os.environ, **power.environment()},
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    heard = b""
    with child, selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while heard.count(b"\n") < acks:
            assert ready.select(WAIT), "the sender says nothing"
            some = os.read(child.stdout.fileno(), 4096)
            assert some, "the sender ended by itself"
            heard += some
        child.send_signal(signal.SIGKILL)
        heard += child.stdout.read()
    return int(heard[: heard.rindex(b"\n")].split()[-1])


def stored(power: PowerCut, tmp_path: Path) -> list[int]:
    """The rows on the disk, read from a copy, with the database's own check."""
    copy = tmp_path / "copy"
    shutil.copytree(power.root, copy)
    db = sqlite3.connect(copy / "hub.db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    rows = [seq for (seq,) in db.execute("select seq from message order by seq")]
    db.close()
    shutil.rmtree(copy)
    return rows


def files(power: PowerCut) -> dict[str, bytes]:
    return {
        str(path.relative_to(power.root)): path.read_bytes()
        for path in power.root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("level", ["off", "normal"])
def test_rows_acknowledged_without_a_sync_are_lost(
    level: str, power: PowerCut, tmp_path: Path
) -> None:
    run(power, SCHEMA, str(power.root / "hub.db"))
    last = acknowledged_before_a_kill(power, level, "1000", acks=30)
    assert last >= 30
    power.cut()
    assert stored(power, tmp_path) == []


def test_database_acknowledged_without_a_sync_is_torn(
    power: PowerCut, tmp_path: Path
) -> None:
    """Without syncs a checkpoint is not ordered behind its log, and torn cuts show."""
    harmed = 0
    run(power, SCHEMA, str(power.root / "hub.db"))
    power.cut()
    start = files(power)
    for seed in range(6):
        last = acknowledged_before_a_kill(power, "off", "10", acks=60)
        power.cut(torn_seed=seed)
        try:
            harmed += len(stored(power, tmp_path)) < last
        except (AssertionError, sqlite3.DatabaseError):
            harmed += 1
            shutil.rmtree(tmp_path / "copy")
        for name in files(power):
            (power.root / name).unlink()
        for name, data in start.items():
            (power.root / name).write_bytes(data)
        power.seed()
    assert harmed >= 3


def test_rows_acknowledged_after_a_sync_survive_every_cut(
    power: PowerCut, tmp_path: Path
) -> None:
    """Ten cuts of one database, torn ones among them, with checkpoints all the time."""
    run(power, SCHEMA, str(power.root / "hub.db"))
    for number in range(10):
        last = acknowledged_before_a_kill(power, "full", "12", acks=25 + 3 * number)
        power.cut(torn_seed=number if number % 3 else None)
        rows = stored(power, tmp_path)
        assert rows == list(range(1, len(rows) + 1))
        assert last <= len(rows) <= last + 1


def test_rows_survive_a_cut_after_restarts_without_one(
    power: PowerCut, tmp_path: Path
) -> None:
    """What a killed process left in the page cache is synced by its successor."""
    run(power, SCHEMA, str(power.root / "hub.db"))
    for _ in range(3):
        acknowledged_before_a_kill(power, "normal", "1000", acks=10)
        last = acknowledged_before_a_kill(power, "full", "1000", acks=10)
    power.cut()
    assert len(stored(power, tmp_path)) >= last


def test_change_that_was_never_logged_is_found_at_the_next_start(
    power: PowerCut,
) -> None:
    """A kill can fall between a removal and its record in the log."""
    (power.root / "gone").write_bytes(b"old")
    run(power, "open('new', 'wb').write(b'new')")
    (power.root / "gone").unlink()
    (power.root / "new").unlink()
    (power.root / "new").write_bytes(b"newer")
    run(power, f"import os\nos.fsync(os.open('new', os.O_RDWR))\n{SYNC_FOLDER}")
    power.cut()
    assert files(power) == {"new": b"newer"}


def test_written_bytes_are_lost_and_synced_bytes_kept(power: PowerCut) -> None:
    (power.root / "old").write_bytes(b"as it was")
    run(
        power,
        """
import os
kept = open("kept", "wb", buffering=0)
kept.write(b"synced")
os.fsync(kept.fileno())
kept.write(b" and not")
os.pwrite(kept.fileno(), b"S", 0)
open("never", "wb").write(b"gone")
old = os.open("old", os.O_WRONLY | os.O_TRUNC)
os.write(old, b"new")
""",
    )
    assert files(power)["kept"] == b"Synced and not"
    power.cut()
    assert files(power) == {"old": b"as it was", "kept": b"synced"}


@pytest.mark.parametrize(
    "write",
    [
        "os.write(fd, b'ab'); os.write(fd, b'cd')",
        "os.pwrite(fd, b'cd', 2); os.pwrite(fd, b'ab', 0)",
        "os.writev(fd, [b'a', b'b', b'cd'])",
        "os.pwritev(fd, [b'ab', b'cd'], 0)",
        "os.write(os.dup(fd), b'abcd')",
        "os.write(fd, b'abcdefgh'); os.fsync(fd); os.ftruncate(fd, 4)",
        "os.write(fd, b'xxxxxxxx'); os.fsync(fd); os.truncate('file', 0);"
        " os.pwrite(fd, b'abcd', 0)",
        "os.posix_fallocate(fd, 0, 4); os.pwrite(fd, b'abcd', 0)",
        "import mmap; os.ftruncate(fd, 4); m = mmap.mmap(fd, 4); m[:] = b'abcd'",
        "s = os.open('src', os.O_RDWR | os.O_CREAT); os.write(s, b'abcd');"
        " os.sendfile(fd, s, 0, 4)",
        "s = os.open('src', os.O_RDWR | os.O_CREAT); os.write(s, b'abcd');"
        " os.copy_file_range(s, fd, 4, 0)",
        "import subprocess; subprocess.run(['true']); os.write(fd, b'abcd')",
    ],
)
def test_every_way_to_write_is_seen_by_a_sync(write: str, power: PowerCut) -> None:
    opened = "import os; fd = os.open('file', os.O_RDWR | os.O_CREAT)\n"
    run(power, f"{opened}{write}\nos.fdatasync(fd)\nos.pwrite(fd, b'....', 1)")
    power.cut()
    assert files(power)["file"] == b"abcd"


def test_o_dsync_writes_are_durable_and_others_of_that_file_not(
    power: PowerCut,
) -> None:
    run(
        power,
        """
import os
fd = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_DSYNC)
os.write(fd, b"durable")
os.pwrite(os.open("file", os.O_WRONLY), b"D", 0)
""",
    )
    power.cut()
    assert files(power) == {"file": b"durable"}


REPLACE = """
import os
fd = os.open("new", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"new")
os.fsync(fd)
os.rename("new", "name")
"""
SYNC_FOLDER = "os.fsync(os.open('.', os.O_RDONLY))\n"


def test_rename_is_lost_without_a_sync_of_its_folder(power: PowerCut) -> None:
    (power.root / "name").write_bytes(b"old")
    run(power, REPLACE)
    power.cut()
    assert files(power) == {"name": b"old", "new": b"new"}


def test_rename_is_kept_after_a_sync_of_its_folder(power: PowerCut) -> None:
    (power.root / "name").write_bytes(b"old")
    run(power, REPLACE + SYNC_FOLDER)
    power.cut()
    assert files(power) == {"name": b"new"}


def test_removed_file_is_back_unless_its_folder_was_synced(power: PowerCut) -> None:
    (power.root / "a").write_bytes(b"a")
    (power.root / "b").write_bytes(b"b")
    run(power, f"import os\nos.unlink('a')\n{SYNC_FOLDER}os.unlink('b')")
    assert files(power) == {}
    power.cut()
    assert files(power) == {"b": b"b"}


def test_synced_folder_keeps_the_name_but_not_the_bytes(power: PowerCut) -> None:
    run(power, f"import os\nopen('file', 'wb').write(b'bytes')\n{SYNC_FOLDER}")
    power.cut()
    assert files(power) == {"file": b""}


def test_synced_file_keeps_the_folders_it_was_made_in(power: PowerCut) -> None:
    run(
        power,
        """
import os
os.makedirs("a/b")
os.mkdir("a/empty")
fd = os.open("a/b/file", os.O_WRONLY | os.O_CREAT, 0o640)
os.write(fd, b"bytes")
os.fsync(fd)
""",
    )
    power.cut()
    assert files(power) == {"a/b/file": b"bytes"}
    assert not (power.root / "a/empty").exists()
    assert (power.root / "a/b/file").stat().st_mode & 0o777 == 0o640


def test_moved_folder_takes_its_files_along(power: PowerCut) -> None:
    (power.root / "from").mkdir()
    (power.root / "from/file").write_bytes(b"bytes")
    (power.root / "to").mkdir()
    run(
        power,
        "import os\nos.rename('from', 'to/from')\nos.link('to/from/file', 'to/link')\n"
        "os.fsync(os.open('to', os.O_RDONLY))",
    )
    power.cut()
    assert files(power) == {"to/from/file": b"bytes", "to/link": b"bytes"}


def test_torn_cut_keeps_some_unsynced_pages_and_is_repeatable(
    power: PowerCut, tmp_path: Path
) -> None:
    write = "f = open('file', 'r+b', buffering=0); f.write(b'n' * 4096 * 64)"
    results = []
    for _ in range(2):
        (power.root / "file").write_bytes(b"o" * 4096 * 64)
        power.seed()
        run(power, write)
        power.cut(torn_seed=7)
        results.append(files(power)["file"])
    first = results[0]
    assert results == [first, first]
    pages = [first[at : at + 4096] for at in range(0, len(first), 4096)]
    assert set(pages) == {b"n" * 4096, b"o" * 4096}


def test_torn_cut_may_keep_a_rename_that_was_not_synced(power: PowerCut) -> None:
    seen = set()
    for seed in range(6):
        for path in power.root.iterdir():
            path.unlink()
        (power.root / "name").write_bytes(b"old")
        power.seed()
        run(power, REPLACE)
        power.cut(torn_seed=seed)
        seen.add(tuple(sorted(files(power).items())))
    kept, lost = (("name", b"new"),), (("name", b"old"), ("new", b"new"))
    assert seen == {kept, lost}


def test_missing_compiler_is_named(tmp_path: Path) -> None:
    power = PowerCut(
        tmp_path / "root", tmp_path / "shadow", tmp_path / "build", compiler="no-cc"
    )
    with pytest.raises(PowerCutError, match="no C compiler 'no-cc'"):
        power.environment()


def test_cut_refuses_when_no_process_ran_with_the_shim(power: PowerCut) -> None:
    power.environment()
    with pytest.raises(PowerCutError, match="LD_PRELOAD"):
        power.cut()
