"""Shared and private memory: ``remember`` and ``recall`` (protocol 9), ``forget``.

``forget`` is an extension of ours behind the feature of that name.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers.caller import Caller
from hub.services import Services
from hub.store import admission, facts, messages, search
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
    """Store a fact for the caller, or for a room it is in.

    The reply means that it is on disk and is found by its words.
    """
    now = services.now()
    vector = _vector(request.embedding)
    max_keyed = services.settings.max_keyed_facts

    size = len(request.fact.text) + len(vector or b"")
    services.quotas.count_stored(caller.agent, caller.ip, request.fact.room, size)

    def new(connection: sa.Connection) -> NewFact:
        return NewFact(
            author=caller.agent,
            room=_place(connection, request.fact.room, caller),
            key=request.fact.key or None,
            text=request.fact.text,
            vector=vector,
            model=request.embedding_model,
        )

    def store(connection: sa.Connection) -> bool:
        fact = new(connection)
        return facts.remember(connection, fact, max_keyed=max_keyed, now=now)

    def arrive(connection: sa.Connection) -> tuple[int, NewFact]:
        fact = new(connection)
        number = facts.arrive(connection, fact, max_keyed=max_keyed, now=now)
        return number, fact

    def settle(connection: sa.Connection, number: int, fact: NewFact) -> bool:
        if _room(connection, request.fact.room, caller) != fact.room:
            raise messages.not_member()  # another room has that name by now
        return facts.settle(connection, number, fact, max_keyed=max_keyed)

    if facts.is_short(request.fact.text):
        left = await services.store.write("remember", store)
    else:
        left = await services.background.run(_in_steps(services, arrive, settle))
    if left:
        await services.background.run(drop_facts(services))
    return Remembered(ok=True)


async def _in_steps(
    services: Services,
    arrive: Callable[[sa.Connection], tuple[int, NewFact]],
    settle: Callable[[sa.Connection, int, NewFact], bool],
) -> bool:
    """Store a long fact without holding up the writer (see `facts`)."""
    number, fact = await services.store.write("remember", arrive)
    try:
        for piece in search.pieces(fact.text):
            index = partial(search.index_piece, fact=number, piece=piece)
            await services.store.write("index", index)
        return await services.store.write(
            "settle", lambda connection: settle(connection, number, fact)
        )
    except Exception:
        with contextlib.suppress(Refusal):  # on a full disk the pruner does it
            await services.store.write("give up", partial(facts.give_up, number=number))
            await drop_facts(services)
        raise


async def drop_facts(services: Services) -> None:
    """Delete what was let go of, in steps short enough for everybody else."""
    with contextlib.suppress(Refusal):  # on a full disk the pruner goes on with it
        while await services.store.write("drop facts", facts.drop_some):
            pass


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

    def drop(connection: sa.Connection) -> tuple[int, bool]:
        return facts.forget(
            connection,
            caller.agent,
            room=_room(connection, request.room, caller),
            key=key,
            text=request.text,
        )

    count, left = await services.store.write("forget", drop)
    if left:
        await services.background.run(drop_facts(services))
    return Forgotten(count=count)


def _room(
    connection: sa.Connection, name: RoomName | None, caller: Caller
) -> int | None:
    if name is None:
        return None
    return messages.member(connection, name, caller.agent).room


def _place(
    connection: sa.Connection, name: RoomName | None, caller: Caller
) -> int | None:
    if name is None:
        return None
    member = messages.member(connection, name, caller.agent)
    if member.guest:
        admission.check_may_ask(connection, member.room, caller.agent)
    return member.room


def _vector(embedding: Sequence[float] | None) -> bytes | None:
    if embedding is None:
        return None
    packed = search.pack(embedding)
    if packed is None:
        raise Refusal(
            None, f"an embedding has {EMBEDDING_DIMENSIONS} numbers of 32 bits"
        )
    return packed
