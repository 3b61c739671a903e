"""Makes the checkout's own environment, .venv, from the locks; runs a program in it.

Touches nothing outside the checkout. A stamp over the locks and pyproject.toml tells
the next run that there is nothing to do. Needs the standard library only, because it
runs before anything is installed.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "parler-stamp"
PROFILES = {
    "runtime": ("locks/runtime.txt", "locks/build.txt"),
    "dev": ("locks/dev.txt",),
}
STEP_SECONDS = 900  # the longest one step, a download included, may take
WAIT_SECONDS = 900  # the longest we wait for another setup of this checkout
NEWS_SECONDS = 5  # a step that takes longer says so this often


class SetupError(Exception):
    """The environment cannot be made; the text says why, and what to do."""


def main(profile: str, program: str, *arguments: str) -> NoReturn:
    """Make sure of the environment, then become `program` inside it."""
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _stop)
    try:
        if not is_current(profile):
            with only_one():
                if not is_current(profile):
                    make(profile)
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    path = str(Path(__file__).with_name(program))
    os.execve(PYTHON, [str(PYTHON), path, *arguments], clean_environment())


def is_current(profile: str) -> bool:
    """Whether the stamp tells of this profile, or of the larger one."""
    try:
        stamped = STAMP.read_text(encoding="utf-8").split()
    except OSError:
        return False
    return PYTHON.exists() and any(
        stamped == [name, fingerprint()] for name in (profile, "dev")
    )


def fingerprint() -> str:
    """A hash of all that decides what the environment holds, its place included."""
    digest = hashlib.sha256(os.fsencode(CHECKOUT))
    for path in (CHECKOUT / "pyproject.toml", *sorted((CHECKOUT / "locks").iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make(profile: str) -> None:
    """Bring the environment to what the locks say; the stamp comes last."""
    began = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if not usable():
        version = ".".join(map(str, sys.version_info[:3]))
        base = getattr(sys, "_base_executable", sys.executable)
        step(
            f"making .venv with Python {version}",
            [base, "-I", "-m", "venv", "--clear", str(VENV)],
            mend="is the venv module of this Python complete?",
        )
    locks = PROFILES[profile]
    pip = [str(PYTHON), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
    pip += ["--no-user", "--no-deps"]  # the locks are complete
    wanted = [part for lock in locks for part in ("-r", str(CHECKOUT / lock))]
    step(
        f"installing {count(locks)} packages from {' and '.join(locks)}",
        [*pip, "--require-hashes", *wanted],
        mend="can this machine reach its package index? (pip config list)",
    )
    step(
        "installing Parler itself",
        [*pip, "--no-build-isolation", "--editable", str(CHECKOUT)],
        mend="does pyproject.toml parse?",
    )
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(f"{profile} {fingerprint()}\n", encoding="utf-8")
    fresh.replace(STAMP)
    say(f"ready after {time.monotonic() - began:.0f} s")


def usable() -> bool:
    """Whether .venv is a working environment that was made in this place."""
    try:
        activate = (VENV / "bin" / "activate").read_bytes()
        probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
        answer = subprocess.run(
            [PYTHON, "-I", "-c", probe], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and os.fsencode(VENV) in activate


def count(locks: tuple[str, ...]) -> int:
    """How many packages the locks name."""
    lines = [
        line
        for lock in locks
        for line in (CHECKOUT / lock).read_text(encoding="utf-8").splitlines()
    ]
    return sum("==" in line for line in lines)


def step(what: str, command: list[str], *, mend: str) -> None:
    """Run one command, tell that it still runs, and show its words if it fails."""
    say(what)
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        while True:
            try:
                output, _ = process.communicate(timeout=NEWS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                passed = time.monotonic() - began
                if passed > STEP_SECONDS:
                    raise SetupError(f"gave up {what} after {passed:.0f} s") from None
                say(f"  still {what} ({passed:.0f} s)")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        words = output.decode(errors="replace").strip()
        raise SetupError(f"{what} failed: {mend}\n{words}")


def clean_environment() -> dict[str, str]:
    """The machine's settings, without those that would mix in other packages.

    pip keeps its cache only where the machine was told to keep it: the default place
    is outside of the checkout.
    """
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    if "PIP_CACHE_DIR" not in environment:
        environment.setdefault("PIP_NO_CACHE_DIR", "1")
    return environment


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the checkout's setup lock; the system frees it whatever happens to us."""
    folder = os.open(CHECKOUT, os.O_RDONLY)
    deadline = time.monotonic() + WAIT_SECONDS
    told = False
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SetupError("another setup of this checkout hangs") from None
            if not told:
                say("another setup of this checkout is running; waiting for it")
                told = True
            time.sleep(0.2)
        yield
    finally:
        os.close(folder)


def say(text: str) -> None:
    """One line of progress, kept apart from what the program itself prints."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def _stop(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main(*sys.argv[1:])
