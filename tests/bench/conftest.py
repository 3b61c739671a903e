"""What the benches do to the process that runs them."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def unpinned() -> Iterator[None]:
    """Undo the pinning, which holds for the whole process."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cores)
