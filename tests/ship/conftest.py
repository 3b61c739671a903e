"""What the tests of installing share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ship._root import Root, root_of


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """Debian with Python and git, and nothing else that we need."""
    with root_of("bookworm", tmp_path) as made:
        yield made
