"""What was taken of a day's shares, kept beside what it was taken for.

Rows that older programs do not look at, as with the hub's id.
"""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from hub.errors import Refusal
from hub.store.schema import meta

_PREFIX = "taken "
_OURS = meta.c.key.startswith(_PREFIX, autoescape=True)


class KeptShare(NamedTuple):
    """Bytes that somebody took since some time, in epoch milliseconds."""

    kind: str
    key: str
    began: int
    bytes: int


def load(connection: sa.Connection) -> list[KeptShare]:
    """All that were kept, also those of days that are over."""
    found = connection.execute(sa.select(meta.c.key, meta.c.value).where(_OURS))
    shares = []
    for row in found:
        kind, _, key = row.key.removeprefix(_PREFIX).partition(" ")
        began, taken = map(int, row.value.split())
        shares.append(KeptShare(kind, key, began, taken))
    return shares


def keep(
    connection: sa.Connection, shares: Sequence[KeptShare]
) -> list[Refusal | None]:
    """Put these in the place of what was kept before."""
    for share in shares:
        key = f"{_PREFIX}{share.kind} {share.key}"
        connection.execute(sa.delete(meta).where(meta.c.key == key))
        value = f"{share.began} {share.bytes}"
        connection.execute(sa.insert(meta).values(key=key, value=value))
    return [None] * len(shares)


def forget(connection: sa.Connection, *, before: int) -> None:
    """Drop those that began before a time, in epoch milliseconds."""
    began = sa.cast(meta.c.value, sa.BigInteger)  # SQLite reads the first number
    connection.execute(sa.delete(meta).where(_OURS, began < before))
