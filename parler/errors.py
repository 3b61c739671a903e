"""Everything this library raises on purpose, and the exit status of each.

    ParlerError
    ├── UsageError                 wrong arguments or order of calls          exit 2
    ├── ConfigError                unreadable or contradictory settings       exit 3
    │   └── IdentityError          missing, damaged or too-open key file
    ├── TransportError             retryable                                  exit 4
    │   ├── ConnectFailed          the hub could not be reached
    │   ├── ConnectionLost         it went away with a request in flight
    │   └── TimedOut               it did not answer in time
    ├── ProtocolError                                                         exit 5
    │   ├── LocalProtocolError     our caller did what the protocol forbids
    │   ├── RemoteProtocolError    the peer did
    │   └── VersionMismatch        the hub speaks another major version
    ├── HubError                   the hub did not do it                      exit 6
    │   ├── HubRefused             it said no, and will again
    │   │   ├── NotAuthenticated · NotMember · NotOwner · NotAuthorized
    │   │   └── InvalidInvite · NotFound · TooLarge
    │   └── HubUnable              it could not just now: no answer to what was asked
    │       └── RateLimited · HubBusy · StorageFull · HubFault
    ├── VerificationError          never retried, never hidden                exit 7
    │   ├── RelayedChallenge       a hub offered another hub's challenge
    │   ├── ReplacedHub            another hub answers at a known address
    │   └── DigestMismatch         bytes that are not the ones asked for
    ├── HandoffError               code or a file could not change hands      exit 8
    │   ├── NothingToSend          no commits, or none that the base lacks
    │   ├── TooManyBytes           more than a hub takes, or than we take
    │   ├── TooManyPaths           commits change more than can be looked at
    │   ├── UncommittedChanges     the work tree holds what would not be sent
    │   ├── BadBundle              not a bundle that can be imported
    │   ├── MissingCommits         a bundle needs commits that are not here
    │   ├── UnsafePath             a place that must not be written to
    │   └── GitFailed              git refused, or is missing
    └── AppError                   an agent app could not be wired             exit 9
        ├── Unparsable             its file is written so that nobody reads it
        ├── Unfitting              its file has no place for our entry
        ├── FileRefused            its file must not be written
        └── ChangedMeanwhile       somebody else wrote its file just now

Each error says what happened (`message`), under which `code`, and, where there is
one, the command to run next (`next_step`). Exit 1 is an unexpected exception and 130
an interrupt.
"""

import re
from typing import ClassVar

from parler.wire.codes import MEANINGS, ErrorCode
from parler.wire.foreign import Foreign, exact, sentence

MAX_REFUSAL_CHARS = 300
"""Of a hub's words about why it refused."""

_CODE = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)


class ParlerError(Exception):
    """Base of all errors raised on purpose."""

    exit_status: ClassVar[int] = 1
    code: str = "error"
    retryable: bool = False

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        """Say what happened, and which command mends it."""
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class UsageError(ParlerError):
    """Wrong arguments, or calls in the wrong order."""

    exit_status = 2
    code = "usage"


class ConfigError(ParlerError):
    """Settings that cannot be read or contradict each other."""

    exit_status = 3
    code = "config"


class IdentityError(ConfigError):
    """A key file that is missing, damaged or readable by others."""

    code = "identity"


class TransportError(ParlerError):
    """The hub could not be talked to; the same call may succeed later."""

    exit_status = 4
    code = "transport"
    retryable = True


class ConnectFailed(TransportError):
    """No connection to the hub came about."""

    code = "connect_failed"

    def __init__(self, url: str, reason: str, *, next_step: str | None = None) -> None:
        """Name the hub and why."""
        shown = url.removesuffix("/ws")
        super().__init__(f"cannot reach the hub {shown}: {reason}", next_step=next_step)
        self.url = url
        self.reason = reason


class ConnectionLost(TransportError):
    """The connection went away while a request was in flight."""

    code = "connection_lost"


class TimedOut(TransportError):
    """The hub did not answer in time."""

    code = "timed_out"

    def __init__(
        self, operation: str, seconds: float, *, may_have_happened: bool = True
    ) -> None:
        """Name what was waited for, how long in seconds, and what is known of it.

        Args:
            may_have_happened: Whether the hub may have done it all the same: it was
                sent, and changes something.
        """
        super().__init__(f"the hub did not answer {operation!r} within {seconds:g} s")
        self.operation = operation
        self.seconds = seconds
        self.may_have_happened = may_have_happened


class ProtocolError(ParlerError):
    """Somebody broke the protocol."""

    exit_status = 5
    code = "protocol"


class LocalProtocolError(ProtocolError):
    """Our own caller asked for what the protocol forbids: a bug."""


class RemoteProtocolError(ProtocolError):
    """The other side sent what the protocol forbids."""

    code = "remote_protocol"


class VersionMismatch(ProtocolError):
    """The hub speaks another major version of the protocol."""

    code = "version"


class HubError(ParlerError):
    """The hub did not do it. `hub_code` is its own code, if it gave one."""

    exit_status = 6
    code = "refused"

    hub_says: bool = False
    """The message is the hub's."""

    def __init__(
        self,
        message: str,
        *,
        hub_code: str | None = None,
        next_step: str | None = None,
    ) -> None:
        """Keep the hub's code."""
        super().__init__(message, next_step=next_step)
        self.hub_code = hub_code
        self.code = hub_code or "refused"
        if hub_code in set(ErrorCode):
            self.retryable = MEANINGS[ErrorCode(hub_code)].retryable


class HubRefused(HubError):
    """The hub said no, and will say so again."""


class HubUnable(HubError):
    """The hub could not do it just now, which says neither yes nor no."""


class NotAuthenticated(HubRefused):
    """The hub did not accept our proof, or wants one first."""


class NotMember(HubRefused):
    """We are not in that room, or there is no such room."""


class NotOwner(HubRefused):
    """Only the owner of the room may do that."""


class NotAuthorized(HubRefused):
    """The hub does not let us do that."""


class InvalidInvite(HubRefused):
    """The key is unknown, expired, used up, revoked, or we were rejected."""


class NotFound(HubRefused):
    """No such service or blob."""


class TooLarge(HubRefused):
    """A field or a message is over its bound."""


class RateLimited(HubUnable):
    """Too much in too short a time."""


class HubBusy(HubUnable):
    """The hub is full at the moment."""


class StorageFull(HubUnable):
    """The hub cannot store any more."""


class HubFault(HubUnable):
    """The hub failed."""


class VerificationError(ParlerError):
    """Something is not from whom it says it is."""

    exit_status = 7
    code = "verification"


class RelayedChallenge(VerificationError):
    """A hub offered a challenge that belongs to another hub (protocol 13.1)."""

    code = "relayed_challenge"


class ReplacedHub(VerificationError):
    """At a known address answers a hub of another id (protocol 2.3)."""

    code = "replaced_hub"


class DigestMismatch(VerificationError):
    """The hub handed out other bytes than those asked for (protocol 8.3)."""

    code = "digest_mismatch"

    def __init__(self, expected: str, actual: str) -> None:
        """Say what was asked for and what came, as digests or as lengths."""
        super().__init__(
            f"the hub handed out other bytes: expected {expected}, got {actual}; "
            "nothing was kept",
            next_step="ask the sender for the blob id over another channel",
        )
        self.expected = expected
        self.actual = actual


class HandoffError(ParlerError):
    """Code or a file could not be handed over or taken."""

    exit_status = 8
    code = "handoff"


class NothingToSend(HandoffError):
    """No commits, or none that the other side lacks."""

    code = "nothing_to_send"


class TooManyBytes(HandoffError):
    """More than a hub takes, or than we take from one."""

    code = "too_many_bytes"


class TooManyPaths(HandoffError):
    """Commits change more, or longer, paths than can be looked at."""

    code = "too_many_paths"


class UncommittedChanges(HandoffError):
    """The work tree holds changes that would not be sent."""

    code = "uncommitted_changes"


class BadBundle(HandoffError):
    """Bytes that are no bundle, or one that must not be imported."""

    code = "bad_bundle"


class MissingCommits(HandoffError):
    """A bundle builds on commits that this repository lacks."""

    code = "missing_commits"

    def __init__(
        self, message: str, missing: list[str], *, next_step: str | None = None
    ) -> None:
        """Name the commits."""
        super().__init__(message, next_step=next_step)
        self.missing = missing


class UnsafePath(HandoffError):
    """A received file would go where it must not, or over another one."""

    code = "unsafe_path"


class GitFailed(HandoffError):
    """Git refused, took too long, or is not installed."""

    code = "git_failed"


class AppError(ParlerError):
    """An agent app could not be wired or unwired; `apps.config_files` has the kinds."""

    exit_status = 9
    code = "host"


_BY_CODE: dict[ErrorCode, type[HubError]] = {
    ErrorCode.UNAUTHENTICATED: NotAuthenticated,
    ErrorCode.BAD_FRAME: HubRefused,
    ErrorCode.PROTOCOL: HubRefused,
    ErrorCode.AT_CAPACITY: HubBusy,
    ErrorCode.TIMEOUT: HubFault,
    ErrorCode.NOT_MEMBER: NotMember,
    ErrorCode.UNKNOWN_SERVICE: NotFound,
    ErrorCode.INVALID_INVITE: InvalidInvite,
    ErrorCode.NOT_OWNER: NotOwner,
    ErrorCode.RATE_LIMITED: RateLimited,
    ErrorCode.TOO_LARGE: TooLarge,
    ErrorCode.STORAGE_FULL: StorageFull,
    ErrorCode.NOT_AUTHORIZED: NotAuthorized,
    ErrorCode.UNKNOWN_BLOB: NotFound,
    ErrorCode.INVALID_CARD: HubRefused,
    ErrorCode.INTERNAL: HubFault,
}


def refusal(message: Foreign, hub_code: str | None) -> HubError:
    """The exception for a hub's error frame (protocol 3.3).

    Its message may stand between words of ours. Codes decide. Existing hubs send some
    refusals without one (protocol 13.33); of those only an unknown key can be told, by
    the text the protocol pins.
    """
    if hub_code in set(ErrorCode):
        kind = _BY_CODE[ErrorCode(hub_code)]
    elif hub_code is None and "invalid or unknown invite code" in exact(message):
        kind = InvalidInvite
    else:
        kind = HubRefused
    if hub_code is not None and not _CODE.fullmatch(hub_code):
        hub_code = None
    error = kind(sentence(message, MAX_REFUSAL_CHARS), hub_code=hub_code)
    error.hub_says = True
    return error
