"""Every fragment of changelog.d is one that a release can use, and the release does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parler._version import __version__
from tests._support.polling import WAIT

ROOT = Path(__file__).resolve().parents[2]
FRAGMENTS = sorted(
    path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"
)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )


def towncrier(*arguments: str, cwd: Path) -> str:
    done = run(sys.executable, "-m", "towncrier", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """As much of the repository as a changelog is made from, with one more fragment."""
    for name in ("pyproject.toml", "CHANGELOG.md", "scripts/release-notes"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "changelog.d", tmp_path / "changelog.d")
    (tmp_path / "changelog.d" / "14.fixed.md").write_text("A word.\n", encoding="utf-8")
    (tmp_path / "parler").mkdir()
    shutil.copy(ROOT / "parler" / "_version.py", tmp_path / "parler")
    run("git", "init", "--quiet", cwd=tmp_path)
    run("git", "add", "--all", cwd=tmp_path)
    return tmp_path


def test_the_next_release_tells_of_every_fragment() -> None:
    shown = towncrier("build", "--draft", "--version", "9.9.9", cwd=ROOT)
    for path in FRAGMENTS:
        assert path.read_text(encoding="utf-8").strip() in shown


def test_a_release_has_the_notes_that_its_fragments_made(repository: Path) -> None:
    notes = repository / "scripts" / "release-notes"
    early = run(notes, __version__, cwd=repository)
    assert (early.returncode, "14.fixed.md" in early.stderr) == (1, True)
    towncrier("build", "--yes", "--version", __version__, cwd=repository)
    made = run(notes, __version__, cwd=repository)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("\n- A word. (#14)\n") == 1
    assert "## " not in made.stdout.replace("### ", "")


def test_there_are_no_notes_of_a_version_that_is_not_ours(repository: Path) -> None:
    towncrier("build", "--yes", "--version", "9.9.9", cwd=repository)
    assert run("scripts/release-notes", "9.9.9", cwd=repository).returncode == 1
    assert run("scripts/release-notes", __version__, cwd=repository).returncode == 1
