"""Who is asking: the agent behind a connection, as it proved itself."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.blobs.folder import Upload
from hub.delivery.notifier import Listener
from parler.wire.base import AgentId
from parler.wire.foreign import Foreign

UPLOAD_GRACE_SECS = 30.0
UPLOAD_MIN_RATE = 64 * 1024
"""Bytes per second an upload has to make, after the grace (protocol 13.8)."""


AT_A_TIME = 4
"""Pulls of one connection whose answers are made at a time."""


@dataclass(slots=True, kw_only=True)
class Caller:
    """An authenticated agent on one connection."""

    agent: AgentId
    name: Foreign
    role: Foreign | None
    ip: str | None
    listener: Listener
    is_stopping: Callable[[], bool]
    """Whether the hub stops: whatever waits answers now."""

    pulling: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(AT_A_TIME)
    )
    """Held by pulls that are answered next: so that parked ones take turns."""

    events: frozenset[str] = frozenset()
    touched_ms: int = 0
    is_present: bool = False
    """Its agent is there as long as this connection is (protocol 14.11)."""

    looks: bool = False
    """Nothing it does tells how the agent is doing (protocol 14.12)."""

    upload: Upload | None = None
    _upload_deadline: asyncio.TimerHandle | None = None

    def expect(self, upload: Upload) -> None:
        """Await the bytes of an upload, in place of any announced before."""
        self.take_upload(release=True)
        self.upload = upload
        self._upload_deadline = asyncio.get_running_loop().call_later(
            UPLOAD_GRACE_SECS + upload.size / UPLOAD_MIN_RATE, upload.expire
        )

    def take_upload(self, *, release: bool = False) -> Upload | None:
        """Stop awaiting the upload, and give its room back if it will not come."""
        upload, self.upload = self.upload, None
        if self._upload_deadline is not None:
            self._upload_deadline.cancel()
            self._upload_deadline = None
        if upload is not None and release:
            upload.release()
        return upload
