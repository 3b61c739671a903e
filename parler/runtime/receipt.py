"""What is given to a model at once, and how it is learned whether that arrived.

Each face of an agent (the MCP server; a web page, a screen) collects messages from
`Delivery` and shows them. Whether they arrived, only that face can know: it gives
`Delivery` a `Confirmation`, which reports on each `Receipt`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from parler.wake.spool import Held, Item
from parler.wire.base import RoomName, Seq


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A room of which everything up to a position is shown.

    No two are equal: at another hub the same room and number are another's.
    """

    room: RoomName
    upto: Seq


@dataclass(slots=True)
class Collected:
    """What was taken for the model."""

    held: Held | None = None
    left: int = 0
    """How many more wait."""

    @property
    def items(self) -> list[Item]:
        """What is shown."""
        return self.held.items if self.held else []


@dataclass(slots=True)
class Receipt:
    """What is given to the model at once, such as with one result of a tool."""

    holds: list[Held] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether it brings nothing."""
        return not self.claims and not any(held.items for held in self.holds)


class Confirmation(Protocol):
    """Learns whether what was given arrived, in the way of one face."""

    def report_to(self, settled: Callable[[Receipt, bool], None]) -> None:
        """From now on, tell this of each receipt once, and whether it arrived."""

    def abandon(self) -> None:
        """Report what is still open as not arrived: nobody will ever know."""
