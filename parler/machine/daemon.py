"""Programs of ours that outlive the command that started them.

Such a process has no terminal, belongs to nobody who lives on, and inherits of the
shell that started it only what it needs: no secret and no mark of an agent.
"""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from parler.errors import ConfigError
from parler.machine import files

START_SECS = 20.0
"""How long the shell that starts it may take."""

_SHELL = "/bin/sh"
_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ"),
        *("TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR"),  # which hubs are trusted
    }
)
"""What such a process needs of an environment; keys and secrets are not among it."""


def can_start() -> bool:
    """Whether this system lets us start such a process."""
    return sys.platform != "win32" and Path(_SHELL).exists()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """What of an environment it is given."""
    kept = {
        name: value
        for name, value in variables.items()
        if name in _KEPT or name.startswith("LC_")
    }
    if path := kept.get("PYTHONPATH"):
        with contextlib.suppress(OSError):  # the current directory may be gone
            kept["PYTHONPATH"] = os.pathsep.join(
                str(Path(part).absolute()) for part in path.split(os.pathsep) if part
            )
    return kept


@contextlib.contextmanager
def started(
    command: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str]
) -> Iterator[int]:
    """Start it; gives a file that ends when the process does (`has_ended`).

    Args:
        folder: Where it works, made if it is missing, for this user alone.
        log: What it says is added there.

    Raises:
        ConfigError: No process can be started, or the log cannot be written.
    """
    files.make_private_dir(folder)
    life, held = os.pipe()
    try:
        try:
            with _output(log) as output:
                _run_detached(command, folder, output, held, env)
        finally:
            os.close(held)
        yield life
    finally:
        os.close(life)


def has_ended(life: int, wait_secs: float) -> bool:
    """Whether a started process ends within a time."""
    ready, _, _ = select.select([life], [], [], wait_secs)
    return bool(ready)


def last_words(log: Path) -> str:
    """The last line that it said, without what to do next."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
            lines = file.read(4096).decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return last.strip().removeprefix("error: ").partition(" — next:")[0][:300]


def holds(pid: int, path: Path) -> bool:
    """Whether a process has a file open: the one that the file names, in our words."""
    psutil = import_module("psutil")  # slow, and seldom needed

    try:
        opened = psutil.Process(pid).open_files()
    except (psutil.Error, OSError):
        return False
    real = path.resolve()
    return any(Path(one.path).resolve() == real for one in opened)


@contextlib.contextmanager
def _output(path: Path) -> Iterator[int]:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise files.Unwritable(f"cannot write {path}: {error.strerror}") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _run_detached(
    command: Sequence[str], folder: Path, output: int, held: int, env: Mapping[str, str]
) -> None:
    try:
        # The shell ends at once: the process is no child of ours, and leaves no
        # zombie in an agent's process that lives for days.
        subprocess.run(  # noqa: S603 - our own words only
            [_SHELL, "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(held,),
            cwd=folder,
            env=dict(env),
            umask=0o077,
            start_new_session=True,
            timeout=START_SECS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"cannot start a process: {error}") from None
