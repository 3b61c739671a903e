"""The distribution: what is in the wheel, and that it works where it is installed."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from parler._version import __version__
from tests._support.polling import WAIT

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("parler", "hub")


def run(*command: str | Path, cwd: Path) -> str:
    """Run to the end, without the settings that would show the checkout's packages."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the tools of this environment."""
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    run(*build, cwd=CHECKOUT)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a fresh environment that has the wheel and its needs.

    What the wheel needs is seen through a .pth file. The environment's own packages
    come first, so the installed `parler` wins over the checkout's.
    """
    folder = tmp_path_factory.mktemp("tool") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    places = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", places))
    scripts = Path(sysconfig.get_path("scripts", "venv", places))
    ours = sysconfig.get_path("purelib")
    (own / "needs.pth").write_text(f"{ours}\n", encoding="utf-8")
    install = (sys.executable, "-m", "pip", "--python", str(scripts / "python"))
    install += ("install", "--quiet", "--no-deps", "--no-index", "--no-cache-dir")
    run(*install, "--ignore-installed", wheel, cwd=folder)
    return scripts


def test_wheel_contains_exactly_two_packages_and_what_is_shared(wheel: Path) -> None:
    ours = f"parler_agents-{__version__}"
    shared = f"{ours}.data/data/share"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    beside = {name for name in names if name.startswith(f"{ours}.data/")}
    assert beside == {
        f"{shared}/man/man1/parler.1",
        f"{shared}/doc/parler/CHANGELOG.md",
    }
    tops = {name.split("/")[0] for name in {*names} - beside}
    assert tops == {*PACKAGES, f"{ours}.dist-info"}


def test_wheel_contains_every_module_and_nothing_beside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {n for n in archive.namelist() if n.startswith(("parler/", "hub/"))}
    expected = {
        path.relative_to(CHECKOUT).as_posix()
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == expected
    assert {"parler/py.typed", "hub/py.typed"} <= packed


def test_wheel_carries_its_licence_and_one_program(wheel: Path) -> None:
    metadata = f"parler_agents-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        scripts = archive.read(f"{metadata}/entry_points.txt").decode("utf-8")
        licence = archive.read(f"{metadata}/licenses/LICENSE").decode("utf-8")
    heading, *lines = scripts.strip().splitlines()
    assert heading == "[console_scripts]"
    # The second name is the package's own, which `uvx parler-agents` looks for.
    program = "parler.__main__:main"
    assert lines == [f"parler = {program}", f"parler-agents = {program}"]
    assert "Apache License" in licence


def test_installed_command_works_from_anywhere(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "parler", "--version", cwd=tmp_path)
    assert __version__ in said


def test_installed_packages_are_not_those_of_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    show = "import parler, hub; print(parler.__file__, hub.__file__)"
    for place in run(installed / "python", "-c", show, cwd=tmp_path).split():
        assert Path(place).is_relative_to(installed.parent)
