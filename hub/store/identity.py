"""The hub's own id: random, made with its database, and kept for as long as that.

It goes where the database goes, so a hub that was moved is the same hub.
"""

import sqlalchemy as sa

from hub.ids import hub_id as new_hub_id
from hub.store.schema import meta

_KEY = "hub_id"


def hub_id(connection: sa.Connection) -> str:
    """The id in 32 hex digits; a database that has none yet is given one.

    It is a row that older programs do not look at, so that they can still open the
    database.
    """
    known = connection.execute(
        sa.select(meta.c.value).where(meta.c.key == _KEY)
    ).scalar_one_or_none()
    if known is not None:
        return str(known)
    made = new_hub_id()
    connection.execute(sa.insert(meta).values(key=_KEY, value=made))
    return made
