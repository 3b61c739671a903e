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
    settings = hub.services.settings
    origins = OriginPolicy(host=host, url=settings.url, allowed=settings.allow_origin)
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
        yield from self._quotas()
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

    def _quotas(self) -> Iterator[Metric]:
        quotas = self._hub.services.quotas
        memory, disk, sockets = quotas.memory, quotas.disk, quotas.sockets
        gauges: list[tuple[str, str, float]] = [
            ("waiting_bytes", "Bytes that wait, of all peers together", memory.held),
            ("waiting_bytes_limit", "How many may; 0 for any", memory.limit),
            ("sockets", "Sockets now, connections among them", sockets.taken),
            ("sockets_limit", "How many there may be", sockets.total),
            ("strangers", "Sockets nobody signed in on", sockets.strangers),
            ("database_used_bytes", "The database without free pages", disk.used),
            ("database_bytes_limit", "What it may grow to; 0 for any", disk.budget),
        ]
        yield from (_gauge(*each) for each in gauges)
        places = quotas.connections
        gave_way = sockets.crowded_out + places.crowded_out
        counters: list[tuple[str, str, float]] = [
            ("peers_cut_off", "Slow peers that memory was taken from", memory.cut_off),
            ("sockets_refused", "Sockets with no place", sockets.refused),
            ("connections_refused", "Connections with no place", places.refused),
            ("strangers_crowded_out", "Strangers that gave way", gave_way),
            ("bytes_refused", "Requests over a share of bytes", quotas.reads_refused),
            ("storage_refused", "Refused a share of disk", quotas.storage_refused),
            ("cards_refused", "New cards over a share", quotas.cards_refused),
            ("decoding_seconds", "CPU of large frames", quotas.decoders.seconds),
        ]
        yield from (_counter(*each) for each in counters)

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
