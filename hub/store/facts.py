"""What agents remember, for themselves or in a room (protocol 9).

Who may write to a room is for whoever calls; what an agent may find is decided here,
as part of each query. How words and vectors are compared is in `search`.

A long fact comes and goes in steps, since indexing its words at once would hold up the
writer: it arrives, is indexed piece by piece, and is found from the last step on. What
is to go is found no more from the first.
"""

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.store import by_hand, search
from hub.store.members import sees
from hub.store.messages import not_member
from hub.store.schema import (
    FactState,
    fact_pieces,
    facts,
    members,
    unsettled,
)
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


def is_short(text: str) -> bool:
    """Whether a fact may be stored in one step, by `remember`."""
    return len(search.pieces(text)) == 1


def remember(
    connection: sa.Connection, fact: NewFact, *, max_keyed: int, now: int
) -> bool:
    """Store a short fact, in place of its author's last one under the same key there.

    The vector goes with the text it was made of: a new text without one has none.

    Returns:
        Whether there is something left for `drop_some`.

    Raises:
        Refusal: The author has as many keyed facts as it may.
    """
    content = {
        "text": fact.text,
        "ts": now,
        "embedding": fact.vector,
        "embedding_model": fact.model,
    }
    left = False
    if fact.key is not None:
        left = _let_go_of_long(connection, *_under_its_key(fact)) > 0
        known = connection.execute(
            sa.update(facts).where(*_under_its_key(fact)).values(**content)
        )
        if known.rowcount > 0:
            return left
        if not left:
            _check_keyed(connection, fact, max_keyed=max_keyed)
    _insert(connection, fact, FactState.LIVE, now=now)
    return left


def arrive(
    connection: sa.Connection, fact: NewFact, *, max_keyed: int, now: int
) -> int:
    """Store a long fact that nobody finds yet; returns its number.

    Raises:
        Refusal: The author has as many keyed facts as it may.
    """
    _check_keyed(connection, fact, max_keyed=max_keyed)
    return _insert(connection, fact, FactState.ARRIVING, now=now)


def settle(
    connection: sa.Connection, number: int, fact: NewFact, *, max_keyed: int
) -> bool:
    """Have a fact found whose words are indexed, in place of the last of its key.

    Returns:
        Whether there is something left for `drop_some`.

    Raises:
        Refusal: Its room is gone, or the author has as many keyed facts as it may.
    """
    left = False
    if fact.key is not None:
        gone, left = let_go(connection, *_under_its_key(fact))
        if not gone:
            _check_keyed(connection, fact, max_keyed=max_keyed)
    settled = connection.execute(
        sa.update(facts)
        .where(facts.c.id == number, facts.c.state == FactState.ARRIVING)
        .values(state=FactState.LIVE)
    )
    if settled.rowcount == 0:
        raise not_member()
    return left


def give_up(connection: sa.Connection, number: int) -> None:
    """Let go of a fact that arrived and will not settle."""
    _give_up(connection, facts.c.id == number)


def give_up_stale(connection: sa.Connection, *, before: int) -> int:
    """Let go of facts that arrived before then and never settled."""
    return _give_up(connection, facts.c.ts < before)


def _give_up(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(
        sa.update(facts)
        .where(unsettled, facts.c.state == FactState.ARRIVING, which)
        .values(state=FactState.LEAVING)
    ).rowcount


def let_go(
    connection: sa.Connection, *which: sa.ColumnElement[bool]
) -> tuple[int, bool]:
    """Delete facts, or at least have them found no more.

    Returns:
        How many there were, and whether something is left for `drop_some`.
    """
    long = _let_go_of_long(connection, *which)
    short = connection.execute(
        sa.delete(facts).where(*which, facts.c.state != FactState.LEAVING)
    )
    return long + short.rowcount, long > 0


def drop_some(connection: sa.Connection) -> int:
    """Delete a bit of what was let go of; 0 if there is none."""
    number = connection.execute(
        sa.select(facts.c.id)
        .where(unsettled, facts.c.state == FactState.LEAVING)
        .limit(1)
    ).scalar_one_or_none()
    if number is None:
        return 0
    piece = (
        sa.select(fact_pieces.c.id)
        .where(search.is_piece_of(number))
        .limit(1)
        .scalar_subquery()
    )
    dropped = connection.execute(
        sa.delete(fact_pieces).where(fact_pieces.c.id == piece)
    )
    if dropped.rowcount == 0:
        connection.execute(sa.delete(facts).where(facts.c.id == number))
    return 1


def recall(connection: sa.Connection, question: Question) -> list[RecallHit]:
    """Find facts, best first, and never more than fit one reply."""
    if question.limit <= 0:
        return []
    ranked = (
        _by_key(connection, question)
        if question.key is not None
        else _by_content(connection, question)
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
) -> tuple[int, bool]:
    """Delete an author's own facts in one place.

    Args:
        key: Those under this key; None leaves keys out of account.
        text: Those of exactly this text; None leaves texts out of account.

    Returns:
        How many there were, and whether something is left for `drop_some`.
    """
    assert key is not None or text is not None, "all of them are never meant"
    mine = [
        facts.c.author == author,
        facts.c.room.is_not_distinct_from(room),
        facts.c.state == FactState.LIVE,
    ]
    if key is not None:
        mine.append(facts.c.key == key)
    if text is not None:
        mine.append(facts.c.text == text)
    return let_go(connection, *mine)


def _under_its_key(fact: NewFact) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        facts.c.author == fact.author,
        facts.c.key == fact.key,
        facts.c.room.is_not_distinct_from(fact.room),
        facts.c.state == FactState.LIVE,
    )


_INSERT = (
    "INSERT INTO facts "
    "(author, room, key, text, ts, embedding, embedding_model, state) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)


def _insert(
    connection: sa.Connection, fact: NewFact, state: FactState, *, now: int
) -> int:
    [(number,)] = by_hand.rows(
        connection,
        _INSERT,
        fact.author,
        fact.room,
        fact.key,
        fact.text,
        now,
        fact.vector,
        fact.model,
        int(state),
    )
    return int(number)


def _let_go_of_long(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
    pieces = (
        sa.select(sa.func.count())
        .where(search.is_piece_of(facts.c.id))
        .scalar_subquery()
    )
    # One that arrives has few pieces yet, or none, and gets no more from now on.
    long = (facts.c.state == FactState.ARRIVING) | (pieces > 1)
    return connection.execute(
        sa.update(facts)
        .where(*which, facts.c.state != FactState.LEAVING, long)
        .values(state=FactState.LEAVING)
    ).rowcount


def _visible(question: Question) -> search.Ids:
    shared = (
        sa.select(facts.c.id)
        .join(members, members.c.room == facts.c.room)
        .where(
            members.c.agent == question.agent,
            facts.c.state == FactState.LIVE,
            sees(facts.c.ts, facts.c.author),
        )
    )
    if question.room is not None:
        return shared.where(facts.c.room == question.room)
    return sa.union_all(
        sa.select(facts.c.id).where(
            facts.c.room.is_(None),
            facts.c.author == question.agent,
            facts.c.state == FactState.LIVE,
        ),
        shared,
    )


def _by_key(connection: sa.Connection, question: Question) -> search.Ranked:
    found = connection.execute(
        sa.select(facts.c.id)
        .where(facts.c.key == question.key, facts.c.id.in_(_visible(question)))
        .order_by(facts.c.ts.desc(), facts.c.id.desc())
        .limit(question.limit)
    )
    return [(number, 0.0) for number in found.scalars()]


def _by_content(connection: sa.Connection, question: Question) -> search.Ranked:
    depth = min(question.limit * _CANDIDATES_PER_HIT, MAX_CANDIDATES)
    shelf = _shelf(connection, question)
    words = search.by_text(connection, shelf, question.query, limit=depth)
    near: search.Ranked = []
    if question.vector is not None:
        allowed = _visible(question)
        near = search.by_vector(connection, allowed, question.vector, limit=depth)
    return search.fuse(words, near)[: question.limit]


def _shelf(connection: sa.Connection, question: Question) -> search.Shelf:
    agent, room = question.agent, question.room
    if room is None:
        own = search.place_of(None, agent)
        used = by_hand.rows(connection, _USED, agent)
        used += by_hand.rows(connection, _USED_ALONE, own)
    else:
        used = by_hand.rows(connection, _USED_IN_ROOM, agent, room)
    places = [place for place, _ in used]
    if not _some_hidden(connection, agent, room):
        size = sum(live for _, live in used)
        return search.Shelf(places=places, size=size, findable=None)

    def findable(numbers: Collection[int]) -> set[int]:
        found = connection.execute(
            sa.select(facts.c.id)
            .outerjoin(
                members,
                (members.c.room == facts.c.room) & (members.c.agent == agent),
            )
            .where(
                search.among(facts.c.id, numbers),
                facts.c.state == FactState.LIVE,
                sa.case(
                    (facts.c.room.is_(None), facts.c.author == agent),
                    else_=members.c.agent.is_not(None)
                    & sees(facts.c.ts, facts.c.author),
                ),
            )
        )
        return set(found.scalars())

    return search.Shelf(
        places=places,
        size=_count(connection, facts.c.id.in_(_visible(question))),
        findable=findable,
    )


# As `search.place_of` spells a place.
_USED = (
    "SELECT used.place, used.live FROM members JOIN fact_counts AS used "
    "ON used.place = 'r' || members.room WHERE members.agent = ?"
)
_USED_IN_ROOM = _USED + " AND members.room = ?"
_USED_ALONE = "SELECT place, live FROM fact_counts WHERE place = ?"

_RESTRICTED = "SELECT 1 FROM members WHERE agent = ?{} AND (floor != 0 OR guest)"
# No index by room: of the unsettled there are few, of those in a room many.
_MOVING = (
    "SELECT 1 FROM facts WHERE state != 0 AND ((room IS NULL AND author = ?) "
    "OR room + 0 IN (SELECT room FROM members WHERE agent = ?{}))"
)


def _some_hidden(connection: sa.Connection, agent: AgentId, room: int | None) -> bool:
    """Whether an agent may not find all that is in its places, or was lately."""
    there = "" if room is None else " AND room = ?"
    who = (agent,) if room is None else (agent, room)
    restricted = by_hand.row(connection, _RESTRICTED.format(there) + " LIMIT 1", *who)
    if restricted is not None:
        return True
    moving = _MOVING.format(there) + " LIMIT 1"
    return by_hand.row(connection, moving, agent, *who) is not None


def _count(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(facts).where(which)
    return connection.execute(counted).scalar_one()


_LOADED = (
    "SELECT facts.id, facts.text, facts.key, facts.author, facts.ts, rooms.name "
    "FROM facts LEFT JOIN rooms ON rooms.id = facts.room WHERE facts.id IN ({})"
)


def _load(connection: sa.Connection, ranked: search.Ranked) -> list[RecallHit]:
    numbers = [number for number, _ in ranked]
    marks = ", ".join("?" * len(numbers))
    found = {
        number: rest
        for number, *rest in by_hand.rows(connection, _LOADED.format(marks), *numbers)
    }
    hits = []
    for number, score in ranked:
        text, key, author, ts, room = found[number]
        hits.append(
            RecallHit(text=text, key=key, room=room, author=author, ts=ts, score=score)
        )
    return hits


def _check_keyed(connection: sa.Connection, fact: NewFact, *, max_keyed: int) -> None:
    if fact.key is None:
        return
    mine = sa.select(sa.func.count()).where(
        facts.c.author == fact.author,
        facts.c.key.is_not(None),
        facts.c.state == FactState.LIVE,
    )
    same = sa.select(facts.c.id).where(*_under_its_key(fact))
    if connection.execute(same).first() is not None:
        return
    if connection.execute(mine).scalar_one() >= max_keyed:
        raise Refusal(
            ErrorCode.AT_CAPACITY,
            "you keep too many facts with a key; use a key again",
        )
