"""What members may not see, lose or be refused (protocol 4, 5, 9, 14.4-14.6)."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub import app
from hub.store import directory as directory_store
from hub.store import members
from hub.store.schema import former_members
from parler.identity.signing import Keypair
from parler.wire.base import AgentId, Code, Digest, RoomName
from parler.wire.limits import MAX_CARD_BYTES, MAX_PULLED_BYTES
from parler.wire.records import AgentCard, Fact, RoomKind, RoomTarget, Visibility
from parler.wire.replies import (
    BlobIncoming,
    BlobReady,
    BlobStored,
    Directory,
    Invited,
    Joined,
    JoinPending,
    JoinResolved,
    Left,
    MemberRemoved,
    Pong,
    Pulled,
    Recalled,
    ReceiptList,
    Registered,
    Remembered,
    RoomDeleted,
    RoomList,
    RosterList,
    Sent,
)
from parler.wire.requests import (
    DeleteRoom,
    Discover,
    GetBlob,
    Invite,
    Leave,
    MintWatch,
    Ping,
    Pull,
    PutBlob,
    Recall,
    Receipts,
    Redeem,
    Register,
    Remember,
    RemoveMember,
    ResolveJoin,
    Rooms,
    Roster,
    Send,
)
from tests._support.memory_hub import MemoryHub, Peer, memory_hub, until
from tests._support.old_schemas import make_schema_1
from tests._support.polling import WAIT


async def open_room(owner: Peer, **fields: Any) -> Invited:
    return await owner.asks(Invite(kind=RoomKind.CHANNEL, **fields), Invited)


async def say(peer: Peer, room: RoomName, text: str) -> Sent:
    parts = msgspec.Raw(msgspec.json.encode([{"kind": "text", "text": text}]))
    return await peer.asks(Send(target=RoomTarget(room=room), parts=parts), Sent)


async def read(peer: Peer, room: RoomName) -> int:
    return len((await peer.asks(Pull(room=room, since=0), Pulled)).messages)


async def upload(peer: Peer, room: RoomName, data: bytes) -> Digest:
    digest = Digest(hashlib.sha256(data).hexdigest())
    target = RoomTarget(room=room)
    await peer.asks(PutBlob(target=target, sha256=digest, size=len(data)), BlobReady)
    peer.says(data)
    await peer.hears(BlobStored)
    return digest


async def fetch(peer: Peer, digest: Digest) -> bytes:
    await peer.asks(GetBlob(id=digest), BlobIncoming)
    async with asyncio.timeout(WAIT):
        data = await peer.transport.from_hub.get()
    assert isinstance(data, bytes)
    return data


async def remember(peer: Peer, room: RoomName, text: str) -> None:
    await peer.asks(Remember(fact=Fact(text=text, room=room)), Remembered)


async def recalled(peer: Peer, room: RoomName | None = None) -> list[str]:
    found = await peer.asks(Recall(query="fact", room=room), Recalled)
    return sorted(hit.text for hit in found.hits)


async def admitted_without_history(
    running: MemoryHub, owner: Peer, peer: Peer, invited: Invited
) -> None:
    await peer.asks(Redeem(code=Code(invited.code)), JoinPending)
    running.clock.advance(1)
    resolve = ResolveJoin(
        room=invited.room, agent=peer.id, approve=True, history="none"
    )
    await owner.asks(resolve, JoinResolved)


# ------------------------------------------------------------------------ history: none


async def test_leaving_and_coming_back_shows_no_hidden_history(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        open_key = await open_room(ann, room=invited.room)
        await say(ann, invited.room, "hidden")
        await admitted_without_history(running, ann, bob, invited)
        await say(ann, invited.room, "shown")
        for _ in range(2):
            await bob.asks(Leave(room=invited.room), Left)
            running.clock.advance(1)
            await bob.asks(Redeem(code=Code(open_key.code)), Joined)
            assert await read(bob, invited.room) == 1


async def test_coming_back_hides_nothing_that_was_shown(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        open_key = await open_room(ann, room=invited.room)
        await admitted_without_history(running, ann, bob, invited)
        await say(ann, invited.room, "one")
        await bob.asks(Leave(room=invited.room), Left)
        await bob.asks(Redeem(code=Code(open_key.code)), Joined)
        assert await read(bob, invited.room) == 1


async def test_the_first_message_is_not_hidden_from_who_came_before_it(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        await admitted_without_history(running, ann, bob, invited)
        pulled = await bob.asks(Pull(room=invited.room), Pulled)
        assert pulled.cursor == 0
        await say(ann, invited.room, "first")
        assert await read(bob, invited.room) == 1


async def test_the_owner_may_show_the_history_to_somebody_who_comes_back(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        await say(ann, invited.room, "hidden")
        await admitted_without_history(running, ann, bob, invited)
        put_out = RemoveMember(room=invited.room, agent=bob.id)
        await ann.asks(put_out, MemberRemoved)
        await bob.asks(Redeem(code=Code(invited.code)), JoinPending)
        resolve = ResolveJoin(
            room=invited.room, agent=bob.id, approve=True, history="all"
        )
        await ann.asks(resolve, JoinResolved)
        assert await read(bob, invited.room) == 1


async def test_the_owner_that_comes_back_reads_everything(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        invited = await open_room(ann)
        await say(ann, invited.room, "mine")
        await ann.asks(Leave(room=invited.room), Left)
        await ann.asks(Redeem(code=Code(invited.code)), Joined)
        assert await read(ann, invited.room) == 1


async def test_a_deleted_room_leaves_nothing_of_former_members(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        await say(ann, invited.room, "hidden")
        await admitted_without_history(running, ann, bob, invited)
        await bob.asks(Leave(room=invited.room), Left)
        await ann.asks(DeleteRoom(room=invited.room), RoomDeleted)

        def count(connection: sa.Connection) -> int:
            total = sa.select(sa.func.count()).select_from(former_members)
            return connection.execute(total).scalar_one()

        assert await running.hub.store.read("count", count) == 0


async def test_a_database_from_before_former_members_is_not_refused(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path):
        pass
    old = sqlite3.connect(tmp_path / "hub.sqlite")
    with old:
        make_schema_1(old)
    old.close()
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        invited = await open_room(ann)
        await ann.asks(Leave(room=invited.room), Left)


async def test_a_member_without_history_recalls_no_fact_from_before(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        await remember(ann, invited.room, "hidden fact")
        await admitted_without_history(running, ann, bob, invited)
        await remember(ann, invited.room, "shown fact")
        await remember(bob, invited.room, "fact of bob")
        for room in (invited.room, None):
            assert await recalled(bob, room) == ["fact of bob", "shown fact"]
            assert len(await recalled(ann, room)) == 3


async def test_a_member_without_history_fetches_no_blob_from_before(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, require_approval=True)
        hidden = await upload(ann, invited.room, b"hidden")
        await admitted_without_history(running, ann, bob, invited)
        assert await bob.is_refused(GetBlob(id=hidden)) == "unknown_blob"
        shown = await upload(ann, invited.room, b"shown")
        assert await fetch(bob, shown) == b"shown"
        await upload(ann, invited.room, b"hidden")
        assert await fetch(bob, hidden) == b"hidden", "it was shown anew"


# ---------------------------------------------------------------------------- the owner


async def test_an_expired_or_used_up_key_does_not_keep_the_owner_out(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann, ttl_secs=10, max_uses=0)
        await ann.asks(Leave(room=invited.room), Left)
        assert await bob.is_refused(Redeem(code=Code(invited.code))) == "invalid_invite"
        running.clock.advance(11)
        await ann.asks(Redeem(code=Code(invited.code)), Joined)


async def test_an_owner_that_left_mints_no_watch_of_what_it_may_not_read(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        invited = await open_room(ann)
        await ann.asks(Leave(room=invited.room), Left)
        assert await ann.is_refused(MintWatch(room=invited.room)) == "not_member"


# --------------------------------------------------------------------- one reply's size


async def many_cards(running: MemoryHub, count: int, size: int) -> None:
    cards = [
        AgentCard.of(Keypair.generate().agent_id, f"a{number}", description="x" * size)
        for number in range(count)
    ]

    def put(connection: sa.Connection) -> None:
        for card in cards:
            agent = {"id": card.id, "name": card.name, "now": running.clock()}
            connection.execute(
                sa.text(
                    "INSERT INTO agents (id, name, first_seen, last_seen) "
                    "VALUES (:id, :name, :now, :now)"
                ),
                agent,
            )
            directory_store.put(
                connection, card, Visibility.PUBLIC, None, verified=False, now=0
            )

    await running.hub.store.write("cards", put)


async def test_discover_answers_with_no_more_than_a_client_can_take(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, card_ttl_days=0) as running:
        ann = await running.sign_in("ann")
        await many_cards(running, 100, 60_000)
        found = await ann.asks(Discover(limit=1000), Directory)
        assert 60 < len(found.agents) < 100
        assert len(msgspec.json.encode(found)) <= MAX_PULLED_BYTES + 1000
        rest = await ann.asks(Discover(limit=1000, after=found.next), Directory)
        assert len(found.agents) + len(rest.agents) == 100
        assert rest.next is None


async def test_one_card_that_is_too_large_for_a_reply_does_not_hide_itself(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path, card_ttl_days=0) as running:
        ann = await running.sign_in("ann")
        await many_cards(running, 2, MAX_PULLED_BYTES)
        assert len((await ann.asks(Discover(), Directory)).agents) == 1


async def test_a_card_that_is_too_large_is_not_stored(tmp_path: Path) -> None:
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        bare = len(msgspec.json.encode(AgentCard.of(ann.id, "ann", description="")))
        for spare, stored in ((1, False), (0, True)):
            text = "x" * (MAX_CARD_BYTES - bare + spare)
            request = Register(card=AgentCard.of(ann.id, "ann", description=text))
            if stored:
                await ann.asks(request, Registered)
            else:
                assert await ann.is_refused(request) == "too_large"


async def test_rooms_and_roster_answer_with_no_more_than_a_client_can_take(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann = await running.sign_in("ann")
        invited = await open_room(ann)

        def crowd(connection: sa.Connection) -> None:
            for number in range(1500):
                tail = "x" * 4000
                room = connection.execute(
                    sa.text(
                        "INSERT INTO rooms (name, kind, gated, created) "
                        "VALUES (:name, 'channel', 0, 0) RETURNING id"
                    ),
                    {"name": f"{number}{tail}"},
                ).scalar_one()
                members.add(connection, room, ann.id, now=0)
                members.add(connection, 1, AgentId(f"{number}{tail}"), now=0)

        await running.hub.store.write("crowd", crowd)
        rooms = await ann.asks(Rooms(), RoomList)
        assert 900 < len(rooms.rooms) < 1500
        roster = await ann.asks(Roster(room=invited.room), RosterList)
        assert 900 < len(roster.entries) < 1500
        for reply in (rooms, roster):
            assert len(msgspec.json.encode(reply)) <= MAX_PULLED_BYTES + 1000


# --------------------------------------------------------------------------- full disks


@asynccontextmanager
async def no_writing(running: MemoryHub, folder: Path) -> AsyncIterator[None]:
    """The database refuses whatever is written: somebody else holds it."""

    def hurry(connection: sa.Connection) -> None:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")

    await running.hub.store.write("hurry", hurry)
    other = sqlite3.connect(folder / "hub.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


async def test_a_full_disk_refuses_nobody_the_receipts_and_loses_no_position(
    tmp_path: Path,
) -> None:
    async with memory_hub(tmp_path) as running:
        ann, bob = await running.sign_in("ann"), await running.sign_in("bob")
        invited = await open_room(ann)
        await bob.asks(Redeem(code=Code(invited.code)), Joined)
        sent = await say(ann, invited.room, "hi")
        asked = Receipts(room=invited.room, seq=sent.seq)
        await bob.asks(Pull(room=invited.room, since=0), Pulled)
        await bob.asks(Ping(), Pong)
        async with no_writing(running, tmp_path):
            states = [m.state for m in (await ann.asks(asked, ReceiptList)).members]
            assert states == ["stored"]
        states = [m.state for m in (await ann.asks(asked, ReceiptList)).members]
        assert states == ["delivered"], "what could not be stored is stored later"


def drop(connection: sa.Connection, table: str) -> None:
    connection.exec_driver_sql(f"DROP TABLE {table}")


async def test_a_damaged_database_does_not_end_the_background_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "FLUSH_SECS", 0.01)
    async with memory_hub(tmp_path, janitor_interval_secs=0.01) as running:
        hub = running.hub
        hub.services.receipts.seen(1, AgentId("ann"))
        for table in ("members", "invites"):
            await hub.store.write("damage", partial(drop, table=table))
        async with asyncio.TaskGroup() as group:
            tidying = group.create_task(hub.tidy_up())
            for words in ("tidying up failed", "positions were not stored"):
                await until(lambda words=words: caplog.text.count(words) >= 2)
            assert not tidying.done()
            tidying.cancel()
