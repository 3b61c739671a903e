"""The mail of one agent at one hub: what waits, what is on its way, what it has seen.

A state machine without I/O. It is told what was fetched, held, shown and confirmed; it
says what may be shown now, and up to where each room may be acknowledged to the hub.
"""

from collections.abc import Collection

from parler.runtime.box import Box
from parler.runtime.entry import Entry, Mark
from parler.runtime.notices import Notices
from parler.runtime.receipt import Claim
from parler.wake.spool import Item
from parler.wire.base import RoomName, Seq


class Mailbox:
    """Empty until `begin`."""

    def __init__(self) -> None:
        """Without a hub."""
        self.hub = ""
        self.active: RoomName | None = None
        """The session that is shown first."""

        self.boxes: dict[RoomName, Box] = {}
        self.notices = Notices()
        self._claims: list[Claim] = []
        self._taken: dict[RoomName, Seq] = {}
        self._shown: set[Mark] = set()
        self._flying: set[Mark] = set()
        """Items held for the model: it is not known yet whether they arrive."""

    def begin(self, hub: str, active: RoomName | None) -> bool:
        """Fetch anew: positions are the hub's to know. Says whether it is another hub.

        What was not acknowledged at the former connection comes from the hub again.
        """
        self.active = active
        self.boxes.clear()
        if hub == self.hub:
            return False
        self.hub = hub
        self.notices = Notices()
        self._shown.clear()
        self._taken.clear()
        self._claims.clear()  # numbers of rooms of the same name mean others here
        return True

    # Rooms

    def box(self, room: RoomName) -> Box:
        """A room that is followed from now on."""
        if room not in self.boxes:
            self.boxes[room] = Box(
                room, taken=self._taken.get(room, 0), claimed=self._claimed(room)
            )
        return self.boxes[room]

    def follow_only(self, rooms: Collection[RoomName]) -> None:
        """Follow these rooms, and no others any more."""
        for room in self.boxes.keys() - set(rooms):
            del self.boxes[room]
        for room in rooms:
            self.box(room)

    def judge_anew(self) -> None:
        """What may interrupt has changed: all is to be fetched again."""
        for room, box in self.boxes.items():
            # A fetch that is under way fills the old one, and leaves no gap in this.
            self.boxes[room] = box.emptied()

    # What waits

    def offered(self, room: RoomName | None = None) -> list[Item]:
        """What is to be shown, in that order; of one room, also what may not
        interrupt."""
        if room is not None:
            box = self.boxes.get(room)
            return list(box.offered(everything=True)) if box else []
        items = [*self.notices.own.values()]
        first = self.boxes.get(self.active) if self.active else None
        if first is not None:
            items += first.offered()
        for box in self.boxes.values():
            if box is not first:
                items += box.offered()
        return [*items, *self.notices.mentions.values()]

    def waiting(self, room: RoomName | None = None) -> list[Item]:
        """As `offered`, without what was shown or is on its way."""
        hidden = self._shown | self._flying
        return [item for item in self.offered(room) if item.mark not in hidden]

    def notice(self, item: Item) -> bool:
        """Something of our own waits now, unless it was shown; says which."""
        if item.mark in self._shown:
            return False
        self.notices.add(item)
        return True

    def mention(self, item: Item) -> None:
        """A message of another room that names us waits, unless it was shown."""
        if item.mark not in self._shown:
            self.notices.mentions[item.mark] = item

    def quiet(self) -> int:
        """How many messages wait that may not interrupt."""
        return sum(box.held() for box in self.boxes.values())

    def replies_to(self, message: str) -> set[Mark]:
        """What answers a message, of the rooms that are followed."""
        return {
            entry.item.mark
            for box in self.boxes.values()
            for entry in box.entries
            if entry.item and entry.reply_to == message
        }

    def entry_of(self, item: Item) -> Entry | None:
        """The message that an item shows."""
        box = self.boxes.get(RoomName(item.room))
        found = (one for one in box.entries if one.item == item) if box else iter(())
        return next(found, None)

    # What becomes of it

    def hold(self, items: Collection[Item]) -> None:
        """Items are on their way to the model."""
        self._flying |= {item.mark for item in items}

    def release(self, items: Collection[Item]) -> None:
        """They did not arrive: they wait again."""
        self._flying -= {item.mark for item in items}

    def confirm(self, marks: Collection[Mark]) -> None:
        """The model has these."""
        self._shown |= set(marks)
        self._flying -= set(marks)

    def release_all(self) -> None:
        """Nobody will ever know what became of what is on its way."""
        self._flying.clear()
        self._claims.clear()
        for box in self.boxes.values():
            box.claimed = 0

    def claim(self, room: RoomName, upto: Seq) -> Claim:
        """A room is about to be shown up to here, not by its items."""
        claim = Claim(room, upto)
        self._claims.append(claim)
        self._update(room)
        return claim

    def settle_claim(self, claim: Claim, *, arrived: bool) -> None:
        """What was claimed was shown, or was not."""
        if claim not in self._claims:
            return  # it was of another hub, or given up
        self._claims.remove(claim)
        if arrived:
            taken = self._taken.get(claim.room, 0)
            self._taken[claim.room] = max(claim.upto, taken)
        self._update(claim.room)

    # What the hub may be told

    def settle(self, recorded: Collection[Mark]) -> None:
        """Drop what the model has.

        Args:
            recorded: What the spool says was shown, by hooks too.
        """
        kept = {item.mark for box in self.boxes.values() for item in box.items()}
        kept |= self.notices.own.keys() | self.notices.mentions.keys()
        self._shown = set(recorded) | (self._shown & kept)
        self.notices.drop(self._shown)
        for box in self.boxes.values():
            box.settle(self._shown)

    def due(self) -> dict[RoomName, Seq]:
        """Up to where the model has the messages of each room; 0 if nothing yet."""
        return self._taken | {box.room: box.due for box in self.boxes.values()}

    def _claimed(self, room: RoomName) -> Seq:
        return max((one.upto for one in self._claims if one.room == room), default=0)

    def _update(self, room: RoomName) -> None:
        if box := self.boxes.get(room):
            box.taken = self._taken.get(room, 0)
            box.claimed = self._claimed(room)
