"""Who may work for a service: what older databases say, and what restarts change.

What each request is answered is in `tests/conformance/test_service_admission.py`.
"""

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from hub.store import retention
from hub.store.engine import Store
from parler.identity.signing import Keypair
from parler.wire.base import Code, MessageId, RoomName
from parler.wire.parts import DispatchPart, Part, TextPart
from parler.wire.records import RoomKind, RoomTarget, ServiceTarget, Target
from parler.wire.replies import (
    Claimed,
    Invited,
    Joined,
    JoinPending,
    JoinResolved,
    Pulled,
    Queued,
    Sent,
    WorkerAdmitted,
)
from parler.wire.requests import (
    AdmitWorker,
    Claim,
    Invite,
    Pull,
    Queue,
    Redeem,
    ResolveJoin,
    Send,
    Serve,
)
from tests._support.memory_hub import MemoryHub, Peer, memory_hub
from tests._support.old_schemas import make_schema_3

ROOM = RoomName("svc.review")
REVIEW = ServiceTarget(service="review")
BOSS, ANN, BOB = (Keypair.generate() for _ in range(3))


def raw(*parts: Part) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(parts))


async def says(
    peer: Peer, target: Target, *parts: Part, reply_to: str | None = None
) -> MessageId:
    sent = await peer.asks(
        Send(target=target, parts=raw(*parts), reply_to=reply_to), Sent
    )
    return sent.id


async def seen(peer: Peer) -> list[str]:
    pulled = await peer.asks(Pull(room=ROOM, since=0), Pulled)
    return [message.id for message in pulled.messages]


async def waiting(peer: Peer) -> list[str]:
    queued = await peer.asks(Queue(room=ROOM, role="review"), Queued)
    return [message.id for message in queued.messages]


async def everybody(hub: MemoryHub) -> list[Peer]:
    names = {"boss": BOSS, "ann": ANN, "bob": BOB}
    return [await hub.sign_in(name, key) for name, key in names.items()]


async def before_the_rule(folder: Path, *, gated: bool) -> list[MessageId]:
    """A service of boss, with a task of ann that bob holds and answered."""
    async with memory_hub(folder) as hub:
        boss, ann, bob = await everybody(hub)
        for worker in (boss, bob):
            await worker.asks(Serve(service="review"), Joined)
        key = await boss.asks(
            Invite(kind=RoomKind.CHANNEL, require_approval=gated), Invited
        )
        if gated:
            await ann.asks(Redeem(code=Code(key.code)), JoinPending)
            await boss.asks(
                ResolveJoin(room=key.room, agent=ann.id, approve=True), JoinResolved
            )
        else:
            await ann.asks(Redeem(code=Code(key.code)), Joined)
        task = await says(ann, REVIEW, TextPart(text="?"), DispatchPart(role="review"))
        claimed = await bob.asks(Claim(room=ROOM, message=task), Claimed)
        assert claimed.claimed
        here = RoomTarget(room=ROOM)
        answer = await says(bob, here, TextPart(text="!"), reply_to=task)
        other = await says(bob, here, TextPart(text="among us"))
        return [task, answer, other]


async def test_workers_of_an_older_database_wait_for_the_owner(tmp_path: Path) -> None:
    task, answer, _ = said = await before_the_rule(tmp_path, gated=True)
    with closing(sqlite3.connect(tmp_path / "hub.sqlite")) as old, old:
        make_schema_3(old)
    async with memory_hub(tmp_path, public=True) as hub:
        boss, ann, bob = await everybody(hub)
        assert await seen(boss) == said
        assert await waiting(boss) == [task], "nobody unadmitted holds on to work"
        assert await seen(ann) == [task, answer]
        assert await seen(bob) == said[2:], "nothing that belongs to ann"
        assert await waiting(bob) == []
        await says(ann, REVIEW, TextPart(text="let in by approval, so known"))
        admit = AdmitWorker(service="review", agent=bob.id)
        await boss.asks(admit, WorkerAdmitted)
        assert await waiting(bob) == [task]
    async with memory_hub(tmp_path, public=True) as hub:  # it is on disk
        _, _, bob = await everybody(hub)
        assert await waiting(bob) == [task]


async def test_members_by_a_key_for_anybody_are_not_known(tmp_path: Path) -> None:
    await before_the_rule(tmp_path, gated=False)
    with closing(sqlite3.connect(tmp_path / "hub.sqlite")) as old, old:
        make_schema_3(old)
    async with memory_hub(tmp_path, public=True) as hub:
        _, ann, _ = await everybody(hub)
        frame = Send(target=REVIEW, parts=raw(TextPart(text="x")))
        assert await ann.is_refused(frame) == "not_authorized"


async def test_the_flag_gives_the_old_rule_back_and_takes_it_again(
    tmp_path: Path,
) -> None:
    said = await before_the_rule(tmp_path, gated=False)
    for is_open in (True, False, True):
        async with memory_hub(tmp_path, public=True, open_services=is_open) as hub:
            _, ann, bob = await everybody(hub)
            assert (await seen(ann) == said) is is_open
            assert (await seen(bob) == said) is is_open
            admit = AdmitWorker(service="review", agent=bob.id)
            refused = await ann.is_refused(admit)
            assert refused == ("bad_frame" if is_open else "not_owner")


async def test_who_waits_to_be_admitted_keeps_no_messages_from_being_pruned(
    tmp_path: Path,
) -> None:
    task, answer, other = await before_the_rule(tmp_path, gated=True)
    store = Store(tmp_path / "hub.sqlite", owners_admit=True)
    store.start()
    try:
        look = partial(
            retention.old_messages, room=1, before=2**60, keep=0, online=[], limit=9
        )
        # Of the living are bob, a guest now, and ann, who has not read her answer.
        alive = {"online": [ANN.agent_id, BOB.agent_id]}
        await store.write("prune", partial(look, **alive))
        left = await store.read(
            "left",
            lambda connection: (
                connection.exec_driver_sql("SELECT id FROM messages ORDER BY seq")
                .scalars()
                .all()
            ),
        )
        assert other not in left
        assert left == [task, answer]
    finally:
        await store.close()
