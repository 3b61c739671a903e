"""The tables. What each function does with them is in the module of its aggregate.

A message's `record` is its wire JSON without ``seq``, exactly as it goes out again;
the columns beside it are what the hub itself needs to know. Rooms have a number that
is never used again, so nothing of a deleted room can surface in a later one of the
same name.
"""

from enum import IntEnum

import sqlalchemy as sa

SCHEMA_VERSION = 5
"""What this code expects of a database; see `migrations`."""

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text),
    sa.Column("first_seen", sa.BigInteger, nullable=False),
    sa.Column("last_seen", sa.BigInteger, nullable=False),
)

presence = sa.Table(
    "presence",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("activity", sa.Text),
    sa.Column("attention", sa.Text),
    sa.Column("ts", sa.BigInteger, nullable=False),
)

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, index=True),
    sa.Column("gated", sa.Boolean, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("joined", sa.BigInteger, nullable=False),
    sa.Column("cursor", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("approved", sa.Boolean, nullable=False, server_default="0"),
    sa.Column("guest", sa.Boolean, nullable=False, server_default="0"),
    sa.Index("members_agent", "agent"),
)

former_members = sa.Table(
    "former_members",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("joined", sa.BigInteger, nullable=False),
    sa.Column("floor", sa.BigInteger, nullable=False),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("room", sa.Integer, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("requester", sa.Text),
    sa.Index("messages_room", "room", "seq"),
    sqlite_autoincrement=True,
)
sa.Index(
    "messages_client_id",
    messages.c.room,
    messages.c.author,
    messages.c.client_id,
    unique=True,
    sqlite_where=messages.c.client_id.is_not(None),
)
in_service = messages.c.requester.is_not(None)
messages_requester = sa.Index(
    "messages_requester",
    messages.c.room,
    messages.c.requester,
    messages.c.seq,
    sqlite_where=in_service,
)
messages_in_service = sa.Index(
    "messages_in_service", messages.c.room, messages.c.id, sqlite_where=in_service
)

invites = sa.Table(
    "invites",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("room", sa.Integer, nullable=False, index=True),
    sa.Column("max_uses", sa.BigInteger, nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("gated", sa.Boolean, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
)

join_requests = sa.Table(
    "join_requests",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("requested", sa.BigInteger, nullable=False),
)

directory = sa.Table(
    "directory",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("visibility", sa.Text, nullable=False),
    sa.Column("card", sa.Text, nullable=False),
    sa.Column("sig", sa.Text),
    sa.Column("verified", sa.Boolean, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
)
directory_name = sa.Index("directory_name", directory.c.name)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("room", sa.Integer, index=True),
    sa.Column("created_by", sa.Text, nullable=False, index=True),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
)

service_workers = sa.Table(
    "service_workers",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("admitted", sa.Boolean, nullable=False, server_default="0"),
)

dispatches = sa.Table(
    "dispatches",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("message", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Index("dispatches_seq", "room", "seq"),
)

ACTIVE = "active"
"""The state of a claim until its holder completes the task."""

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("message", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("claimed", sa.BigInteger, nullable=False),
    sa.Column("lease_until", sa.BigInteger, nullable=False),
)


class FactState(IntEnum):
    """Whether a fact is found: not before all of it is indexed, nor while it goes."""

    LIVE = 0
    ARRIVING = 1
    LEAVING = 2


facts = sa.Table(
    "facts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("room", sa.Integer),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("ts", sa.BigInteger, nullable=False),
    sa.Column("embedding", sa.LargeBinary),
    sa.Column("embedding_model", sa.Text),
    sa.Column("state", sa.Integer, nullable=False, server_default="0"),
    sa.Index("facts_room", "room", "author"),
    sa.Index("facts_key", "author", "key"),
    sqlite_autoincrement=True,
)

unsettled = facts.c.state != sa.literal_column(str(int(FactState.LIVE)))
"""The few that arrive or leave; SQLite finds them by index only with these words."""

facts_state = sa.Index("facts_state", facts.c.state, sqlite_where=unsettled)

fact_counts = sa.Table(
    "fact_counts",
    metadata,
    sa.Column("place", sa.Text, primary_key=True),
    sa.Column("live", sa.Integer, nullable=False),
)
"""How many facts may be found in each place that has any; triggers keep it."""

fact_pieces = sa.Table(
    "fact_pieces",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("start", sa.Integer, nullable=False),
    sa.Column("length", sa.Integer, nullable=False),
)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("last_fetched", sa.BigInteger),
    sa.Index("blobs_idle", "created"),
)

blob_rooms = sa.Table(
    "blob_rooms",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("room", sa.Integer, primary_key=True),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("media_type", sa.Text),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Index("blob_rooms_room", "room"),
)
