"""A user's machine in a folder, and apps on it, for tests of what is written there."""

from dataclasses import dataclass, replace
from pathlib import Path

from parler.apps.config_files.edits import FileEdit
from parler.apps.install.install import carry_out, plan, plan_removal
from parler.apps.install.manifest import Manifest
from parler.apps.kit.app import App
from parler.apps.kit.config import Wiring
from parler.apps.kit.platform import Machine, Platform
from parler.apps.registry import app_named

HUB = "ws://127.0.0.1:7070"


@dataclass(frozen=True, slots=True)
class Desk:
    """One user's home, and one app in it."""

    folder: Path
    app: App
    platform: Platform = Platform.LINUX

    @property
    def machine(self) -> Machine:
        """The machine, with nothing on its PATH."""
        return Machine(
            platform=self.platform, env={}, home=self.folder, cwd=self.folder / "work"
        )

    @property
    def manifest(self) -> Manifest:
        """What we wrote."""
        return Manifest(self.folder / ".parler")

    @property
    def wiring(self) -> Wiring:
        """Paths of no real machine, so that what is written is always the same."""
        return Wiring(
            app=self.app.id,
            command=("/usr/local/bin/parler",),
            home=Path("/home/ada/.parler/agents") / self.app.id,
            hub=HUB,
            platform=self.platform,
        )

    def edit(self, role: str = "servers", **changes: object) -> FileEdit:
        """What is to become of one file."""
        wiring = replace(self.wiring, **changes)  # type: ignore[arg-type]
        files = self.app.config().files(self.machine, wiring)
        return next(one for one in files if one.role == role)

    def has(self, data: bytes | str, role: str = "servers") -> Path:
        """Put bytes where the app has that file."""
        path = self.edit(role).path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def wire(self, **changes: object) -> list[Path]:
        """Wire the app; returns what was written."""
        wiring = replace(self.wiring, **changes)  # type: ignore[arg-type]
        planned = plan(self.app, self.machine, wiring, self.manifest)
        carry_out(planned, self.manifest)
        return [change.content.path for change in planned.needed]

    def unwire(self) -> list[Path]:
        """Unwire the app; returns what was written."""
        wiring = replace(self.wiring, hooks=True, reservations=True, approvals=True)
        planned = plan_removal(self.app, self.machine, wiring, self.manifest)
        carry_out(planned, self.manifest)
        return [change.content.path for change in planned.needed]

    def files(self) -> dict[str, bytes]:
        """Everything in the home that is not ours."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and ".parler" not in path.parts
        }


def desk(folder: Path, app: str, platform: Platform = Platform.LINUX) -> Desk:
    """An app in a new home."""
    found = app_named(app)
    assert found is not None
    return Desk(folder, found, platform)
