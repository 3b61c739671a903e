"""Whatever comes and is shown in whatever order: nothing is lost nor told too early."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from parler.runtime.entry import Entry, Mark
from parler.runtime.mailbox import Mailbox
from parler.runtime.receipt import Claim
from parler.wake.spool import Item
from parler.wire.base import RoomName

ROOMS = [RoomName("room.a"), RoomName("room.b")]
rooms = st.sampled_from(ROOMS)
picks = st.integers(0, 10_000)


def item(room: RoomName, seq: int) -> Item:
    return Item(room, seq, f"text {seq}", True, f"{room}-{seq}")


def entry(room: RoomName, seq: int, *, wakes: bool = True) -> Entry:
    return Entry(seq=seq, item=item(room, seq), wakes=wakes)


def filled(*seqs: int, room: RoomName = ROOMS[0]) -> Mailbox:
    mailbox = Mailbox()
    mailbox.begin("ws://one", room)
    for seq in seqs:
        mailbox.box(room).add(entry(room, seq))
    return mailbox


def numbers(items: list[Item]) -> list[int]:
    return [one.seq for one in items]


class Stories(RuleBasedStateMachine):
    """One hub, whose cursors are `told`, and a model that `has` some messages."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox()
        self.stored: dict[RoomName, list[Entry]] = {room: [] for room in ROOMS}
        self.told = dict.fromkeys(ROOMS, 0)
        self.has: set[Mark] = set()
        self.recorded: set[Mark] = set()
        self.flying: list[list[Item]] = []
        self.claims: list[Claim] = []
        self.mailbox.begin("ws://one", ROOMS[0])

    @rule(room=rooms, wakes=st.booleans(), own=st.booleans())
    def somebody_says(self, room: RoomName, wakes: bool, own: bool) -> None:
        seq = len(self.stored[room]) + 1
        said = Entry(seq=seq) if own else entry(room, seq, wakes=wakes)
        self.stored[room].append(said)

    @rule(room=rooms)
    def fetches(self, room: RoomName) -> None:
        box = self.mailbox.box(room)
        since = self.told[room] if box.fetched is None else box.fetched
        for one in self.stored[room][since:]:
            box.add(one)
        box.fetched = max(since, len(self.stored[room]))

    @rule(room=st.none() | rooms, pick=picks)
    def collects(self, room: RoomName | None, pick: int) -> None:
        waiting = self.mailbox.waiting(room)
        assert not {one.mark for one in waiting} & self.has
        chosen = waiting[: pick % (len(waiting) + 1)]
        self.mailbox.hold(chosen)
        self.flying.append(chosen)

    @rule(pick=picks, arrived=st.booleans())
    def is_settled(self, pick: int, arrived: bool) -> None:
        if self.flying:
            held = self.flying.pop(pick % len(self.flying))
            marks = {one.mark for one in held}
            if arrived:
                self.mailbox.confirm(marks)
                self.has |= marks
                self.recorded |= marks
            else:
                self.mailbox.release(held)

    @rule(pick=picks)
    def a_hook_shows_one(self, pick: int) -> None:
        if waiting := self.mailbox.waiting():
            mark = waiting[pick % len(waiting)].mark
            self.has.add(mark)
            self.recorded.add(mark)
            self.mailbox.settle(self.recorded)

    @rule(room=rooms)
    def shows_a_room_by_a_result(self, room: RoomName) -> None:
        if self.stored[room]:
            self.claims.append(self.mailbox.claim(room, len(self.stored[room])))

    @rule(pick=picks, arrived=st.booleans())
    def that_result_is_settled(self, pick: int, arrived: bool) -> None:
        if self.claims:
            claim = self.claims.pop(pick % len(self.claims))
            self.mailbox.settle_claim(claim, arrived=arrived)
            if arrived:
                said = self.stored[claim.room][: claim.upto]
                self.has |= {one.item.mark for one in said if one.item}

    @rule()
    def tells_the_hub(self) -> None:
        self.mailbox.settle(self.recorded)
        for room, upto in self.mailbox.due().items():
            self.told[room] = max(upto, self.told[room])

    @rule(active=rooms)
    def connects_anew(self, active: RoomName) -> None:
        self.mailbox.begin("ws://one", active)

    @rule(room=rooms)
    def follows_one_room_only(self, room: RoomName) -> None:
        self.mailbox.follow_only([room])

    @rule()
    def judges_anew(self) -> None:
        self.mailbox.judge_anew()

    @invariant()
    def nothing_is_told_that_the_model_has_not(self) -> None:
        for room, upto in self.told.items():
            for one in self.stored[room][:upto]:
                assert one.item is None or one.item.mark in self.has

    def teardown(self) -> None:
        """What is not on its way can be shown, and then the hub is told of all."""
        for held in self.flying:
            self.mailbox.release(held)
        for claim in self.claims:
            self.mailbox.settle_claim(claim, arrived=False)
        for room in ROOMS:
            self.fetches(room)
            waiting = self.mailbox.waiting(room)
            said = {one.item.mark for one in self.stored[room] if one.item}
            assert said - self.has == {one.mark for one in waiting}
            self.mailbox.confirm({one.mark for one in waiting})
        self.mailbox.settle(self.recorded)
        for room in ROOMS:
            told = max(self.mailbox.due()[room], self.told[room])
            assert told == len(self.stored[room])


TestStories: Any = Stories.TestCase


def test_what_is_on_its_way_is_not_offered_to_anybody_else() -> None:
    mailbox = filled(1, 2)
    mailbox.hold(mailbox.waiting()[:1])
    assert numbers(mailbox.waiting()) == [2]
    assert numbers(mailbox.offered()) == [1, 2]  # the spool hides what it holds
    mailbox.release([item(ROOMS[0], 1)])
    assert numbers(mailbox.waiting()) == [1, 2]


def test_notices_come_first_then_the_active_session_and_mentions_last() -> None:
    mailbox = filled(3)
    mailbox.box(ROOMS[1]).add(entry(ROOMS[1], 7))
    mailbox.active = ROOMS[1]
    mailbox.mention(item(RoomName("elsewhere"), 5))
    mailbox.notice(Item("", 0, "you are in", True, "joined"))
    assert numbers(mailbox.waiting()) == [0, 7, 3, 5]


def test_a_notice_that_was_shown_does_not_come_again() -> None:
    mailbox = filled()
    notice = Item("", 0, "you are in", True, "joined")
    assert mailbox.notice(notice)
    mailbox.confirm([notice.mark])
    assert not mailbox.notice(notice)
    mailbox.settle([])
    assert mailbox.offered() == []


def test_another_hub_knows_nothing_of_what_was_shown_at_this_one() -> None:
    mailbox = filled(1)
    mailbox.confirm([item(ROOMS[0], 1).mark])
    mailbox.claim(ROOMS[0], 9)
    assert not mailbox.begin("ws://one", ROOMS[0])
    assert mailbox.begin("ws://two", ROOMS[0])
    mailbox.box(ROOMS[0]).add(entry(ROOMS[0], 1))
    assert numbers(mailbox.waiting()) == [1]
    assert mailbox.due() == {ROOMS[0]: 0}


def test_what_is_about_to_be_shown_waits_again_when_nobody_will_know() -> None:
    mailbox = filled(1, 2)
    mailbox.claim(ROOMS[0], 1)
    mailbox.hold(mailbox.waiting())
    mailbox.release_all()
    assert numbers(mailbox.waiting()) == [1, 2]


def test_a_result_of_another_hub_settles_nothing_here() -> None:
    mailbox = filled()
    there = mailbox.claim(ROOMS[0], 5)
    mailbox.begin("ws://two", ROOMS[0])
    mailbox.box(ROOMS[0])
    mailbox.claim(ROOMS[0], 5)
    mailbox.settle_claim(there, arrived=True)
    mailbox.settle([])
    assert mailbox.due() == {ROOMS[0]: 0}


def test_replies_are_found_by_the_message_they_answer() -> None:
    mailbox = filled(1)
    reply = item(ROOMS[0], 2)
    mailbox.box(ROOMS[0]).add(Entry(seq=2, item=reply, reply_to="my question"))
    assert mailbox.replies_to("my question") == {reply.mark}
    assert mailbox.entry_of(reply) == mailbox.boxes[ROOMS[0]].entries[1]
