"""What handlers work with: one set per hub, put together in `app`."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.background import BackgroundWork
from hub.blobs.folder import BlobFolder
from hub.delivery.last_seen import LastSeen
from hub.delivery.notifier import Notifier
from hub.delivery.receipts import Receipts
from hub.delivery.rights import Rights
from hub.delivery.room_cache import RoomCache
from hub.errors import Refusal
from hub.quotas.accountant import Accountant
from hub.rate_limit import Windows
from hub.settings import Settings
from hub.store.directory import Reader
from hub.store.engine import Store
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode

Clock = Callable[[], int]
DAY_MS = 86_400_000


def system_clock() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Limits:
    """Every rate the hub holds its agents to (protocol 12.2, 14.6)."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Open a window for each of the settings."""
        self._ops = Windows(settings.max_ops_per_min, 60, clock)
        self._sends = Windows(settings.max_sends_per_min, 60, clock)
        self._room_sends = Windows(settings.max_room_sends_per_min, 60, clock)
        self._blobs = Windows(settings.max_blobs_per_hour, 3600, clock)
        self._room_blobs = Windows(settings.max_room_blobs_per_hour, 3600, clock)
        self._knocks = Windows(settings.max_knocks_per_min, 60, clock)
        self._knocks_by_ip = Windows(settings.max_knocks_per_ip_per_min, 60, clock)
        self._http = Windows(settings.max_http_per_min, 60, clock)

    def count_request(self, agent: AgentId) -> None:
        """Any frame of an agent, well formed or not."""
        _hold(self._ops.admit(agent), "too many requests; wait a minute")

    def count_send(self, agent: AgentId) -> None:
        """A send of an agent, whether it succeeds or not."""
        _hold(self._sends.admit(agent), "too many messages; wait a minute")

    def count_room_send(self, room: int) -> None:
        """A send to a room, by anybody."""
        _hold(self._room_sends.admit(room), "this room is too busy; wait a minute")

    def count_blob(self, agent: AgentId) -> None:
        """An upload of an agent."""
        _hold(self._blobs.admit(agent), "too many uploads; wait an hour")

    def count_room_blob(self, room: int) -> None:
        """An upload to a room, by anybody."""
        _hold(self._room_blobs.admit(room), "this room has too many uploads; wait")

    def admits_http(self, ip: str) -> bool:
        """Count an HTTP request or an upgrade; False if it is one too many."""
        return self._http.admit(ip)

    def count_knock(self, agent: AgentId, ip: str | None) -> None:
        """A new knock, or a key that opens nothing."""
        admitted = self._knocks.admit(agent)
        if ip is not None:
            admitted = self._knocks_by_ip.admit(ip) and admitted
        _hold(admitted, "too many tries to join; wait a minute")

    def admits_guess(self, ip: str | None) -> bool:
        """Count a key that is looked up for somebody who is nobody yet.

        It is counted before it is looked up, so that many at once are not looked up
        either; `forgive_guess` takes it back.
        """
        return ip is None or self._knocks_by_ip.admit(ip)

    def forgive_guess(self, ip: str | None) -> None:
        """The key was a good one."""
        if ip is not None:
            self._knocks_by_ip.give_back(ip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """A hub's parts, as handlers see them."""

    settings: Settings
    store: Store
    rooms: RoomCache
    notifier: Notifier
    limits: Limits
    quotas: Accountant
    receipts: Receipts
    last_seen: LastSeen
    online: Counter[AgentId]
    """How many connections each agent has now; absent for none."""

    present: Counter[AgentId]
    """How many of them said that the agent is there as long as they are."""

    blobs: BlobFolder
    blob_changes: asyncio.Lock
    """Held while bytes and rows of blobs change together."""

    now: Clock
    public_url: Callable[[], str]
    hub_token: str
    """What stands for this hub in its challenges."""

    background: BackgroundWork = field(default_factory=BackgroundWork)
    rights: Rights = field(default_factory=Rights)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by op and outcome: ``ok``, or the code of the error."""

    def directory(self) -> Reader:
        """Whom the directory lists now, and how they are doing."""
        days, now = self.settings.card_ttl_days, self.now()
        return Reader(
            hub=self.settings.name,
            online=frozenset(self.online),
            now=now,
            seen_since=now - int(days * DAY_MS) if days else None,
        )


def _hold(admitted: bool, text: str) -> None:
    if not admitted:
        raise Refusal(ErrorCode.RATE_LIMITED, text)
