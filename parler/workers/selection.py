"""Which message starts work: pure decisions over one judged message.

Work is started by others' words, so everything here errs on the side of doing
nothing: only what is validly signed and bound to its room (protocol 6.4), by somebody
who may ask, and no report on work, unless it hands the turn to us by name (protocol 7).
"""

from collections.abc import Collection
from dataclasses import dataclass

from parler.client.messages import Message
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.text.transcript import Reader, handoff_for
from parler.wire.base import AgentId
from parler.wire.canonical import SIG_KIND
from parler.wire.parts import (
    DispatchPart,
    HandoffPart,
    InvalidParts,
    SigPart,
    TaskPart,
    part_objects,
)
from parler.workers.ledger import MAX_UID_BYTES

MAX_SKEW_MS = 600_000
"""How far in the future an author's clock may be."""

HOPS = "hops"
"""A field of ours in a handoff part: how many workers handed it on (protocol 3.1)."""

HANDOFF_KIND = "com.parler.handoff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Work that somebody who may asked for."""

    message: Message
    key: str
    """Under which the ledger knows it: the author's, not the hub's word."""

    signed: int
    """When its author signed it, in epoch milliseconds."""

    handoff: HandoffPart | None
    hops: int = 0
    reserved_for_us: bool = False
    """Nobody else is meant, so nobody else need be asked."""

    reports: bool = False
    """It tells how another task ended: the turn came back to us."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do; `warning` if somebody should know why."""

    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may start work here, and by what."""

    me: Reader
    allowed: Collection[str] | None = None
    """Ids and fingerprints; None is whoever is in the room."""

    everything: bool = False
    """Also plain text starts work, not only handoffs."""


def choose(message: Message, rules: Rules, *, now: int) -> Request | Ignored:
    """Whether a message in a room starts work."""
    if message.author.id == rules.me.agent or _has(message, DispatchPart):
        return Ignored()  # a queue gives it to exactly one worker
    # Asked as if it were not signed, so that a bad signature can be told.
    handoff = handoff_for(rules.me, message.stored, Signature.UNSIGNED)
    if _has(message, TaskPart) and (handoff is None or handoff.to is None):
        return Ignored()
    plain = rules.everything and not _has(message, HandoffPart) and message.text.strip()
    if handoff is None and not plain:
        return Ignored()
    return _checked(message, handoff, rules, now=now)


def choose_dispatched(message: Message, rules: Rules, *, now: int) -> Request | Ignored:
    """Whether a task of the queue may be worked on; a warning says why not."""
    if _has(message, TaskPart):
        return Ignored("it reports on a task, and starts none")
    handoff = handoff_for(rules.me, message.stored, Signature.UNSIGNED)
    return _checked(message, handoff, rules, now=now)


def may_ask(agent: AgentId, rules: Rules) -> bool:
    """Whether this author's messages may start work."""
    allowed = rules.allowed
    return allowed is None or agent in allowed or fingerprint(agent) in allowed


def _checked(
    message: Message, handoff: HandoffPart | None, rules: Rules, *, now: int
) -> Request | Ignored:
    if message.signature is not Signature.VALID:
        return Ignored(f"its signature is {message.signature.value}")
    if not may_ask(message.author.id, rules):
        return Ignored(f"{fingerprint(message.author.id)} is not in --allow-from")
    sig = next((part for part in message.parts if isinstance(part, SigPart)), None)
    if sig is None or len(sig.uid.encode("utf-8", "replace")) > MAX_UID_BYTES:
        return Ignored("its unique id is too long")
    if sig.ts > now + MAX_SKEW_MS:
        return Ignored("it was signed in the future; is a clock wrong?")
    return Request(
        message=message,
        key=f"{message.author.id}:{sig.uid}",
        signed=sig.ts,
        handoff=handoff,
        hops=_hops(message),
        reserved_for_us=_only_we(message, handoff, rules),
        reports=_has(message, TaskPart),
    )


def _only_we(message: Message, handoff: HandoffPart | None, rules: Rules) -> bool:
    # A name or role may be several agents': then the first that accepts has it.
    by_id = handoff is not None and (handoff.to or "").strip() == rules.me.agent
    return by_id or message.room.startswith("dm.")


def _has(message: Message, kind: type) -> bool:
    if any(isinstance(part, kind) for part in message.parts):
        return True
    # One whose fields do not fit still is what its author calls it.
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    return tag != SIG_KIND and any(
        getattr(part, "kind", None) == tag for part in message.parts
    )


def _hops(message: Message) -> int:
    try:
        objects = part_objects(message.stored.parts)
    except InvalidParts:
        return 0
    said = [fields.get(HOPS) for fields in objects if fields["kind"] == HANDOFF_KIND]
    numbers = [hops for hops in said if type(hops) is int and hops > 0]
    return max(numbers, default=0)
