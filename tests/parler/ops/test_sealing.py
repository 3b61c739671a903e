"""Sealed sessions through the operations, over the real client and the real hub."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from parler.client.client import Client
from parler.errors import UsageError
from parler.machine.files import write_private
from parler.mcp_server.tools.common import target_of
from parler.ops import messages, rooms, sealing, session
from parler.ops.admission import approve, join_requests
from parler.ops.context import OpContext
from parler.ops.invites import revoke
from parler.ops.messages import ReceiveParams, SendParams
from parler.ops.session import JoinState, OpenParams
from parler.ops.tokens import watch_token
from parler.sealed.changes import Admit
from parler.sealed.sealing import LeavesSeal
from parler.wire.base import RoomName
from parler.wire.foreign import exact, foreign
from parler.wire.joinkey import JoinKey, parse_join_key
from parler.wire.records import Fact, RoomTarget
from parler.wire.replies import Remembered
from parler.wire.requests import Remember
from tests._support.actors import stage

WORDS = ("Zauberwort", "gripsholm", "Rheinsberg")


async def opened(ann: OpContext, topic: str = WORDS[0]) -> tuple[RoomName, JoinKey]:
    made = await session.open_session(ann, OpenParams(topic=topic, sealed=True))
    assert made.sealed
    key = parse_join_key(made.portable)
    assert key.secret is not None
    return made.room, key


async def let_in(ann: OpContext, room: RoomName, bob: OpContext, key: JoinKey) -> None:
    knocked = await session.join_session(bob, key)
    assert knocked.state is JoinState.PENDING
    await approve(ann, room, bob.identity.agent_id)


async def say(ctx: OpContext, room: RoomName, text: str) -> None:
    await messages.send(ctx, SendParams(text=text, target=RoomTarget(room)))


async def read(ctx: OpContext, room: RoomName) -> list[str]:
    got = await messages.receive(ctx, ReceiveParams(room=room, everything=True))
    return [str(bytes(one.parts)) for one in got.messages]


async def test_a_joiner_lands_caught_up_in_a_session_that_its_hub_cannot_read(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        bob = await place.enter("bob", home=tmp_path / "bob")
        room, key = await opened(ann)
        await say(ann, room, WORDS[1])
        await session.join_session(bob, key)
        (knock,) = (await join_requests(ann, room)).requests
        assert knock.given_key
        await approve(ann, room, bob.identity.agent_id)
        joined = await session.join_session(bob, key)
        assert (joined.sealed, joined.has_keys, joined.confirmed) == (True, True, True)
        shown = b"".join(bytes(one.parts) for one in joined.messages).decode()
        assert WORDS[0] in shown
        assert WORDS[1] in shown
        await say(bob, room, WORDS[2])
        assert any(WORDS[2] in one for one in await read(ann, room))
        topics = [one.topic for one in await rooms.rooms_with_topics(bob)]
        assert topics == [foreign(WORDS[0])]

        members = await sealing.sealed_members(ann, room)
        assert [m.fingerprint for m in members.members if m.owner]
        assert members.occupants == []
        both = [await sealing.verify_room(one, room) for one in (ann, bob)]
        assert both[0].head == both[1].head
        await rooms.remove_member(ann, room, bob.identity.agent_id)
        await say(ann, room, "without bob")
    stored = [p for p in tmp_path.rglob("*") if p.is_file()]
    hubs = [
        p for p in stored if not {"ann", "bob"} & set(p.relative_to(tmp_path).parts)
    ]
    kept = b"".join(path.read_bytes() for path in hubs)
    assert b"sealed message: this program" in kept
    assert [w for w in (*WORDS, key.secret or "") if w.encode() in kept] == []


async def test_nothing_plain_goes_into_a_sealed_session(tmp_path: Path) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        room, _ = await opened(ann)
        client: Client = ann.client
        with pytest.raises(LeavesSeal):
            await client.put_blob(RoomTarget(room), b"plain bytes")
        fact = Fact(text="plain", room=room)
        with pytest.raises(LeavesSeal):
            await client.request(Remember(fact=fact), Remembered)
        # A home that has lost what it noted of its rooms still knows.
        (tmp_path / "ann" / "sessions.json").unlink()
        again = await place.enter("ann", home=tmp_path / "ann")
        await say(again, room, "sealed all the same")
        assert any("sealed all the same" in one for one in await read(ann, room))


async def test_who_comes_with_the_code_alone_is_told_apart_and_says_nothing_plain(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        bob = await place.enter("bob", home=tmp_path / "bob")
        made = await session.open_session(ann, OpenParams(sealed=True, gated=False))
        bare = JoinKey(parse_join_key(made.portable).code)
        joined = await session.join_session(bob, bare)
        assert (joined.sealed, joined.has_keys) == (True, False)
        with pytest.raises(UsageError):
            await say(bob, made.room, "in clear")


async def test_who_knocks_with_the_code_alone_and_is_let_in_says_nothing_plain(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        bob = await place.enter("bob", home=tmp_path / "bob")
        room, key = await opened(ann)
        await let_in(ann, room, bob, JoinKey(key.code, key.hub))
        with suppress(UsageError):  # it has no keys yet
            await say(bob, room, WORDS[2])
        await say(ann, room, WORDS[1])
        log = await ann.client.pull(room, since=0, opened=False)
        assert not any(WORDS[2] in str(bytes(m.stored.parts)) for m in log.messages)


async def test_a_sealed_session_is_sealed_under_each_address_of_its_hub(
    tmp_path: Path,
) -> None:
    other = "ws://localhost:7070"
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        room, _ = await opened(ann)
        again = await place.enter("ann", home=tmp_path / "ann", hub=other)
        for _ in range(2):
            with pytest.raises(LeavesSeal, match="entered at ws://127") as refused:
                await say(again, room, WORDS[2])
            assert "--hub ws://127.0.0.1:7070" in str(refused.value.next_step)
        assert not any(WORDS[2] in one for one in await read(again, room))
        with pytest.raises(LeavesSeal):
            await say(again, room, WORDS[2])
        plain = (await session.open_session(again, OpenParams())).room
        await say(again, plain, WORDS[2])


async def test_a_sealed_session_gets_another_topic_and_a_file_of_nobody_elses(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        room, _ = await opened(ann)
        await session.rename_session(ann, room, WORDS[1])
        [named] = await rooms.rooms_with_topics(ann)
        assert exact(named.topic) == WORDS[1]
        there = tmp_path / "there.jsonl"
        there.write_text("mine", encoding="utf-8")
        with pytest.raises(UsageError, match="is there already"):
            await sealing.export_room(ann, room, output=str(there))
        assert there.read_text(encoding="utf-8") == "mine"
        made = tmp_path / "made.jsonl"
        await sealing.export_room(ann, room, output=str(made), with_keys=True)
        assert made.stat().st_mode & 0o077 == 0
        with pytest.raises(UsageError, match="nothing of it"):
            await watch_token(ann, room)


async def test_a_key_that_was_revoked_shows_for_nobody_that_it_was_given(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        kim = await place.enter("kim", home=tmp_path / "kim")
        room, key = await opened(ann)
        await session.join_session(kim, key)
        (before,) = (await join_requests(ann, room)).requests
        await revoke(ann, key.code)
        (after,) = (await join_requests(ann, room)).requests
        assert (before.given_key, after.given_key) == (True, False)


async def test_what_goes_outside_of_the_sealed_session_is_said_to(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        bob = {"room": None, "to": ann.identity.agent_id, "service": None}
        _, before = await target_of(ann, **bob)
        room, _ = await opened(ann)
        _, to = await target_of(ann, **bob)
        _, work = await target_of(ann, room=None, to=None, service="review")
        _, inside = await target_of(ann, room=room, to=None, service=None)
        outside = f"outside of the sealed session {room}: the hub can read it"
        assert [outside in one for one in (before, to, work, inside)] == [
            *(False, True, True, False)
        ]


async def test_mallory_turns_no_plain_session_into_a_sealed_one(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        ann = await place.enter("ann", home=tmp_path / "ann")
        mallory = await place.enter("mallory", home=tmp_path / "mallory")
        made = await session.open_session(ann, OpenParams(topic="plain", gated=False))
        key = parse_join_key(made.portable)
        await session.join_session(mallory, key)
        # Her own program says there that the room is hers and sealed, and lets ann in.
        sealing.sealed_rooms(mallory).seal(made.room)
        hers = sealing.sealed_room(mallory, made.room)
        await hers.open()

        async def resolve() -> None: ...

        await hers.admit(Admit(agent=ann.identity.agent_id), resolve)
        joiner = await place.enter("bob", home=tmp_path / "bob")
        await session.join_session(joiner, key)
        for ctx in (ann, joiner):
            assert any("keys for its members" in m for m in await read(ctx, made.room))
            await say(ctx, made.room, "as plain as ever")
            assert not sealing.is_sealed(ctx, made.room)
            assert not (ctx.identity.home / "sealed.sqlite").exists()


async def test_a_home_that_lost_its_notes_and_its_store_says_nothing_plain(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        home = tmp_path / "ann"
        ann = await place.enter("ann", home=home)
        room, _ = await opened(ann)
        sealing.sealed_rooms(ann).close()
        (home / "sessions.json").unlink()
        for kept in home.glob("sealed.sqlite*"):
            kept.unlink()
        write_private(home / "sealed.sqlite", b"no store any more" * 300)
        again = await place.enter("ann", home=home)
        await say(again, room, WORDS[1])
        assert any(WORDS[1] in one for one in await read(again, room))
    hubs = [p for p in tmp_path.rglob("*") if p.is_file() and home not in p.parents]
    assert WORDS[1].encode() not in b"".join(path.read_bytes() for path in hubs)


@pytest.mark.parametrize("module", ["parler.runtime.dialling", "parler.wake.hook"])
def test_who_has_no_sealed_session_imports_nothing_for_one(module: str) -> None:
    heavy = "{'cryptography', 'sqlite3', 'parler.sealed.store', 'parler.sealed.crypto'}"
    code = (
        f"import sys, {module}, parler.ops.session, parler.sealed.sealing; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.strip() == "[]"
