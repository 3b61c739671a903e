"""Running transactions: one writer thread that commits in groups, readers beside it.

A write is a function of a connection. Everything that waits while the last commit was
syncing goes into the next one, and a write is over only when that commit is fsynced.
What a write changes for the rest of the hub is applied by its `after`, on the event
loop and in the order of the log, so memory never runs ahead of the disk nor backwards.
"""

import asyncio
import fcntl
import itertools
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa

from hub.errors import CannotStart, Refusal
from hub.store import admission, identity, migrations, search, shares
from parler.wire.codes import ErrorCode

T = TypeVar("T")
Item = TypeVar("Item")
log = logging.getLogger(__name__)

READERS = 4
SEARCHERS = 2
"""Threads for what may take long, so that it cannot keep others from reading."""

WRITER_CACHE_KIB = 8192
READER_CACHE_KIB = 2048
"""Pages of the database that each connection keeps; the system keeps them as well."""

CHECKPOINT_PAGES = 4000
"""Pages in the log before they are copied into the database: 16 MiB. A page that many
commits change is then copied once."""

MAX_BATCH = 512
"""Writes in one commit; the rest wait for the next."""

CHECK_SECS = 5.0
"""How long a start may look for damage; a database too large for it is opened."""

CHECK_STEPS = 100_000
"""Steps of SQLite between two looks at the clock; some milliseconds."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# Without SHMSIZE: that is also what a full disk says.
_UNSHARED = {
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_SHMOPEN,
    sqlite3.SQLITE_IOERR_SHMLOCK,
    sqlite3.SQLITE_IOERR_SHMMAP,
}

UNAVAILABLE = "the hub's database is damaged; its operator has to restore it"

_FULL = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,  # somebody edits the database
}


RunOne = Callable[[sa.Connection], Any]
RunMany = Callable[[sa.Connection, list[Any]], list[Any]]


class Write:
    """A transaction that waits for the writer, and what became of it."""

    __slots__ = ("after", "done", "error", "item", "name", "result", "run")

    def __init__(
        self,
        name: str,
        run: RunOne | RunMany,
        item: Any,
        after: Callable[[Any], None] | None,
        done: "asyncio.Future[Any] | None",
    ) -> None:
        """Take a function that may be run again, so has no effect but its SQL.

        With an `item`, `run` takes the items of all neighbours with the same `run`.
        Without `done` nobody waits, and `after` is told also of what was raised.
        """
        self.name = name
        self.run = run
        self.item = item
        self.after = after
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None


class _Spoiled(Exception):
    """A write failed after it had changed something: the group must start over."""


class Store:
    """The database of one hub."""

    def __init__(
        self, path: Path | None, *, max_bytes: int = 0, owners_admit: bool = False
    ) -> None:
        """Open the database, or one in memory, and bring it to today's schema.

        Args:
            max_bytes: What it may grow to; 0 is what the disk has.
            owners_admit: Whether owners of services say who works for them.

        Raises:
            CannotStart: It is in use by another hub, from newer code, damaged, or
                unreadable.
        """
        self._path = path
        self.damaged = False
        """Whether damage was met since the start."""

        self._lock = lock_database(path)
        try:
            if path is not None:
                _must_be_sound(path)
            self._writer_engine = _engine(path, writer=True)
            self._reader_engine = _engine(path, writer=False) if path else None
            self._connection = self._open(owners_admit=owners_admit)
            if max_bytes:
                _hold_to(self._connection, max_bytes)
            self._open_readers()
        except CannotStart:
            self._unlock()
            raise
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            self._unlock()
            raise cannot_open(path, error) from None
        self._queue: queue.SimpleQueue[list[Write]] = queue.SimpleQueue()
        self._gathered: list[Write] = []
        self._left: list[Write] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._searchers = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="searcher")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.commits = 0
        self.writes = 0

    def start(self) -> None:
        """Start the writer. Call it on the running event loop that will use it."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    async def write(
        self,
        name: str,
        run: Callable[[sa.Connection], T],
        *,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Run a transaction and return when it is on disk.

        The transaction happens even if the caller is cancelled while it waits.

        Args:
            name: What it is called in logs.
            run: Does the SQL; may be run more than once. Refuses before it writes.
            after: Called with the result on the event loop, in commit order, before
                this returns.

        Raises:
            Refusal: What `run` raised; or storage_full when nothing can be stored.
        """
        result: T = await self._submit(name, run, None, after)
        return result

    async def write_one_of_many(
        self,
        name: str,
        run: Callable[[sa.Connection, list[Item]], list[T | Refusal]],
        item: Item,
        *,
        after: Callable[[T], None] | None = None,
    ) -> T:
        """Like `write`, where one call of `run` serves all who wait side by side.

        Args:
            run: Takes the items in the order they were queued, returns as many
                results; one that is a `Refusal` is raised to its caller.
        """
        result: T = await self._submit(name, run, item, after)
        return result

    def write_soon(
        self,
        name: str,
        run: Callable[[sa.Connection, list[Item]], list[T | Refusal]],
        item: Item,
        *,
        after: Callable[[T | BaseException], None],
    ) -> None:
        """Like `write_one_of_many`, for who does something else meanwhile.

        Args:
            after: Called on the event loop in commit order, when it is on disk or
                will never be: with the result, or with what would have been raised.
        """
        self._put(Write(name, run, item, after, None))

    async def _submit(
        self,
        name: str,
        run: RunOne | RunMany,
        item: Any,
        after: Callable[[Any], None] | None,
    ) -> Any:
        assert self._loop is not None, "start the store first"
        done: asyncio.Future[Any] = self._loop.create_future()
        self._put(Write(name, run, item, after, done))
        return await done

    def _put(self, write: Write) -> None:
        # What a turn of the loop brings goes together: else the writer would take the
        # first alone, and all others would wait for that to be synced.
        if not self._gathered:
            assert self._loop is not None, "start the store first"
            self._loop.call_soon(self._hand_over)
        self._gathered.append(write)

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    async def read(
        self, name: str, run: Callable[[sa.Connection], T], *, long: bool = False
    ) -> T:
        """Run a query on a snapshot of what is committed.

        Args:
            long: It looks through more than a room; it then waits for its like.

        Raises:
            Refusal: What `run` raised.
        """
        if self._reader_engine is None:  # in memory there is only one connection
            return await self.write(name, run)
        assert self._loop is not None, "start the store first"
        threads = self._searchers if long else self._readers
        return await self._loop.run_in_executor(threads, self._read, run)

    async def close(self) -> None:
        """Finish what is queued and close the database."""
        if self._thread is not None:
            self._hand_over()
            self._queue.put([])
            await asyncio.to_thread(self._thread.join)
        self._readers.shutdown()
        self._searchers.shutdown()
        self._connection.close()
        self._writer_engine.dispose()
        if self._reader_engine is not None:
            self._reader_engine.dispose()
        self._unlock()

    def _open(self, *, owners_admit: bool) -> sa.Connection:
        connection = self._writer_engine.connect()
        with connection.begin():
            migrations.prepare(connection, backup=self._backup, database=self._path)
            search.give_up_arriving(connection)
            self.hub_id = identity.hub_id(connection)
            self.shares = shares.load(connection)
            self.bytes_at_start = used_bytes(connection)
            if lost := migrations.missing(connection):
                raise _damaged(self._path, f"it lacks {', '.join(lost)}")
            admission.apply_rule(connection, on=owners_admit)
        return connection

    def _open_readers(self) -> None:
        # All at once: later there may be no file descriptor left for one.
        if self._reader_engine is not None:
            opened = [self._reader_engine.connect() for _ in range(READERS + SEARCHERS)]
            for connection in opened:
                connection.close()

    def _backup(self, target: Path) -> None:
        assert self._path is not None
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        source = sqlite3.connect(self._path)
        copy = sqlite3.connect(target)
        try:
            source.backup(copy)
        finally:
            copy.close()
            source.close()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _read(self, run: Callable[[sa.Connection], T]) -> T:
        assert self._reader_engine is not None
        try:
            with self._reader_engine.connect() as connection, connection.begin():
                return run(connection)
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            if not _is_damage(error):
                raise
            raise self._unavailable(error) from None

    def _as_refusal(self, error: BaseException, name: str) -> BaseException:
        return self._unavailable(error) if _is_damage(error) else _as_full(error, name)

    def _unavailable(self, error: BaseException) -> Refusal:
        if not self.damaged:  # one line, not one for all who ask
            self.damaged = True
            original = getattr(error, "orig", error)
            log.critical("%s", _damaged(self._path, str(original)))
        return Refusal(ErrorCode.INTERNAL, UNAVAILABLE)

    # The writer thread.

    def _work(self) -> None:
        assert self._loop is not None
        while batch := self._take():
            self._commit(batch)
            try:
                self._loop.call_soon_threadsafe(_finish, batch)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _take(self) -> list[Write]:
        """What to commit next; nothing if the store is closed."""
        batch = self._left
        while not batch or (len(batch) < MAX_BATCH and not self._queue.empty()):
            more = self._queue.get()
            if not more:
                self._queue.put(more)  # for the next time
                break
            batch = batch + more
        self._left = batch[MAX_BATCH:]
        return batch[:MAX_BATCH]

    def _commit(self, batch: list[Write]) -> None:
        self.commits += 1
        self.writes += len(batch)
        try:
            self._attempt(batch)
        except Exception as error:  # noqa: BLE001  (the thread's outermost place)
            if len(batch) > 1:
                for write in batch:
                    write.error = None
                    self._commit([write])
            else:
                cause = error.__cause__ if isinstance(error, _Spoiled) else error
                batch[0].error = self._as_refusal(cause or error, batch[0].name)

    def _attempt(self, batch: list[Write]) -> None:
        raw: Any = self._connection.connection.driver_connection
        with self._connection.begin():
            for group in _neighbours(batch):
                before = raw.total_changes
                try:
                    _run(group, self._connection)
                except Exception as error:
                    # A full disk has already ended the transaction of all of them.
                    untouched = raw.total_changes == before and raw.in_transaction
                    if not untouched or len(group) > 1:
                        raise _Spoiled from error
                    group[0].error = self._as_refusal(error, group[0].name)


def _neighbours(batch: list[Write]) -> Iterator[list[Write]]:
    for _, together in itertools.groupby(batch, key=_whose):
        group = list(together)
        if group[0].item is not None:
            yield group
        else:
            yield from ([write] for write in group)


def _whose(write: Write) -> RunOne | RunMany:
    return write.run


def _run(group: list[Write], connection: sa.Connection) -> None:
    run: Any = group[0].run
    if group[0].item is None:
        group[0].result = run(connection)
        return
    results = run(connection, [write.item for write in group])
    for write, result in zip(group, results, strict=True):
        if isinstance(result, Refusal):
            write.error = result
        else:
            write.result = result


_LAST_SEQ = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"


def last_seq(connection: sa.Connection) -> int:
    """The highest sequence number a message ever had (protocol 5.1)."""
    raw: Any = connection.connection.driver_connection
    found = raw.execute(_LAST_SEQ).fetchone()
    return found[0] if found else 0


def used_bytes(connection: sa.Connection) -> int:
    """What of the database is in use, without what is free in it."""
    raw: Any = connection.connection.driver_connection
    size, count, free = (
        raw.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (count - free))


def _hold_to(connection: sa.Connection, max_bytes: int) -> None:
    raw: Any = connection.connection.driver_connection
    page = raw.execute("PRAGMA page_size").fetchone()[0]
    raw.execute(f"PRAGMA max_page_count = {max(max_bytes // page, 1)}")


def vacuum_some(connection: sa.Connection) -> int:
    """Give some free pages back to the file system; returns how many it were."""

    def free() -> int:
        return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())

    before = free()
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA incremental_vacuum(200)").fetchall()  # one page per step
    return before - free()


def _finish(batch: list[Write]) -> None:
    for write in batch:
        told = write.result if write.error is None else write.error
        if write.after is not None and (write.error is None or write.done is None):
            try:
                write.after(told)
            except Exception:  # what is stored stays stored, and the rest goes on
                log.exception("after %s", write.name)
        if write.done is None or write.done.cancelled():
            continue
        if write.error is not None:
            write.done.set_exception(write.error)
        else:
            write.done.set_result(write.result)


def _code(error: BaseException) -> int | None:
    """What SQLite calls an error, if it is one of its own."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_damage(error: BaseException) -> bool:
    return _code(error) in _DAMAGED


def cannot_open(path: Path | None, error: BaseException) -> CannotStart:
    """Why a database cannot be opened, and what helps."""
    original = getattr(error, "orig", error)
    if _is_damage(error):
        return _damaged(path, str(original))
    if getattr(original, "sqlite_errorcode", None) in _UNSHARED:
        return CannotStart(
            f"{path} lies on a file system without shared memory or locks, which "
            "SQLite needs; some network drives are such: put it on a disk of this "
            "machine"
        )
    return CannotStart(f"cannot open the database: {original}")


def _damaged(path: Path | None, what: str) -> CannotStart:
    return CannotStart(
        f"the database {path} is damaged: {what}; see `parler hub check --db {path}`, "
        f"and put a backup in its place: `parler hub restore DIR --db {path} --force`"
    )


def _must_be_sound(path: Path) -> None:
    """Look for damage before anything is written, as far as there is time for it.

    Raises:
        CannotStart: There is some.
    """
    deadline = time.monotonic() + CHECK_SECS
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA query_only = on")
        search.equip(connection)
        connection.set_progress_handler(
            lambda: time.monotonic() > deadline, CHECK_STEPS
        )
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_INTERRUPT:
                raise
            log.warning("the database was not looked through: that takes too long")
            return
    if found != "ok":
        raise _damaged(path, found.splitlines()[-1])


def _as_full(error: BaseException, name: str) -> BaseException:
    original = getattr(error, "orig", error)
    if _code(error) in _FULL:
        log.error("cannot store %s: %s", name, original)
        return Refusal(
            ErrorCode.STORAGE_FULL, "the hub cannot store anything at the moment"
        )
    return error


def _engine(path: Path | None, *, writer: bool) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path) if path else ":memory:")
    engine = sa.create_engine(
        url,
        hide_parameters=True,  # errors are logged, what agents say is not
        connect_args={"check_same_thread": False, "isolation_level": None},
        poolclass=sa.pool.StaticPool if writer else sa.pool.QueuePool,
        **({} if writer else {"pool_size": READERS + SEARCHERS, "max_overflow": 0}),
    )

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        if writer:  # it waits for the write lock, and only counts in a new database
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        cache = WRITER_CACHE_KIB if writer else READER_CACHE_KIB
        checkpoint = f"wal_autocheckpoint = {CHECKPOINT_PAGES}"
        for pragma in (*_PRAGMAS, checkpoint, f"cache_size = -{cache}"):
            connection.execute(f"PRAGMA {pragma}")
        search.equip(connection)
        if not writer:
            connection.execute("PRAGMA query_only = on")

    start = "BEGIN IMMEDIATE" if writer else "BEGIN"

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        raw: Any = connection.connection.driver_connection
        try:
            raw.execute(start)
        except sqlite3.Error:
            raw.rollback()  # what was left open must not stop every later one
            raise

    return engine


_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "busy_timeout = 5000",
    "temp_store = MEMORY",
    "journal_size_limit = 67108864",
)


def lock_database(path: Path | None, *, create: bool = True) -> IO[str] | None:
    """Hold the database for this process alone, until what is returned is closed.

    Raises:
        CannotStart: Another hub holds it, or it cannot be made.
    """
    if path is None:
        return None
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if create and not path.exists():  # what is said here is nobody else's to read
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        handle = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CannotStart(f"cannot use the database {path}: {error}") from None
    lock = os.fdopen(handle, "r+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise CannotStart(
            f"another hub is using {path}; stop it first, or pass another --db"
        ) from None
    except OSError as error:
        lock.close()
        raise CannotStart(f"cannot lock {lock_path}: {error}") from None
    return lock
