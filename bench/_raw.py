"""What the database costs without a hub: one kind of work, and a line with its cost.

    python -m bench._raw insert|read|words|verify DATABASE [...]

`insert` commits rows like the hub's in groups, each synced, through SQLAlchemy Core;
`read` reads a room by pages; `words` asks the full-text index; `verify` checks
signatures. A parent reads the line from its stdout.
"""

import argparse
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from hub.store.schema import messages, metadata
from parler.identity.signing import Keypair, verify

GROUP = 64
PAGE = 1000
RECORD_BYTES = 700

Work = Callable[[argparse.Namespace], Iterator[int]]


def insert(options: argparse.Namespace) -> Iterator[int]:
    """Rows of messages, as many in a commit as the hub has senders."""
    engine = sa.create_engine(f"sqlite:///{options.database}")

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    metadata.create_all(engine)
    record = '{"parts":"' + "x" * (RECORD_BYTES - 12) + '"}'
    statement = sa.insert(messages)
    number = 0
    with engine.connect() as connection:
        while True:
            rows = [
                {
                    "seq": number + at,
                    "room": at,
                    "id": f"{number + at:026d}",
                    "author": f"{at:052d}",
                    "client_id": f"{number + at:036d}",
                    "ts": 1_700_000_000_000,
                    "record": record,
                }
                for at in range(1, GROUP + 1)
            ]
            with connection.begin():
                connection.execute(statement, rows)
            number += GROUP
            yield GROUP


def read(options: argparse.Namespace) -> Iterator[int]:
    """A room from its beginning, again and again."""
    connection = sqlite3.connect(f"file:{options.database}?mode=ro", uri=True)
    (room,) = connection.execute(
        "SELECT room FROM messages GROUP BY room ORDER BY count(*) DESC LIMIT 1"
    ).fetchone()
    since = 0
    while True:
        rows = connection.execute(
            "SELECT seq, record FROM messages WHERE room = ? AND seq > ? "
            "ORDER BY seq LIMIT ?",
            (room, since, PAGE),
        ).fetchall()
        since = rows[-1][0] if len(rows) == PAGE else 0
        yield len(rows)


def words(options: argparse.Namespace) -> Iterator[int]:
    """The best ten facts for each of some queries."""
    connection = sqlite3.connect(f"file:{options.database}?mode=ro", uri=True)
    queries = json.loads(options.queries.read_text(encoding="utf-8"))
    while True:
        for query in queries:
            wanted = " OR ".join(f'"{word}"*' for word in query.split())
            connection.execute(
                "SELECT rowid, bm25(facts_fts) FROM facts_fts "
                "WHERE facts_fts MATCH ? ORDER BY rank LIMIT 10",
                (wanted,),
            ).fetchall()
            yield 1


def check(options: argparse.Namespace) -> Iterator[int]:
    """One signature after the other."""
    keypair = Keypair.generate()
    data = os.urandom(80)
    signature = keypair.sign(data)
    while True:
        assert verify(keypair.agent_id, data, signature)
        yield 1


WORKS: dict[str, Work] = {
    "insert": insert,
    "read": read,
    "words": words,
    "verify": check,
}


def main() -> None:
    """Do one kind of work for a while and say what it cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("database", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--queries", type=Path)
    options = parser.parse_args()
    doing = WORKS[options.work](options)
    next(doing)  # opens what there is to open
    count, began, cost = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() < began + options.seconds:
        count += next(doing)
    wall, cpu = time.perf_counter() - began, time.process_time() - cost
    print(json.dumps({"per_s": count / wall, "cpu_us": cpu / count * 1e6}))


if __name__ == "__main__":
    main()
