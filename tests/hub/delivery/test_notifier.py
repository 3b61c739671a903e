"""Who is woken and who is told (protocol 5.3, 5.4, 14.3)."""

import asyncio
import json
from typing import Any

from hub.delivery.notifier import EVENTS, Notifier
from hub.delivery.outbox import Handed, Text
from parler.wire.base import AgentId, RoomName
from parler.wire.replies import Event
from tests._support.polling import WAIT

DEN, ATTIC = RoomName("den"), RoomName("attic")
MESSAGE = Handed(b'{"type":"delivery"}', 1, 7)
ANN, BOB, CID = AgentId("ANN"), AgentId("BOB"), AgentId("CID")


class Ear:
    """A connection that listens."""

    def __init__(self, *events: str, slow: bool = False) -> None:
        self.events = frozenset(events)
        self.heard: list[Any] = []
        self._slow = slow

    def push(self, frame: Text) -> bool:
        if not self._slow:
            self.heard.append(frame)
        return not self._slow


async def test_news_between_registering_and_looking_are_noticed() -> None:
    notifier = Notifier()
    with notifier.waiting(DEN) as news:
        notifier.wake(DEN)
        async with asyncio.timeout(WAIT):
            await news.wait()


async def test_everybody_who_waits_for_the_room_is_woken_and_nobody_else() -> None:
    notifier = Notifier()
    with (
        notifier.waiting(DEN) as one,
        notifier.waiting(DEN) as two,
        notifier.waiting(ATTIC) as other,
    ):
        notifier.wake(DEN)
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        notifier.wake_all()
        assert other.is_set()


async def test_a_reader_that_left_leaves_nothing_behind() -> None:
    notifier = Notifier()
    for _ in range(3):
        with notifier.waiting(DEN) as outer:
            with notifier.waiting(DEN):
                notifier.wake(DEN)
            assert outer.is_set()
            assert DEN in notifier._waiting
    assert not notifier._waiting
    notifier.wake(DEN)
    notifier.wake_all()


def test_a_message_goes_to_members_who_listen_and_not_to_its_author() -> None:
    notifier = Notifier()
    ann, bob1, bob2, cid = Ear(), Ear(), Ear(), Ear()
    for agent, ear in ((ANN, ann), (BOB, bob1), (BOB, bob2), (CID, cid)):
        notifier.subscribe(agent, ear)
    notifier.deliver(lambda: MESSAGE, {ANN, BOB}, author=ANN)
    assert (ann.heard, bob1.heard, bob2.heard, cid.heard) == (
        [],
        [MESSAGE],
        [MESSAGE],
        [],
    )
    assert notifier.pushes == 2


def test_subscribing_twice_is_once_and_unsubscribing_ends_it() -> None:
    notifier = Notifier()
    bob, other = Ear(), Ear()
    notifier.subscribe(BOB, bob)
    notifier.subscribe(BOB, bob)
    notifier.deliver(lambda: MESSAGE, {BOB}, author=ANN)
    assert bob.heard == [MESSAGE]
    notifier.unsubscribe(BOB, other)
    notifier.unsubscribe(CID, other)
    notifier.unsubscribe(BOB, bob)
    notifier.unsubscribe(BOB, bob)
    notifier.deliver(lambda: MESSAGE, {BOB}, author=ANN)
    assert bob.heard == [MESSAGE]
    assert not notifier._listeners


def test_a_slow_peer_does_not_count_as_reached_and_holds_up_nobody() -> None:
    notifier = Notifier()
    slow, bob = Ear(slow=True), Ear()
    notifier.subscribe(BOB, slow)
    notifier.subscribe(BOB, bob)
    notifier.deliver(lambda: MESSAGE, {BOB}, author=ANN)
    assert bob.heard == [MESSAGE]
    assert notifier.pushes == 1


def test_an_event_reaches_only_those_who_asked_for_it() -> None:
    notifier = Notifier()
    asked, other, nothing = Ear("member"), Ear("room"), Ear()
    for agent, ear in ((ANN, asked), (ANN, nothing), (BOB, other)):
        notifier.subscribe(agent, ear)
    event = Event(event="member", room=DEN, agent=ANN, name="ann", change="joined")
    notifier.tell(event, [ANN, BOB, CID])
    assert [json.loads(frame.text) for frame in asked.heard] == [
        {
            "type": "event",
            "event": "member",
            "room": "den",
            "agent": "ANN",
            "name": "ann",
            "change": "joined",
        }
    ]
    assert other.heard == nothing.heard == []


def test_the_author_hears_events_about_itself() -> None:
    notifier = Notifier()
    ann = Ear(*EVENTS)
    notifier.subscribe(ANN, ann)
    notifier.tell(Event(event="room", room=DEN, change="deleted"), [ANN])
    assert len(ann.heard) == 1
