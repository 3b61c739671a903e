"""What `parler update` runs and where, and what it says where no index can help."""

from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.machine.installed import Installed, Way
from parler.ops.update import look


def test_no_file_of_the_folder_that_one_is_in_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w', encoding='utf-8')\n"
    (tmp_path / "pip.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ConfigError, match="No matching distribution"):
        look(Installed(way=Way.VENV, where=tmp_path))
    assert not ran.exists()


@pytest.mark.parametrize(
    ("way", "step"),
    [
        (Way.SCRIPT, "git -C {0} pull && {0}/scripts/install.sh"),
        (Way.VENV, "install it again from {0}"),  # the script would put it elsewhere
    ],
)
def test_what_was_installed_from_a_clone_is_updated_by_two_commands_to_paste(
    tmp_path: Path, way: Way, step: str
) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/install.sh").touch()
    found = Installed(way=way, where=tmp_path / "env", source=str(tmp_path))
    assert look(found).next == step.format(tmp_path)
