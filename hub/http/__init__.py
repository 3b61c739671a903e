"""What the hub answers over HTTP (protocol 11)."""

from hub.http.pages import pages, peer_address

__all__ = ["pages", "peer_address"]
