"""This machine's own hub: one for a user, started by whoever needs it first."""

from parler.local_hub.place import (
    HubPlace,
    Record,
    place_of,
    read_record,
    starts_by_itself,
    write_record,
)
from parler.local_hub.running import Seen, State, look
from parler.local_hub.starting import (
    LocalHub,
    ensure_local_hub,
    reconfigure,
    start,
    stop,
    use_local_hub,
)

__all__ = [
    "HubPlace",
    "LocalHub",
    "Record",
    "Seen",
    "State",
    "ensure_local_hub",
    "look",
    "place_of",
    "read_record",
    "reconfigure",
    "start",
    "starts_by_itself",
    "stop",
    "use_local_hub",
    "write_record",
]
