"""Accepting one more address of a hub, as its user asked for."""

from parler.identity.known_hubs import KnownHubs
from parler.ops.context import Result


class TrustResult(Result):
    """The hub as it was noted."""

    hub: str


def trust(known_hubs: KnownHubs, url: str) -> TrustResult:
    """Accept the challenge that was last refused under a URL.

    Raises:
        ConfigError: Nothing was refused under it.
    """
    return TrustResult(hub=known_hubs.trust(url))
