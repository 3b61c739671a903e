"""`parler update`, for each tool that installs it, from an index on this machine."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.processes import CHECKOUT
from tests.ship._root import MAKE_SECS, command, wheels

pytestmark = [pytest.mark.ship, pytest.mark.timeout(900)]

OLD, NEW = "0.0.1", "99.0.0"
NEWS = "- It updates itself."
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: what we need, and two versions of ours."""
    folder = tmp_path_factory.mktemp("index")
    shutil.copytree(wheels(PYTHON), folder, dirs_exist_ok=True)
    source = tmp_path_factory.mktemp("source")
    for name in ("parler", "hub"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(CHECKOUT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(CHECKOUT / name, source)
    for version in (OLD, NEW):
        text = f'"""It."""\n\n__version__ = "{version}"\n'
        (source / "parler" / "_version.py").write_text(text, encoding="utf-8")
        with (source / "CHANGELOG.md").open("a", encoding="utf-8") as file:
            file.write(f"\n## {version} (2030-01-01)\n\n{NEWS}\n")
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        command(*pip, "--no-index", "--find-links", folder, "-w", folder, source)
    return folder


class Somebody:
    """With a home, and tools that know that index alone."""

    def __init__(self, home: Path, index: Path) -> None:
        self.home = home
        self.path = [home / ".local/bin"]
        links: dict[str, object] = {"PIP_FIND_LINKS": index, "PIP_NO_INDEX": "1"}
        settings = home / "uv.toml"
        settings.write_text(
            f'no-index = true\nfind-links = ["{index}"]\n', encoding="utf-8"
        )
        links["UV_CONFIG_FILE"] = settings
        self._env = {"HOME": home, "PIP_DISABLE_PIP_VERSION_CHECK": "1"} | links

    def runs(self, *words: str | Path, status: int = 0) -> str:
        """Run something, and read all that it says."""
        path = os.pathsep.join([*map(str, self.path), os.environ["PATH"]])
        env = {name: str(value) for name, value in self._env.items()} | {"PATH": path}
        done = subprocess.run(
            words,
            cwd=self.home,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=MAKE_SECS,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        return said


@pytest.fixture
def ada(tmp_path: Path, index: Path) -> Somebody:
    return Somebody(tmp_path, index)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where uv and pipx are."""
    folder = tmp_path_factory.mktemp("tools")
    venv.create(folder, with_pip=True)
    command(folder / "bin/python", "-m", "pip", "install", "--quiet", "uv", "pipx")
    return folder / "bin"


def updates(ada: Somebody, parler: Path, how: str) -> None:
    """See what there is, be asked, and have it."""
    assert how in ada.runs(parler, "update", "--check", status=10)
    asked = ada.runs(parler, "update", status=2)
    assert NEWS in asked
    assert "parler update --yes" in asked
    assert f"parler {OLD}" in ada.runs(parler, "--version")
    assert f"updated to {NEW}" in ada.runs(parler, "update", "--yes")
    assert f"parler {NEW}" in ada.runs(parler, "--version")
    assert "nothing to do" in ada.runs(parler, "update")


def test_pip_updates_what_it_installed_into_an_environment(ada: Somebody) -> None:
    venv.create(ada.home / "env", with_pip=True)
    python, parler = ada.home / "env/bin/python", ada.home / "env/bin/parler"
    ada.runs(python, "-m", "pip", "install", "--quiet", f"parler-agents=={OLD}")
    updates(ada, parler, "by pip")


def test_uv_and_pipx_update_what_they_installed(ada: Somebody, tools: Path) -> None:
    ada.path.append(tools)
    parler = ada.home / ".local/bin/parler"
    ada.runs("uv", "tool", "install", "--quiet", f"parler-agents<{NEW}")
    updates(ada, parler, "by uv tool")
    ada.runs("uv", "tool", "uninstall", "parler-agents")
    ada.runs("pipx", "install", "--quiet", f"parler-agents=={OLD}")
    updates(ada, parler, "by pipx")
    ada.runs("pipx", "uninstall", "parler-agents")


def test_what_no_index_replaces_is_told(ada: Somebody, index: Path) -> None:
    venv.create(ada.home / "env", with_pip=True)
    python, parler = ada.home / "env/bin/python", ada.home / "env/bin/parler"
    [wheel] = index.glob(f"parler_agents-{OLD}-*.whl")
    ada.runs(python, "-m", "pip", "install", "--quiet", wheel)
    assert f"install it again from {wheel}" in ada.runs(parler, "update")
    ada.runs(python, "-m", "pip", "uninstall", "-y", "pip")
    ada.runs(parler, "update", "--check")
