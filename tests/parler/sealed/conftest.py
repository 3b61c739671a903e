"""What holds for every test of sealed rooms."""

from collections.abc import Iterator

import pytest

from tests._support.sealed_rooms import close_stores


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    """No store stays open."""
    yield
    close_stores()
