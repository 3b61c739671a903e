"""The file that says which hub runs: held locked for as long as it does.

The lock is the operating system's and ends with the process, however it ends, so what
the file says is true exactly while somebody holds it: no stale process id, none that
was given out again. `parler.local_hub` reads it.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hub.errors import CannotStart

PATIENCE_SECS = 3.0
"""Who only looks holds the file for a moment; that is no other hub."""

_POLL_SECS = 0.01


class LockFile:
    """A locked file with a few words about this process."""

    def __init__(
        self,
        path: Path,
        *,
        patience: float = PATIENCE_SECS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the lock, and say that this process starts.

        Raises:
            CannotStart: Another hub holds it, or the file cannot be made.
        """
        self._said: dict[str, Any] = {"pid": os.getpid()}
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handle = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise CannotStart(f"cannot use {path}: {error.strerror}") from None
        deadline = time.monotonic() + patience
        while not self._try_lock():
            if time.monotonic() >= deadline:
                os.close(self._handle)
                raise CannotStart(
                    f"another hub runs here ({path} is held); see: parler hub status"
                )
            sleep(_POLL_SECS)
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)  # what one that crashed has left
        self.say()

    def say(self, **words: Any) -> None:
        """Add words to what the file says."""
        self._said |= words
        data = json.dumps(self._said).encode()
        # Written over in one go: whoever reads it meanwhile must not find it empty.
        self._size = max(self._size, len(data))
        with contextlib.suppress(OSError):  # a full disk must not end the hub
            os.pwrite(self._handle, data.ljust(self._size), 0)

    def close(self) -> None:
        """Say nothing any more, and let others run."""
        if self._handle < 0:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> "LockFile":
        """Hold it for a block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End with the block."""
        self.close()

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def port_of_holder(path: Path) -> int | None:
    """Where the hub listens that holds a file locked; None if none does."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return urlsplit(str(json.loads(file.read()).get("url") or "")).port
    except (OSError, ValueError):
        pass
    return None
