"""This machine's own hub: one for a user, started by whoever needs it first."""

from parler.local_hub.lifecycle import (
    LocalHub,
    ensure_local_hub,
    reconfigure,
    stands_in,
    start,
    stop,
    use_local_hub,
)
from parler.local_hub.record import (
    HubPaths,
    Record,
    hub_paths,
    read_record,
    starts_by_itself,
    write_record,
)
from parler.local_hub.status import OwnHub, Seen, State, find_own_hub, is_starting, look

__all__ = [
    "HubPaths",
    "LocalHub",
    "OwnHub",
    "Record",
    "Seen",
    "State",
    "ensure_local_hub",
    "find_own_hub",
    "is_starting",
    "look",
    "hub_paths",
    "read_record",
    "reconfigure",
    "stands_in",
    "start",
    "starts_by_itself",
    "stop",
    "use_local_hub",
    "write_record",
]
