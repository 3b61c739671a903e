"""Who hears of what: parked pulls are woken, subscribers get frames (protocol 5.3-5.4).

A reader registers before it looks, so nothing can arrive in between unnoticed. What is
pushed is only ever a copy or a hint; the log in the store has the truth.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from hub.delivery.outbox import Handed, Text
from parler.wire.base import AgentId, RoomName
from parler.wire.codec import encode_utf8
from parler.wire.replies import Event

EVENTS = frozenset({"join_request", "join_resolved", "member", "receipt", "room"})
"""What a connection may ask to hear of (protocol 14.3)."""


class Listener(Protocol):
    """A connection that wants frames pushed to it."""

    @property
    def events(self) -> frozenset[str]:
        """The events it asked for."""

    def push(self, frame: Text) -> bool:
        """Queue a frame; False if it was dropped because the peer is slow."""

    async def has_room(self) -> None:
        """Return when the peer has read enough to be answered."""


class Notifier:
    """The readers that wait and the connections that listen."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._waiting: dict[RoomName, set[asyncio.Event]] = {}
        self._listeners: dict[AgentId, set[Listener]] = {}
        self.messages = 0
        self.pushes = 0
        self.dropped = 0

    @contextmanager
    def waiting(self, room: RoomName) -> Iterator[asyncio.Event]:
        """Register for news of a room: the event is set when there is any."""
        news = asyncio.Event()
        waiting = self._waiting.setdefault(room, set())
        waiting.add(news)
        try:
            yield news
        finally:
            waiting.discard(news)
            if not waiting and self._waiting.get(room) is waiting:
                del self._waiting[room]

    def wake(self, room: RoomName) -> None:
        """Have everybody who waits for a room look again."""
        for news in self._waiting.get(room, ()):
            news.set()

    def wake_all(self) -> None:
        """Have everybody who waits look again, because the hub stops."""
        for room in list(self._waiting):
            self.wake(room)

    def subscribe(self, agent: AgentId, listener: Listener) -> None:
        """Push to a connection from now on."""
        self._listeners.setdefault(agent, set()).add(listener)

    def unsubscribe(self, agent: AgentId, listener: Listener) -> None:
        """Stop pushing to a connection."""
        listeners = self._listeners.get(agent)
        if listeners is None:
            return
        listeners.discard(listener)
        if not listeners:
            del self._listeners[agent]

    def deliver(
        self, make: Callable[[], Handed], to: set[AgentId], *, author: AgentId
    ) -> None:
        """Push a message to all who listen, save its author (protocol 5.4).

        Args:
            make: Makes the frame, if somebody listens.
        """
        self.messages += 1
        listeners = self._listeners
        if len(listeners) < len(to):
            hear = [agent for agent in listeners if agent in to]
        else:
            hear = [agent for agent in to if agent in listeners]
        frame: Handed | None = None
        for agent in hear:
            if agent == author:
                continue
            frame = frame or make()
            for listener in listeners[agent]:
                self._push(listener, frame)

    def tell(self, event: Event, to: Iterable[AgentId]) -> None:
        """Push an event to those who asked for such (protocol 14.3)."""
        text: Handed | None = None
        for agent in to:
            for listener in self._listeners.get(agent, ()):
                if event.event in listener.events:
                    text = text or Handed(encode_utf8(event))
                    self._push(listener, text)

    def _push(self, listener: Listener, frame: Text) -> None:
        if listener.push(frame):
            self.pushes += 1
        else:
            self.dropped += 1
