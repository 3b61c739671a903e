"""What an operator does to a hub's data: check, back up, restore, count.

Checking, counting and backing up work while a hub is running; restoring refuses to.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hub.errors import CannotStart
from hub.pages import Pages
from hub.settings import LOCAL_DATABASE, local_folder
from hub.store.engine import lock_database
from hub.store.sqlite import inspect

COMMANDS = ("check", "backup", "restore", "stats")
SKIPPED_NUMBERS = 1_000_000
"""More than a hub gives to messages between a backup and its end."""

_DATABASE = "hub.sqlite"
_BLOBS = "blobs"


def main(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run one of `COMMANDS`; returns the exit status.

    Raises:
        CannotStart: The data cannot be used that way.
    """
    flags = _parser(environment).parse_args(argv)
    if flags.db is None:
        raise CannotStart("which database? pass --db FILE (or --local)")
    try:
        result: dict[str, Any] = flags.run(flags)
    except OSError as error:
        raise CannotStart(f"it cannot be done: {error}") from None
    if flags.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _shown(result))
    return 0 if result.get("ok", True) else 1


def check(flags: argparse.Namespace) -> dict[str, Any]:
    """Look for damage in the database and for blobs whose bytes are gone."""
    with inspect.opened(flags.db) as connection:
        problems = inspect.problems(connection)
        blobs = inspect.known_blobs(connection)
    for blob in blobs:
        wrong = _damage(_blob_folder(flags) / blob.digest, blob, deep=flags.deep)
        if wrong:
            problems.append(f"blob {blob.digest}: {wrong}")
    return {"ok": not problems, "blobs": len(blobs), "problems": problems}


def stats(flags: argparse.Namespace) -> dict[str, Any]:
    """Count what there is and how much room it takes, in bytes."""
    with inspect.opened(flags.db) as connection:
        counts = inspect.counts(connection)
        blobs = inspect.known_blobs(connection)
        schema = inspect.schema_of(connection)
    wal = flags.db.with_name(flags.db.name + "-wal")
    return {
        "schema": schema,
        **counts,
        "databaseBytes": flags.db.stat().st_size,
        "walBytes": wal.stat().st_size if wal.exists() else 0,
        "blobBytes": sum(blob.size for blob in blobs),
    }


def backup(flags: argparse.Namespace) -> dict[str, Any]:
    """Copy database and blobs into a new folder, consistent with each other."""
    target: Path = flags.folder
    if target.exists():
        raise CannotStart(f"{target} exists already; name a new folder")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, mode=0o700)
    (partial / _BLOBS).mkdir(mode=0o700)
    try:
        with inspect.opened(flags.db) as connection:
            inspect.snapshot(connection, partial / _DATABASE)
        missing = _copy_blobs(flags, partial)
        # A blob that was pruned between the two copies is pruned here as well.
        inspect.forget_blobs(partial / _DATABASE, missing)
        _sync_tree(partial)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with inspect.opened(target / _DATABASE) as connection:
        counts = inspect.counts(connection)
    return {"ok": True, "folder": str(target), "blobsGone": len(missing), **counts}


def restore(flags: argparse.Namespace) -> dict[str, Any]:
    """Put a backup in place of a hub's data, which is kept aside."""
    source = flags.folder / _DATABASE
    with inspect.opened(source) as connection:
        problems = inspect.problems(connection)
        blobs = inspect.known_blobs(connection)
    for blob in blobs:
        wrong = _damage(flags.folder / _BLOBS / blob.digest, blob, deep=True)
        if wrong:
            problems.append(f"blob {blob.digest}: {wrong}")
    if problems:
        raise CannotStart(f"the backup is damaged: {'; '.join(problems[:3])}")
    lock = lock_database(flags.db, create=False)
    try:
        kept = _put_in_place(flags)
    finally:
        if lock is not None:
            lock.close()
    return {"ok": True, "database": str(flags.db), "keptAside": kept}


def _put_in_place(flags: argparse.Namespace) -> str | None:
    db: Path = flags.db
    folder = _blob_folder(flags)
    if not flags.force and db.exists() and db.stat().st_size > 0:
        raise CannotStart(f"{db} exists; pass --force to set it aside and restore")
    aside = _aside(db, folder)
    staged_db = db.with_name(f"{db.name}.restoring")
    staged_folder = folder.with_name(f"{folder.name}.restoring")
    try:
        # What takes long and may fail comes before anything is touched.
        _drop(staged_db, staged_folder)
        shutil.copytree(flags.folder / _BLOBS, staged_folder)
        shutil.copyfile(flags.folder / _DATABASE, staged_db)
        staged_db.chmod(0o600)
        inspect.skip_numbers(staged_db, SKIPPED_NUMBERS)
        _sync_tree(staged_folder)
        _sync(staged_db)
        _rename_all([*aside, (staged_folder, folder), (staged_db, db)])
    except BaseException:
        _drop(staged_db, staged_folder)
        raise
    for parent in {db.parent, folder.parent}:
        _sync(parent)
    return str(aside[0][1]) if aside else None


def _aside(db: Path, folder: Path) -> list[tuple[Path, Path]]:
    """What is there of a database, and what it will be called.

    A log without its database counts: SQLite would replay it over the restored one.
    """
    number = 1
    while True:
        kept = f"{db.name}.replaced-{number}"
        moves = [
            (db.with_name(db.name + suffix), db.with_name(kept + suffix))
            for suffix in ("", "-wal", "-shm")
        ]
        moves.append((folder, folder.with_name(f"{kept}.blobs")))
        if not any(target.exists() for _, target in moves):
            return [move for move in moves if move[0].exists()]
        number += 1


def _rename_all(moves: Sequence[tuple[Path, Path]]) -> None:
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _drop(file: Path, folder: Path) -> None:
    file.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _copy_blobs(flags: argparse.Namespace, target: Path) -> list[str]:
    missing: list[str] = []
    with inspect.opened(target / _DATABASE) as connection:
        blobs = inspect.known_blobs(connection)
    for blob in blobs:
        try:
            shutil.copyfile(
                _blob_folder(flags) / blob.digest, target / _BLOBS / blob.digest
            )
        except FileNotFoundError:
            missing.append(blob.digest)
    return missing


def _damage(path: Path, blob: inspect.BlobRow, *, deep: bool) -> str | None:
    try:
        if path.stat().st_size != blob.size:
            return "has another size"
        if deep and _digest(path) != blob.digest:
            return "has other bytes"
    except OSError as error:
        return error.strerror or "cannot be read"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _blob_folder(flags: argparse.Namespace) -> Path:
    folder: Path | None = flags.blob_dir
    db: Path = flags.db
    return folder or db.with_name(db.name + ".blobs")


def _shown(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{name}: {value}"
        for name, value in result.items()
        if value is not None and name not in ("ok", "problems")
    ]
    lines += [f"problem: {problem}" for problem in result.get("problems", ())]
    if "problems" in result and not result["problems"]:
        lines.append("sound")
    return lines


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="parler hub", description=__doc__, formatter_class=Pages
    )
    commands = top.add_subparsers(required=True)
    local = local_folder(environment) / LOCAL_DATABASE

    def command(name: str, run: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=run.__doc__, description=run.__doc__, formatter_class=Pages
        )
        sub.set_defaults(run=run)
        db, blobs = (
            environment.get(f"PARLER_HUB_{word}") for word in ("DB", "BLOB_DIR")
        )
        sub.add_argument(
            "--db", type=Path, default=Path(db) if db else None, help="database file"
        )
        sub.add_argument(
            "--local",
            dest="db",
            action="store_const",
            const=local,
            help="the local hub's database",
        )
        sub.add_argument(
            "--blob-dir",
            type=Path,
            default=Path(blobs) if blobs else None,
            help="folder of blobs (default: <db>.blobs)",
        )
        sub.add_argument("--json", action="store_true", help="print one JSON object")
        return sub

    command("check", check).add_argument(
        "--deep", action="store_true", help="read every blob and compare its digest"
    )
    command("stats", stats)
    command("backup", backup).add_argument(
        "folder", type=Path, help="where to put it; must not be there yet"
    )
    restoring = command("restore", restore)
    restoring.add_argument("folder", type=Path, help="a backup")
    restoring.add_argument("--force", action="store_true", help="replace what is there")
    return top
