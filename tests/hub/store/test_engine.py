"""Transactions: groups, failures in a group, order, durability, refusals to start."""

import asyncio
import errno
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.errors import CannotStart, Refusal
from hub.store.engine import MAX_BATCH, Store, cannot_open
from parler.wire.codes import ErrorCode
from tests._support.polling import WAIT

BIG = "x" * 100_000


class Gate:
    """Holds the writer inside a transaction until the test opens it."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, connection: sa.Connection) -> str:
        self.entered.set()
        assert self.opened.wait(WAIT)
        return "gate"

    async def holds(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, WAIT)


@asynccontextmanager
async def running(path: Path | None) -> AsyncIterator[Store]:
    store = Store(path)
    store.start()
    try:
        async with asyncio.timeout(WAIT * 2):
            yield store
    finally:
        await store.close()


def put(key: str, value: str = "v") -> Callable[[sa.Connection], str]:
    def run(connection: sa.Connection) -> str:
        connection.execute(
            sa.text("INSERT INTO meta (key, value) VALUES (:key, :value)"),
            {"key": key, "value": value},
        )
        return key

    return run


def get(key: str) -> Callable[[sa.Connection], str | None]:
    def run(connection: sa.Connection) -> str | None:
        found: str | None = connection.execute(
            sa.text("SELECT value FROM meta WHERE key = :key"), {"key": key}
        ).scalar_one_or_none()
        return found

    return run


def pragma(text: str) -> Callable[[sa.Connection], Any]:
    def run(connection: sa.Connection) -> Any:
        result = connection.exec_driver_sql(f"PRAGMA {text}")
        return result.scalar_one_or_none() if result.returns_rows else None

    return run


def put_then_refuse(key: str) -> Callable[[sa.Connection], str]:
    def run(connection: sa.Connection) -> str:
        put(key)(connection)
        raise Refusal(ErrorCode.NOT_OWNER, "no")

    return run


def refuse(connection: sa.Connection) -> str:
    raise Refusal(ErrorCode.NOT_MEMBER, "no")


async def in_one_group(store: Store, *runs: Callable[[sa.Connection], Any]) -> Any:
    """Queue writes while the writer is held up, so that they are one group."""
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.write("gate", gate))
        await gate.holds()
        before = store.commits
        waiting = [
            group.create_task(_outcome(store.write("test", run))) for run in runs
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        found = [await task for task in waiting]
    return found, store.commits - before


async def _outcome(work: Any) -> Any:
    try:
        return await work
    except Refusal as refusal:
        return refusal.code
    except sa.exc.DBAPIError as error:
        return type(error)


def contents(path: Path) -> set[str]:
    """The keys a new process would find."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT key FROM meta").fetchall()
    connection.close()
    return {key for (key,) in rows} - {"schema_version", "compat_version", "hub_id"}


# ------------------------------------------------------------------------------ groups


async def test_a_write_returns_its_result_and_is_there(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        assert await store.write("test", put("a", "1")) == "a"
        assert await store.read("test", get("a")) == "1"
    assert contents(tmp_path / "db") == {"a"}


async def test_what_waits_for_a_commit_goes_into_the_next_one(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        keys = [f"k{number}" for number in range(50)]
        found, commits = await in_one_group(store, *map(put, keys))
        assert found == keys
        assert commits == 1
    assert contents(tmp_path / "db") == set(keys)


async def test_a_group_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        keys = [f"k{number}" for number in range(MAX_BATCH + 1)]
        found, commits = await in_one_group(store, *map(put, keys))
        assert found == keys
        assert commits == 2


async def test_a_failing_write_spoils_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        await store.write("test", put("twice"))
        found, _ = await in_one_group(store, put("a"), put("twice"), put("b"))
        assert found == ["a", sa.exc.IntegrityError, "b"]
    assert contents(tmp_path / "db") == {"twice", "a", "b"}


async def test_a_refusal_that_wrote_something_is_rolled_back_alone(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        found, _ = await in_one_group(
            store, put("a"), put_then_refuse("never"), put("b")
        )
        assert found == ["a", ErrorCode.NOT_OWNER, "b"]
    assert contents(tmp_path / "db") == {"a", "b"}


async def test_a_refusal_that_wrote_nothing_costs_the_group_nothing(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        found, commits = await in_one_group(store, put("a"), refuse, put("b"))
        assert found == ["a", ErrorCode.NOT_MEMBER, "b"]
        assert commits == 1
    assert contents(tmp_path / "db") == {"a", "b"}


async def test_a_write_that_sees_its_neighbours_sees_them_all_in_order(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        found, _ = await in_one_group(store, get("a"), put("a"), get("a"))
        assert found == [None, "a", "v"]


async def test_a_programming_error_reaches_its_caller_and_the_writer_lives_on(
    tmp_path: Path,
) -> None:
    def broken(connection: sa.Connection) -> None:
        put("never")(connection)
        raise ZeroDivisionError

    async with running(tmp_path / "db") as store:
        with pytest.raises(ZeroDivisionError):
            await store.write("test", broken)
        assert await store.write("test", put("a")) == "a"
    assert contents(tmp_path / "db") == {"a"}


# --------------------------------------------------------------------- one call of many


def put_many(connection: sa.Connection, keys: list[str]) -> list[str | Refusal]:
    results: list[str | Refusal] = []
    for key in keys:
        if key == "refused":
            results.append(Refusal(ErrorCode.NOT_MEMBER, "no"))
        else:
            put(key, str(len(keys)))(connection)
            results.append(key)
    return results


async def many_in_one_group(store: Store, keys: list[str]) -> list[Any]:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.write("gate", gate))
        await gate.holds()
        waiting = [
            group.create_task(_outcome(store.write_one_of_many("many", put_many, key)))
            for key in keys
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        return [await task for task in waiting]


async def test_a_transaction_left_open_costs_one_write_and_not_all_that_follow(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "hub.sqlite") as store:
        await store.write("before", put("a"))
        raw: Any = store._connection.connection.driver_connection
        raw.execute("BEGIN")  # as if a COMMIT and its ROLLBACK had both failed
        with pytest.raises(sqlite3.OperationalError):
            await store.write("next", put("b"))
        assert await store.write("after", put("c")) == "c"
        assert await store.read("all", get("a")) == "v"


async def test_neighbours_share_one_call_and_get_their_own_results(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        assert await many_in_one_group(store, ["a", "refused", "b"]) == [
            "a",
            ErrorCode.NOT_MEMBER,
            "b",
        ]
        assert await store.read("test", get("b")) == "3"
    assert contents(tmp_path / "db") == {"a", "b"}


async def test_a_failing_neighbour_is_left_out_and_the_others_are_stored(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        await store.write("test", put("b"))
        found = await many_in_one_group(store, ["a", "b", "c"])
        assert found == ["a", sa.exc.IntegrityError, "c"]
    assert contents(tmp_path / "db") == {"a", "b", "c"}


# ------------------------------------------------------------------------------- order


async def test_what_a_write_changes_is_applied_in_commit_order_before_it_returns(
    tmp_path: Path,
) -> None:
    seen: list[str] = []

    async def write(store: Store, key: str) -> None:
        await store.write("test", put(key), after=seen.append)
        assert key in seen

    async with running(tmp_path / "db") as store:
        keys = [f"k{number}" for number in range(40)]
        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(write(store, key))
        assert seen == keys


async def test_nothing_is_applied_for_a_write_that_failed(tmp_path: Path) -> None:
    seen: list[str] = []
    async with running(tmp_path / "db") as store:
        with pytest.raises(Refusal):
            await store.write("test", put_then_refuse("a"), after=seen.append)
    assert seen == []


async def test_an_error_while_applying_does_not_undo_what_is_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(key: str) -> None:
        raise ZeroDivisionError

    async with running(tmp_path / "db") as store:
        assert await store.write("first", put("a"), after=broken) == "a"
        assert await store.write("second", put("b")) == "b"
    assert contents(tmp_path / "db") == {"a", "b"}
    assert "after first" in caplog.text


async def test_a_cancelled_caller_still_commits_and_is_still_applied(
    tmp_path: Path,
) -> None:
    gate, seen = Gate(), list[str]()
    async with running(tmp_path / "db") as store:
        async with asyncio.TaskGroup() as group:
            group.create_task(store.write("gate", gate))
            await gate.holds()
            leaving = group.create_task(
                store.write("test", put("a"), after=seen.append)
            )
            await asyncio.sleep(0)
            leaving.cancel()
            gate.opened.set()
        assert leaving.cancelled()
        await store.write("barrier", get("a"))
        assert seen == ["a"]
    assert contents(tmp_path / "db") == {"a"}


async def test_readers_see_what_is_committed_and_nothing_that_is_on_its_way(
    tmp_path: Path,
) -> None:
    gate = Gate()

    def put_and_wait(connection: sa.Connection) -> None:
        put("a")(connection)
        gate(connection)

    async with running(tmp_path / "db") as store:
        async with asyncio.TaskGroup() as group:
            group.create_task(store.write("test", put_and_wait))
            await gate.holds()
            assert await store.read("test", get("a")) is None
            gate.opened.set()
        assert await store.read("test", get("a")) == "v"


async def test_readers_cannot_write(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            await store.read("test", put("a"))


async def test_closing_finishes_what_is_queued(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.start()
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        group.create_task(store.write("gate", gate))
        await gate.holds()
        for number in range(20):
            group.create_task(store.write("test", put(f"k{number}")))
        await asyncio.sleep(0)
        closing = group.create_task(store.close())
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.wait_for(closing, WAIT)
    assert len(contents(tmp_path / "db")) == 20


async def test_a_database_in_memory_behaves_alike() -> None:
    async with running(None) as store:
        found, _ = await in_one_group(store, put("a"), put_then_refuse("b"), put("c"))
        assert found == ["a", ErrorCode.NOT_OWNER, "c"]
        assert await store.read("test", get("a")) == "v"
        assert await store.read("test", get("b")) is None


# ------------------------------------------------------------- a disk that is not there


async def fill_up(store: Store, *, spare: int) -> None:
    """Let the database have only so many more pages."""
    pages = await store.write("pages", pragma("page_count"))
    await store.write("limit", pragma(f"max_page_count = {pages + spare}"))


async def test_a_full_disk_refuses_what_it_cannot_store_and_keeps_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path / "db") as store:
        await store.write("test", put("before"))
        await fill_up(store, spare=1)
        with pytest.raises(Refusal) as caught:
            await store.write("test", put("big", BIG))
        assert caught.value.code is ErrorCode.STORAGE_FULL
        assert "disk" not in caught.value.message, "the reason is for the log"
        assert await store.read("test", get("before")) == "v"
        assert await store.write("test", put("small")) == "small"
    assert contents(tmp_path / "db") == {"before", "small"}
    assert "cannot store" in caplog.text


async def test_a_full_disk_takes_nothing_from_its_neighbours(tmp_path: Path) -> None:
    """SQLite rolls the whole transaction back when an INSERT finds no room."""
    async with running(tmp_path / "db") as store:
        await fill_up(store, spare=1)
        found, _ = await in_one_group(
            store, put("a"), put("big", BIG), put("b"), put("big2", BIG), put("c")
        )
        full = ErrorCode.STORAGE_FULL
        assert found == ["a", full, "b", full, "c"]
        for key in ("a", "b", "c"):
            assert await store.read("test", get(key)) == "v"
    assert contents(tmp_path / "db") == {"a", "b", "c"}


async def test_a_full_disk_in_a_shared_call_refuses_only_who_does_not_fit(
    tmp_path: Path,
) -> None:
    def put_sized(connection: sa.Connection, keys: list[str]) -> list[str | Refusal]:
        for key in keys:
            put(key, BIG if key.startswith("big") else "v")(connection)
        return list(keys)

    gate = Gate()
    async with running(tmp_path / "db") as store:
        await fill_up(store, spare=1)
        async with asyncio.TaskGroup() as group:
            group.create_task(store.write("gate", gate))
            await gate.holds()
            waiting = [
                group.create_task(
                    _outcome(store.write_one_of_many("many", put_sized, key))
                )
                for key in ("a", "big", "b")
            ]
            await asyncio.sleep(0)
            gate.opened.set()
        found = [task.result() for task in waiting]
    assert found == ["a", ErrorCode.STORAGE_FULL, "b"]
    assert contents(tmp_path / "db") == {"a", "b"}


async def test_room_on_the_disk_again_is_used_without_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        await fill_up(store, spare=1)
        with pytest.raises(Refusal):
            await store.write("test", put("big", BIG))
        await fill_up(store, spare=1000)
        assert await store.write("test", put("big", BIG)) == "big"


async def test_a_database_that_somebody_else_holds_is_refused_and_used_again_later(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        await store.write("impatient", pragma("busy_timeout = 20"))
        other = sqlite3.connect(tmp_path / "db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        found = [await _outcome(store.write("test", put("a")))]
        found.append(await store.read("test", get("a")))
        other.execute("ROLLBACK")
        other.close()
        found.append(await store.write("test", put("a")))
    assert found == [ErrorCode.STORAGE_FULL, None, "a"]


async def test_a_read_only_database_refuses_to_store_and_still_reads(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "db") as store:
        await store.write("test", put("a"))
        await store.write("lock", pragma("query_only = on"))
        with pytest.raises(Refusal) as caught:
            await store.write("test", put("b"))
        assert caught.value.code is ErrorCode.STORAGE_FULL
        assert await store.read("test", get("a")) == "v"
        raw: Any = store._connection.connection.driver_connection
        raw.execute("PRAGMA query_only = off")
        assert await store.write("test", put("c")) == "c"
    assert contents(tmp_path / "db") == {"a", "c"}


# ---------------------------------------------------------------- starting and refusing


async def test_commits_are_synced_before_they_are_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path / "db") as store:
        assert await store.write("test", pragma("journal_mode")) == "wal"
        assert await store.write("test", pragma("synchronous")) == 2  # FULL


def test_what_is_said_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "db"
    store = Store(path)
    try:
        with store._connection.begin():
            put("a")(store._connection)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        asyncio.run(store.close())


def test_a_second_hub_on_the_same_database_is_refused(tmp_path: Path) -> None:
    first = Store(tmp_path / "db")
    with pytest.raises(CannotStart, match="another hub is using"):
        Store(tmp_path / "db")
    asyncio.run(first.close())
    asyncio.run(Store(tmp_path / "db").close())


def test_a_lock_that_the_system_refuses_is_no_other_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(CannotStart, match=r"cannot lock .*Permission denied"):
        Store(tmp_path / "db")


def test_the_lock_is_given_back_when_opening_fails(tmp_path: Path) -> None:
    path = tmp_path / "db"
    for _ in range(2):
        path.write_bytes(b"this is no database at all" * 100)
        with pytest.raises(CannotStart, match="not a database"):
            Store(path)
    path.unlink()
    asyncio.run(Store(path).close())


def test_a_database_in_an_impossible_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for path in (tmp_path / "file" / "db", tmp_path):
        with pytest.raises(CannotStart):
            Store(path)


def test_somebody_elses_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name)")
    connection.close()
    with pytest.raises(CannotStart, match="not a Parler hub's"):
        Store(path)
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("recipes",)]


@pytest.mark.parametrize("version", ["999", "", "one", "-1", None])
def test_a_newer_or_unreadable_schema_is_refused_and_not_touched(
    tmp_path: Path, version: str | None
) -> None:
    path = tmp_path / "db"
    asyncio.run(Store(path).close())
    with sqlite3.connect(path) as connection:
        if version is None:
            connection.execute("DELETE FROM meta")
        else:
            change = "UPDATE meta SET value = ? WHERE key = 'schema_version'"
            connection.execute(change, (version,))
    connection.close()
    with pytest.raises(CannotStart, match=r"newer version|which schema"):
        Store(path)
    assert list(tmp_path.glob("*.bak")) == []
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT value FROM meta WHERE key = 'schema_version'"
        ).fetchall()
    connection.close()
    assert found == ([] if version is None else [(version,)])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (sqlite3.SQLITE_IOERR_SHMMAP, "without shared memory"),
        (sqlite3.SQLITE_PROTOCOL, "without shared memory"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "disk I/O error"),  # a full disk, too
        (sqlite3.SQLITE_CORRUPT, "is damaged"),
    ],
)
def test_what_keeps_a_database_shut_is_named(code: int, said: str) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    assert said in str(cannot_open(Path("/mnt/hub.sqlite"), error))
