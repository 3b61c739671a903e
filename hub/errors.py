"""How the hub says no."""

from parler.wire.codes import ErrorCode


class Refusal(Exception):
    """A request that is refused, in words fit for a stranger.

    Raised by rules, handlers and transactions. A transaction that raises one must not
    have written anything yet.
    """

    def __init__(self, code: ErrorCode | None, message: str) -> None:
        """Take the code of protocol 3.3, or None where existing hubs send none."""
        super().__init__(message)
        self.code = code
        self.message = message


class CannotStart(Exception):
    """The hub will not run with these settings or this database; says why."""
