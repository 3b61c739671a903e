"""Whether a peer's message may interrupt this agent (protocol 10.3). Pure decisions.

For messages of others whose signature was judged already. What is held is not
acknowledged; doing so, or waking anybody, is not decided here.
"""

from dataclasses import dataclass
from enum import StrEnum

from parler.identity.identity import AttentionPolicy
from parler.identity.message_signing import Signature
from parler.text.transcript import Reader, handoff_for
from parler.wire.base import RoomName
from parler.wire.names import is_direct
from parler.wire.parts import DispatchPart, InvalidParts, read_parts
from parler.wire.records import Attention, StoredMessage


class Verdict(StrEnum):
    """What becomes of a message in an agent that may be woken."""

    WAKE = "wake"
    HOLD = "hold"
    """Kept unread, so that it comes again."""

    DROP = "drop"
    """Passed over for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """In what way a message is meant for this agent."""

    room: RoomName
    work: bool = False
    """A handoff to it, or a dispatch to the role it works for."""

    @property
    def direct(self) -> bool:
        """Whether it is meant for this agent, rather than for a room it is in."""
        return self.work or is_direct(self.room)


def judge(policy: AttentionPolicy, address: Address) -> Verdict:
    """Whether a message wakes the agent, is held, or dropped."""
    if address.room in policy.muted_rooms:
        return Verdict.DROP
    if address.room in policy.quiet_rooms:
        return _only_if(address.direct)
    match policy.mode:
        case Attention.OPEN:
            return Verdict.WAKE
        case Attention.DND:
            return _only_if(address.direct)
        case Attention.FOCUS:
            return _only_if(address.work)


def address_of(
    message: StoredMessage,
    signature: Signature,
    reader: Reader,
    *,
    worker_role: str | None = None,
) -> Address:
    """How a message is meant for its reader.

    Args:
        signature: What is thought of its author; one that fails asks for no work.
        worker_role: The role this agent takes work for, if it does.
    """
    work = handoff_for(reader, message, signature) is not None or (
        worker_role is not None
        and not signature.fails
        and _dispatched_to(worker_role, message)
    )
    return Address(room=message.room, work=work)


def _only_if(wanted: bool) -> Verdict:
    return Verdict.WAKE if wanted else Verdict.HOLD


def _dispatched_to(role: str, message: StoredMessage) -> bool:
    try:
        parts = read_parts(message.parts)
    except InvalidParts:
        return False
    wanted = _folded(role)
    return any(
        isinstance(part, DispatchPart) and _folded(part.role) == wanted
        for part in parts
    )


def _folded(role: str) -> str:
    """A role as hubs compare it: only ASCII letters lose their case (10.4)."""
    return "".join(char.lower() if char.isascii() else char for char in role.strip())
