"""Where somebody works: the repository a folder belongs to, and its branch.

Told from git's own files, without starting git: it takes no time, and a hook that
runs before each edit can afford it. All work trees of a repository, and all clones of
it, have one key, so that two agents know that they work on the same files although
their folders differ.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 2**20
_MAX_UP = 64
_MAX_CLONES = 4
_KEY_CHARS = 20
_SECTION = re.compile(
    r'\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]\s*(.*)'
)
_URL = re.compile(r"\s*url\s*=\s*(.+?)\s*", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCP = re.compile(r"(?:[^/@:]+@)?([^/:\[\]]+|\[[^\]]+\]):(?!//)(.*)", re.DOTALL)
_BRANCH = "ref: refs/heads/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder and, if it lies in one, its work tree."""

    folder: Path
    top: Path
    """The top of the work tree; the folder itself outside of any."""

    repository: str | None
    """What all its work trees and clones have in common."""

    name: str
    branch: str | None

    @property
    def key(self) -> str:
        """The repository, or else the folder: what reservations go by."""
        return self.repository or _hashed(f"folder {self.top}")


def workspace_of(folder: Path) -> Workspace:
    """What is known of a folder; it need not exist."""
    folder = _real(folder)
    for top in (folder, *folder.parents)[:_MAX_UP]:
        git = _git_folder(top)
        if git is None:
            continue
        common = _common(git)
        return Workspace(
            folder=folder,
            top=top,
            repository=_hashed(_origin(common)),
            name=_name(common, top),
            branch=_branch(git),
        )
    return Workspace(
        folder=folder, top=folder, repository=None, name=folder.name, branch=None
    )


def normal_remote(url: str) -> str | None:
    """What all spellings of a remote's URL have in common; None for a local path.

    User, password, port, scheme, case and ``.git`` are left out: the same repository
    is fetched by one over SSH and by another over HTTPS.
    """
    if _SCHEME.match(url):
        scheme, _, rest = url.partition("://")
        if scheme.lower() == "file":
            return None
        authority, _, path = rest.partition("/")
        host = authority.rpartition("@")[2]
        host = re.sub(r":\d*$", "", host)
    elif found := _SCP.fullmatch(url):
        host, path = found[1], found[2]
        if len(host) == 1:  # a drive of Windows
            return None
    else:
        return None
    path = path.strip("/").removesuffix(".git").strip("/")
    return f"{host}/{path}".casefold() if host and path else None


def _git_folder(top: Path) -> Path | None:
    """The folder that holds this work tree's HEAD."""
    dot = top / ".git"
    try:
        if dot.is_dir():
            return dot if (dot / "HEAD").exists() else None
        if not dot.is_file():
            return None
    except OSError:
        return None
    text = _read(dot)
    if not text.startswith("gitdir:"):
        return None
    named = text.removeprefix("gitdir:").strip()
    return _real(top / named) if named else None


def _common(git: Path) -> Path:
    named = _read(git / "commondir").strip()
    return _real(git / named) if named else _real(git)


def _origin(common: Path) -> str:
    """Where a repository comes from: a remote, or the folder of the first clone."""
    for _ in range(_MAX_CLONES):
        url = _remote(_read(common / "config"))
        if url is None:
            break
        if remote := normal_remote(url):
            return f"remote {remote}"
        path = url.removeprefix("file://")
        source = _repository_at(_real(common / path))
        if source is None or source == common:
            break
        common = source
    return f"folder {common}"


def _repository_at(path: Path) -> Path | None:
    for candidate in (path, path.with_name(f"{path.name}.git")):
        try:
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return _common(candidate)
        except OSError:
            return None
        if git := _git_folder(candidate):
            return _common(git)
    return None


def _remote(config: str) -> str | None:
    """The URL of ``origin``, or of the remote that is named first."""
    urls: dict[str, str] = {}
    remote: str | None = None
    for line in config.splitlines():
        if section := _SECTION.match(line):
            is_remote = section[1].lower() == "remote"
            remote = section[2] if is_remote else None
            line = section[3]
        if remote is not None and (url := _URL.fullmatch(line)):
            urls.setdefault(remote, url[1].strip('"'))
    return urls.get("origin") or next(iter(urls.values()), None)


def _branch(git: Path) -> str | None:
    head = _read(git / "HEAD").strip()
    return head.removeprefix(_BRANCH) if head.startswith(_BRANCH) else None


def _name(common: Path, top: Path) -> str:
    if common.name == ".git":
        return common.parent.name
    return common.name.removesuffix(".git") or top.name


def _hashed(origin: str) -> str:
    data = origin.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:_KEY_CHARS]


def _read(path: Path) -> str:
    """A small file of git's, empty if there is none to read."""
    try:
        if not path.is_file():  # a pipe in its place must not hang us
            return ""
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path.absolute()
