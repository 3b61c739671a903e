"""Shared and private memory: ``remember`` and ``recall`` (protocol 9), ``forget``.

``forget`` is an extension of ours behind the feature of that name.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers.caller import Caller
from hub.services import Services
from hub.store import facts, messages, rooms, search
from hub.store.facts import NewFact, Question
from parler.wire import requests
from parler.wire.base import RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import DEFAULT_RECALL_LIMIT, EMBEDDING_DIMENSIONS
from parler.wire.records import RecallHit
from parler.wire.replies import Forgotten, Recalled, Remembered

MAX_RECALL_LIMIT = 50


async def remember(
    services: Services, caller: Caller, request: requests.Remember
) -> Remembered:
    """Store a fact for the caller, or for a room it is in."""
    now = services.now()
    vector = _vector(request.embedding)

    def store(connection: sa.Connection) -> None:
        fact = NewFact(
            author=caller.agent,
            room=_room(connection, request.fact.room, caller),
            key=request.fact.key or None,
            text=request.fact.text,
            vector=vector,
            model=request.embedding_model,
        )
        limit = services.settings.max_keyed_facts
        facts.remember(connection, fact, max_keyed=limit, now=now)

    await services.store.write("remember", store)
    return Remembered(ok=True)


async def recall(
    services: Services, caller: Caller, request: requests.Recall
) -> Recalled:
    """Find facts of the caller and of its rooms."""
    vector = _vector(request.embedding)
    asked = DEFAULT_RECALL_LIMIT if request.limit is None else request.limit

    def look(connection: sa.Connection) -> list[RecallHit]:
        question = Question(
            agent=caller.agent,
            room=_room(connection, request.room, caller),
            key=request.key or None,
            query=request.query,
            vector=vector,
            limit=min(asked, MAX_RECALL_LIMIT),
        )
        return facts.recall(connection, question)

    return Recalled(hits=await services.store.read("recall", look, long=True))


async def forget(
    services: Services, caller: Caller, request: requests.Forget
) -> Forgotten:
    """Drop facts of the caller's own, in a room it is in or private to it."""
    key = request.key or None
    if key is None and request.text is None:
        raise Refusal(ErrorCode.BAD_FRAME, "forget needs a key or a text")

    def drop(connection: sa.Connection) -> int:
        return facts.forget(
            connection,
            caller.agent,
            room=_room(connection, request.room, caller),
            key=key,
            text=request.text,
        )

    return Forgotten(count=await services.store.write("forget", drop))


def _room(
    connection: sa.Connection, name: RoomName | None, caller: Caller
) -> int | None:
    if name is None:
        return None
    room = rooms.by_name(connection, name)
    if room is None or not messages.is_member(connection, room.id, caller.agent):
        raise messages.not_member()
    return room.id


def _vector(embedding: Sequence[float] | None) -> bytes | None:
    if embedding is None:
        return None
    packed = search.pack(embedding)
    if packed is None:
        raise Refusal(
            None, f"an embedding has {EMBEDDING_DIMENSIONS} numbers of 32 bits"
        )
    return packed
