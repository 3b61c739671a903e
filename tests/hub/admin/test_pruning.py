"""What is pruned, and what never is (protocol 12.4)."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hub.admin.pruning import DAY_MS, STEP, Pruner
from hub.app import Hub
from hub.settings import Settings
from hub.store import blobs, invites, members, messages, rooms
from hub.store.invites import Invite
from hub.store.messages import NewMessage
from hub.store.rooms import Room
from hub.store.schema import agents as agent_table
from hub.store.schema import blobs as blob_table
from hub.store.schema import claims as claim_table
from hub.store.schema import dispatches as dispatch_table
from hub.store.schema import facts as fact_table
from hub.store.schema import messages as message_table
from hub.store.schema import presence as presence_table
from parler.wire.base import AgentId, Code, Digest, MessageId, RoomName
from parler.wire.records import RoomKind
from tests._support.stores import greet

ANN, BOB = AgentId("ann"), AgentId("bob")
NOW = 100 * DAY_MS


@asynccontextmanager
async def hub_with_a_room(
    folder: Path, **changes: object
) -> AsyncIterator[tuple[Hub, Room]]:
    settings = Settings(host="127.0.0.1", port=0, db=folder / "hub.sqlite")
    hub = Hub(replace(settings, **changes), now=lambda: NOW)  # type: ignore[arg-type]
    hub.store.start()
    try:
        yield hub, await hub.store.write("room", _room)
    finally:
        await hub.store.close()


def _room(connection: sa.Connection) -> Room:
    room = rooms.create(
        connection,
        RoomName("team"),
        RoomKind.CHANNEL,
        owner=ANN,
        gated=False,
        now=0,
    )
    for agent in (ANN, BOB):
        greet(connection, agent, agent, None, now=NOW)
        members.add(connection, room.id, agent, now=0)
    return room


async def say(hub: Hub, room: Room, count: int, *, ts: int) -> None:
    new = [
        NewMessage(
            room=room.id,
            id=MessageId(secrets.token_hex(8)),
            author=ANN,
            client_id=None,
            ts=ts,
            record='{"parts":[]}',
        )
        for _ in range(count)
    ]
    await hub.store.write("say", lambda connection: messages.append(connection, new))


async def read_up_to(hub: Hub, room: Room, agent: AgentId, seq: int) -> None:
    await hub.store.write(
        "read", lambda connection: members.mark_read(connection, room.id, agent, seq)
    )


async def stored(hub: Hub) -> list[int]:
    def look(connection: sa.Connection) -> list[int]:
        return list(connection.execute(sa.select(message_table.c.seq)).scalars())

    return await hub.store.read("stored", look)


async def count(hub: Hub, table: sa.Table) -> int:
    counted = sa.select(sa.func.count()).select_from(table)
    return await hub.store.read(
        "count", lambda connection: connection.execute(counted).scalar_one()
    )


async def test_old_messages_go_but_the_newest_stay(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await say(hub, room, 500, ts=1)
        for agent in (ANN, BOB):
            await read_up_to(hub, room, agent, 500)
        await Pruner(hub.services).tidy()
        assert await stored(hub) == [498, 499, 500]


async def test_recent_messages_stay_however_many(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await say(hub, room, 20, ts=NOW)
        for agent in (ANN, BOB):
            await read_up_to(hub, room, agent, 20)
        await Pruner(hub.services).tidy()
        assert len(await stored(hub)) == 20


async def test_what_a_living_member_has_not_read_is_not_pruned(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await say(hub, room, 20, ts=1)
        await read_up_to(hub, room, ANN, 20)
        await read_up_to(hub, room, BOB, 5)
        await Pruner(hub.services).tidy()
        assert await stored(hub) == list(range(6, 21))


async def test_a_negative_number_keeps_everything(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=-1) as (hub, room):
        await say(hub, room, 20, ts=1)
        await Pruner(hub.services).tidy()
        assert len(await stored(hub)) == 20


async def test_numbers_of_pruned_messages_are_never_used_again(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=0) as (hub, room):
        await say(hub, room, 5, ts=1)
        for agent in (ANN, BOB):
            await read_up_to(hub, room, agent, 5)
        await Pruner(hub.services).tidy()
        assert await stored(hub) == []
        await say(hub, room, 1, ts=NOW)
        assert await stored(hub) == [6]


async def test_expired_keys_go_and_live_ones_stay(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):

        def mint(connection: sa.Connection) -> None:
            for code, expires in (("DEAD", NOW - 8 * DAY_MS), ("LIVE", NOW)):
                key = Invite(
                    code=Code(code),
                    room=room.id,
                    max_uses=1,
                    uses=0,
                    expires=expires,
                    created_by=ANN,
                    gated=False,
                )
                invites.mint(connection, key, now=0)

        await hub.store.write("mint", mint)
        await Pruner(hub.services).tidy()

        def look(connection: sa.Connection) -> list[bool]:
            return [
                invites.by_code(connection, Code(code)) is not None
                for code in ("DEAD", "LIVE")
            ]

        assert await hub.store.read("look", look) == [False, True]


async def test_idle_blobs_and_blobs_of_no_room_lose_their_bytes(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        files: dict[str, Digest] = {}
        for name, created, bound in (
            ("idle", 1, True),
            ("unbound", NOW, False),
            ("fresh", NOW, True),
        ):
            data = name.encode()
            digest = files[name] = Digest(hashlib.sha256(data).hexdigest())
            upload = hub.services.blobs.reserve(
                digest, len(data), room=room.id, media_type=None, rid=None
            )
            hub.services.blobs.write(upload, data)
            upload.release()

            def bind(
                connection: sa.Connection,
                digest: Digest = digest,
                created: int = created,
                bound: bool = bound,
            ) -> None:
                blobs.bind(
                    connection,
                    digest,
                    1,
                    room=room.id if bound else -1,
                    author=ANN,
                    media_type=None,
                    now=created,
                )
                if not bound:
                    connection.execute(sa.text("DELETE FROM blob_rooms WHERE room=-1"))

            await hub.store.write("bind", bind)
        await Pruner(hub.services).tidy()

        def look(connection: sa.Connection) -> list[str]:
            return list(connection.execute(sa.select(blob_table.c.digest)).scalars())

        assert await hub.store.read("look", look) == [files["fresh"]]
        assert [
            name
            for name, digest in files.items()
            if hub.services.blobs.path(digest).exists()
        ] == ["fresh"]
        assert hub.services.blobs.reserved == 0


async def set_seen(hub: Hub, agent: AgentId, *, hello: int, presence: int) -> None:
    def change(connection: sa.Connection) -> None:
        for table, key, column, ts in (
            (agent_table, agent_table.c.id, "last_seen", hello),
            (presence_table, presence_table.c.agent, "ts", presence),
        ):
            connection.execute(
                sa.update(table).where(key == agent).values(**{column: ts})
            )

    await hub.store.write("seen", change)


async def unread_by_bob(hub: Hub, room: Room) -> list[int]:
    await say(hub, room, 20, ts=1)
    await read_up_to(hub, room, ANN, 20)
    await Pruner(hub.services).tidy()
    return await stored(hub)


async def test_a_member_that_only_pings_does_not_lose_what_it_has_not_read(
    tmp_path: Path,
) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await set_seen(hub, BOB, hello=1, presence=NOW)
        assert len(await unread_by_bob(hub, room)) == 20


async def test_a_silent_member_that_is_connected_does_not_lose_what_it_has_not_read(
    tmp_path: Path,
) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await set_seen(hub, BOB, hello=1, presence=1)
        hub.services.online[BOB] += 1
        hub.services.online.update(
            AgentId(f"agent-{number}") for number in range(40_000)
        )
        assert len(await unread_by_bob(hub, room)) == 20


async def test_a_member_that_is_long_gone_holds_nothing_up(tmp_path: Path) -> None:
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await set_seen(hub, BOB, hello=1, presence=1)
        assert await unread_by_bob(hub, room) == [18, 19, 20]


async def test_a_key_that_just_expired_or_is_knocked_with_does_not_become_unknown(
    tmp_path: Path,
) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):

        def mint(connection: sa.Connection) -> None:
            other = rooms.create(
                connection,
                RoomName("other"),
                RoomKind.CHANNEL,
                owner=ANN,
                gated=True,
                now=0,
            )
            for code, place, days in (
                ("RECENT", room.id, 6),
                ("OLD", room.id, 8),
                ("KNOCKED", other.id, 80),
            ):
                key = Invite(
                    code=Code(code),
                    room=place,
                    max_uses=1,
                    uses=0,
                    expires=NOW - days * DAY_MS,
                    created_by=ANN,
                    gated=True,
                )
                invites.mint(connection, key, now=0)
            for place, knock in (
                (room.id, invites.Knock.DENIED),
                (other.id, invites.Knock.PENDING),
            ):
                invites.note_knock(connection, place, BOB, knock, now=0)

        await hub.store.write("mint", mint)
        await Pruner(hub.services).tidy()

        def look(connection: sa.Connection) -> list[bool]:
            return [
                invites.by_code(connection, Code(code)) is not None
                for code in ("RECENT", "OLD", "KNOCKED")
            ]

        assert await hub.store.read("look", look) == [True, False, True]


def _work(connection: sa.Connection, room: int, count: int) -> None:
    entries = [
        {"room": room, "message": f"gone-{number}", "role": "review", "seq": number + 1}
        for number in range(count)
    ]
    connection.execute(sa.insert(dispatch_table), entries)
    held = {"worker": ANN, "state": "done", "claimed": 0, "lease_until": 0}
    connection.execute(
        sa.insert(claim_table),
        [{"room": room, "message": entry["message"], **held} for entry in entries],
    )


async def test_work_whose_message_is_gone_goes_and_other_work_stays(
    tmp_path: Path,
) -> None:
    async with hub_with_a_room(tmp_path) as (hub, room):
        await say(hub, room, 1, ts=NOW)

        def work(connection: sa.Connection) -> None:
            _work(connection, room.id, 3 * STEP)
            [(seq, message)] = connection.execute(
                sa.select(message_table.c.seq, message_table.c.id)
            )
            for table in (dispatch_table, claim_table):
                connection.execute(
                    sa.update(table)
                    .where(table.c.message == "gone-7")
                    .values(message=message)
                )
            connection.execute(
                sa.update(dispatch_table)
                .where(dispatch_table.c.message == message)
                .values(seq=seq)
            )
            connection.execute(  # its number was of the message that is there
                sa.update(dispatch_table)
                .where(dispatch_table.c.message == "gone-0")
                .values(seq=10**6)
            )

        await hub.store.write("work", work)
        await Pruner(hub.services).tidy()
        for table in (dispatch_table, claim_table):
            assert await count(hub, table) == 1


async def test_of_facts_without_a_key_the_newest_of_each_author_stay(
    tmp_path: Path,
) -> None:
    async with hub_with_a_room(tmp_path, keep_facts=2) as (hub, room):
        kept = {"room": room.id, "ts": 0}

        def remember(connection: sa.Connection) -> None:
            for author in (ANN, BOB):
                for number in range(50):
                    text = f"{author} {number}"
                    connection.execute(
                        sa.insert(fact_table).values(author=author, text=text, **kept)
                    )
            keyed = sa.insert(fact_table).values(
                author=ANN, text="keyed", key="k", **kept
            )
            connection.execute(keyed)

        await hub.store.write("remember", remember)
        await Pruner(hub.services).tidy()
        texts = await hub.store.read(
            "facts",
            lambda connection: set(
                connection.execute(sa.select(fact_table.c.text)).scalars()
            ),
        )
        assert texts == {"ann 48", "ann 49", "bob 48", "bob 49", "keyed"}


async def test_the_writer_never_looks_through_everything(tmp_path: Path) -> None:
    """What grows with the hub is looked through beside the writer."""
    async with hub_with_a_room(tmp_path, keep_messages_per_room=3) as (hub, room):
        await say(hub, room, 20, ts=1)
        await hub.store.write("work", partial(_work, room=room.id, count=3))
        asked: set[str] = set()

        def listen(connection: sa.Connection) -> None:
            raw: Any = connection.connection.driver_connection
            raw.set_trace_callback(asked.add)

        def plans(connection: sa.Connection) -> list[str]:
            raw: Any = connection.connection.driver_connection
            raw.set_trace_callback(None)
            deletions = [sql for sql in asked if sql.startswith(("DELETE", "UPDATE"))]
            return [
                row[3]
                for sql in deletions
                for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}")
            ]

        await hub.store.write("listen", listen)
        await Pruner(hub.services).tidy()
        steps = await hub.store.write("plans", plans)
        assert any("dispatches" in step for step in steps)
        large = ("messages", "dispatches", "claims", "facts", "fact_pieces")
        scans = {step for step in steps if step.startswith("SCAN ")}
        assert not scans & {f"SCAN {table}" for table in large}
