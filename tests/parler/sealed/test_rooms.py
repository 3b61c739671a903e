"""Sealed rooms over the real client and the real hub."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from parler.client.client import Client
from parler.client.messages import Batch
from parler.ops.context import OpContext
from parler.sealed.changes import Admit, Rekey, Remove
from parler.sealed.formats import Verdict
from parler.sealed.invites import read_secret
from parler.sealed.member import Member, NotReading
from parler.sealed.reader import Reading
from parler.sealed.rooms import PAGE, SealedRoom
from parler.sealed.store import FILE_NAME, open_store
from parler.wire.base import Code, RoomName
from parler.wire.foreign import exact
from parler.wire.records import RoomKind
from parler.wire.replies import Invited, Joined, JoinPending, JoinResolved
from parler.wire.requests import Invite, Redeem, ResolveJoin
from tests._support.actors import HUB, Stage, stage
from tests._support.sealed_rooms import OPENED

SECRET_WORDS = ("Zauberwort", "gripsholm", "person ann")


@dataclass
class Resident:
    """An agent, and its sealed room."""

    agent: OpContext
    member: Member
    room: SealedRoom


async def settle_in(
    place: Stage, name: str, room: RoomName, *, home: Path, page: int = PAGE
) -> Resident:
    """An agent with a store in its home."""
    agent = await place.enter(name, home=home)
    store = open_store(home / FILE_NAME)
    OPENED.append(store)
    member = Member(
        store,
        agent.identity.keypair,
        hub=HUB,
        room=room,
        name=f"person {name}",
        now=place.hub.clock,
        hub_token=agent.client.hub_token,
    )
    sealed = SealedRoom(agent.client, member, room, lock=home / room, page=page)
    return Resident(agent, member, sealed)


def texts(readings: list[Reading] | None) -> list[str]:
    assert readings is not None
    plains = [one.plain for one in readings if one.plain]
    return [str(p.parts[0].get("text", p.parts[0].get("code"))) for p in plains]


def word(text: str) -> list[dict[str, str]]:
    return [{"kind": "text", "text": text}]


async def test_a_room_from_its_key_to_a_removal(tmp_path: Path) -> None:
    async with stage(tmp_path) as place:
        opener = await place.enter("ann", home=tmp_path / "ann")
        made = await opener.client.request(
            Invite(kind=RoomKind.CHANNEL, require_approval=True), Invited
        )
        ann = await settle_in(place, "ann", made.room, home=tmp_path / "ann")
        await ann.room.open()
        await ann.room.say(word(SECRET_WORDS[0]))
        code = Code(exact(made.code))
        key = await ann.room.invite(code, place.hub.clock() + 60_000)

        bob = await settle_in(place, "bob", made.room, home=tmp_path / "bob")
        bob.member.expect(read_secret(key))
        await bob.agent.client.request(Redeem(code=code), Joined | JoinPending)
        proof = bob.member.prove_knock(code)
        assert proof is not None
        assert ann.member.invited_with([proof], bob.member.agent) == code
        assert ann.member.invited_with([proof], ann.member.agent) is None
        await ann.agent.client.request(
            ResolveJoin(room=made.room, agent=bob.member.agent, approve=True),
            JoinResolved,
        )
        assert await bob.room.enter() is None, "in the room, and without keys"
        with pytest.raises(NotReading):
            await bob.room.say(word("too early"))
        await ann.room.change(Admit(agent=bob.member.agent, code=code))
        assert texts(await bob.room.enter()) == [SECRET_WORDS[0], code]

        # Two processes of one identity are one author to everybody.
        window = await settle_in(place, "bob", made.room, home=tmp_path / "bob")
        said = [f"{SECRET_WORDS[1]} {number}" for number in range(3)]
        await asyncio.gather(
            *(one.room.say(word(t)) for one in (ann, bob, window) for t in said)
        )
        for one in (ann, bob):
            await one.room.sync()
            with one.member._room() as kept:
                assert kept.alarms() == []
                assert sum(entry.plain is not None for entry in kept.entries()) == 11

        await ann.room.change(Remove(agent=bob.member.agent))
        await ann.room.say(word("without bob"))
        readings = await bob.room.sync()
        assert [one.verdict for one in readings] == [
            Verdict.STATE,
            Verdict.BEFORE_YOUR_TIME,
        ]
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    hubs = [
        p for p in stored if not {"ann", "bob"} & set(p.relative_to(tmp_path).parts)
    ]
    kept = b"".join(path.read_bytes() for path in hubs)
    assert b"sealed message: this program" in kept, "what is said in clear is found"
    assert [text for text in (*SECRET_WORDS, key) if text.encode() in kept] == []


async def test_a_long_room_is_read_page_by_page(tmp_path: Path) -> None:
    said = [f"{number}" for number in range(12)]
    async with stage(tmp_path) as place:
        opener = await place.enter("ann", home=tmp_path / "ann")
        made = await opener.client.request(Invite(kind=RoomKind.CHANNEL), Invited)
        ann = await settle_in(place, "ann", made.room, home=tmp_path / "ann")
        await ann.room.open()
        for text in said:
            await ann.room.say(word(text))
        (tmp_path / "ann" / FILE_NAME).rename(tmp_path / "lost")
        again = await settle_in(place, "ann", made.room, home=tmp_path / "ann", page=5)
        assert texts(await again.room.enter()) == said
        await again.room.say(word("from the same ann"))
        assert texts(await again.room.sync()) == ["from the same ann"]


class Hiding:
    """A client whose hub takes what we say and shows none of it."""

    def __init__(self, client: Client, author: str) -> None:
        self.request = client.request
        self._client = client
        self._author = author

    async def pull(
        self, room: RoomName, *, since: int, limit: int, opened: bool
    ) -> Batch:
        batch = await self._client.pull(room, since=since, limit=limit, opened=opened)
        shown = [m for m in batch.messages if m.author.id != self._author]
        return replace(batch, messages=[*batch.messages[:1], *shown[1:]])


async def test_a_hub_that_hides_what_we_say_does_not_keep_us_busy(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as place:
        opener = await place.enter("ann", home=tmp_path / "ann")
        made = await opener.client.request(Invite(kind=RoomKind.CHANNEL), Invited)
        ann = await settle_in(place, "ann", made.room, home=tmp_path / "ann")
        await ann.room.open()
        hiding = Hiding(ann.agent.client, ann.member.agent)
        blind = SealedRoom(hiding, ann.member, made.room, lock=tmp_path / "lock")
        await blind.change(Rekey())
        with pytest.raises(NotReading, match="still on its way"):
            await blind.say(word("anybody?"))
        await ann.room.say(word("seen again"))
        assert texts(await ann.room.sync()) == ["seen again"]
        with ann.member._room() as kept:
            assert kept.alarms() == []
            assert list(kept.epoch_keys()) == [1, 2]
