"""Builds the shim, prepares its shadow folder, and cuts the power.

Which names survive is decided in namespace.py, which bytes are durable by the shim;
here both are put together, and torn on request.
"""

import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.powercut.namespace import File, Folder, Link, Namespace

_SOURCES = (Path(__file__).with_name("powercut.c"), Path(__file__).with_name("known.h"))
_FLAGS = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-pthread", "-fno-builtin"]
_FLAGS += ["-Wall", "-Wextra", "-U_FORTIFY_SOURCE"]
_BUILD_SECONDS = 60
_PAGE = 4096


class PowerCutError(RuntimeError):
    """The simulator cannot do its work; never a finding about the simulated program."""


class PowerCut:
    """The disk of one machine: `root` as programs see it, and what a cut leaves.

    What is in `root` at first use counts as durable. From then on only processes
    started with `environment()` may change it; look at a copy, or call `seed()`.
    """

    def __init__(
        self, root: Path, shadow: Path, build_dir: Path, *, compiler: str = "cc"
    ) -> None:
        for folder in (root, shadow, build_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.shadow = shadow.resolve()
        if self.shadow.is_relative_to(self.root) or self.root == Path("/"):
            raise PowerCutError("the shadow folder must lie outside of the root")
        self._build_dir = build_dir.resolve()
        self._compiler = compiler
        self._log = self.shadow / "log"
        self._data = self.shadow / "data"

    def environment(self) -> dict[str, str]:
        """What to merge into a child's environment; call it anew for every start.

        Raises:
            PowerCutError: no compiler, no Linux, or the shim does not compile.
        """
        library = self._build()
        if self._log.exists():
            self._reconcile()
        else:
            self.seed()
        return {
            "LD_PRELOAD": str(library),
            "POWERCUT_ROOT": str(self.root),
            "POWERCUT_SHADOW": str(self.shadow),
        }

    def seed(self) -> None:
        """Takes the root as it is now for durable."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir()
        self._log.write_bytes(b"")
        names: dict[int, int] = {}
        for path, info in self._real():
            number = names.setdefault(info.st_ino, len(names) + 1)
            if stat.S_ISREG(info.st_mode):
                shutil.copyfile(self.root / path, self._data / str(number))
            self._append(*self._entry(path, info, number=number))
        self._append("Z", "")

    def cut(self, *, torn_seed: int | None = None) -> None:
        """Leaves in the root what a power cut leaves; every child must be dead.

        Args:
            torn_seed: without it nothing unsynced survives; with it a random part.

        Raises:
            PowerCutError: no child has run with the shim since the last cut.
        """
        names, _ = Namespace.replay(self._log.read_bytes())
        if not names.processes:
            raise PowerCutError("no process has run with the shim: is LD_PRELOAD set?")
        chance = None if torn_seed is None else random.Random(torn_seed)
        if chance is not None:
            names.settle(chance.randint(0, len(names.pending)))
        staged = self.shadow / "staged"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        self._stage(names, staged, chance=chance)
        for entry in self.root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for entry in staged.iterdir():
            shutil.move(entry, self.root / entry.name)
        self.seed()

    def _build(self) -> Path:
        if not sys.platform.startswith("linux"):
            raise PowerCutError("the power-cut simulator needs Linux")
        digest = hashlib.sha256(" ".join(_FLAGS).encode())
        for source in _SOURCES:
            digest.update(source.read_bytes())
        library = self._build_dir / f"powercut-{digest.hexdigest()[:16]}.so"
        if library.exists():
            return library
        compiler = shutil.which(self._compiler)
        if compiler is None:
            raise PowerCutError(
                f"no C compiler {self._compiler!r}, which the power-cut simulator"
                " needs: install one (on Debian: apt-get install gcc libc6-dev)"
            )
        made = library.with_suffix(f".{os.getpid()}.tmp")
        done = subprocess.run(
            [compiler, *_FLAGS, "-o", str(made), str(_SOURCES[0])],
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_BUILD_SECONDS,
        )
        if done.returncode:
            raise PowerCutError(f"the shim does not compile:\n{done.stderr}")
        made.replace(library)
        return library

    def _reconcile(self) -> None:
        """Logs what a killed process did to names but had no time to log."""
        log = self._log.read_bytes()
        names, used = Namespace.replay(log)
        os.truncate(self._log, used)
        known = dict(names.walk(durable=False))
        real = dict(self._real())
        for path in reversed([path for path in known if path not in real]):
            self._append("U", path)
        number = max((int(entry.name) for entry in self._data.iterdir()), default=0)
        for path, info in real.items():
            node = known.get(path)
            if isinstance(node, File) and node.ino == info.st_ino:
                continue
            if isinstance(node, Folder | Link) and not stat.S_ISREG(info.st_mode):
                continue
            number += 1
            if stat.S_ISREG(info.st_mode):
                (self._data / str(number)).touch()
            self._append(*self._entry(path, info, number=number))

    def _real(self) -> Iterator[tuple[str, os.stat_result]]:
        for folder, folders, files in os.walk(self.root):
            for name in sorted(folders) + sorted(files):
                path = Path(folder, name)
                info = path.lstat()
                mode = info.st_mode
                kept = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
                if kept and not name.endswith("-shm"):
                    yield str(path.relative_to(self.root)), info

    def _entry(self, path: str, info: os.stat_result, *, number: int) -> list[str]:
        bits = str(stat.S_IMODE(info.st_mode))
        if stat.S_ISDIR(info.st_mode):
            return ["D", path, bits]
        if stat.S_ISLNK(info.st_mode):
            return ["Y", path, str((self.root / path).readlink())]
        return ["A", path, str(number), str(info.st_ino), bits]

    def _append(self, *fields: str) -> None:
        with self._log.open("ab") as log:
            log.write(b"".join(os.fsencode(field) + b"\0" for field in fields))

    def _stage(
        self, names: Namespace, staged: Path, *, chance: random.Random | None
    ) -> None:
        real = {
            node.id: self.root / path
            for path, node in names.walk(durable=False)
            if isinstance(node, File)
        }
        made: dict[int, Path] = {}
        for path, node in names.walk(durable=True):
            target = staged / path
            if isinstance(node, Folder):
                target.mkdir()
                target.chmod(node.mode | 0o700)
            elif isinstance(node, Link):
                target.symlink_to(node.target)
            elif isinstance(node, File) and node.id in made:
                target.hardlink_to(made[node.id])
            elif isinstance(node, File):
                made[node.id] = target
                shutil.copyfile(self._data / str(node.id), target)
                original = real.get(node.id)
                exists = original is not None and original.is_file()
                if original is not None and exists and chance is not None:
                    _tear(target, original, chance=chance)
                mode = original.stat().st_mode if original and exists else node.mode
                target.chmod(stat.S_IMODE(mode))


def _tear(target: Path, real: Path, *, chance: random.Random) -> None:
    """Carries a random part of the pages, and perhaps the size, of the real file."""
    size = chance.choice((target.stat().st_size, real.stat().st_size))
    share = chance.random()
    with target.open("r+b") as durable, real.open("rb") as unsynced:
        durable.truncate(size)
        for at in range(0, size, _PAGE):
            length = min(_PAGE, size - at)
            new = unsynced.read(_PAGE)[:length]
            durable.seek(at)
            if new != durable.read(length) and chance.random() < share:
                durable.seek(at)
                durable.write(new)
