"""Where things are on a machine: its platform, variables and folders, as data.

Nothing here asks the process: tests look at macOS and Windows from anywhere.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Platform(StrEnum):
    """What the paths of apps depend on."""

    LINUX = "linux"
    MACOS = "macos"
    WINDOWS = "windows"

    @classmethod
    def of(cls, name: str) -> "Platform":
        """That of a `sys.platform`."""
        return {"darwin": cls.MACOS, "win32": cls.WINDOWS}.get(name, cls.LINUX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One user's view of a machine."""

    platform: Platform
    env: Mapping[str, str]
    home: Path
    cwd: Path | None = None

    def folder(self, variable: str, *default: str) -> Path:
        """The folder an app's own variable names, else one below the home."""
        given = self.env.get(variable)
        return self._expanded(given) if given else self.home.joinpath(*default)

    @property
    def config(self) -> Path:
        """Where command line programs keep their settings."""
        return self.folder("XDG_CONFIG_HOME", ".config")

    @property
    def app_data(self) -> Path:
        """Where programs with windows keep theirs."""
        match self.platform:
            case Platform.MACOS:
                return self.home / "Library" / "Application Support"
            case Platform.WINDOWS:
                return self.folder("APPDATA", "AppData", "Roaming")
            case Platform.LINUX:
                return self.config

    def application(self, name: str) -> Path:
        """The bundle of a program on macOS; elsewhere a path that is not there."""
        if self.platform is Platform.MACOS:
            return Path("/Applications") / f"{name}.app"
        return Path("/nonexistent") / name

    def has_command(self, name: str) -> bool:
        """Whether a program is on the user's PATH."""
        path = self.env.get("PATH")
        return bool(path) and shutil.which(name, path=path) is not None

    def _expanded(self, given: str) -> Path:
        if given == "~" or given.startswith("~/"):
            return self.home / given[2:]
        return (self.cwd or self.home) / given
