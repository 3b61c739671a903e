"""What agents remember, for themselves or in a room (protocol 9).

Who may write to a room is for whoever calls; what an agent may find is decided here,
as part of each query. How words and vectors are compared is in `search`.
"""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.store import search
from hub.store.members import sees
from hub.store.schema import facts, members, rooms
from parler.wire.base import AgentId
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_PULLED_BYTES
from parler.wire.records import RecallHit

MAX_CANDIDATES = 200
"""How deep words and vectors are each looked into before they are fused."""

_CANDIDATES_PER_HIT = 5
_LOADED_TOGETHER = 8
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFact:
    """Something to remember; without a room it is for its author alone."""

    author: AgentId
    room: int | None
    key: str | None
    text: str
    vector: bytes | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to look for, in one room or in everything the agent may see.

    With a key nothing else counts; otherwise words, a vector, or both fused.
    """

    agent: AgentId
    room: int | None
    key: str | None
    query: str
    vector: bytes | None
    limit: int


def remember(
    connection: sa.Connection, fact: NewFact, *, max_keyed: int, now: int
) -> None:
    """Store a fact, in place of its author's last one under the same key there.

    The vector goes with the text it was made of: a new text without one has none.

    Raises:
        Refusal: The author has as many keyed facts as it may.
    """
    content = {
        "text": fact.text,
        "ts": now,
        "embedding": fact.vector,
        "embedding_model": fact.model,
    }
    if fact.key is not None:
        known = connection.execute(
            sa.update(facts)
            .where(
                facts.c.author == fact.author,
                facts.c.key == fact.key,
                facts.c.room.is_not_distinct_from(fact.room),
            )
            .values(**content)
        )
        if known.rowcount > 0:
            return
        if _keyed(connection, fact.author) >= max_keyed:
            raise Refusal(
                ErrorCode.AT_CAPACITY,
                "you keep too many facts with a key; use a key again",
            )
    connection.execute(
        sa.insert(facts).values(
            author=fact.author, room=fact.room, key=fact.key, **content
        )
    )


def recall(connection: sa.Connection, question: Question) -> list[RecallHit]:
    """Find facts, best first, and never more than fit one reply."""
    if question.limit <= 0:
        return []
    allowed = _visible(question)
    ranked = (
        _by_key(connection, allowed, question)
        if question.key is not None
        else _by_content(connection, allowed, question)
    )
    hits: list[RecallHit] = []
    size = 0
    for start in range(0, len(ranked), _LOADED_TOGETHER):
        for hit in _load(connection, ranked[start : start + _LOADED_TOGETHER]):
            size += len(_ENCODER.encode(hit))
            if hits and size > MAX_PULLED_BYTES:
                return hits
            hits.append(hit)
    return hits


def forget(
    connection: sa.Connection,
    author: AgentId,
    *,
    room: int | None,
    key: str | None,
    text: str | None,
) -> int:
    """Delete an author's own facts in one place; returns how many there were.

    Args:
        key: Those under this key; None leaves keys out of account.
        text: Those of exactly this text; None leaves texts out of account.
    """
    assert key is not None or text is not None, "all of them are never meant"
    mine = [facts.c.author == author, facts.c.room.is_not_distinct_from(room)]
    if key is not None:
        mine.append(facts.c.key == key)
    if text is not None:
        mine.append(facts.c.text == text)
    return connection.execute(sa.delete(facts).where(*mine)).rowcount


def _visible(question: Question) -> search.Ids:
    shared = (
        sa.select(facts.c.id)
        .join(members, members.c.room == facts.c.room)
        .where(members.c.agent == question.agent, sees(facts.c.ts, facts.c.author))
    )
    if question.room is not None:
        return shared.where(facts.c.room == question.room)
    return sa.union_all(
        sa.select(facts.c.id).where(
            facts.c.room.is_(None), facts.c.author == question.agent
        ),
        shared,
    )


def _by_key(
    connection: sa.Connection, allowed: search.Ids, question: Question
) -> search.Ranked:
    found = connection.execute(
        sa.select(facts.c.id)
        .where(facts.c.key == question.key, facts.c.id.in_(allowed))
        .order_by(facts.c.ts.desc(), facts.c.id.desc())
        .limit(question.limit)
    )
    return [(number, 0.0) for number in found.scalars()]


def _by_content(
    connection: sa.Connection, allowed: search.Ids, question: Question
) -> search.Ranked:
    depth = min(question.limit * _CANDIDATES_PER_HIT, MAX_CANDIDATES)
    words = search.by_text(connection, allowed, question.query, limit=depth)
    near: search.Ranked = []
    if question.vector is not None:
        near = search.by_vector(connection, allowed, question.vector, limit=depth)
    return search.fuse(words, near)[: question.limit]


def _load(connection: sa.Connection, ranked: search.Ranked) -> list[RecallHit]:
    found = connection.execute(
        sa.select(
            facts.c.id,
            facts.c.text,
            facts.c.key,
            facts.c.author,
            facts.c.ts,
            rooms.c.name,
        )
        .outerjoin(rooms, rooms.c.id == facts.c.room)
        .where(facts.c.id.in_([number for number, _ in ranked]))
    )
    rows = {row.id: row for row in found}
    return [
        RecallHit(
            text=rows[number].text,
            key=rows[number].key,
            room=rows[number].name,
            author=rows[number].author,
            ts=rows[number].ts,
            score=score,
        )
        for number, score in ranked
    ]


def _keyed(connection: sa.Connection, author: AgentId) -> int:
    return connection.execute(
        sa.select(sa.func.count()).where(
            facts.c.author == author, facts.c.key.is_not(None)
        )
    ).scalar_one()
