"""How requests end when they do not succeed: as frames, and as words to count."""

import logging
import secrets

from hub.errors import Refusal
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.replies import Error, Reply

log = logging.getLogger(__name__)


def as_fault(error: BaseException) -> Error:
    """What a peer hears of an unexpected failure; the log has the rest."""
    reference = secrets.token_hex(4)
    log.error("internal error %s", reference, exc_info=error)
    return Error(
        message=foreign(f"the hub failed; its log says why under {reference}"),
        code=ErrorCode.INTERNAL.value,
    )


def outcome_of(reply: object) -> str:
    """How a request ended, in a word for the statistics."""
    if isinstance(reply, Error):
        return reply.code or "refused"
    return "ok"


def as_error(refusal: Refusal) -> Error:
    """A refusal as the frame that says it (protocol 3.3)."""
    code = refusal.code.value if refusal.code is not None else None
    return Error(message=foreign(refusal.message), code=code)


def as_reply(outcome: Reply | BaseException) -> Reply:
    """What a peer hears of an outcome, whatever it is."""
    if isinstance(outcome, Refusal):
        return as_error(outcome)
    return as_fault(outcome) if isinstance(outcome, BaseException) else outcome
