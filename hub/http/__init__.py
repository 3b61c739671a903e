"""What the hub answers over HTTP (protocol 11)."""

from hub.http.addresses import peer_address
from hub.http.app import Site, too_many

__all__ = [
    "Site",
    "peer_address",
    "too_many",
]
