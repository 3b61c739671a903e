"""Installing on a machine that has Python and git: the script, the file, the wheel."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests._support.polling import TEST_WAIT
from tests._support.processes import CHECKOUT
from tests.ship._root import Root, command, root_of, sources, wheels

pytestmark = [pytest.mark.ship, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
HELD = "story: all of it held"
LEFT = {"home/ada/.local", "home/ada/.local/bin", "home/ada/.local/share"}
"""Empty folders that are everybody's, and may have been there before."""


def prepared(root: Root) -> dict[str, int]:
    """Everything that is there before anything is installed."""
    root.put(wheels("3.11"), "/wheels")
    sources(root, "/src")
    root.put(HERE / "story.sh", "/story.sh")
    (root.folder / "src/scripts").chmod(0o755)
    return root.files()


def test_what_the_script_installs_plays_the_main_job_and_leaves_nothing(
    root: Root,
) -> None:
    before = prepared(root)
    said = root.run("sh", "/src/scripts/install.sh", env=OFFLINE)
    assert "installed: /home/ada/.local/bin/parler" in said
    assert "export PATH=" in said
    again = root.run("sh", "/src/scripts/install.sh", env=OFFLINE)
    assert "installed:" in again
    assert HELD in root.run("/story.sh", "/home/ada/.local/bin/parler")
    kept = root.run("sh", "/src/scripts/install.sh", "--uninstall")
    assert "parler is uninstalled" in kept
    assert "kept: /home/ada/.parler" in kept
    purged = root.run("sh", "/src/scripts/install.sh", "--uninstall", "--purge")
    assert "parler was not installed" in purged
    root.run("rmdir", "/home/ada/.cursor")  # the story's own
    after = root.files()
    assert {name for name in after if name not in before} <= LEFT
    assert {name: after.get(name) for name in before} == before


def test_a_failed_upgrade_leaves_the_working_command(root: Root) -> None:
    prepared(root)
    root.run("sh", "/src/scripts/install.sh", env=OFFLINE)
    with pytest.raises(AssertionError, match="was installed before is as it was"):
        root.run("sh", "/src/scripts/install.sh", "--from", "/nowhere", env=OFFLINE)
    assert "parler 0" in root.run("/home/ada/.local/bin/parler", "--version")


def test_the_script_says_what_is_missing(root: Root) -> None:
    prepared(root)
    for name in ("python3", "python3.11"):
        (root.folder / "usr/bin" / name).unlink()
    with pytest.raises(AssertionError, match="or newer is needed"):
        root.run("sh", "/src/scripts/install.sh", env=OFFLINE)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The single file, built as a developer does."""
    file = tmp_path_factory.mktemp("single") / "parler"
    script = CHECKOUT / "scripts" / "_single.py"
    command(sys.executable, "-I", script, "--output", file)
    return file


def test_the_single_file_plays_the_main_job(root: Root, single: Path) -> None:
    root.put(HERE / "story.sh", "/story.sh")
    root.put(single, "/home/ada/bin/parler")
    for user in ("bin", "bin/parler"):
        os.chown(root.folder / "home/ada" / user, 1000, 1000)
    before = root.files()
    assert HELD in root.run("/story.sh", "/home/ada/bin/parler")
    made = {name for name in root.files() if name not in before}
    assert all(
        name.startswith(("home/ada/.parler", "home/ada/.cursor", "home/ada/.cache"))
        for name in made
    )


def interpreter(version: str) -> Path | None:
    """A Python of this version on this machine, if there is one that runs."""
    found = shutil.which(f"python{version}")
    kept = Path.home() / ".pyenv" / "versions"
    candidates = [Path(found)] if found else []
    candidates += sorted(kept.glob(f"{version}.*/bin/python"))
    for candidate in candidates:
        try:
            command(candidate, "-c", "import venv, ensurepip, ssl, sqlite3")
        except (AssertionError, OSError):
            continue
        return candidate
    return None


@pytest.fixture
def real_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreters are looked for where the user keeps them."""
    monkeypatch.setenv("HOME", str(Path("~root").expanduser()))


@pytest.mark.usefixtures("real_home")
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_wheel_plays_the_main_job_on_python(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None and version == "3.13":
        in_a_newer_debian(tmp_path)
        return
    if python is None:
        pytest.skip(f"there is no Python {version} here, and Debian has none")
    built = tmp_path / "dist"
    command(
        *(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built),
        cwd=CHECKOUT,
    )
    [wheel] = built.glob("*.whl")
    command(python, "-m", "venv", tmp_path / "venv")
    install = (tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet")
    offline = ("--no-index", "--find-links", wheels(version), "--no-cache-dir")
    command(*install, *offline, wheel, env={"PATH": os.environ["PATH"]})
    home = tmp_path / "home"
    home.mkdir()
    said = command(
        *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-c"),
        'ip link set lo up; exec "$@"',
        *("sh", "env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin"),
        *(HERE / "story.sh", tmp_path / "venv/bin/parler"),
        within=TEST_WAIT,
    )
    assert HELD in said
    assert stat.S_IMODE((home / ".parler").stat().st_mode) == 0o700


def in_a_newer_debian(folder: Path) -> None:
    with root_of("trixie", folder) as root:
        root.put(wheels("3.13"), "/wheels")
        sources(root, "/src")
        root.put(HERE / "story.sh", "/story.sh")
        root.run("sh", "/src/scripts/install.sh", env=OFFLINE)
        assert HELD in root.run("/story.sh", "/home/ada/.local/bin/parler")
