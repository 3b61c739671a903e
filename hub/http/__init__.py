"""What the hub answers over HTTP (protocol 11)."""

from hub.http.addresses import is_near, peer_address
from hub.http.app import Site, refuse_all, refuse_upgrade, too_many

__all__ = [
    "Site",
    "is_near",
    "peer_address",
    "refuse_all",
    "refuse_upgrade",
    "too_many",
]
