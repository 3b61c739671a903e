"""The log: once per client id, in order, read by members from where they may (5)."""

import json
import sqlite3
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.errors import Refusal
from hub.store import members, messages, rooms
from hub.store.messages import NewMessage, Page, Stored, _Where, append
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_PULLED_BYTES
from parler.wire.records import RoomKind

ANN, BOB, EVE = AgentId("ANN"), AgentId("BOB"), AgentId("EVE")
DEN, ATTIC = RoomName("den"), RoomName("attic")


@pytest.fixture
def den(db: sa.Connection) -> int:
    """The number of a room with Ann and Bob in it."""
    return make(db, DEN, ANN, BOB)


def make(db: sa.Connection, name: RoomName, *agents: AgentId) -> int:
    room = rooms.create(db, name, RoomKind.CHANNEL, owner=ANN, gated=False, now=1)
    for agent in agents:
        members.add(db, room.id, agent, now=1)
    return room.id


def new(
    room: int,
    text: str,
    *,
    author: AgentId = ANN,
    client_id: str | None = None,
) -> NewMessage:
    return NewMessage(
        room=room,
        id=MessageId(f"id-{text[:9]}"),
        author=author,
        client_id=client_id,
        ts=1,
        record=json.dumps({"text": text}),
    )


def say(db: sa.Connection, room: int, *texts: str) -> list[int]:
    """Append Ann's messages; returns their positions."""
    stored = append(db, [new(room, text) for text in texts])
    return [one.seq for one in stored if isinstance(one, Stored)]


def pull(db: sa.Connection, agent: AgentId, room: RoomName = DEN, **how: Any) -> Page:
    given: dict[str, Any] = {"since": None, "ack": None, "limit": 200}
    return messages.after(db, room, agent, **given | how)


def texts(page: Page) -> list[str]:
    return [message["text"] for message in json.loads(b"[%b]" % b",".join(page.pieces))]


# -------------------------------------------------------------------------- appending


def test_positions_grow_by_one_over_all_rooms(db: sa.Connection, den: int) -> None:
    attic = make(db, ATTIC, ANN)
    stored = append(db, [new(den, "a"), new(attic, "b"), new(den, "c")])
    assert stored == [
        Stored(1, MessageId("id-a")),
        Stored(2, MessageId("id-b")),
        Stored(3, MessageId("id-c")),
    ]
    assert texts(pull(db, ANN)) == ["a", "c"]
    assert texts(pull(db, ANN, ATTIC)) == ["b"]


def test_a_repeat_answers_with_the_original_whatever_it_says(
    db: sa.Connection, den: int
) -> None:
    (first,) = append(db, [new(den, "a", client_id="c1")])
    (again,) = append(db, [new(den, "other", client_id="c1")])
    assert first == Stored(1, MessageId("id-a"))
    assert again == Stored(1, MessageId("id-a"), repeated=True)
    assert texts(pull(db, ANN)) == ["a"]


def test_a_repeat_within_one_batch_is_stored_once(db: sa.Connection, den: int) -> None:
    stored = append(
        db,
        [
            new(den, "a", client_id="c1"),
            new(den, "b"),
            new(den, "a2", client_id="c1"),
            new(den, "c", client_id="c2"),
            new(den, "a3", client_id="c1"),
        ],
    )
    assert [one.repeated for one in stored if isinstance(one, Stored)] == [
        False,
        False,
        True,
        False,
        True,
    ]
    assert [one.seq for one in stored if isinstance(one, Stored)] == [1, 2, 1, 4, 1]
    assert texts(pull(db, ANN)) == ["a", "b", "c"]
    assert say(db, den, "d") > [4]


def test_a_client_id_counts_per_author_and_room(db: sa.Connection, den: int) -> None:
    attic = make(db, ATTIC, ANN, BOB)
    stored = append(
        db,
        [
            new(den, "a", client_id="c"),
            new(den, "b", author=BOB, client_id="c"),
            new(attic, "c", client_id="c"),
            new(den, "d", client_id="C"),
            new(den, "e"),
            new(den, "f"),
        ],
    )
    assert not any(one.repeated for one in stored if isinstance(one, Stored))
    assert len(stored) == 6


def test_an_ex_member_appends_nothing_and_spoils_nobody(
    db: sa.Connection, den: int
) -> None:
    append(db, [new(den, "early", author=BOB, client_id="c1")])
    members.remove(db, den, BOB)
    stored = append(
        db,
        [
            new(den, "a"),
            new(den, "b", author=BOB),
            new(den, "early", author=BOB, client_id="c1"),
            new(den, "c", author=EVE),
            new(999, "d"),
            new(den, "e"),
        ],
    )
    refused = [one.code for one in stored if isinstance(one, Refusal)]
    assert refused == [ErrorCode.NOT_MEMBER] * 4
    assert texts(pull(db, ANN)) == ["early", "a", "e"]


def test_a_number_is_never_used_again_after_its_room_is_gone(
    db: sa.Connection, den: int
) -> None:
    last = say(db, den, "a", "b")[-1]
    rooms.delete(db, den)
    again = make(db, DEN, ANN)
    assert again != den
    assert say(db, again, "c")[0] > last
    assert texts(pull(db, ANN)) == ["c"]


# ---------------------------------------------------------------------------- reading


def test_only_members_read_and_a_missing_room_answers_alike(
    db: sa.Connection, den: int
) -> None:
    say(db, den, "a")
    for agent, room in ((EVE, DEN), (ANN, ATTIC)):
        with pytest.raises(Refusal) as caught:
            pull(db, agent, room, since=0)
        assert caught.value.code is ErrorCode.NOT_MEMBER


def test_since_reads_from_there_and_ignores_ack(db: sa.Connection, den: int) -> None:
    one, two, three = say(db, den, "a", "b", "c")
    assert texts(pull(db, BOB, since=one)) == ["b", "c"]
    page = pull(db, BOB, since=0, ack=three, limit=2)
    assert (texts(page), page.cursor, page.ack) == (["a", "b"], two, None)
    assert pull(db, BOB, since=99).cursor == 99
    assert texts(pull(db, BOB, since=-(2**63))) == ["a", "b", "c"]
    assert pull(db, BOB, since=2**63 - 1).count == 0


def test_an_ack_raises_the_start_and_is_clamped_to_what_there_is(
    db: sa.Connection, den: int
) -> None:
    one, _, three = say(db, den, "a", "b", "c")
    page = pull(db, BOB, ack=one)
    assert (texts(page), page.cursor, page.ack) == (["b", "c"], three, one)
    for much in (three, three + 1, 2**63 - 1):
        page = pull(db, BOB, ack=much)
        assert (page.count, page.cursor, page.ack) == (0, three, three)
    for little in (0, -1, -(2**63)):
        page = pull(db, BOB, ack=little)
        assert (texts(page), page.ack) == (["a", "b", "c"], None)


def test_a_too_large_ack_hides_no_later_message(db: sa.Connection, den: int) -> None:
    say(db, den, "a")
    page = pull(db, BOB, ack=2**63 - 1)
    assert page.ack is not None
    members.mark_read(db, den, BOB, page.ack)
    say(db, den, "b")
    assert texts(pull(db, BOB)) == ["b"]


def test_an_ack_is_clamped_to_the_room_not_to_the_hub(
    db: sa.Connection, den: int
) -> None:
    attic = make(db, ATTIC, ANN)
    (last,) = say(db, den, "a")
    say(db, attic, "x", "y", "z")
    assert pull(db, BOB, ack=last + 3).ack == last


def test_a_cursor_never_goes_back(db: sa.Connection, den: int) -> None:
    one, two, three = say(db, den, "a", "b", "c")
    for seen, cursor in ((two, two), (one, two), (-5, two), (three, three)):
        members.mark_read(db, den, BOB, seen)
        assert pull(db, BOB, ack=0, limit=0).cursor == cursor
    with pytest.raises(Refusal):
        members.mark_read(db, den, EVE, three)


def test_a_page_is_cut_by_number_and_continues(db: sa.Connection, den: int) -> None:
    say(db, den, *map(str, range(10)))
    assert pull(db, BOB, limit=0).count == 0
    seen: list[str] = []
    since = 0
    while page := texts(pull(db, BOB, since=since, limit=3)):
        seen += page
        since = pull(db, BOB, since=since, limit=3).cursor
    assert seen == list(map(str, range(10)))


def test_a_page_is_cut_by_bytes_but_never_empty(db: sa.Connection, den: int) -> None:
    big = "x" * (MAX_PULLED_BYTES // 2 - 100)
    say(db, den, big, big, big, "y" * (MAX_PULLED_BYTES + 1), "z")
    sizes: list[int] = []
    since = 0
    while (page := pull(db, BOB, since=since)).count:
        sizes.append(page.count)
        since = page.cursor
    assert sizes == [2, 1, 1, 1]


def test_bytes_are_counted_not_characters(db: sa.Connection, den: int) -> None:
    record = {"text": "漢" * (MAX_PULLED_BYTES // 4)}
    big = NewMessage(
        room=den,
        id=MessageId("m"),
        author=ANN,
        client_id=None,
        ts=1,
        record=json.dumps(record, ensure_ascii=False),
    )
    append(db, [big, big])
    assert pull(db, BOB, since=0).count == 1


@given(
    said=st.lists(st.text(max_size=40), max_size=30),
    since=st.integers(-1, 31),
    limit=st.integers(0, 40),
    max_bytes=st.integers(1, 600),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_page_is_what_reading_message_by_message_gives(
    db: sa.Connection, said: list[str], since: int, limit: int, max_bytes: int
) -> None:
    name = RoomName(f"room {uuid4()}")
    seqs = [*say(db, make(db, name, ANN), *said)]
    page = pull(
        db,
        ANN,
        name,
        since=seqs[0] + since if seqs else 0,
        limit=limit,
        max_bytes=max_bytes,
    )
    expected, size = [], 0
    for seq, text in zip(seqs, said, strict=True):
        if seq <= seqs[0] + since or len(expected) == limit:
            continue
        one = messages.with_seq(seq, json.dumps({"text": text}))
        size += len(one)
        if expected and size > max_bytes:
            break
        expected.append(one)
    assert b",".join(page.pieces) == b",".join(expected)
    assert page.count == len(expected)


def test_who_writes_the_largest_messages_makes_nobody_join_more_than_a_reply(
    db: sa.Connection, den: int
) -> None:
    raw: Any = db.connection.driver_connection
    before = raw.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
    say(db, den, *["x" * 2**20] * 20)
    assert messages._join(db, _Where(den, None), 0, 20, MAX_PULLED_BYTES) is None
    assert raw.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == before
    page = pull(db, BOB, since=0, limit=1000)
    assert page.count == 3
    assert sum(map(len, page.pieces)) <= MAX_PULLED_BYTES


def test_who_writes_large_messages_makes_nobody_walk_through_all_of_them(
    db: sa.Connection, den: int
) -> None:
    raw: Any = db.connection.driver_connection
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def steps_of(room: RoomName, **how: Any) -> int:
        nonlocal steps
        steps = 0
        assert pull(db, ANN, room, since=0, limit=1000, **how).count
        return steps

    say(db, make(db, ATTIC, ANN), *["x"] * 64)
    say(db, den, *["x" * 8_000] * 1000)
    raw.set_progress_handler(count, 1)
    of_some = steps_of(ATTIC)
    assert steps_of(DEN, max_bytes=20_000) < 2 * of_some
    raw.set_progress_handler(None, 0)


def test_a_floor_holds_for_every_way_of_reading(db: sa.Connection, den: int) -> None:
    """Who was admitted without the history cannot read below it (14.6)."""
    _, two = say(db, den, "old", "older")
    members.add(db, den, EVE, now=2, floor=two)
    assert pull(db, EVE).count == 0
    assert pull(db, EVE, since=0).count == 0
    assert pull(db, EVE, since=-(2**63), limit=1).count == 0
    assert pull(db, EVE, ack=0).cursor == two
    say(db, den, "new")
    assert texts(pull(db, EVE, since=0)) == texts(pull(db, EVE)) == ["new"]
    (info,) = rooms.of_agent(db, EVE)
    assert info.unread == 1


def test_a_record_goes_out_verbatim_with_its_number_in_front() -> None:
    record = '{"id":"m","parts":[{"kind":"data","data":1.10e+2}],"x":"é"}'
    assert messages.with_seq(7, record).decode() == '{"seq":7,' + record[1:]
