"""Which blobs there are and which rooms they belong to (protocol 8)."""

from dataclasses import dataclass

import sqlalchemy as sa

from hub.errors import Refusal
from hub.store.members import sees
from hub.store.schema import blob_rooms, blobs, members, messages, rooms
from parler.wire.base import AgentId, Digest, RoomName
from parler.wire.codes import ErrorCode


@dataclass(frozen=True, slots=True)
class Found:
    """A blob somebody may read: its size in bytes and its media type there."""

    size: int
    media_type: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of blobs that are there, without one that is asked for."""

    all: int
    of_agent: int
    of_room: int


def held(
    connection: sa.Connection, digest: Digest, *, agent: AgentId, room: int | None
) -> Held:
    """What there is beside a blob; one that is there already takes nothing."""
    size = sa.func.coalesce(sa.func.sum(blobs.c.size), 0)
    others = sa.select(size).where(blobs.c.digest != digest)

    def bound(which: sa.ColumnElement[bool]) -> sa.Select[int]:
        digests = sa.select(blob_rooms.c.digest).where(which)
        return others.where(blobs.c.digest.in_(digests))

    return Held(
        connection.execute(others).scalar_one(),
        connection.execute(bound(blob_rooms.c.author == agent)).scalar_one(),
        connection.execute(bound(blob_rooms.c.room == room)).scalar_one(),
    )


def is_known(connection: sa.Connection, digest: Digest) -> bool:
    """Whether there is a row for a blob at all."""
    found = connection.execute(
        sa.select(blobs.c.digest).where(blobs.c.digest == digest)
    )
    return found.first() is not None


def unknown(connection: sa.Connection, digests: list[Digest]) -> list[Digest]:
    """Those of some digests there is no row for."""
    known = set(
        connection.execute(
            sa.select(blobs.c.digest).where(blobs.c.digest.in_(digests))
        ).scalars()
    )
    return [digest for digest in digests if digest not in known]


def bind(
    connection: sa.Connection,
    digest: Digest,
    size: int,
    *,
    room: int,
    author: AgentId,
    media_type: str | None,
    now: int,
) -> None:
    """Note a blob whose bytes are on disk, in a room."""
    known = connection.execute(
        sa.update(blobs).where(blobs.c.digest == digest).values(last_fetched=now)
    )
    if known.rowcount == 0:
        connection.execute(
            sa.insert(blobs).values(digest=digest, size=size, created=now)
        )
    where = (blob_rooms.c.digest == digest) & (blob_rooms.c.room == room)
    # Whoever uploads it again shows it anew, also to who may not see what was before.
    bound = connection.execute(sa.update(blob_rooms).where(where).values(created=now))
    if bound.rowcount == 0:
        connection.execute(
            sa.insert(blob_rooms).values(
                digest=digest,
                room=room,
                author=author,
                media_type=media_type,
                created=now,
            )
        )


def readable_by(connection: sa.Connection, digest: Digest, agent: AgentId) -> Found:
    """A blob of one of the agent's rooms.

    Whether a blob exists in rooms the agent is not in is not told (protocol 13.15).

    Raises:
        Refusal: There is none.
    """
    # What a service answers a guest with: who names it in the guest's own work.
    told = sa.select(messages.c.seq).where(
        members.c.guest,
        messages.c.room == members.c.room,
        messages.c.requester == members.c.agent,
        messages.c.author != members.c.agent,
        sa.func.instr(messages.c.record, digest) > 0,
    )
    found = connection.execute(
        sa.select(blobs.c.size, blob_rooms.c.media_type)
        .join(blob_rooms, blob_rooms.c.digest == blobs.c.digest)
        .join(members, members.c.room == blob_rooms.c.room)
        .where(
            blobs.c.digest == digest,
            members.c.agent == agent,
            sees(blob_rooms.c.created, blob_rooms.c.author) | told.exists(),
        )
        .order_by(blob_rooms.c.created)
        .limit(1)
    ).one_or_none()
    if found is None:
        raise Refusal(ErrorCode.UNKNOWN_BLOB, "no such blob in your rooms")
    return Found(found.size, found.media_type)


def media_type(
    connection: sa.Connection, digest: Digest, room: RoomName
) -> tuple[int, str | None] | None:
    """Size and media type of a blob in a room, or None if it is not bound there."""
    found = connection.execute(
        sa.select(blobs.c.size, blob_rooms.c.media_type)
        .join(blob_rooms, blob_rooms.c.digest == blobs.c.digest)
        .join(rooms, rooms.c.id == blob_rooms.c.room)
        .where(blobs.c.digest == digest, rooms.c.name == room)
    ).one_or_none()
    return None if found is None else (found.size, found.media_type)


def note_fetched(connection: sa.Connection, digest: Digest, *, now: int) -> None:
    """Keep a blob from looking idle."""
    connection.execute(
        sa.update(blobs).where(blobs.c.digest == digest).values(last_fetched=now)
    )


def forget_useless(
    connection: sa.Connection, *, idle_before: int, limit: int
) -> list[Digest]:
    """Drop blobs nobody fetched for long, and those no room has any more.

    Args:
        idle_before: Epoch milliseconds; 0 keeps all that a room still has.

    Returns:
        The digests whose bytes may be deleted.
    """
    last = sa.func.coalesce(blobs.c.last_fetched, blobs.c.created)
    bound = sa.select(blob_rooms.c.digest).where(blob_rooms.c.digest == blobs.c.digest)
    digests = list(
        connection.execute(
            sa.select(blobs.c.digest)
            .where((last < idle_before) | ~bound.exists())
            .limit(limit)
        ).scalars()
    )
    for table in (blob_rooms, blobs):
        connection.execute(sa.delete(table).where(table.c.digest.in_(digests)))
    return [Digest(digest) for digest in digests]
