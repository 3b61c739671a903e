"""Running git, so that neither a repository nor a peer's bytes make it run anything.

The only place that starts git. Every run is bounded in time, output and memory, in a
process group of its own, with an environment of ours and with everything off that git
could start by itself. It makes no difference whether the objects are the user's or a
stranger's: once imported, nobody can tell them apart. What the commands mean is
`bundle`'s matter.
"""

import asyncio
import math
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

from parler.errors import GitFailed, ParlerError
from parler.identity.homes import process_environment, user_home_of

GIT_SECS = 120.0
"""For one run, in wall-clock time, and for each of its processes in processor time."""

MEMORY_KIB = 2**20
"""KiB that git may ask for, where the system holds it to that (Linux).

The data segment and not all addresses, as packs that it only maps are no matter.
"""

MAX_FILE_KIB = 4 * 2**20
"""KiB of a file that git writes: a pack with what it builds on, from the repository."""

MAX_OUTPUT_BYTES = 4 * 2**20
"""What a run may print, unless its caller takes it piece by piece."""

MAX_RECORD_BYTES = 2**20
"""Of a line or a name in what is taken piece by piece."""

MAX_ERROR_BYTES = 4096
_PIECE = 65_536
_END_SECS = 1.0
"""For what a killed git printed last; only what left its process group is slower."""

# Left without a limit where the system does not know it; -f counts in half KiB.
_LIMITED = (
    'ulimit -d "$1" 2>/dev/null; ulimit -f "$2" 2>/dev/null; '
    'ulimit -t "$3" 2>/dev/null; ulimit -c 0 2>/dev/null; shift 3; exec "$@"'
)

_OPTIONS = ("--no-pager", "--literal-pathspecs", "--no-replace-objects")

Sink = Callable[[bytes], None]

# Nothing of the caller's environment gets in: no GIT_DIR, no pager, no editor, no
# credentials, no settings that point at programs.
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": ":",
    "GIT_ASKPASS": ":",
    "SSH_ASKPASS": ":",
    "GIT_SSH_COMMAND": ":",
}

# The repository's own configuration still counts, so that each of its ways to start
# a program is closed here.
_CONFIG = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", os.devnull),
    ("core.excludesFile", os.devnull),
    ("core.pager", "cat"),
    ("core.editor", ":"),
    ("core.askPass", ":"),
    ("core.sshCommand", ":"),
    ("core.gitProxy", "none"),
    ("core.alternateRefsCommand", ":"),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("diff.ignoreSubmodules", "dirty"),
    ("protocol.allow", "never"),
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    ("submodule.recurse", "false"),
    ("status.submoduleSummary", "false"),
    ("gc.auto", "0"),
    ("pack.threads", "4"),  # not one for each processor: packing keeps to MEMORY_KIB
    ("pack.windowMemory", "64m"),
    ("pack.deltaCacheSize", "64m"),
    ("core.deltaBaseCacheLimit", "64m"),
    ("maintenance.auto", "false"),
)


Watch: TypeAlias = Callable[[str, int, int], None]
"""Told what git does, and how many of how many objects it has done."""

_FAR = re.compile(rb"([A-Z][a-z]+ [a-z]+): +\d+% \((\d{1,12})/(\d{1,12})\)")
_PROGRESS = re.compile(
    r"[A-Z][a-z]+ [a-z]+: .*|Delta compression using .*|Total \d+ .*"
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How git ended."""

    status: int
    out: bytes = field(repr=False)
    err: str

    @property
    def text(self) -> str:
        """What it printed, without the line break at the end."""
        return self.out.decode(errors="replace").removesuffix("\n")

    @property
    def lines(self) -> list[str]:
        """What it printed, by lines."""
        return self.text.split("\n") if self.out else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """Git in one folder."""

    folder: Path
    config: tuple[tuple[str, str], ...] = ()
    """Further settings."""

    extra: Mapping[str, str] = field(default_factory=dict)
    """Further variables, such as another place for objects."""

    watch: Watch | None = None
    """Told how far a long command is; commands are asked for it by `told`."""

    def told(self, asking: str, quiet: str = "") -> tuple[str, ...]:
        """The option of a command that says how far it is, or that it need not."""
        return tuple(filter(None, [asking if self.watch else quiet]))

    async def run(
        self,
        *arguments: str,
        stdin: bytes | IO[bytes] | None = None,
        into: Sink | None = None,
        may_fail: bool = False,
        secs: float = GIT_SECS,
    ) -> Ran:
        """Run a git command to its end.

        Args:
            stdin: What it reads: bytes, or an open file.
            into: Takes what it prints, piece by piece, instead of the result; it may
                raise, which ends the command.
            may_fail: A failure is for the caller to judge by `Ran.status`.

        Raises:
            GitFailed: It failed, took too long, wanted too much memory, said too
                much, or is not installed.
        """
        argv = [*_within_bounds(secs), _program(), *_OPTIONS, *arguments]
        what = f"git {arguments[0]}"
        out = bytearray()
        process = await self._start(argv, stdin=stdin)
        try:
            async with asyncio.timeout(secs):
                into = into or _bounded(out, what)
                status, err = await _talk(process, stdin, into, self.watch)
        except TimeoutError:
            raise GitFailed(f"{what} did not finish within {secs:g} s") from None
        finally:
            await _end(process)
        if status != 0 and not may_fail:
            raise GitFailed(f"{what} failed: {err or _ending(status)}")
        return Ran(status, bytes(out), err)

    async def text(self, *arguments: str) -> str:
        """What a git command prints."""
        return (await self.run(*arguments)).text

    async def _start(
        self,
        argv: list[str],
        *,
        stdin: bytes | IO[bytes] | None,
    ) -> Process:
        source = PIPE if isinstance(stdin, bytes) else stdin or DEVNULL
        path = os.pathsep.join((str(Path(_program()).parent), os.defpath))
        system = {"SYSTEMROOT": r"C:\Windows"} if sys.platform == "win32" else {}
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.folder,
                env={
                    "PATH": path,
                    **system,
                    **_ENVIRONMENT,
                    **self._settings(),
                    **self.extra,
                },
                stdin=source,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,  # so that all of it can be ended
            )
        except OSError as error:
            if not self.folder.is_dir():
                raise GitFailed(
                    f"the folder {self.folder} is not there any more",
                    next_step="cd to a folder that is",
                ) from None
            raise GitFailed(f"git cannot be started: {error.strerror}") from None

    def _settings(self) -> dict[str, str]:
        # As variables, since `-c` cannot set a key that contains an equals sign.
        settings = {}
        for number, (key, value) in enumerate((*_CONFIG, *self.config)):
            settings[f"GIT_CONFIG_KEY_{number}"] = key
            settings[f"GIT_CONFIG_VALUE_{number}"] = value
        return settings | {"GIT_CONFIG_COUNT": str(len(settings) // 2)}


def _within_bounds(secs: float) -> tuple[str, ...]:
    if sys.platform == "win32":
        return ()
    limits = (MEMORY_KIB, MAX_FILE_KIB * 2, math.ceil(secs) + 1)
    return ("/bin/sh", "-c", _LIMITED, "sh", *map(str, limits))


def _ending(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"it was ended by {signal.Signals(-status).name}"
    return f"status {status}"


def _program() -> str:
    found = shutil.which("git")
    if found is None:
        raise GitFailed("git is not installed", next_step="install git 2.31 or newer")
    return found


async def _feed(process: Process, data: bytes) -> None:
    """Write what it reads."""
    assert process.stdin is not None
    with suppress(ConnectionError):  # it need not read all of it
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _talk(
    process: Process,
    stdin: bytes | IO[bytes] | None,
    into: Sink,
    watch: Watch | None,
) -> tuple[int, str]:
    """Its status, and the end of what it complains about.

    All pipes at once, since it may print while it reads.
    """
    try:
        async with asyncio.TaskGroup() as group:
            errors = group.create_task(_tail(process, watch))
            group.create_task(_read(process, into))
            if isinstance(stdin, bytes):
                group.create_task(_feed(process, stdin))
    except* (ParlerError, OSError) as several:
        raise several.exceptions[0] from None
    return await process.wait(), errors.result()


async def _read(process: Process, into: Sink) -> None:
    assert process.stdout is not None
    while piece := await process.stdout.read(_PIECE):
        into(piece)


def by_record(take: Callable[[bytes], None], end: bytes = b"\0") -> Sink:
    """A sink that hands on what git prints in records: lines, or names with ``-z``."""
    rest = b""

    def sink(piece: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + piece).split(end)
        if len(rest) > MAX_RECORD_BYTES:
            raise GitFailed(f"git printed a name of more than {MAX_RECORD_BYTES} bytes")
        for record in whole:
            take(record)

    return sink


def _bounded(out: bytearray, what: str) -> Sink:
    def take(piece: bytes) -> None:
        out.extend(piece)
        if len(out) > MAX_OUTPUT_BYTES:
            raise GitFailed(f"{what} printed more than {MAX_OUTPUT_BYTES} bytes")

    return take


async def _tail(process: Process, watch: Watch | None) -> str:
    """The end of what it complains about; the rest is read over, or told."""
    assert process.stderr is not None
    kept = b""
    while piece := await process.stderr.read(_PIECE):
        if watch and (far := _FAR.findall(piece)):
            what, done, total = far[-1]
            watch(what.decode().lower(), int(done), int(total))
        kept = (kept + piece)[-MAX_ERROR_BYTES:]
    lines = kept.decode(errors="replace").strip().splitlines()
    if watch:
        lines = [one for one in lines if not _PROGRESS.fullmatch(one.strip())]
    return "; ".join(line.removeprefix("fatal: ").strip() for line in lines[-8:])


async def _end(process: Process) -> None:
    """Leave nothing of it running, whatever happened, and none of its pipes open."""
    if process.returncode is None:
        _kill(process)
    for stream in (process.stdout, process.stderr):
        # What is left unread would keep the pipe's end from being seen.
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECS):
                while stream and await stream.read(_PIECE):
                    pass
    await process.wait()


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def filters_off(keys: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Settings that turn the drivers off to which keys like ``filter.x.clean`` belong.

    They would run over the files of the work tree as soon as it is looked at.
    """
    names = {key.removeprefix("filter.").rpartition(".")[0] for key in keys}
    return tuple(
        (f"filter.{name}.{kind}", "false" if kind == "required" else "")
        for name in sorted(names)
        for kind in ("clean", "smudge", "process", "required")
        if name
    )


async def trusted_folders(folder: Path) -> tuple[tuple[str, str], ...]:
    """The user's own ``safe.directory``: all that is read of their configuration."""
    own = {"GIT_CONFIG_NOSYSTEM": "0"}
    if home := user_home_of(process_environment()):
        own |= {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    git = Git(folder=folder, extra=own)
    found = await git.run("config", "--get-all", "safe.directory", may_fail=True)
    return tuple(("safe.directory", line) for line in found.lines if line)
