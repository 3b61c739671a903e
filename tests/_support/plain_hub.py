"""Our hub as one that has none of our extensions (protocol 14).

python -m tests._support.plain_hub hub --addr 127.0.0.1:7070    # as parler
"""

import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from hub.connection import connection
from hub.delivery import last_seen
from hub.handlers import invites
from hub.store import agents, rooms
from hub.store.rooms import Room
from parler.wire.records import RoomKind
from parler.wire.requests import Invite

_HELLO_RESETS = sa.text(
    "INSERT INTO presence (agent, status, ts) VALUES (:agent, :idle, :now) "
    "ON CONFLICT (agent) DO UPDATE SET ts = excluded.ts, "
    "status = excluded.status, activity = NULL"
)


def make_plain(setattr_: Callable[[Any, str, Any], None] = setattr) -> None:
    """Take from the hubs of this process what is ours alone.

    Args:
        setattr_: That of a `pytest.MonkeyPatch`, to have it back.
    """
    setattr_(connection, "FEATURES", [])
    setattr_(invites, "_existing", _cleaned)
    setattr_(agents, "_ARRIVE", _HELLO_RESETS)
    setattr_(last_seen, "FRESH_MS", 0)  # each hello does so


def _cleaned(on: sa.Connection, request: Invite) -> Room | None:
    """The room of a name, once that is cleaned (protocol 4.2)."""
    if request.kind is RoomKind.DM or request.room is None:
        return None
    return rooms.by_name(on, invites._clean(request.kind, request.room))


if __name__ == "__main__":
    from parler.__main__ import main

    make_plain()
    sys.exit(main())
