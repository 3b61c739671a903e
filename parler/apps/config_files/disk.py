"""Files of other programs on the disk: read whole, and replaced whole or not at all.

A link stays a link: what it names is replaced. Mode, owner and attributes stay. A file
that its owner made read-only, or that goes by several names, is refused, and so is one
that somebody else wrote since it was read.
"""

import glob
import hashlib
import os
import re
import secrets
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from parler.apps.config_files.errors import ChangedMeanwhile, FileRefused
from parler.machine import files

MAX_BYTES = 64 * 2**20
"""Far above any configuration; what is larger is something else."""

LOCK_WAIT_SECS = 2.0
LOCK_STALE_SECS = 10.0
LEFT_SECS = 60.0
"""So old is no file that is being written now."""

_POLL_SECS = 0.05
_TOKEN = re.compile(r"[0-9a-f]{16}")
_NEW_FILE_MODE = 0o600
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a file held when it was read."""

    path: Path
    """As the app names it."""

    target: Path
    """The file behind all links."""

    data: bytes | None
    """None: there is none."""

    @property
    def text(self) -> str:
        """The text, without the mark that some editors put in front.

        Raises:
            FileRefused: It is not UTF-8.
        """
        try:
            return (self.data or b"").decode().removeprefix(_BOM)
        except UnicodeDecodeError as error:
            raise FileRefused(
                f"{self.path} is not UTF-8 (byte {error.start + 1}); it is left alone"
            ) from None

    def encoded(self, text: str) -> bytes:
        """A new text, with the same mark in front."""
        marked = (self.data or b"").startswith(_BOM.encode())
        return ((_BOM if marked else "") + text).encode()


def read(path: Path) -> Content:
    """Read a file, or learn that there is none.

    Raises:
        FileRefused: It is no regular file, too large, or cannot be read.
    """
    try:
        target = Path(os.path.realpath(path, strict=False))
        status = target.stat()
    except FileNotFoundError:
        return Content(path=path, target=target, data=None)
    except (OSError, RuntimeError) as error:
        raise FileRefused(f"cannot read {path}: {_reason(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FileRefused(f"{path} is not a regular file")
    if status.st_size > MAX_BYTES:
        raise FileRefused(f"{path} is larger than {MAX_BYTES // 2**20} MiB")
    try:
        return Content(path=path, target=target, data=target.read_bytes())
    except OSError as error:
        raise FileRefused(f"cannot read {path}: {_reason(error)}") from None


def check_writable(content: Content) -> None:
    """Find out beforehand what writing would refuse.

    Raises:
        FileRefused: See `replace`.
    """
    if content.data is None:
        if content.path.is_symlink() and not content.target.parent.is_dir():
            raise FileRefused(
                f"{content.path} is a link to {content.target}, which is not there"
            )
        return
    try:
        status = content.target.stat()
    except OSError as error:
        raise FileRefused(f"cannot read {content.path}: {_reason(error)}") from None
    if not status.st_mode & 0o222:
        raise FileRefused(
            f"{content.path} is read-only, so somebody else looks after it",
            next_step=f"chmod u+w {shlex.quote(str(content.path))}, or add the entry "
            "where it comes from",
        )
    if status.st_nlink > 1:
        raise FileRefused(
            f"{content.path} is one file under {status.st_nlink} names (hard links); "
            "replacing it would part them"
        )


def replace(
    content: Content,
    data: bytes,
    *,
    keep_lock: bool = False,
    token: Callable[[int], str] = secrets.token_hex,
) -> None:
    """Put new bytes in the place of those that were read.

    Raises:
        FileRefused: It is read-only, has several names, or cannot be written.
        ChangedMeanwhile: It is not any more what was read.
    """
    check_writable(content)
    target = content.target
    try:
        for folder in missing_folders(content):
            folder.mkdir(0o755, exist_ok=True)  # for whoever has no umask
        _sweep(target)
        temporary = target.with_name(f".{target.name}.{token(8)}.tmp")
        _write_temporary(temporary, data, like=content)
        try:
            with _locked(target, wanted=keep_lock):
                _check_unchanged(content)
                temporary.replace(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise FileRefused(f"cannot write {content.path}: {_reason(error)}") from None
    _sync(target.parent)


def missing_folders(content: Content) -> list[Path]:
    """The folders that have to be made for a file, outermost first."""
    missing: list[Path] = []
    for one in content.target.parents:
        if one.is_dir():
            break
        missing.append(one)
    missing.reverse()
    return missing


def delete(content: Content) -> None:
    """Remove a file that we created; a link to it goes as well if it leads nowhere.

    Raises:
        FileRefused: It cannot be removed.
        ChangedMeanwhile: It is not any more what was read.
    """
    check_writable(content)
    _check_unchanged(content)
    try:
        content.target.unlink(missing_ok=True)
    except OSError as error:
        raise FileRefused(f"cannot remove {content.path}: {_reason(error)}") from None


def remove_empty(folders: list[Path]) -> None:
    """Remove folders we made, innermost first, as far as they are empty."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


def keep_backup(content: Content, folder: Path, name: str) -> Path | None:
    """Keep the bytes of a file under our home, once; its name tells what they are.

    Raises:
        ConfigError: Our home is not writable.
    """
    if content.data is None:
        return None
    digest = hashlib.sha256(content.data).hexdigest()
    path = folder / f"{name}.{digest[:12]}.bak"
    if not path.exists():
        files.write_private(path, content.data)
    return path


def digest(data: bytes) -> str:
    """By which bytes are known again."""
    return hashlib.sha256(data).hexdigest()


def _write_temporary(path: Path, data: bytes, *, like: Content) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, _NEW_FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if like.data is not None:
            _take_after(path, like.target)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _sweep(target: Path) -> None:
    """Remove what a run of ours left that was killed while it wrote."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        token = path.name[len(target.name) + 2 : -len(".tmp")]
        with suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if _TOKEN.fullmatch(token) and age > LEFT_SECS:
                path.unlink()


def _take_after(path: Path, original: Path) -> None:
    status = original.stat()
    if sys.platform != "win32":
        mine = path.stat()
        if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
            with suppress(PermissionError):
                os.chown(path, status.st_uid, status.st_gid)
    with suppress(OSError):
        shutil.copystat(original, path)  # attributes as well, where there are any
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path)


def _check_unchanged(content: Content) -> None:
    now = read(content.path)
    if now.data != content.data or now.target != content.target:
        raise ChangedMeanwhile(content.path)


@contextmanager
def _locked(target: Path, *, wanted: bool) -> Iterator[None]:
    """Hold the lock by which the app guards its own writing, if it lets us.

    It is a folder, by an agreement among programs. One that nobody renews is stale;
    we do not wait for it, and do not take it away either: the comparison right before
    the replacement is what counts.
    """
    lock = target.with_name(f"{target.name}.lock")
    held = wanted and _take_lock(lock)
    try:
        yield
    finally:
        if held:
            with suppress(OSError):
                lock.rmdir()


def _take_lock(lock: Path) -> bool:
    deadline = time.monotonic() + LOCK_WAIT_SECS
    while True:
        try:
            lock.mkdir()
        except FileExistsError:
            if time.monotonic() >= deadline or _is_stale(lock):
                return False
            time.sleep(_POLL_SECS)
        except OSError:
            return False
        else:
            return True


def _is_stale(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime > LOCK_STALE_SECS
    except OSError:
        return False


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
