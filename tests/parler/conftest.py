"""One hub for these tests; what they say there, each says in rooms of its own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests._support.processes import HubProcess

NO_RATES = {
    f"PARLER_HUB_MAX_{what}_PER_MIN": "0"
    for what in ("OPS", "SENDS", "ROOM_SENDS", "KNOCKS", "KNOCKS_PER_IP")
}


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[HubProcess]":
    """A real hub, in a process of its own."""
    from tests._support.processes import HubProcess  # needs POSIX

    running = HubProcess(tmp_path_factory.mktemp("hub"), **NO_RATES)
    yield running
    running.stop()
