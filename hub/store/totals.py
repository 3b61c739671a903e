"""What a hub has stored since its database was made, kept beside the messages.

Retention and deleted rooms do not take from it. It is brought up to date when somebody
asks; what was deleted before that is not in it.
"""

import sqlalchemy as sa

from hub.store.schema import meta
from hub.store.viewer import Count

_KEY = "totals"
_PROBE = "written"


def load(connection: sa.Connection) -> Count:
    """The count as it was last kept."""
    value = connection.execute(
        sa.select(meta.c.value).where(meta.c.key == _KEY)
    ).scalar_one_or_none()
    try:
        seq, messages, tokens = map(int, (value or "0 0 0").split())
    except ValueError:
        return Count()
    return Count(seq, messages, tokens)


def keep(connection: sa.Connection, count: Count) -> None:
    """Keep a count, so that a restart goes on from it."""
    _put(connection, _KEY, f"{count.seq} {count.messages} {count.tokens}")


def touch(connection: sa.Connection, *, now: int) -> None:
    """Write something, to find out whether the database can be written."""
    _put(connection, _PROBE, str(now))


def _put(connection: sa.Connection, key: str, value: str) -> None:
    known = connection.execute(
        sa.update(meta).where(meta.c.key == key).values(value=value)
    )
    if known.rowcount == 0:
        connection.execute(sa.insert(meta).values(key=key, value=value))
