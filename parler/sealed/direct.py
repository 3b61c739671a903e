"""Sealed direct messages: each opens by itself, for its author and the one it is to.

Nothing is set up before the first one and nothing is lost with a store but two things:
with whom we talk sealed, so that nobody has us talk plain again, and which messages
were met where, so that a copy is told. There is no forward secrecy in this, and nothing
says that none was withheld. Which message goes out sealed, is for whoever sends it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from parler.identity.message_signing import (
    Signature,
    check_message,
    fresh_uid,
    sign_parts,
)
from parler.identity.person import verified_card
from parler.identity.signing import Keypair
from parler.sealed import envelope
from parler.sealed.envelope import inner_parts
from parler.sealed.formats import (
    MESSAGE_NOTICE,
    SEALED_KIND,
    VERSION,
    Plaintext,
    Reference,
    Refused,
    Verdict,
    one_reading,
)
from parler.sealed.store import Store
from parler.wire.base import AgentId, Millis
from parler.wire.foreign import foreign
from parler.wire.parts import OtherPart, SigPart, TextPart, part_objects, read_part
from parler.wire.records import AgentCard, DmTarget, StoredMessage

CARD_FIELD = "com.parler.sealed"
"""Of a card's ``meta``: 1 of who can read what is sealed."""


@dataclass(frozen=True, slots=True)
class SealedParts:
    """A direct message as it is sent: its parts, signed, and what names it."""

    uid: str
    parts: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What a direct message is; `plain` is there if it is open."""

    verdict: Verdict
    plain: Plaintext | None = None

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts of what it says, but for those that may not be inside."""
        return inner_parts(self.plain)[0] if self.plain else []

    @property
    def dropped(self) -> list[str]:
        """The kinds of those that may not."""
        return inner_parts(self.plain)[1] if self.plain else []


class DirectMessages:
    """What one identity says to others, and hears of them, at one hub."""

    def __init__(
        self,
        store: Store,
        keypair: Keypair,
        *,
        hub: str,
        name: str,
        now: Callable[[], Millis],
        role: str | None = None,
        hub_token: str | None = None,
    ) -> None:
        """Go on from what the store knows of peers.

        Args:
            name: What we call ourselves in what we say; `role` likewise.
            hub_token: That in the challenge of the hub.
        """
        self._store = store
        self._keypair = keypair
        self._hub = hub
        self._name, self._role = name, role
        self._now = now
        self._hub_token = hub_token

    def is_sealed(
        self, peer: AgentId, card: AgentCard | None = None, sig: str | None = None
    ) -> bool:
        """Whether we talk sealed with somebody; once so, for good.

        Args:
            card: Its card, if a hub has one, with its signature in `sig`. A hub can
                hide it, and so have no more than the first message go plain.
        """
        if self._store.is_peer(peer):
            return True
        meta = card.meta if card is not None else None
        if card is None or not verified_card(card, sig, peer) or not meta:
            return False
        if meta.get(CARD_FIELD) != VERSION or isinstance(meta[CARD_FIELD], bool):
            return False
        self._store.add_peer(peer, self._now())
        return True

    def seal(
        self,
        peer: AgentId,
        parts: list[dict[str, Any]],
        *,
        mentions: list[str] | None = None,
        re: Reference | None = None,
    ) -> SealedParts:
        """Seal a message to somebody, who need not be there.

        Raises:
            Refused: ``recipients``, to ourselves; ``id``, if nothing can be sealed to
                it.
            TooLong: It has more than 700,000 bytes.
        """
        uid = fresh_uid(self._hub_token)
        plain = Plaintext(
            v=VERSION,
            name=foreign(self._name),
            role=foreign(self._role),
            parts=parts,
            mentions=[foreign(one) for one in mentions] if mentions else None,
            re=re,
        )
        author = self._keypair.agent_id
        fields = envelope.seal_direct(plain, author=author, to=peer, uid=uid)
        kind = fields.pop("kind")
        signed = sign_parts(
            self._keypair,
            DmTarget(peer),
            [TextPart(MESSAGE_NOTICE), OtherPart(kind=kind, fields=fields)],
            ts=self._now(),
            uid=uid,
            hub_token=self._hub_token,
        )
        self._store.add_peer(peer, self._now())
        return SealedParts(uid, bytes(signed))

    def open(
        self, message: StoredMessage, *, former_tokens: Collection[str] = ()
    ) -> Opened:
        """Open what stands in a direct room; read again there, it is the same."""
        try:
            return Opened(Verdict.OPEN, self._open(message, former_tokens))
        except Refused as refused:
            return Opened(refused.verdict)

    def _open(
        self, message: StoredMessage, former_tokens: Collection[str]
    ) -> Plaintext:
        me, author = self._keypair.agent_id, message.author.id
        signature = check_message(
            message, reader=me, hub_token=self._hub_token, former_tokens=former_tokens
        )
        if signature is not Signature.VALID:
            raise Refused(_REFUSED[signature])
        parts = part_objects(message.parts)
        if not one_reading(parts, bytes(message.parts)):
            raise Refused(Verdict.SIGNATURE)
        bodies = [part for part in parts if part["kind"] == SEALED_KIND]
        if len(bodies) != 1:
            raise Refused(Verdict.TWO_BODIES if bodies else Verdict.NOT_SEALED)
        sig = next(p for p in map(read_part, parts) if isinstance(p, SigPart))
        place = f"{self._hub} {message.room} {message.seq}"
        if not self._store.note_direct(author, sig.uid, place):
            raise Refused(Verdict.REPLAY)
        plain = envelope.open_direct(
            bodies[0], self._keypair, author=author, uid=sig.uid
        )
        # Nobody but these two may be meant, and it was opened for these two.
        target = sig.target
        if not isinstance(target, DmTarget) or target.agent == author:
            raise Refused(Verdict.RECIPIENTS)
        if {one["id"] for one in bodies[0]["to"]} != {author, target.agent}:
            raise Refused(Verdict.RECIPIENTS)
        if author != me:
            self._store.add_peer(author, self._now())
        return plain


_REFUSED = {
    Signature.UNSIGNED: Verdict.UNSIGNED,
    Signature.INVALID: Verdict.SIGNATURE,
    Signature.REPLAYED: Verdict.REPLAY,
}
