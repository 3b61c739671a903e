"""How the program is started again, from wherever it runs."""

import json
import os
import subprocess
import sys
import zipapp
from pathlib import Path

from parler.machine.program import missing_of
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT

SHOW = (
    "import json; from parler.machine.program import own_command; print(json.dumps({}))"
)


def shown(*command: str | Path, cwd: Path, **variables: str) -> list[str]:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | variables,
        stdout=subprocess.PIPE,
        timeout=WAIT,
        check=True,
    )
    words: list[str] = json.loads(done.stdout)
    return words


def program(path: Path) -> Path:
    """A stand-in for the installed command, which shows its words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"#!{sys.executable}\n{SHOW.format('own_command()')}\n"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def test_an_installed_program_is_started_by_its_name(tmp_path: Path) -> None:
    real = program(tmp_path / "env.1" / "bin" / "parler")
    link = tmp_path / "bin" / "parler"
    link.parent.mkdir()
    link.symlink_to(real)
    path = f"{link.parent}{os.pathsep}{os.environ['PATH']}"
    for start in (real, link):
        assert shown(start, cwd=tmp_path, PATH=path) == [str(link)]


def test_another_program_of_that_name_is_not_started(tmp_path: Path) -> None:
    ours = program(tmp_path / "ours" / "parler")
    other = program(tmp_path / "other" / "parler")
    path = f"{other.parent}{os.pathsep}{os.environ['PATH']}"
    words = shown(ours, cwd=tmp_path, PATH=path)
    assert words == [sys.executable, "-P", "-m", "parler"]


def test_a_single_file_is_started_as_a_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    text = SHOW.format("own_command()") + "\n"
    (source / "__main__.py").write_text(text, encoding="utf-8")
    zipapp.create_archive(source, tmp_path / "parler", interpreter=sys.executable)
    words = shown("./parler", cwd=tmp_path)
    assert words == [sys.executable, str(tmp_path / "parler")]


def test_a_script_whose_quote_has_no_end_lacks_nothing(tmp_path: Path) -> None:
    script = tmp_path / "parler"
    script.write_text("#!/bin/sh\n'''exec' \"/opt/it's\n", encoding="utf-8")
    script.chmod(0o755)
    assert missing_of((str(script),), {}) is None
