"""Keeping a received file: whole or not at all, and never over another one.

Where files go unless the user names a place: ``<home>/inbox/<blob id>/<name>``
(protocol 2.4). The bytes were held against their digest before they come here.
"""

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from parler.errors import UnsafePath
from parler.handoff.paths import place
from parler.machine.files import aside, make_private_dir
from parler.wire.base import Digest

FOLDER = "inbox"
_CREATE = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
_CLAIM = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a file is."""

    path: Path
    already: bool
    """It was there before, with the same bytes."""


def keep(
    home: Path,
    digest: Digest,
    data: bytes,
    *,
    name: str,
    token: Callable[[int], str] = secrets.token_hex,
) -> Kept:
    """Keep a file in the inbox, under what its received name allows.

    Raises:
        UnsafePath: The inbox leads elsewhere, or another file of that name is there.
        OSError: It cannot be written. Nothing half is left.
    """
    folder = home / FOLDER / digest
    make_private_dir(folder)
    for directory in (home / FOLDER, folder):
        if not stat.S_ISDIR(directory.lstat().st_mode):
            raise UnsafePath(
                f"{directory} is a link: received files would go elsewhere",
                next_step=aside(directory),
            )
    path = place(folder, name, fallback=f"{digest[:12]}.bin")
    return _keep(path, data, token)


def keep_as(
    path: Path,
    data: bytes,
    *,
    name: str,
    fallback: str,
    token: Callable[[int], str] = secrets.token_hex,
) -> Kept:
    """Keep a file where the user said: under that name, or in that folder.

    Raises:
        UnsafePath: There is something of that name already.
        OSError: It cannot be written. Nothing half is left.
    """
    if path.is_dir():
        path = place(path, name, fallback=fallback)
    return _keep(path, data, token)


def _keep(path: Path, data: bytes, token: Callable[[int], str]) -> Kept:
    if os.path.lexists(path):
        return _found(path, data)
    temporary = path.with_name(f".parler-{token(8)}.part")
    try:
        descriptor = os.open(temporary, _CREATE, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        try:
            _name(temporary, path)
        except FileExistsError:  # somebody was faster
            return _found(path, data)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync(path.parent)
    return Kept(path=path, already=False)


def _name(temporary: Path, path: Path) -> None:
    """Give a finished file its name, which must be free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here: claim the name, then take its place
        os.close(os.open(path, _CLAIM, 0o600))
        try:
            temporary.replace(path)
        except OSError:
            path.unlink()
            raise


def _found(path: Path, data: bytes) -> Kept:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_size == len(data):
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").digest()
        if same == hashlib.sha256(data).digest():
            return Kept(path=path, already=True)
    raise UnsafePath(
        f"{path} exists already and is something else; it was left alone",
        next_step="the same command with -o and another path",
    )


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
