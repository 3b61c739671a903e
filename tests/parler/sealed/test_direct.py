"""Sealed direct messages."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from parler.identity.message_signing import sign_parts
from parler.identity.signing import Keypair
from parler.sealed.direct import CARD_FIELD, DirectMessages, SealedParts
from parler.sealed.formats import MESSAGE_NOTICE, Refused, Verdict
from parler.sealed.store import memory_store
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.canonical import canonical_json, card_bytes, parse_json
from parler.wire.foreign import foreign
from parler.wire.parts import OtherPart, TextPart
from parler.wire.records import AgentCard, DmTarget, EndpointRef, StoredMessage
from tests._support.sealed_rooms import HUB, OPENED

TEXT = [{"kind": "text", "text": "hi"}]
ANN, BOB, CID = (Keypair(bytes([number]) * 32) for number in (1, 2, 3))


def direct(keypair: Keypair, hub: str = HUB) -> DirectMessages:
    store = memory_store()
    OPENED.append(store)
    return DirectMessages(
        store, keypair, hub=hub, name="me", now=lambda: 1, hub_token="hub token"
    )


def stored(author: AgentId, parts: bytes, *, seq: int = 1) -> StoredMessage:
    return StoredMessage(
        seq=seq,
        id=MessageId("x"),
        room=RoomName("dm.abc"),
        author=EndpointRef(id=author, name=foreign("x")),
        parts=msgspec.Raw(parts),
        ts=0,
    )


def test_a_direct_message_opens_for_the_two_and_nobody_else() -> None:
    ann, bob, cid = direct(ANN), direct(BOB), direct(CID)
    sent = ann.seal(BOB.agent_id, TEXT)
    message = stored(ANN.agent_id, sent.parts)
    assert bob.open(message).parts == ann.open(message).parts == TEXT
    assert bob.open(message).parts == TEXT, "read again, it is the same"
    assert cid.open(message).verdict is Verdict.SIGNATURE
    assert bob.is_sealed(ANN.agent_id)
    assert ann.is_sealed(BOB.agent_id)
    assert not cid.is_sealed(ANN.agent_id)
    with pytest.raises(Refused, match="recipients"):
        ann.seal(ANN.agent_id, TEXT)


@pytest.mark.parametrize(
    ("meta", "sealed"),
    [
        ({CARD_FIELD: 1}, True),
        ({CARD_FIELD: 2}, False),
        ({CARD_FIELD: True}, False),
        ({}, False),
        (None, False),
    ],
)
def test_who_says_on_its_signed_card_that_it_can_is_talked_to_sealed_for_good(
    meta: dict[str, Any] | None, sealed: bool
) -> None:
    ann, card = direct(ANN), AgentCard.of(BOB.agent_id, "bob", meta=meta)
    sig = BOB.sign(card_bytes(card))
    assert not ann.is_sealed(BOB.agent_id), "a card that is hidden says nothing"
    for signature in (None, CID.sign(card_bytes(card))):
        assert not ann.is_sealed(BOB.agent_id, card, signature)
    assert ann.is_sealed(BOB.agent_id, card, sig) is sealed
    assert ann.is_sealed(BOB.agent_id) is sealed, "though the hub shows no card now"


def test_a_copy_is_told_wherever_it_stands() -> None:
    ann, bob = direct(ANN), direct(BOB)
    sent = ann.seal(BOB.agent_id, TEXT)
    assert bob.open(stored(ANN.agent_id, sent.parts)).verdict is Verdict.OPEN
    again = stored(ANN.agent_id, sent.parts, seq=2)
    assert bob.open(again).verdict is Verdict.REPLAY
    elsewhere = DirectMessages(
        bob._store, BOB, hub="wss://other", name="bob", now=lambda: 1
    )
    assert elsewhere.open(stored(ANN.agent_id, sent.parts)).verdict is Verdict.REPLAY


def third_recipient(part: dict[str, Any]) -> None:
    part["to"].append({"id": CID.agent_id, "ct": part["to"][0]["ct"]})


def other_recipient(part: dict[str, Any]) -> None:
    part["to"][[one["id"] for one in part["to"]].index(ANN.agent_id)] = {
        "id": CID.agent_id,
        "ct": part["to"][0]["ct"],
    }
    part["to"].sort(key=lambda one: str(one["id"]))


def copies_exchanged(part: dict[str, Any]) -> None:
    one, other = part["to"]
    one["ct"], other["ct"] = other["ct"], one["ct"]


def other_text(part: dict[str, Any]) -> None:
    part["ct"] = part["ct"][::-1].lstrip("=").ljust(len(part["ct"]), "A")


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        (third_recipient, {Verdict.RECIPIENTS}),
        (other_recipient, {Verdict.RECIPIENTS}),
        (copies_exchanged, {Verdict.HPKE}),
        (other_text, {Verdict.TAG, Verdict.BASE64}),
    ],
)
def test_what_an_author_makes_wrong_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], verdicts: set[Verdict]
) -> None:
    ann, bob = direct(ANN), direct(BOB)
    sent = ann.seal(BOB.agent_id, TEXT)
    part = parse_json(sent.parts)[1]
    change(part)
    fields = {name: value for name, value in part.items() if name != "kind"}
    assert refused(bob, sent, [OtherPart(kind=part["kind"], fields=fields)]) in verdicts
    assert not bob.is_sealed(ANN.agent_id)


def test_what_is_not_sealed_or_sealed_twice_is_said() -> None:
    ann, bob = direct(ANN), direct(BOB)
    sent = ann.seal(BOB.agent_id, TEXT)
    part = parse_json(sent.parts)[1]
    kind = part.pop("kind")
    twice = [OtherPart(kind=kind, fields=part)] * 2
    assert refused(bob, sent, twice) is Verdict.TWO_BODIES
    assert refused(bob, sent, []) is Verdict.NOT_SEALED
    unsigned = canonical_json(parse_json(sent.parts)[:2])
    assert bob.open(stored(ANN.agent_id, unsigned)).verdict is Verdict.UNSIGNED
    changed = sent.parts.replace(b"cannot", b"can", 1)
    assert bob.open(stored(ANN.agent_id, changed)).verdict is Verdict.SIGNATURE
    double = sent.parts.replace(b'"v":1', b'"v":2,"v":1', 1)
    assert bob.open(stored(ANN.agent_id, double)).verdict is Verdict.SIGNATURE


def refused(bob: DirectMessages, sent: SealedParts, bodies: list[OtherPart]) -> Verdict:
    """What becomes of other bodies, signed anew by the same author."""
    parts = sign_parts(
        ANN,
        DmTarget(BOB.agent_id),
        [TextPart(MESSAGE_NOTICE), *bodies],
        ts=1,
        uid=sent.uid,
        hub_token="hub token",
    )
    return bob.open(stored(ANN.agent_id, bytes(parts))).verdict
