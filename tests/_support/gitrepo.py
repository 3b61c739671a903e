"""Real git repositories for tests, made by a git that knows nothing of this machine."""

import os
import subprocess
from pathlib import Path

from tests._support.polling import WAIT

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_ALLOW_PROTOCOL": "file",
    "LC_ALL": "C",
}


class Repo:
    """A repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def init(cls, folder: Path, *options: str) -> "Repo":
        """Make a new one."""
        folder.mkdir(parents=True)
        repo = cls(folder)
        repo.git("init", "--quiet", "--initial-branch=main", *options)
        return repo

    def clone(self, folder: Path, *options: str) -> "Repo":
        """A clone of this one."""
        url = f"file://{self.folder}"
        self.git("clone", "--quiet", *options, url, str(folder))
        return Repo(folder)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run git, which must succeed; returns what it printed."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=_ENVIRONMENT,
            input=stdin,
            capture_output=True,
            timeout=WAIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().removesuffix("\n")

    def commit(self, name: str, content: str | bytes = "x\n", message: str = "") -> str:
        """Add a file and commit it; returns the commit's id."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        self.git("add", "--", name)
        self.git("commit", "--quiet", "-m", message or f"add {name}")
        return self.tip()

    def tip(self, ref: str = "HEAD") -> str:
        """The id of a commit."""
        return self.git("rev-parse", ref)

    def refs(self) -> dict[str, str]:
        """All refs and where they point."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.rsplit(" ", 1) for line in lines.splitlines())

    def state(self) -> dict[str, bytes]:
        """All that importing must not touch: every file but objects and our refs."""
        kept = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if not path.is_file() or "objects/" in name or "refs/parler/" in name:
                continue
            kept[name] = path.read_bytes()
        return kept
