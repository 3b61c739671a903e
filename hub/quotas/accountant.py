"""The one place that keeps what a hub has to share, put together from its settings.

Requests by count are `Limits` of the services; here is what has a size: places, files,
bytes that wait, bytes that are read, bytes that stay, and the time of decoders.
"""

import asyncio
from collections.abc import Callable

from hub.admin.malloc import give_back
from hub.errors import Refusal
from hub.quotas.days import Days
from hub.quotas.decoding import Decoders
from hub.quotas.disk import Disk
from hub.quotas.machine import disk_bytes, memory_bytes
from hub.quotas.memory import Memory
from hub.quotas.seats import Seats
from hub.rate_limit import Windows
from hub.settings import Settings
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import ErrorCode

OWN_FILES = 64
"""Descriptors kept back for the database, its log, uploads and what starts the hub."""

HTTP_SOCKETS = 256
"""Sockets beside those of connections: requests, and peers that do not speak yet."""

MAX_BACKLOG = 1024
"""Sockets the system may accept for us before we look at them."""

MOST_WAITING = 512 * 2**20
"""More need not wait, whatever the machine has."""

_AGENT, _ROOM, _ADDRESS = "agent", "room", "address"
_UPLOADS, _CARDS = "uploads", "cards"
_FLOOR = 64
"""A part of all blobs in so many is a floor for everybody."""


def files_wanted(max_connections: int) -> int:
    """Open files for so many connections, each with a download."""
    return 2 * max_connections + HTTP_SOCKETS + MAX_BACKLOG + OWN_FILES


class Accountant:
    """What there is, who has it, and who may have more."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float], *, files: int
    ) -> None:
        """Share out what the settings and the machine allow.

        Args:
            clock: Seconds that never go back.
            files: How many files the process may have open.
        """
        quarter = memory_bytes() // 4
        waiting = settings.max_waiting_bytes
        self.memory = Memory(
            min(quarter, MOST_WAITING) if waiting is None else waiting,
            give_back=give_back,
        )
        spare = max(files - OWN_FILES, 16)
        self.backlog = min(MAX_BACKLOG, max(spare // 8, 1))
        downloads = min(settings.max_connections, spare // 16)
        self.downloads = asyncio.Semaphore(max(downloads, 1))
        sockets = min(
            settings.max_connections + HTTP_SOCKETS, spare - self.backlog - downloads
        )
        # Behind a proxy all sockets are the proxy's; who it is for is known later.
        per_socket = settings.max_connections_per_ip
        behind = settings.address_header is not None or not per_socket
        self.sockets = Seats(
            sockets,
            per_address=0 if behind else per_socket + per_socket // 8,
            patience_secs=settings.handshake_timeout_secs,
            clock=clock,
        )
        self.connections = Seats(
            min(settings.max_connections, sockets - sockets // 8),
            per_address=per_socket,
            patience_secs=settings.handshake_timeout_secs,
            clock=clock,
        )
        self.decoders = Decoders(settings.decoders)
        self.disk = Disk(_database_budget(settings, quarter))
        self._blob_budget = settings.max_blob_dir_bytes
        self._blob_shares = settings.max_agent_blob_bytes, settings.max_room_blob_bytes
        self._shared = bool(settings.max_stored_bytes_per_day)
        self._read = Windows(settings.max_bytes_per_min, 60, clock)
        self._read_by_ip = Windows(settings.max_bytes_per_ip_per_min, 60, clock)
        shares = {
            _AGENT: settings.max_stored_bytes_per_day,
            _ROOM: settings.max_room_stored_bytes_per_day,
            _ADDRESS: settings.max_stored_bytes_per_ip_per_day,
            _UPLOADS: settings.max_uploaded_bytes_per_ip_per_day,
            _CARDS: settings.max_cards_per_ip_per_day,
        }
        self.days = Days(shares, clock)
        self.is_shared = bool(settings.max_connections_per_ip)
        """Whether addresses are told apart."""

        self._counts_reads = bool(
            settings.max_bytes_per_min or settings.max_bytes_per_ip_per_min
        )
        self._counts_stored = bool(
            settings.max_stored_bytes_per_day
            or settings.max_stored_bytes_per_ip_per_day
            or settings.max_room_stored_bytes_per_day
        )
        self.storage_refused = self.reads_refused = self.cards_refused = 0

    def count_read(self, agent: AgentId, ip: str | None, size: int) -> None:
        """Bytes of a frame of an agent, before it is decoded.

        Raises:
            Refusal: They are too many for a minute.
        """
        if not self._counts_reads:
            return
        admitted = self._read.admit(agent, size)
        if ip is not None:
            admitted = self._read_by_ip.admit(ip, size) and admitted
        if not admitted:
            self.reads_refused += 1
            raise Refusal(
                ErrorCode.RATE_LIMITED, "too many bytes of requests; wait a minute"
            )

    def count_stored(
        self, agent: AgentId, ip: str | None, room: RoomName | None, size: int
    ) -> None:
        """Bytes that a message or a fact adds to the database.

        Args:
            room: None for what is the agent's alone.

        Raises:
            Refusal: The agent, its address or the room has no more of today's share,
                or the database is full.
        """
        if self.disk.is_crowded:
            try:
                self.disk.admit(self.days.used(_AGENT, agent), shared=self._shared)
            except Refusal:
                self.storage_refused += 1
                raise
        if not self._counts_stored:
            return
        if not self.days.admit(_AGENT, agent, size):
            self._refuse("you have stored as much as you may in a day")
        if ip is not None and not self.days.admit(_ADDRESS, ip, size):
            self._refuse("your address has stored as much as it may in a day")
        if room is not None and not self.days.admit(_ROOM, room, size):
            self._refuse("this room has stored as much as it may in a day")

    def check_blobs(
        self, *, stored: int, of_agent: int, of_room: int, size: int
    ) -> None:
        """Hold an upload against what there is of blobs, all in bytes.

        Args:
            stored: Of all blobs but this one.
            of_agent: Of the agent, without this one.
            of_room: Of the room, without this one.

        Raises:
            Refusal: It does not fit, or is more than a share.
        """
        budget = self._blob_budget
        if stored + size > budget:
            self._refuse("the hub's disk budget is used up")
        per_agent, per_room = self._blob_shares
        if per_agent and of_agent + size > per_agent:
            self._refuse("you have as many bytes of files here as you may")
        if per_room and of_room + size > per_room:
            self._refuse("this room has as many bytes of files as it may")
        crowded = stored + size > budget - budget // 8
        if per_agent and crowded and of_agent + size > budget // _FLOOR:
            self._refuse("what is left is for those who have few files here")

    def count_upload(self, ip: str | None, size: int) -> None:
        """Bytes of an upload from an address.

        Raises:
            Refusal: They are too many for a day.
        """
        if ip is not None and not self.days.admit(_UPLOADS, ip, size):
            self._refuse("your address has uploaded as much as it may in a day")

    def count_card(self, ip: str | None) -> None:
        """A card of an agent that had none.

        Raises:
            Refusal: Its address has put in as many as it may in a day.
        """
        if ip is not None and not self.days.admit(_CARDS, ip, 1):
            self.cards_refused += 1
            raise Refusal(
                ErrorCode.AT_CAPACITY,
                "your address has put as many agents into the directory as it may in "
                "a day",
            )

    def _refuse(self, text: str) -> None:
        self.storage_refused += 1
        raise Refusal(ErrorCode.STORAGE_FULL, text)


def _database_budget(settings: Settings, quarter: int) -> int:
    if settings.max_database_bytes is not None:
        return settings.max_database_bytes
    # Below the disk: what else is there needs room, the blobs and the log among it.
    return quarter if settings.db is None else disk_bytes(settings.db) // 2
