"""Rooms, members, keys and knocks as stored (protocol 4, 5.2, 5.5, 14.5)."""

import pytest
import sqlalchemy as sa

from hub.store import invites, members, rooms
from hub.store.invites import Invite, Knock
from hub.store.messages import NewMessage, append, is_member
from hub.store.rooms import Room
from hub.store.schema import metadata
from parler.wire.base import AgentId, Code, MessageId, RoomName
from parler.wire.records import RoomKind
from tests._support.stores import greet

ANN, BOB, CID = AgentId("ANN"), AgentId("BOB"), AgentId("CID")


def make(
    db: sa.Connection,
    name: str,
    *who: AgentId,
    kind: RoomKind = RoomKind.CHANNEL,
    owner: AgentId | None = ANN,
) -> Room:
    room = rooms.create(db, RoomName(name), kind, owner=owner, gated=True, now=1)
    for agent in who:
        members.add(db, room.id, agent, now=1)
    return room


def key(room: Room, code: str = "ABCDEFGH", **changes: int) -> Invite:
    fields = {"max_uses": 2, "uses": 0, "expires": 100} | changes
    return Invite(
        code=Code(code),
        room=room.id,
        created_by=ANN,
        gated=True,
        max_uses=fields["max_uses"],
        uses=fields["uses"],
        expires=fields["expires"],
    )


def test_a_room_is_found_by_its_exact_name_and_number(db: sa.Connection) -> None:
    den = make(db, "den")
    assert rooms.by_name(db, den.name) == rooms.by_id(db, den.id) == den
    for name in ("Den", "den ", "de", "den%", "d_n", ""):
        assert rooms.by_name(db, RoomName(name)) is None
    assert rooms.by_id(db, den.id + 1) is None


def test_a_name_belongs_to_one_room(db: sa.Connection) -> None:
    make(db, "den")
    with pytest.raises(sa.exc.IntegrityError):
        make(db, "den")


def test_a_deleted_room_leaves_nothing_behind_and_its_number_is_not_used_again(
    db: sa.Connection,
) -> None:
    den, other = make(db, "den", ANN, BOB), make(db, "other", ANN)
    for room in (den, other):
        invites.mint(db, key(room, code=f"CODE{room.id}"), now=1)
        invites.note_knock(db, room.id, CID, Knock.DENIED, now=1)
        append(
            db,
            [
                NewMessage(
                    room=room.id,
                    id=MessageId(f"m{room.id}"),
                    author=ANN,
                    client_id=None,
                    ts=1,
                    record='{"x":1}',
                )
            ],
        )
    rooms.delete(db, den.id)
    for table in metadata.sorted_tables:
        if "room" in table.c:
            left = set(db.execute(sa.select(table.c.room)).scalars())
            assert left <= {other.id}, table.name
    assert make(db, "den").id > other.id
    assert rooms.by_name(db, other.name) == other


def test_every_table_with_a_room_is_cleared_when_it_is_deleted() -> None:
    """A table added later must be thought of in `rooms.delete` (protocol 4.6)."""
    names = {table.name for table in metadata.sorted_tables if "room" in table.c}
    assert names >= {"members", "messages", "invites", "join_requests", "tokens"}


def test_a_direct_room_has_exactly_these_two(db: sa.Connection) -> None:
    make(db, "den", ANN, BOB)
    make(db, "dm.three", ANN, BOB, CID, kind=RoomKind.DM, owner=None)
    make(db, "dm.other", ANN, CID, kind=RoomKind.DM, owner=None)
    make(db, "dm.alone", ANN, kind=RoomKind.DM, owner=None)
    assert rooms.direct(db, ANN, BOB) is None
    ours = make(db, "dm.ours", ANN, BOB, kind=RoomKind.DM, owner=None)
    make(db, "dm.later", ANN, BOB, kind=RoomKind.DM, owner=None)
    assert rooms.direct(db, ANN, BOB) == rooms.direct(db, BOB, ANN) == ours
    assert rooms.direct(db, ANN, ANN) is None


def test_rooms_are_listed_by_name_with_members_and_unread(db: sa.Connection) -> None:
    zoo, den = make(db, "zoo", ANN), make(db, "den", ANN, BOB)
    make(db, "secret", BOB)
    message = NewMessage(
        room=den.id,
        id=MessageId("m"),
        author=ANN,
        client_id=None,
        ts=1,
        record='{"x":1}',
    )
    append(db, [message, message])
    listed = rooms.of_agent(db, ANN)
    assert [(room.name, room.members, room.unread) for room in listed] == [
        ("den", 2, 2),
        ("zoo", 1, 0),
    ]
    members.mark_read(db, den.id, ANN, 1)
    assert rooms.of_agent(db, ANN)[0].unread == 1
    assert rooms.of_agent(db, CID) == []
    assert rooms.owned_by(db, ANN) == 3
    assert zoo.owner == ANN


def test_a_membership_begins_and_ends(db: sa.Connection) -> None:
    den = make(db, "den", ANN)
    assert is_member(db, den.id, ANN)
    assert not is_member(db, den.id, BOB)
    assert members.remove(db, den.id, ANN)
    assert not members.remove(db, den.id, ANN)
    assert not is_member(db, den.id, ANN)
    assert members.of_room(db, den.id) == []


def test_a_key_is_found_by_its_exact_spelling_used_and_revoked(
    db: sa.Connection,
) -> None:
    den = make(db, "den")
    invites.mint(db, key(den), now=1)
    found = invites.by_code(db, Code("ABCDEFGH"))
    assert found == key(den)
    for code in ("abcdefgh", "ABCDEFG", "ABCDEFGH ", "%", ""):
        assert invites.by_code(db, Code(code)) is None
    invites.use(db, Code("ABCDEFGH"))
    used = invites.by_code(db, Code("ABCDEFGH"))
    assert used is not None
    assert used.uses == 1
    invites.revoke(db, Code("ABCDEFGH"))
    assert invites.by_code(db, Code("ABCDEFGH")) is None


def test_only_keys_that_still_open_the_room_are_listed(db: sa.Connection) -> None:
    den, other = make(db, "den"), make(db, "other")
    for number, changes in enumerate(
        ({}, {"expires": 9}, {"expires": 10}, {"uses": 2}, {"max_uses": 0})
    ):
        invites.mint(db, key(den, code=f"CODE{number}", **changes), now=number)
    invites.mint(db, key(other, code="OTHER"), now=1)
    listed = invites.of_room(db, den.id, den.kind, now=10)
    assert [info.code for info in listed] == ["CODE0", "CODE2"]
    assert listed[0].require_approval


def test_who_knocks_is_listed_oldest_first_with_the_name_of_today(
    db: sa.Connection,
) -> None:
    den = make(db, "den")
    greet(db, BOB, "bob", "dev", now=1)
    greet(db, ANN, "ann", None, now=1)
    for agent, knock, now in (
        (CID, Knock.PENDING, 5),
        (BOB, Knock.PENDING, 3),
        (ANN, Knock.DENIED, 1),
        (AgentId("X"), Knock.REMOVED, 1),
    ):
        invites.note_knock(db, den.id, agent, knock, now=now)
    greet(db, BOB, "robert", None, now=2)
    waiting = invites.waiting(db, den.id)
    assert [(one.agent, one.name, one.role, one.requested_at) for one in waiting] == [
        (BOB, "robert", None, 3),
        (CID, "", None, 5),
    ]


def test_a_knock_has_one_state_and_can_be_forgotten(db: sa.Connection) -> None:
    den = make(db, "den")
    assert invites.knock_of(db, den.id, BOB) is None
    for knock in Knock:
        invites.note_knock(db, den.id, BOB, knock, now=1)
        assert invites.knock_of(db, den.id, BOB) is knock
    invites.forget_knock(db, den.id, BOB)
    invites.forget_knock(db, den.id, BOB)
    assert invites.knock_of(db, den.id, BOB) is None
