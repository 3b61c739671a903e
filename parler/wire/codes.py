"""The error codes of the wire and what each of them means, as one table.

Codes are only ever added (protocol 3.3). What a program does with one is decided by
the columns here, never by the text beside it.
"""

from enum import StrEnum
from typing import NamedTuple

PROTOCOL_VERSION = "0.2"
"""What a challenge and a card carry; only the part before the dot must agree."""


class Feature(StrEnum):
    """An extension a hub advertises in ``welcome`` (protocol 14.1)."""

    RID = "rid"
    EVENTS = "events"
    RECEIPTS = "receipts"
    MEMBERSHIP = "membership"
    HISTORY = "history"
    FORGET = "forget"
    DIRECTORY = "directory"
    SERVICE_ADMISSION = "service-admission"
    PRESENCE = "presence"
    LOOK = "look"
    VIEWER = "viewer"
    """A page at ``/session`` for whoever has a watch token."""
    PHONE = "phone"


class ErrorCode(StrEnum):
    """The ``code`` of an error frame (protocol 3.3).

    Existing clients know exactly these. A refusal that fits none of them travels
    without a code, as it always has.
    """

    UNAUTHENTICATED = "unauthenticated"
    BAD_FRAME = "bad_frame"
    PROTOCOL = "protocol"
    AT_CAPACITY = "at_capacity"
    TIMEOUT = "timeout"
    NOT_MEMBER = "not_member"
    UNKNOWN_SERVICE = "unknown_service"
    INVALID_INVITE = "invalid_invite"
    NOT_OWNER = "not_owner"
    RATE_LIMITED = "rate_limited"
    TOO_LARGE = "too_large"
    STORAGE_FULL = "storage_full"
    NOT_AUTHORIZED = "not_authorized"
    UNKNOWN_BLOB = "unknown_blob"
    INVALID_CARD = "invalid_card"
    INTERNAL = "internal"


class CodeMeaning(NamedTuple):
    """How the world outside the frame sees an error code.

    No dataclass: every hook of an app imports this, and those take long to make.
    """

    http_status: int
    retryable: bool
    """Whether the same request may succeed later without anybody changing anything."""


MEANINGS: dict[ErrorCode, CodeMeaning] = {
    ErrorCode.UNAUTHENTICATED: CodeMeaning(http_status=401, retryable=False),
    ErrorCode.BAD_FRAME: CodeMeaning(http_status=400, retryable=False),
    ErrorCode.PROTOCOL: CodeMeaning(http_status=400, retryable=False),
    ErrorCode.AT_CAPACITY: CodeMeaning(http_status=503, retryable=True),
    ErrorCode.TIMEOUT: CodeMeaning(http_status=408, retryable=True),
    ErrorCode.NOT_MEMBER: CodeMeaning(http_status=403, retryable=False),
    ErrorCode.UNKNOWN_SERVICE: CodeMeaning(http_status=404, retryable=False),
    ErrorCode.INVALID_INVITE: CodeMeaning(http_status=404, retryable=False),
    ErrorCode.NOT_OWNER: CodeMeaning(http_status=403, retryable=False),
    ErrorCode.RATE_LIMITED: CodeMeaning(http_status=429, retryable=True),
    ErrorCode.TOO_LARGE: CodeMeaning(http_status=413, retryable=False),
    ErrorCode.STORAGE_FULL: CodeMeaning(http_status=507, retryable=True),
    ErrorCode.NOT_AUTHORIZED: CodeMeaning(http_status=403, retryable=False),
    ErrorCode.UNKNOWN_BLOB: CodeMeaning(http_status=404, retryable=False),
    ErrorCode.INVALID_CARD: CodeMeaning(http_status=400, retryable=False),
    ErrorCode.INTERNAL: CodeMeaning(http_status=500, retryable=True),
}
