"""What the hub answers over HTTP (protocol 11)."""

from hub.http.addresses import peer_address
from hub.http.app import Site, refuse_upgrade, too_many

__all__ = ["Site", "peer_address", "refuse_upgrade", "too_many"]
