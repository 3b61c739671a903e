"""By which words this very program is started again.

Always the name by which it was installed, a link for most installers: that stays when
what it names is replaced. A copy in a cache of uv's may be gone tomorrow; it is not
written into anybody's configuration.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from parler.errors import ConfigError
from parler.machine.files import same_file

NAME = "parler"
_CACHES = ("archive-v", "builds-v", "environments-v")


def own_command() -> list[str]:
    """The words that start this program, whether installed, zipped or a checkout.

    An installed program is started by the name under which it is found: what that
    leads to is another folder after an upgrade. The single file is started as a file,
    because no interpreter could import what is in it.
    """
    archive = getattr(
        getattr(sys.modules["__main__"], "__loader__", None), "archive", None
    )
    if archive:
        return [sys.executable, str(Path(archive).absolute())]
    started, installed = Path(sys.argv[0]), shutil.which(NAME)
    if installed and started.name == NAME and same_file(Path(installed), started):
        return [str(Path(installed).absolute())]
    # -P: no folder called `hub` in the current directory may come in between.
    return [sys.executable, "-P", "-m", NAME]


def command_for_apps(
    argv0: str, *, executable: str, env: Mapping[str, str], cwd: Path | None
) -> tuple[str, ...]:
    """The words by which an app can start this program, today and after an upgrade.

    Apps are given an absolute path, since few of them have the user's PATH.

    Args:
        argv0: How this process was started.
        executable: The Python it runs on.
        env: Where to look for installed programs.
        cwd: What a relative name is relative to.

    Raises:
        ConfigError: It runs from a place that does not last.
    """
    installed = shutil.which(NAME, path=env.get("PATH") or os.defpath)
    if installed:
        installed = str((cwd or Path()) / installed)
    if Path(argv0).name == "__main__.py":
        # Never what the folder has that an app is opened in (-P).
        words: tuple[str, ...] = (executable, "-P", "-m", NAME)
        lasts = not _in_cache(Path(executable))
    else:
        started = _started(argv0, env, cwd)
        words = (str(started),)
        lasts = not _in_cache(started)
        if installed and same_file(Path(installed), started):
            words = (installed,)
    if lasts:
        return words
    if installed and not _in_cache(Path(installed)):
        return (installed,)
    raise ConfigError(
        "this parler runs from a cache that may be emptied at any time: no app could "
        "rely on it",
        next_step="uv tool install parler-agents, then parler connect",
    )


def missing_of(command: tuple[str, ...], env: Mapping[str, str]) -> str | None:
    """What a program lacks that an app is to start: itself, or the Python it runs on.

    None if nothing is missing.
    """
    program = command[0]
    if not Path(program).is_absolute() and not Path(program).anchor:
        found = shutil.which(program, path=env.get("PATH") or os.defpath)
        if found is None:
            return program
        program = found
    if not (Path(program).is_file() and os.access(program, os.X_OK)):
        return program
    runs_on = _interpreter(Path(program))
    return runs_on if runs_on and not Path(runs_on).exists() else None


def _interpreter(script: Path) -> str | None:
    """What the system starts a script with, as installers of Python programs write it.

    Where the path is too long for a first line, or has spaces, they have a shell
    replace itself.
    """
    try:
        with script.open("rb") as file:
            lines = file.read(4096).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    if not lines or not lines[0].startswith("#!"):
        return None
    if len(lines) > 1 and lines[1].startswith("'''exec' "):
        try:
            words = shlex.split(lines[1].removeprefix("'''exec' "))
        except ValueError:  # a quote has no end: it is another kind of script
            return None
    else:
        words = lines[0].removeprefix("#!").split()
    return words[0] if words and Path(words[0]).is_absolute() else None


def _started(argv0: str, env: Mapping[str, str], cwd: Path | None) -> Path:
    given = Path(argv0)
    if given.is_absolute() or len(given.parts) > 1:
        path = (cwd or Path()) / given
    else:
        found = shutil.which(argv0, path=env.get("PATH") or os.defpath)
        path = Path(found) if found else (cwd or Path()) / given
    if not path.exists() and path.with_name(f"{path.name}.exe").exists():
        path = path.with_name(f"{path.name}.exe")
    return Path(os.path.abspath(path))  # noqa: PTH100 - links are to stay


def _in_cache(path: Path) -> bool:
    both = (path, Path(os.path.realpath(path)))
    return any(part.startswith(_CACHES) for one in both for part in one.parts)
