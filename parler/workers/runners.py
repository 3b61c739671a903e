"""The programs that work: the agent CLIs we know, or a command of the local user.

What they are called with and which of our environment they are given. A peer's words
are never part of either; the name of the one who asks is, made safe.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from parler.apps.kit.headless import Runner
from parler.apps.registry import headless_ids, headless_of
from parler.errors import UsageError
from parler.text.terminal import visible
from parler.wire.foreign import exact
from parler.workers.selection import Request

NOWHERE = "/dev/null/parler"
"""No folder, and none can be made: a program that uses Parler is not us by accident."""

MAX_LABEL_CHARS = 256
CHECK_SECS = 10.0

_COMMON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM"),
    *("TMPDIR", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy"),
    *("https_proxy", "all_proxy", "no_proxy"),
)
_COMMON_PREFIXES = ("LC_", "XDG_")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./+-]+", re.ASCII)


def runner_of(named: str) -> Runner:
    """An agent CLI by its name; anything else is a command for the user's shell.

    Raises:
        UsageError: Nothing was named.
    """
    word = named.strip()
    if not word:
        raise UsageError("the runner is empty", next_step=f"--runner {_choice()}")
    if known := headless_of(word):
        return known.work
    return Runner(name=word, command=["sh", "-c", named], is_agent=False)


def require(runner: Runner, environment: Mapping[str, str], folder: Path) -> None:
    """See that a runner is there, before anything is taken.

    Raises:
        UsageError: It is not.
    """
    path = environment.get("PATH")
    if shutil.which(runner.command[0], path=path) is None:
        raise UsageError(
            f"there is no {runner.command[0]} on PATH",
            next_step=f"install it, or --runner {_choice()}",
        )
    first = runner.name.split()[0]
    if runner.is_agent or not _PLAIN_WORD.fullmatch(first):
        return
    # The shell alone knows its builtins and functions.
    known = subprocess.run(  # noqa: S603 - the local user's own word, as an argument
        ["sh", "-c", 'command -v -- "$1"', "sh", first],  # noqa: S607 - on their PATH
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=CHECK_SECS,
        check=False,
    )
    if known.returncode != 0:
        raise UsageError(
            f"the runner's command {first!r} is not found",
            next_step="name an existing program with --runner",
        )


def environment(
    inherited: Mapping[str, str],
    runner: Runner,
    *,
    extra: Iterable[str] = (),
    home: Path | None = None,
) -> dict[str, str]:
    """What a runner is given of our environment; of ours it gets nothing.

    Args:
        extra: Names of variables the user lets through.
        home: The identity the runner may use, if the user says so.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name in _COMMON
        or name.startswith(_COMMON_PREFIXES)
        or any(_fits(name, wanted) for wanted in (*runner.keeps, *extra))
    }
    kept = {**runner.sets, **kept}
    ours = [name for name in kept if name.upper().startswith("PARLER_")]
    for name in ours:
        del kept[name]
    return kept | {"PARLER_HOME": str(home) if home else NOWHERE}


def about(request: Request, role: str | None) -> dict[str, str]:
    """The task as variables (protocol 2.4)."""
    author = request.message.author
    told = {
        "PARLER_TASK_ID": request.message.id,
        "PARLER_ROOM": request.message.room,
        "PARLER_FROM": author.id,
        "PARLER_FROM_NAME": exact(author.name),
        "PARLER_ROLE": role or "",
    }
    return {name: visible(text)[:MAX_LABEL_CHARS] for name, text in told.items()}


def _fits(name: str, wanted: str) -> bool:
    if wanted.endswith("*"):
        return name.startswith(wanted[:-1])
    return name == wanted


def _choice() -> str:
    return "|".join([*headless_ids(), "COMMAND"])
