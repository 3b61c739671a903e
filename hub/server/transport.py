"""What a connection needs of the pipe below it, whichever server front makes that."""

from collections.abc import Sequence
from typing import Protocol


class Receiver(Protocol):
    """Who takes what a peer says. Both calls come on the event loop."""

    def received(self, data: str | bytes) -> None:
        """A text or binary message came."""

    def lost(self) -> None:
        """The peer is gone; nothing comes any more."""


class Transport(Protocol):
    """One WebSocket, already upgraded."""

    @property
    def writable(self) -> bool:
        """Whether the peer reads fast enough to be sent more."""

    @property
    def stalled_since(self) -> float | None:
        """Since when the peer takes nothing that waits for it, or does not go on with
        a message that it began; by the loop's clock. None if neither is so."""

    def start(self, receiver: Receiver) -> None:
        """Give what comes to `receiver` from now on, and what came already."""

    def pause_reading(self) -> None:
        """Take nothing more from the peer until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take messages again."""

    def write(self, texts: Sequence[bytes]) -> None:
        """Write text messages, given as UTF-8, at once and in order.

        Raises:
            ConnectionError: The peer is gone.
        """

    async def wait_writable(self) -> None:
        """Return when the peer has read enough to be sent more.

        Raises:
            ConnectionError: The peer is gone, or reads nothing.
        """

    async def send_fragment(self, data: bytes, *, first: bool, last: bool) -> None:
        """Write a piece of one binary message (protocol 1.5).

        Raises:
            ConnectionError: The peer is gone.
        """

    def trust(self) -> None:
        """Let messages have their full size: the peer has proved who it is."""

    def abort(self) -> None:
        """Drop the connection with all that was not written."""

    def accept_binary(self, max_bytes: int) -> None:
        """Let the next message have so many bytes, because one was announced."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a close code (RFC 6455 7.4). Never raises."""
