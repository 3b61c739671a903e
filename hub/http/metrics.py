"""The hub's numbers for Prometheus, on an address of their own (off by default).

Text format 0.0.4. Nothing in them names an agent, a room or an address.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.http.origins import OriginPolicy
from hub.http.pages import Connections
from hub.services import Services

_PREFIX = "parler_hub_"


class Measured(Connections, Protocol):
    """What the numbers come from, beside the hub's parts."""

    services: Services

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait to be written to WebSockets."""

    @property
    def http_answers(self) -> Mapping[int, int]:
        """HTTP answers by status."""


def metrics_app(hub: Measured, *, host: str) -> ASGIApp:
    """An application that answers ``/metrics`` only, and to no page of another site.

    Args:
        host: Where it is bound.
    """
    origins = OriginPolicy(host=host)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_HubCollector(hub))

    async def metrics(request: Request) -> Response:
        return Response(
            generate_latest(registry),
            headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4},
        )

    pages = Starlette(routes=[Route("/metrics", metrics)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = origins.refusal(scope) or pages
        await answer(scope, receive, send)

    return app


class _HubCollector(Collector):
    """Reads the hub's counters when somebody looks."""

    def __init__(self, hub: Measured) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Everything there is to see."""
        services = self._hub.services
        store, notifier = services.store, services.notifier
        yield _gauge("connections", "WebSockets now", self._hub.live_connections)
        yield _gauge(
            "outbox_bytes", "Bytes waiting for slow readers", self._hub.outbox_bytes
        )
        yield _gauge(
            "database_bytes",
            "Size of the database with its log",
            _database_bytes(services.settings.db),
        )
        yield _gauge(
            "uploads_bytes", "Bytes of uploads on their way", services.blobs.reserved
        )
        for name, text, value in (
            ("connections", "WebSockets since the start", self._hub.connections_total),
            ("messages_stored", "Messages stored since the start", notifier.messages),
            ("commits", "Commits; writes by commits is the group size", store.commits),
            ("writes", "Transactions committed", store.writes),
            ("pushes", "Frames pushed to subscribers", notifier.pushes),
            ("pushes_dropped", "Pushes slow readers missed", notifier.dropped),
        ):
            yield _counter(name, text, value)
        yield self._requests()
        yield self._answers()

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            f"{_PREFIX}requests",
            "Requests by op and outcome: ok, or the code of the error",
            labels=("op", "outcome"),
        )
        for (op, outcome), count in sorted(self._hub.services.requests.items()):
            family.add_metric((op, outcome), count)
        return family

    def _answers(self) -> Metric:
        family = CounterMetricFamily(
            f"{_PREFIX}http_answers", "HTTP answers by status", labels=("status",)
        )
        for status, count in sorted(self._hub.http_answers.items()):
            family.add_metric((str(status),), count)
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, text, value=value)


def _database_bytes(path: Path | None) -> int:
    if path is None:
        return 0
    total = 0
    for suffix in ("", "-wal"):
        try:
            total += path.with_name(path.name + suffix).stat().st_size
        except FileNotFoundError:
            continue
    return total
