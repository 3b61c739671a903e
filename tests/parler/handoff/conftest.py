"""Two who hand over code to each other."""

from pathlib import Path

import pytest

from tests._support.gitrepo import Repo


@pytest.fixture
def ann(tmp_path: Path) -> Repo:
    """Who sends."""
    repo = Repo.init(tmp_path / "ann")
    repo.commit("one.txt", "1\n", "first")
    return repo


@pytest.fixture
def bob(ann: Repo, tmp_path: Path) -> Repo:
    """Who has what ann had so far, and receives."""
    return ann.clone(tmp_path / "bob")
