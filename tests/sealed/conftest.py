"""What holds for every test of sealed rooms at length: a mark, and closed stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.sealed_rooms import close_stores

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each of them the mark, by which the plain run leaves it out."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.sealed)


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    """No store stays open."""
    yield
    close_stores()
