"""Sandboxes for the real agent CLIs, which `./scripts/test --agents` installs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.processes import CHECKOUT
from tests.agents._kit.sandbox import Sandbox


@pytest.fixture(scope="session")
def clis() -> Path:
    """Where the commands are; PARLER_TEST_AGENTS names another installation."""
    folder = Path(os.environ.get("PARLER_TEST_AGENTS") or CHECKOUT / ".env-agents")
    commands = folder / "node_modules" / ".bin"
    assert commands.is_dir(), "the agent CLIs are missing: ./scripts/test --agents"
    return commands


@pytest.fixture
def box(tmp_path: Path, clis: Path) -> Iterator[Sandbox]:
    """A sandbox that ends with the test; pytest keeps its logs.

    Its own folder is elsewhere: UNIX sockets below it need a short path.
    """
    with tempfile.TemporaryDirectory(prefix="box-", ignore_cleanup_errors=True) as name:
        try:
            with Sandbox(Path(name), clis) as sandbox:
                yield sandbox
        finally:
            shutil.copytree(Path(name, "logs"), tmp_path / "logs")
