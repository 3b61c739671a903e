"""A hub that is killed before each single step it takes, and what the next one finds.

What was acknowledged is there exactly once; what was not is wholly there or not at all,
and saying it again puts that right (protocol 4.3, 5.2, 8, 10.4).
"""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.admin.pruning import Pruner
from hub.handlers.blobs import drop_useless
from hub.store import blobs, invites, members, messages, rooms, search
from hub.store.schema import blob_rooms, claims, dispatches, fact_pieces, facts
from parler.identity.signing import Keypair
from parler.wire.base import Code, Digest, RoomName
from parler.wire.records import Fact, RoomKind, RoomTarget, TaskStatus
from parler.wire.replies import (
    BlobIncoming,
    BlobReady,
    BlobStored,
    Claimed,
    Completed,
    Invited,
    Joined,
    JoinPending,
    JoinResolved,
    Pulled,
    Recalled,
    Remembered,
    Sent,
)
from parler.wire.requests import (
    Claim,
    Complete,
    GetBlob,
    Invite,
    Pull,
    PutBlob,
    Recall,
    Redeem,
    Remember,
    ResolveJoin,
    Send,
    Serve,
)
from tests._support.killing import Diary, die_at_every_step
from tests._support.memory_hub import MemoryHub, Peer, memory_hub
from tests._support.plainclient import encode_seed

ANN, BOB, EVE = (encode_seed(bytes([number]) * 32) for number in (1, 2, 3))
TASK = {"kind": "com.parler.dispatch", "role": "review", "task": "t1", "text": "do it"}
DATA = bytes(range(256)) * 400
DIGEST = Digest(hashlib.sha256(DATA).hexdigest())
LEASE = 60


async def enter(hub: MemoryHub, seed: str) -> Peer:
    return await hub.sign_in(keypair=Keypair.from_seed(seed))


async def channel(hub: MemoryHub, owner: Peer, **fields: Any) -> Invited:
    return await owner.asks(Invite(kind=RoomKind.CHANNEL, **fields), Invited)


def task(room: RoomName) -> Send:
    parts = msgspec.Raw(json.dumps([TASK]).encode())
    return Send(target=RoomTarget(room=room), parts=parts, client_id="once")


def counted(hub: MemoryHub, table: sa.Table) -> Any:
    query = sa.select(sa.func.count()).select_from(table)
    return hub.hub.store.read("count", lambda c: c.execute(query).scalar_one())


# ------------------------------------------------------------------------------- send


async def say(hub: MemoryHub, room: RoomName, diary: Diary) -> None:
    ann = await enter(hub, ANN)
    diary.begin()
    await ann.asks(task(room), Sent)
    diary.note("sent")


async def said_once(hub: MemoryHub, room: RoomName, noted: set[str]) -> None:
    ann = await enter(hub, ANN)
    there = await ann.asks(Pull(room=room, since=0), Pulled)
    assert len(there.messages) in ({1} if "sent" in noted else {0, 1})
    assert await counted(hub, dispatches) == len(there.messages), "a half message"
    sent = await ann.asks(task(room), Sent)
    pulled = await ann.asks(Pull(room=room, since=0), Pulled)
    assert [message.seq for message in pulled.messages] == [sent.seq]
    assert await counted(hub, dispatches) == 1


async def test_a_message_survives_a_kill_at_any_step_whole_and_once(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        room = (await (await enter(hub, ANN)).asks(Serve(service="s"), Joined)).room
    steps = await die_at_every_step(
        tmp_path, tmp_path / "prepared", say, said_once, room
    )
    assert {"execute", "commit", "reply", "noted"} <= set(steps)


# ------------------------------------------------------------------------------ claim


async def take_and_finish(hub: MemoryHub, state: Any, diary: Diary) -> None:
    room, message = state
    ann = await enter(hub, ANN)
    claim = Claim(room=room, message=message, lease_secs=LEASE)
    diary.begin()
    assert (await ann.asks(claim, Claimed)).claimed
    diary.note("claimed")
    done = Complete(room=room, message=message, status=TaskStatus.DONE)
    diary.note("completing")
    assert (await ann.asks(done, Completed)).completed
    diary.note("completed")


async def held_free_or_done(hub: MemoryHub, state: Any, noted: set[str]) -> None:
    room, message = state
    bob = await enter(hub, BOB)
    claim = Claim(room=room, message=message, lease_secs=LEASE)
    found = await hub.hub.store.read(
        "claims", lambda c: c.execute(claims.select()).all()
    )
    states = [row.state for row in found]
    open_work = await counted(hub, dispatches)
    assert (states == ["done"]) == (open_work == 0), "half completed"
    if "completed" in noted:
        assert states == ["done"]
    if states == ["done"]:
        assert "completing" in noted
    elif "claimed" in noted:
        assert states == ["active"]
    taken = (await bob.asks(claim, Claimed)).claimed
    assert taken == (states == []), "held by two, or free for nobody"
    hub.clock.advance(LEASE + 1)
    bob = await enter(hub, BOB)
    taken = (await bob.asks(claim, Claimed)).claimed
    assert taken == (states != ["done"]), "lost, or done twice"


async def test_a_claim_survives_a_kill_at_any_step_held_or_free(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        ann, bob = await enter(hub, ANN), await enter(hub, BOB)
        room = (await ann.asks(Serve(service="review"), Joined)).room
        await bob.asks(Serve(service="review"), Joined)
        sent = await bob.asks(task(room), Sent)
    steps = await die_at_every_step(
        tmp_path,
        tmp_path / "prepared",
        take_and_finish,
        held_free_or_done,
        (room, sent.id),
    )
    assert steps.count("commit") >= 2


# ----------------------------------------------------------------------------- redeem


async def come_in(hub: MemoryHub, state: Any, diary: Diary) -> None:
    bob = await enter(hub, BOB)
    diary.begin()
    await bob.asks(Redeem(code=state.code), Joined)
    diary.note("joined")


async def in_for_one_use(hub: MemoryHub, state: Any, noted: set[str]) -> None:
    bob, eve = await enter(hub, BOB), await enter(hub, EVE)
    is_in = await is_member(hub, state.room, bob)
    assert is_in or "joined" not in noted
    assert await uses(hub, state.code) == is_in, "a use without a member"
    await bob.asks(Redeem(code=state.code), Joined)
    assert await uses(hub, state.code) == 1
    assert await eve.is_refused(Redeem(code=state.code)) == "invalid_invite"


async def test_a_key_survives_a_kill_at_any_step_used_once_or_not(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        invited = await channel(hub, await enter(hub, ANN), max_uses=1)
    await die_at_every_step(
        tmp_path, tmp_path / "prepared", come_in, in_for_one_use, invited
    )


async def knock_and_be_let_in(hub: MemoryHub, state: Any, diary: Diary) -> None:
    ann, bob = await enter(hub, ANN), await enter(hub, BOB)
    diary.begin()
    await bob.asks(Redeem(code=state.code), JoinPending)
    diary.note("knocked")
    diary.note("approving")
    approval = ResolveJoin(room=state.room, agent=bob.id, approve=True)
    await ann.asks(approval, JoinResolved)
    diary.note("approved")


async def in_only_if_approved(hub: MemoryHub, state: Any, noted: set[str]) -> None:
    bob, eve = await enter(hub, BOB), await enter(hub, EVE)
    is_in = await is_member(hub, state.room, bob)
    assert is_in or "approved" not in noted
    assert "approving" in noted or not is_in, "let in by nobody"
    used = await uses(hub, state.code)
    assert used == 1 or "knocked" not in noted
    if not is_in:
        assert await bob.is_refused(Pull(room=state.room)) == "not_member"
    await bob.asks(Redeem(code=state.code), Joined if is_in else JoinPending)
    assert await uses(hub, state.code) == 1
    assert await eve.is_refused(Redeem(code=state.code)) == "invalid_invite"


async def test_a_knock_survives_a_kill_at_any_step_and_lets_in_nobody_unapproved(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        ann = await enter(hub, ANN)
        invited = await channel(hub, ann, max_uses=1, require_approval=True)
    await die_at_every_step(
        tmp_path,
        tmp_path / "prepared",
        knock_and_be_let_in,
        in_only_if_approved,
        invited,
    )


async def is_member(hub: MemoryHub, name: RoomName, peer: Peer) -> bool:
    def look(connection: sa.Connection) -> bool:
        room = rooms.by_name(connection, name)
        assert room is not None
        return messages.is_member(connection, room.id, peer.id)

    return await hub.hub.store.read("look", look)


async def uses(hub: MemoryHub, code: Code) -> int:
    key = await hub.hub.store.read("key", partial(invites.by_code, code=code))
    assert key is not None
    return key.uses


# ------------------------------------------------------------------------------- blob


async def put(peer: Peer, room: RoomName) -> None:
    target = RoomTarget(room=room)
    await peer.asks(PutBlob(target=target, sha256=DIGEST, size=len(DATA)), BlobReady)
    peer.says(DATA)
    await peer.hears(BlobStored)


async def store(hub: MemoryHub, room: RoomName, diary: Diary) -> None:
    ann = await enter(hub, ANN)
    diary.begin()
    await put(ann, room)
    diary.note("stored")


def _unbind(connection: sa.Connection) -> None:
    connection.execute(sa.delete(blob_rooms))


async def drop(hub: MemoryHub, room: RoomName, diary: Diary) -> None:
    diary.begin()
    await drop_useless(hub.hub.services)
    diary.note("dropped")


async def whole_or_absent(hub: MemoryHub, room: RoomName, noted: set[str]) -> None:
    services = hub.hub.services
    leftovers = list(services.blobs.folder.glob("*.part"))
    assert not leftovers, "half a file outlived the start"
    file = services.blobs.path(DIGEST)
    if file.exists():
        assert file.read_bytes() == DATA, "half a blob under its name"
    await Pruner(services).run_once()
    known = await hub.hub.store.read("known", partial(blobs.is_known, digest=DIGEST))
    assert known == file.exists(), "a row without bytes, or bytes without a row"
    assert known or "stored" not in noted
    assert not known or "dropped" not in noted


async def fetched(hub: MemoryHub, room: RoomName, noted: set[str]) -> None:
    await whole_or_absent(hub, room, noted)
    ann = await enter(hub, ANN)
    await put(ann, room)
    await ann.asks(GetBlob(id=DIGEST), BlobIncoming)
    assert await ann.transport.from_hub.get() == DATA


async def gone_in_the_end(hub: MemoryHub, room: RoomName, noted: set[str]) -> None:
    await whole_or_absent(hub, room, noted)
    await drop_useless(hub.hub.services)
    await whole_or_absent(hub, room, {"dropped"})


async def test_a_blob_survives_a_kill_at_any_step_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        room = (await channel(hub, await enter(hub, ANN))).room
    steps = await die_at_every_step(
        tmp_path, tmp_path / "prepared", store, fetched, room
    )
    assert {"write", "fsync", "commit", "reply"} <= set(steps)
    assert {"replace", "rename"} & set(steps)


async def test_a_blob_nobody_has_is_dropped_with_its_row_whenever_the_hub_dies(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        ann = await enter(hub, ANN)
        room = (await channel(hub, ann)).room
        await put(ann, room)
        await hub.hub.store.write("unbind", _unbind)
    steps = await die_at_every_step(
        tmp_path, tmp_path / "prepared", drop, gone_in_the_end, room
    )
    assert "unlink" in steps


# ----------------------------------------------------------------------------- memory


def long(last: str) -> Fact:
    text = " ".join(f"w{number}" for number in range(6_000)) + f" {last}"
    assert len(search.pieces(text)) == 2
    return Fact(text=text, key="k")


async def learn(hub: MemoryHub, state: Any, diary: Diary) -> None:
    ann = await enter(hub, ANN)
    diary.begin()
    diary.note("learning")
    await ann.asks(Remember(fact=long("owl")), Remembered)
    diary.note("learnt")


async def old_or_new(hub: MemoryHub, state: Any, noted: set[str]) -> None:
    ann = await enter(hub, ANN)
    [known] = (await ann.asks(Recall(query="", key="k"), Recalled)).hits
    last = known.text.rpartition(" ")[2]
    assert known.text == long(last).text
    assert last in ("fox", "owl")
    assert last == "owl" or "learnt" not in noted
    for word in ("fox", "owl"):
        found = (await ann.asks(Recall(query=word), Recalled)).hits
        assert [hit.text for hit in found] == [known.text] * (word == last)
    await Pruner(hub.hub.services).run_once()
    assert (await counted(hub, facts), await counted(hub, fact_pieces)) == (1, 2)
    check = "INSERT INTO facts_fts (facts_fts, rank) VALUES ('integrity-check', 1)"
    await hub.hub.store.write("check", lambda c: c.exec_driver_sql(check) and None)


async def test_a_fact_survives_a_kill_at_any_step_as_it_was_or_as_it_is(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        ann = await enter(hub, ANN)
        await ann.asks(Remember(fact=long("fox")), Remembered)
    steps = await die_at_every_step(
        tmp_path, tmp_path / "prepared", learn, old_or_new, None
    )
    assert steps.count("commit") >= 4, "one step for each piece, so that others go on"


# ------------------------------------------------------------------- the killer itself


async def come_in_by_halves(hub: MemoryHub, state: Any, diary: Diary) -> None:
    """What a hub must never do: a use in one transaction, the member in another."""
    bob = await enter(hub, BOB)
    room = await hub.hub.store.read("room", partial(rooms.by_name, name=state.room))
    assert room is not None
    diary.begin()
    await hub.hub.store.write("use", partial(invites.use, code=state.code))
    add = partial(members.add, room=room.id, agent=bob.id, now=0)
    await hub.hub.store.write("add", add)


async def test_a_change_in_two_transactions_is_noticed(tmp_path: Path) -> None:
    async with memory_hub(tmp_path / "prepared") as hub:
        invited = await channel(hub, await enter(hub, ANN), max_uses=1)
    with pytest.raises(ExceptionGroup) as caught:
        await die_at_every_step(
            tmp_path, tmp_path / "prepared", come_in_by_halves, in_for_one_use, invited
        )
    assert caught.group_contains(AssertionError, match="a use without a member")
