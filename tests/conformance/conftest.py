"""Fixtures of the conformance suite: the hub under test and a mesh of fresh agents."""

import itertools
import os
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.conformance.hubs import HubUnderTest, probe, running_hub
from tests.conformance.steps import Mesh

SECRET = "correct-horse-battery"
_tests = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "extension: holds only for a hub with the features of protocol 14"
    )


@pytest.fixture(scope="session")
def hub(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubUnderTest]:
    """The hub named by --hub-url or PARLER_CONFORMANCE_HUB, else one started here."""
    named = request.config.getoption("--hub-url", default=None)
    url = named or os.environ.get("PARLER_CONFORMANCE_HUB")
    if url:
        yield probe(url, managed=False)
        return
    with running_hub(tmp_path_factory.mktemp("hub")) as started:
        yield started


@pytest.fixture(scope="session")
def hub_url(hub: HubUnderTest) -> str:
    """Where to dial."""
    return hub.url


@pytest.fixture(scope="session")
def private_hub(
    hub: HubUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubUnderTest]:
    """A second hub, which asks for `SECRET`."""
    if not hub.managed:
        pytest.skip("a hub with a join secret is only started locally")
    with running_hub(tmp_path_factory.mktemp("private"), secret=SECRET) as started:
        yield started


@pytest.fixture(scope="session")
def public_hub(
    hub: HubUnderTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubUnderTest]:
    """A hub where owners of services admit: the one under test, or a third one."""
    if "service-admission" in hub.features:
        yield hub
        return
    if not hub.managed:
        pytest.skip("the hub does not advertise service-admission")
    flags = ["--public"]
    with running_hub(tmp_path_factory.mktemp("public"), flags=flags) as started:
        yield started


@pytest.fixture
def mesh(request: pytest.FixtureRequest, hub: HubUnderTest) -> Mesh:
    """Fresh agents on the hub; looks after the `extension` mark."""
    mark = request.node.get_closest_marker("extension")
    if mark is not None:
        missing = [name for name in mark.args if name not in hub.features]
        if missing or not hub.ours:
            lacks = f"the hub does not advertise {missing or 'any feature'}"
            if hub.managed:
                pytest.fail(lacks)
            pytest.skip(lacks)
    return Mesh(hub=hub, address=own_address(hub.url))


def own_address(url: str) -> str | None:
    """A loopback address per test, because some limits count by IP address."""
    if sys.platform != "linux" or urlsplit(url).hostname not in (
        "127.0.0.1",
        "localhost",
    ):
        return None
    number = next(_tests)
    return f"127.77.{number // 250}.{number % 250 + 1}"
