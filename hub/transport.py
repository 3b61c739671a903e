"""The message pipe under a connection, so that the front can be exchanged."""

from typing import Protocol


class Transport(Protocol):
    """One WebSocket, already upgraded."""

    async def receive(self) -> str | bytes | None:
        """The next text or binary message; None when the peer is gone."""

    async def send_text(self, text: str) -> None:
        """Write a text message; waits while the peer reads slowly.

        Raises:
            ConnectionError: The peer is gone.
        """

    async def send_fragment(self, data: bytes, *, first: bool, last: bool) -> None:
        """Write a piece of one binary message (protocol 1.5).

        Raises:
            ConnectionError: The peer is gone.
        """

    def accept_binary(self, max_bytes: int) -> None:
        """Let the next message have so many bytes, because one was announced."""

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a close code (RFC 6455 7.4). Never raises."""
