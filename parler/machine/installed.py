"""How this program was installed, and by which commands that tool replaces it.

Found out by what each tool leaves beside what it installs. A tool is only run when
`run_tool` is called.
"""

import json
import re
import shlex
import site
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from parler.errors import ConfigError

DISTRIBUTION = "parler-agents"

_NOBODYS = Path(sys.prefix).anchor
"""Where the tools work: of a folder with somebody's project, or below one, Python would
run its pip.py and uv take its index."""


class Way(StrEnum):
    """Who put it there."""

    UV = "uv tool"
    PIPX = "pipx"
    SCRIPT = "install.sh"
    """Into an environment of its own, without uv or pipx."""

    VENV = "pip"
    """Into a virtual environment of somebody."""

    UV_VENV = "uv pip"
    """Into one that has no pip, by uv."""

    USER = "pip --user"
    SYSTEM = "system"
    """The system's own package manager looks after it."""

    SINGLE = "single file"
    CHECKOUT = "checkout"
    """It runs from its sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One installation."""

    way: Way
    where: Path
    source: str | None = None
    """What was given in place of the package index: a folder, a file, a repository."""

    is_pinned: bool = False
    """A version was asked for, which an upgrade keeps."""

    @property
    def is_replaceable(self) -> bool:
        """Whether a tool takes a newer version for it from the package index."""
        return self.source is None and self.way not in (
            Way.SYSTEM,
            Way.SINGLE,
            Way.CHECKOUT,
        )

    def replacing(self) -> list[str]:
        """The command that installs the newest version in its place."""
        match self.way:
            case Way.UV | Way.PIPX if self.is_pinned:
                return self.again()
            case Way.UV:
                return ["uv", "tool", "upgrade", DISTRIBUTION]
            case Way.PIPX:
                return ["pipx", "upgrade", DISTRIBUTION]
            case Way.UV_VENV:
                return [*_UV_PIP, "install", "--upgrade", *_HERE, DISTRIBUTION]
            case _:
                user = ["--user"] if self.way is Way.USER else []
                if user and _is_managed():  # as it was said when it was installed
                    user.append("--break-system-packages")
                return [*_PIP, "install", "--upgrade", *user, DISTRIBUTION]

    def again(self) -> list[str]:
        """The command that installs the newest one whatever was asked for before."""
        match self.way:
            case Way.UV:
                return ["uv", "tool", "install", "--force", DISTRIBUTION]
            case Way.PIPX:
                return ["pipx", "install", "--force", DISTRIBUTION]
            case _:
                return self.replacing()

    def fetching(self, folder: Path) -> list[str]:
        """The command that puts the newest version into an empty folder.

        By the tool's own settings, so that it is the one it would install.
        """
        what = ["--quiet", "--no-deps", "--target", str(folder), DISTRIBUTION]
        match self.way:
            case Way.UV | Way.UV_VENV:
                return [*_UV_PIP, "install", *_HERE, *what]
            case Way.PIPX:
                return ["pipx", "runpip", DISTRIBUTION, "install", *what]
            case _:
                return [*_PIP, "install", *what]


_UV_PIP = ["uv", "pip"]
_HERE = ["--python", sys.executable]
_PIP = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check"]


_RECEIPTS = {Way.UV: "uv-receipt.toml", Way.PIPX: "pipx_metadata.json"}
"""What the tools keep of what they were asked for."""

# As uv has it, and pipx.
_PINNED = re.compile(
    rf'name = "{DISTRIBUTION}"[^}}]*specifier = "|"{DISTRIBUTION} *[=<>~!][^"]*"'
)


def installed() -> Installed:
    """How the program that runs was installed."""
    program = Path(sys.argv[0])
    if program.is_file() and zipfile.is_zipfile(program):
        return Installed(way=Way.SINGLE, where=program.absolute())
    here, prefix = Path(__file__).parents[2], Path(sys.prefix)
    found = _distribution(here)
    source, is_editable = _source(found) if found else (None, True)
    if is_editable:
        return Installed(way=Way.CHECKOUT, where=here)
    for way, name in _RECEIPTS.items():
        if (receipt := prefix / name).is_file():
            asked = receipt.read_text(encoding="utf-8", errors="replace")
            pinned = _PINNED.search(asked) is not None
            return Installed(way=way, where=prefix, source=source, is_pinned=pinned)
    if sys.prefix != sys.base_prefix:
        is_ours = prefix.name.startswith("env.") and prefix.parent.name == "parler"
        has_pip = find_spec("pip") is not None
        venv = Way.VENV if has_pip else Way.UV_VENV
        way = Way.SCRIPT if is_ours else venv
        return Installed(way=way, where=prefix, source=source)
    if str(here) == site.getusersitepackages():
        return Installed(way=Way.USER, where=here, source=source)
    way = Way.SYSTEM if _is_managed() else Way.VENV
    return Installed(way=way, where=here, source=source)


def _is_managed() -> bool:
    """Whether pip only installs there if it is told twice."""
    return (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").is_file()


def run_tool(
    command: Sequence[str], secs: float, failed: str, *, instead: Sequence[str] = ()
) -> None:
    """Have a tool do something, to its end.

    Args:
        instead: What a person runs to see more, if not the same.

    Raises:
        ConfigError: It did not; `failed` says what has not come about.
    """
    line = " ".join(map(shlex.quote, instead or command))
    try:
        done = subprocess.run(  # noqa: S603 - the tool by which this was installed
            command,
            cwd=_NOBODYS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=secs,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{failed}: {command[0]} installed this, and is not on PATH any more",
            next_step=f"install {command[0]}, then parler update",
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{failed}: no answer within {secs:g} s", next_step=line
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        told = [one for one in said if "error" in one.lower()] or said
        why = told[-1][:300] if told else f"status {done.returncode}"
        raise ConfigError(f"{failed}: {why}", next_step=line)


def version_now() -> str | None:
    """The version that is on disk by now, in the place of the program that runs."""
    found = _distribution(Path(__file__).parents[2])
    return found.version if found else None


def _distribution(here: Path) -> metadata.Distribution | None:
    """That of the package that runs; another one may have the same name."""
    found = list(metadata.distributions(name=DISTRIBUTION, path=[str(here)]))
    if found:
        return found[0]
    try:
        other = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None
    return other if _source(other)[1] else None


def _source(found: metadata.Distribution) -> tuple[str | None, bool]:
    """What it was installed from, if not the index, and whether it runs from there."""
    try:
        told = json.loads(found.read_text("direct_url.json") or "{}")
        url, folder = told.get("url"), told.get("dir_info") or {}
    except (ValueError, AttributeError):
        return None, False
    if not isinstance(url, str):
        return None, False
    local = urlsplit(url)
    return local.path if local.scheme == "file" else url, bool(folder.get("editable"))
