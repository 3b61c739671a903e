"""How our own files are read and written: whole or not at all, and for us alone.

Everything the client keeps (key files, secrets, known hubs) passes here, so that
permissions, atomic replacement and locking exist once. What the bytes mean is not
known here; files that belong to other programs are not written here.
"""

import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from parler.errors import ConfigError, IdentityError, UsageError

MAX_OWN_FILE_BYTES = 2**20
"""Far above anything we write; what is larger was not written by us."""

LOCK_WAIT_SECS = 5.0
_LOCK_POLL_SECS = 0.02
_TEMPORARY_NAMES = 8
_MAX_COPIES = 1000
_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO in place of the file must not hang us
    | getattr(os, "O_BINARY", 0)
)
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class Unwritable(ConfigError):
    """A file of ours could not be written: no permission, no space, or locked."""


def random_hex(size: int) -> str:
    """As `secrets.token_hex`, whose module takes long to import."""
    return os.urandom(size).hex()


def read_bounded(
    path: Path, *, limit: int = MAX_OWN_FILE_BYTES, start: int = 0
) -> bytes:
    """Read a file of ours that holds no secret, from byte `start` on.

    Raises:
        FileNotFoundError: There is none.
        ConfigError: It cannot be read, is no regular file, or is larger than `limit`.
    """
    return _read(path, limit, private=False, start=start)


def read_private(path: Path, *, limit: int = MAX_OWN_FILE_BYTES) -> bytes:
    """Read a file that holds a secret, if nobody else could have read it.

    Raises:
        FileNotFoundError: There is none.
        IdentityError: Its permissions let other users in.
        ConfigError: It cannot be read, is no regular file, or is larger than `limit`.
    """
    return _read(path, limit, private=True)


def json_object(data: bytes) -> dict[str, object]:
    """The JSON object in some bytes.

    Raises:
        ValueError: It is none. The error never carries the bytes: they may be secret.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("not a JSON text") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def json_bytes(value: dict[str, object]) -> bytes:
    """An object as we keep it: indented, UTF-8, one newline at the end."""
    try:
        return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # a lone surrogate that somebody else left there
        return (json.dumps(value, indent=2) + "\n").encode()


def make_private_dir(path: Path) -> None:
    """Create a directory and what is missing above it, each with mode 0700.

    Directories that exist keep their mode: a home may be a folder of the user's.

    Raises:
        Unwritable: It cannot be created.
    """
    with _writing(path):
        missing: list[Path] = []
        for directory in (path, *path.parents):
            if directory.is_dir():
                break
            missing.append(directory)
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            _sync_directory(directory.parent)


def write_private(
    path: Path, data: bytes, *, token: Callable[[int], str] = random_hex
) -> None:
    """Replace a file's content, atomically and durably, with mode 0600.

    A reader sees the old bytes or the new ones. The temporary file is created with
    O_EXCL under a fresh name, so that a link planted there is never followed.

    Raises:
        Unwritable: It cannot be written; the old content is still there.
    """
    make_private_dir(path.parent)
    with _writing(path):
        descriptor, temporary = _create_temporary(path, token)
        try:
            _fill(descriptor, data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_directory(path.parent)


def keep_copy(path: Path) -> Path:
    """Copy a file to the first free ``<name>.<n>.bak`` beside it, mode 0600.

    Raises:
        Unwritable: No copy came about.
    """
    with _writing(path):
        data = path.read_bytes()
        for number in range(1, _MAX_COPIES):
            copy = path.with_name(f"{path.name}.{number}.bak")
            try:
                descriptor = os.open(copy, _CREATE_FLAGS, 0o600)
            except FileExistsError:
                continue
            try:
                _fill(descriptor, data)
            except BaseException:
                with suppress(OSError):
                    copy.unlink()
                raise
            _sync_directory(path.parent)
            return copy
    raise Unwritable(f"{path.parent} already holds {_MAX_COPIES} copies of {path.name}")


def aside(path: Path) -> str:
    """The command with which a user puts a damaged file of ours aside."""
    import shlex

    return shlex.join(["mv", str(path), f"{path}.bak"])


@contextmanager
def locked(
    path: Path,
    *,
    wait_secs: float = LOCK_WAIT_SECS,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of a file while it is read, changed and written again.

    The lock is the operating system's on ``<path>.lock``: it ends with the process
    that holds it, and that file is never removed.

    Raises:
        Unwritable: The lock file cannot be made, or somebody held it for too long.
    """
    make_private_dir(path.parent)
    lock = path.with_name(f"{path.name}.lock")
    with _writing(lock):
        descriptor = os.open(lock, _LOCK_FLAGS, 0o600)
    try:
        deadline = now() + wait_secs
        while not _try_lock(descriptor, lock):
            if now() >= deadline:
                raise Unwritable(
                    f"another process has held {lock} for {wait_secs:g} s; "
                    "try again when it has finished"
                )
            sleep(_LOCK_POLL_SECS)
        try:
            yield
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether another process, or another `locked` of this one, holds a file's lock.

    A look only: it creates nothing, and whoever wants the lock at this very moment
    may find it taken.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, _LOCK_FLAGS & ~os.O_CREAT)
    except OSError:
        return False
    try:
        if not _try_lock(descriptor, lock):
            return True
        _unlock(descriptor)
        return False
    finally:
        os.close(descriptor)


def check_writable(path: Path) -> None:
    """Find out whether `write_private` would have a place to write to.

    Raises:
        Unwritable: It would not.
    """
    with _writing(path):
        descriptor, temporary = _create_temporary(path, random_hex)
        os.close(descriptor)
        temporary.unlink()


def _read(path: Path, limit: int, *, private: bool, start: int = 0) -> bytes:
    try:
        descriptor = os.open(path, _READ_FLAGS)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} is not a regular file")
            if private:
                refuse_open_modes(path, status.st_mode)
            file.seek(start)
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {_reason(exc)}") from exc
    if len(data) > limit:
        raise ConfigError(f"{path} is larger than {limit} bytes: it is not ours")
    return data


def refuse_open_modes(path: Path, mode: int) -> None:
    """Refuse a file that holds a secret, if its mode lets other users read it.

    Raises:
        IdentityError: It does.
    """
    if sys.platform != "win32" and mode & 0o077:
        import shlex

        raise IdentityError(
            f"{path} holds a secret and other users may read it "
            f"(mode {stat.S_IMODE(mode):04o})",
            next_step=f"chmod 600 {shlex.quote(str(path))}",
        )


def _create_temporary(path: Path, token: Callable[[int], str]) -> tuple[int, Path]:
    for _ in range(_TEMPORARY_NAMES):
        temporary = path.with_name(f".{path.name}.{token(8)}.tmp")
        try:
            return os.open(temporary, _CREATE_FLAGS, 0o600), temporary
        except FileExistsError:
            continue
    raise Unwritable(f"no free temporary name beside {path}")


def _fill(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        if sys.platform != "win32":
            os.fchmod(descriptor, 0o600)  # whatever the umask made of it
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    """Make a rename durable; some filesystems cannot, which is no error."""
    if sys.platform == "win32":
        return
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Unwritable(f"cannot write {path}: {_reason(exc)}") from exc


def _reason(exc: OSError) -> str:
    return exc.strerror or type(exc).__name__


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int, lock: Path) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:  # somebody else holds it
            return False
        except OSError as exc:
            raise Unwritable(f"cannot lock {lock}: {_reason(exc)}") from exc
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, lock: Path) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as exc:
            raise Unwritable(f"cannot lock {lock}: {_reason(exc)}") from exc
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file; a missing one leads nowhere."""
    try:
        return one.samefile(other)
    except OSError:
        return False


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that only this user reads; half of it is removed.

    Raises:
        UsageError: It is there already or cannot be written.
    """
    try:
        descriptor = os.open(path, _CREATE_FLAGS, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise UsageError(f"{path} is there already", next_step="name another") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
