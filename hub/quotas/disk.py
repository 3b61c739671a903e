"""What the database may grow to, and who may still add to it."""

from hub.errors import Refusal
from parler.wire.codes import ErrorCode

FLOOR_BYTES = 2**20
"""What everybody may store on a day, also when others have used up nearly all."""


class Disk:
    """The budget of a hub for its database; the blobs have one of their own."""

    def __init__(self, budget: int) -> None:
        """Allow so many bytes; 0 allows what the disk has."""
        self.budget = budget
        self.used = 0
        """As it was last looked at."""

    @property
    def is_crowded(self) -> bool:
        """Whether what is left is for those who stored little."""
        return 0 < self.budget <= self.used * 8 // 7

    def admit(self, stored: int, *, shared: bool) -> None:
        """Refuse somebody who may store no more.

        Args:
            stored: What that one has stored today.
            shared: Whether the last eighth is kept for those who stored little.

        Raises:
            Refusal: The budget is used up.
        """
        if not self.is_crowded:
            return
        full = self.used >= self.budget - self.budget // 32  # the rest is for reading
        if full or (shared and stored > FLOOR_BYTES):
            raise Refusal(ErrorCode.STORAGE_FULL, "the hub's database is full")
