"""What is shown besides the messages of followed rooms.

Notices are our own words ("you were let in"); mentions are messages of other rooms that
name this agent. Both are bounded.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from parler.runtime.entry import Mark
from parler.wake.spool import Item

MAX_MENTIONS = 50
MAX_NOTICES = 50


@dataclass(slots=True)
class Notices:
    """Those of one hub, until they were shown."""

    own: dict[Mark, Item] = field(default_factory=dict)
    mentions: dict[Mark, Item] = field(default_factory=dict)
    """Messages of other rooms that name us."""

    @property
    def full(self) -> bool:
        """Whether there are as many mentions as are kept."""
        return len(self.mentions) >= MAX_MENTIONS

    def add(self, item: Item) -> None:
        """Add something of our own; of too many, the oldest go."""
        self.own[item.mark] = item
        while len(self.own) > MAX_NOTICES:
            del self.own[next(iter(self.own))]

    def drop(self, shown: Collection[Mark]) -> None:
        """Forget what was shown."""
        for items in (self.own, self.mentions):
            for mark in items.keys() & set(shown):
                del items[mark]
