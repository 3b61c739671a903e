"""Random stories of a sealed room, beside a plain model of who may read what.

At an honest hub all members read the same, nobody is alarmed and every change is done
in the end. At one that drops, swaps and repeats what it likes, differently for each
member, nobody opens what no admin's state entitles it to.
"""

from collections import defaultdict
from contextlib import suppress

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from parler.sealed.changes import Admit, Change, Rekey, Remove, SetAdmin
from parler.sealed.formats import Refused, State
from parler.sealed.member import NotReading
from parler.sealed.store import Outgoing, Phase
from parler.wire.base import AgentId
from parler.wire.records import StoredMessage
from tests._support.sealed_rooms import OneRoom, Person, close_stores, said

PEOPLE = 5
people = st.integers(0, PEOPLE - 1)
flags = st.booleans()
picks = st.integers(0, 1000)
admins = st.sampled_from([0, 0, 1, 1, 2])
"""Mostly those who are admins in the beginning."""


class Story(RuleBasedStateMachine):
    """Five people: an owner, an admin, a member, and two who are not in yet."""

    @initialize()
    def open(self) -> None:
        self.hub = OneRoom()
        self.people = [Person(number + 1, self.hub) for number in range(PEOPLE)]
        self.said: dict[str, str] = {}
        """What was said, and the commitment to the key it was said under."""

        self.entitled: dict[str, set[AgentId]] = defaultdict(set)
        """Who may have the key behind a commitment, by the states of admins."""

        self.keys: dict[int, set[str]] = defaultdict(set)
        owner, admin, member, *_ = self.people
        self.send(owner, owner.member.open())
        owner.sync()
        for change in (
            Admit(agent=admin.id),
            SetAdmin(agent=admin.id, admin=True),
            Admit(agent=member.id),
        ):
            self.want(0, change, now=True)
        self.read_all()

    def note(self, outgoing: Outgoing) -> None:
        """What a new state entitles its members to."""
        body = msgspec.json.decode(outgoing.parts)[1]
        if body["kind"] != "com.parler.grant" or body["op"] != "state":
            return
        state = msgspec.convert(body["state"], State)
        self.keys[state.epoch].add(state.kc)
        for member in state.members:
            for epoch in range(member.since, state.epoch + 1):
                for kc in self.keys[epoch]:
                    self.entitled[kc].add(member.id)

    @rule(who=people, fresh=flags)
    def say(self, who: int, fresh: bool) -> None:
        person, text = self.people[who], f"word {len(self.said)}"
        if fresh:
            self.read(who)
        with suppress(NotReading):
            outgoing = person.member.say([{"kind": "text", "text": text}])
            with person.room() as room:
                current = room.current()
                assert current is not None
                self.said[text] = current.state.kc
            self.send(person, outgoing)

    @rule(fresh=flags)
    def all_say_something(self, fresh: bool) -> None:
        for who in range(PEOPLE):
            self.say(who, fresh)

    @rule()
    def read_all(self) -> None:
        for who in range(PEOPLE):
            self.read(who)

    @rule(who=admins, whom=people, history=flags, now=flags)
    def admit(self, who: int, whom: int, history: bool, now: bool) -> None:
        self.want(who, Admit(agent=self.people[whom].id, history=history), now=now)

    @rule(who=admins, whom=people, now=flags)
    def remove(self, who: int, whom: int, now: bool) -> None:
        self.want(who, Remove(agent=self.people[whom].id), now=now)

    @rule(who=admins, whom=people, admin=flags, now=flags)
    def set_admin(self, who: int, whom: int, admin: bool, now: bool) -> None:
        self.want(who, SetAdmin(agent=self.people[whom].id, admin=admin), now=now)

    @rule(who=admins, now=flags)
    def rekey(self, who: int, now: bool) -> None:
        self.want(who, Rekey(), now=now)

    @rule(who=people)
    def deliver(self, who: int) -> None:
        person = self.people[who]
        outgoing = person.member.outgoing()
        if outgoing is not None:
            self.send(person, outgoing)

    @rule(who=people)
    def read(self, who: int) -> None:
        person = self.people[who]
        with person.room() as room:
            begun = room.phase is not Phase.EXPECTED
        if begun:
            person.sync()
        else:
            person.enter()
        for text in person.texts:
            assert person.id in self.entitled[self.said[text]]

    def want(self, who: int, change: Change, *, now: bool) -> None:
        """Change something on top of what one knows, or of what there is."""
        if now:
            self.read(who)
        with suppress(NotReading, Refused):
            self.people[who].member.intend(change)
        if now:
            self.deliver(who)
            self.read(who)

    def send(self, person: Person, outgoing: Outgoing) -> None:
        self.note(outgoing)
        person.send(outgoing)

    def settle(self) -> None:
        """All send what is pending, and read, until nobody has anything left."""
        busy = True
        while busy:
            busy = False
            for who, person in enumerate(self.people):
                self.read(who)
                outgoing = person.member.outgoing()
                if outgoing is not None:
                    self.send(person, outgoing)
                    busy = True

    def teardown(self) -> None:
        try:
            self.judge()
        finally:
            close_stores()

    def judge(self) -> None:
        """What must be true in the end."""
        self.settle()
        owner = self.people[0]
        with owner.room() as room:
            current = room.current()
            head = room.position.head
        assert current is not None
        read = owner.texts
        for person in self.people:
            if current.state.member(person.id) is None:
                continue
            assert person.alarms == []
            with person.room() as room:
                assert room.position.head == head
                assert room.current() == current
            theirs = [t for t in read if person.id in self.entitled[self.said[t]]]
            assert person.texts == theirs


class LyingHub(Story):
    """The same, while the hub shows each member what it likes."""

    def lie(self, who: int, messages: list[StoredMessage]) -> None:
        shown = [
            said(m.author.id, bytes(m.parts), seq=100 + 3 * at, name=m.id)
            for at, m in enumerate(messages)
        ]
        self.people[who].hub = OneRoom(shown)

    def unread(self, who: int) -> tuple[list[StoredMessage], list[StoredMessage]]:
        """What a member has read of what it is shown, and what it has not."""
        person = self.people[who]
        with person.room() as room:
            seq = room.position.seq
        messages = person.hub.messages
        read = [m for m in messages if m.seq <= seq]
        return read, [m for m in messages if m.seq > seq]

    @rule(who=people, pick=picks)
    def drop(self, who: int, pick: int) -> None:
        read, news = self.unread(who)
        if news:
            del news[pick % len(news)]
            self.lie(who, [*read, *news])

    @rule(who=people, pick=picks)
    def swap(self, who: int, pick: int) -> None:
        read, news = self.unread(who)
        if len(news) > 1:
            news.insert(0, news.pop(1 + pick % (len(news) - 1)))
            self.lie(who, [*read, *news])

    @rule(who=people, pick=picks)
    def repeat(self, who: int, pick: int) -> None:
        read, news = self.unread(who)
        old = [*read, *news]
        if old:
            self.lie(who, [*old, old[pick % len(old)]])

    @rule(who=people, pick=picks)
    def go_back(self, who: int, pick: int) -> None:
        if pick % 8 == 0:
            self.lie(who, self.people[who].hub.messages[:-2])

    @rule(who=people, other=people)
    def pass_on(self, who: int, other: int) -> None:
        there = {m.id for m in self.people[who].hub.messages}
        news = [m for m in self.people[other].hub.messages if m.id not in there]
        self.lie(who, [*self.people[who].hub.messages, *news])

    def judge(self) -> None:
        for who in range(PEOPLE):
            self.read(who)


AT_LENGTH = settings(max_examples=6 * settings().max_examples)
"""More than 10,000 steps of each, in the profile of continuous integration."""

TestStory = Story.TestCase
TestStory.settings = AT_LENGTH
TestLyingHub = LyingHub.TestCase
TestLyingHub.settings = AT_LENGTH
