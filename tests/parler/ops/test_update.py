"""What `parler update` runs, and where."""

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
