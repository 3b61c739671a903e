"""Clean root file systems, and programs run in them with nothing of this machine.

A root is made by debootstrap once and copied for each test. What runs in it has its
own processes and its own network, which is a loopback and nothing else: whatever it
would download fails, and whatever it leaves running ends with it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests._support.polling import TEST_WAIT
from tests._support.processes import CHECKOUT

STORE = CHECKOUT / ".env-ship"
PACKAGES = "python3,python3-venv,git,ca-certificates"
MIRROR = "http://deb.debian.org/debian"
MAKE_SECS = 900
USER = "ada"
_KEPT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_START = """
set -eu
root=$1; shift
ip link set lo up
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" "$@"
"""


def command(*words: str | Path, within: float = MAKE_SECS, **options: object) -> str:
    """Run something of this machine, which must succeed; returns what it printed."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=within,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-8000:]}"
    return str(done.stdout)


@contextmanager
def only_one(name: str) -> Iterator[Path]:
    """A place in the store that several test processes fill once."""
    STORE.mkdir(exist_ok=True)
    with (STORE / f"{name}.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield STORE / name


def debian_programs() -> Path:
    """Where debootstrap, Caddy and Prometheus of Debian are, unpacked and not
    installed."""
    with only_one("debs") as folder:
        if not (folder / "usr").is_dir():
            fresh = folder.with_name("debs.new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            wanted = ("debootstrap", "caddy", "prometheus")
            try:
                command("apt-get", "download", *wanted, cwd=fresh)
            except AssertionError:
                command("apt-get", "update")
                command("apt-get", "download", *wanted, cwd=fresh)
            for package in fresh.glob("*.deb"):
                command("dpkg", "-x", package, fresh)
            fresh.rename(folder)
    return folder


def base(suite: str) -> Path:
    """A root of Debian that is copied and never used itself."""
    programs = debian_programs()
    with only_one(suite) as folder:
        if not folder.is_dir():
            fresh = folder.with_name(f"{suite}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            command(
                programs / "usr/sbin/debootstrap",
                *("--variant=minbase", f"--include={PACKAGES}"),
                *("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg", suite),
                *(fresh, MIRROR),
                env=os.environ
                | {"DEBOOTSTRAP_DIR": str(programs / "usr/share/debootstrap")},
            )
            for spare in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc"):
                shutil.rmtree(fresh / spare, ignore_errors=True)
            command("chroot", fresh, "/usr/sbin/useradd", "-m", "-s", "/bin/sh", USER)
            fresh.rename(folder)
    return folder


def wheels(python: str) -> Path:
    """A folder with all that is needed to build and install, for one Python."""
    with only_one(f"wheels-{python}") as folder:
        stamp = folder / "stamp"
        locks = [CHECKOUT / "locks" / name for name in ("runtime.txt", "build.txt")]
        wanted = "".join(lock.read_text(encoding="utf-8") for lock in locks)
        if not (stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            for lock in locks:
                command(
                    *(sys.executable, "-m", "pip", "download"),
                    *("--quiet", "--no-deps", "--require-hashes"),
                    *("--only-binary=:all:", f"--python-version={python}"),
                    *("-d", folder, "-r", lock),
                )
            stamp.write_text(wanted, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system that a test may spoil."""

    folder: Path

    def run(
        self,
        *words: str,
        user: str | None = USER,
        env: Mapping[str, str] | None = None,
        within: float = TEST_WAIT,
        before: Sequence[str] = (),
    ) -> str:
        """Run something in it, which must succeed; returns what it printed.

        Args:
            before: A shell's commands that prepare the mounts.
        """
        home = "/root" if user is None else f"/home/{user}"
        variables = {"HOME": home, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        variables |= {"LC_ALL": "C.UTF-8"} | dict(env or {})
        given = [f"{name}={value}" for name, value in variables.items()]
        drop = () if user is None else ("setpriv", f"--reuid={user}", "--init-groups")
        regid = () if user is None else (f"--regid={user}",)
        script = _START.replace("exec chroot", "\n".join([*before, "exec chroot"]))
        return command(
            *("unshare", "--mount", "--pid", "--fork", "--net", "--kill-child"),
            *("sh", "-c", script, "sh", self.folder),
            *("env", "-i", *given),
            *(*drop, *regid),
            *words,
            within=within,
        )

    def files(self) -> dict[str, int]:
        """Everything in it but what a kernel or a log makes."""
        found = {}
        for place, folders, names in os.walk(self.folder):
            here = Path(place).relative_to(self.folder)
            if str(here) == ".":
                folders[:] = [f for f in folders if f not in ("proc", "sys", "dev")]
            for name in (*folders, *names):
                path = Path(place, name)
                size = 0 if path.is_dir() else path.lstat().st_size
                found[str(here / name)] = size
        return found

    def put(self, source: Path, place: str) -> Path:
        """Copy something of this machine to a place in it."""
        target = self.folder / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
        return target


@contextmanager
def root_of(suite: str, folder: Path) -> Iterator[Root]:
    """A fresh root, gone when the block ends."""
    target = folder / "root"
    command("cp", "-a", "--reflink=auto", base(suite), target)
    try:
        yield Root(target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def sources(root: Root, place: str) -> None:
    """Copy what is needed to install from a checkout, and nothing else of it."""
    for name in ("parler", "hub"):
        shutil.copytree(
            CHECKOUT / name,
            root.folder / place.lstrip("/") / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "scripts/install.sh",
    ):
        root.put(CHECKOUT / name, f"{place}/{name}")
    command("chmod", "-R", "a+rX", root.folder / place.lstrip("/"))
