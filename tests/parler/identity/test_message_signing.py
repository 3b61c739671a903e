"""What a reader may believe: signatures, and where a message belongs (6.3, 6.4)."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from parler.identity.message_signing import (
    Signature,
    belongs_to,
    check_message,
    fresh_uid,
    sign_parts,
)
from parler.identity.signing import Keypair
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.canonical import SIG_KIND
from parler.wire.parts import (
    DataPart,
    OtherPart,
    Part,
    SigPart,
    TextPart,
    part_objects,
)
from parler.wire.records import (
    DmTarget,
    EndpointRef,
    RoomTarget,
    ServiceTarget,
    StoredMessage,
    Target,
)

ANN, BOB, EVE = (Keypair(bytes([n]) * 32) for n in (1, 2, 3))
DEN = RoomTarget(room=RoomName("den"))
VALID, UNSIGNED, INVALID = Signature.VALID, Signature.UNSIGNED, Signature.INVALID
UID = "7e0bd52e-6c1c-4a44-9d3e-2f24b6c3a111"


def message(
    parts: list[Part] | None = None,
    *,
    target: Target = DEN,
    room: str = "den",
    reply_to: str | None = None,
) -> StoredMessage:
    """A message of Ann's as an honest hub hands it out."""
    content = [TextPart(text="ship it")] if parts is None else parts
    raw = sign_parts(ANN, target, content, ts=7, uid=UID, reply_to=reply_to)
    return StoredMessage(
        seq=1,
        id=MessageId("m1"),
        room=RoomName(room),
        author=EndpointRef(id=ANN.agent_id, name="ann"),
        parts=raw,
        ts=9,
        reply_to=reply_to,
    )


def judged(given: StoredMessage, reader: Keypair | None = BOB) -> Signature:
    return check_message(given, reader=reader.agent_id if reader else None)


def with_parts(
    given: StoredMessage, change: Callable[[list[dict[str, Any]]], object]
) -> StoredMessage:
    parts = json.loads(bytes(given.parts))
    changed = change(parts)
    changed = parts if changed is None else changed
    raw = msgspec.Raw(json.dumps(changed).encode())
    return msgspec.structs.replace(given, parts=raw)


def test_a_signed_message_is_valid() -> None:
    assert judged(message()) is VALID
    assert judged(message([])) is VALID
    assert judged(message(reply_to="m0")) is VALID
    assert judged(message([DataPart(data=[1.5, -0.0, 2**64, None])])) is VALID


def test_a_message_without_signature_is_unsigned() -> None:
    assert judged(with_parts(message(), lambda parts: parts[:-1])) is UNSIGNED
    assert judged(with_parts(message(), lambda parts: [])) is UNSIGNED


def test_the_hub_may_print_parts_anew() -> None:
    loose = with_parts(message([DataPart(data={"b": 1, "a": 2})]), lambda parts: None)
    assert b" " in bytes(loose.parts)
    assert judged(loose) is VALID


def test_core_parts_may_lose_what_signatures_do_not_cover() -> None:
    def add(parts: list[dict[str, Any]]) -> None:
        parts[0]["note"] = "added by a hub"

    assert judged(with_parts(message(), add)) is VALID


EDITS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "text": lambda parts: parts[0].update(text="do not ship it"),
    "one more blank": lambda parts: parts[0].update(text="ship it "),
    "kind": lambda parts: parts[0].update(kind="data", data="ship it"),
    "part added in front": lambda parts: parts.insert(0, {"kind": "text", "text": ""}),
    "part added behind": lambda parts: parts.append({"kind": "text", "text": ""}),
    "part removed": lambda parts: parts.pop(0),
    "part doubled": lambda parts: parts.insert(0, parts[0]),
    "time": lambda parts: parts[-1].update(ts=8),
    "uid": lambda parts: parts[-1].update(uid="u2"),
    "target": lambda parts: parts[-1].update(target={"kind": "room", "room": "den2"}),
    "target kind": lambda parts: parts[-1].update(
        target={"kind": "service", "service": "den"}
    ),
    "signature": lambda parts: parts[-1].update(sig=BOB.sign(b"x")),
    "signature cut": lambda parts: parts[-1].update(sig=parts[-1]["sig"][:-4]),
    "signature empty": lambda parts: parts[-1].update(sig=""),
    "signature a number": lambda parts: parts[-1].update(sig=1),
    "time a float": lambda parts: parts[-1].update(ts=7.0),
    "time a text": lambda parts: parts[-1].update(ts="7"),
    "time missing": lambda parts: parts[-1].pop("ts"),
    "uid missing": lambda parts: parts[-1].pop("uid"),
    "target mangled": lambda parts: parts[-1].update(target="den"),
    "target unknown": lambda parts: parts[-1].update(target={"kind": "all"}),
    "signature part stripped bare": lambda parts: parts.__setitem__(
        -1, {"kind": SIG_KIND}
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_any_edit_makes_it_invalid_never_merely_unsigned(name: str) -> None:
    assert judged(with_parts(message(), EDITS[name])) is INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"author": EndpointRef(id=BOB.agent_id, name="ann")},
        {"author": EndpointRef(id=AgentId(""), name="ann")},
        {"author": EndpointRef(id=AgentId("\ud800"), name="ann")},
        {"reply_to": "m0"},
        {"reply_to": ""},
        {"room": RoomName("den2")},
        {"room": RoomName("DEN")},
        {"room": RoomName("dm.den")},
        {"room": RoomName("svc.den")},
    ],
    ids=str,
)
def test_another_author_reply_or_room_makes_it_invalid(changes: dict[str, Any]) -> None:
    assert judged(msgspec.structs.replace(message(), **changes)) is INVALID


def test_dropping_the_reply_makes_it_invalid() -> None:
    given = msgspec.structs.replace(message(reply_to="m0"), reply_to=None)
    assert judged(given) is INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 99},
        {"id": MessageId("m99")},
        {"ts": 0},
        {"mentions": ["bob"]},
        {"author": EndpointRef(id=ANN.agent_id, name="anna", role="boss")},
    ],
    ids=str,
)
def test_what_the_hub_chooses_is_not_covered(changes: dict[str, Any]) -> None:
    assert judged(msgspec.structs.replace(message(), **changes)) is VALID


@pytest.mark.parametrize(
    "changes", [{"alg": "none"}, {"alg": 5}, {"v": 2}, {"v": None}]
)
def test_alg_and_v_are_not_looked_at(changes: dict[str, Any]) -> None:
    given = with_parts(message(), lambda parts: parts[-1].update(changes))
    assert judged(given) is VALID


def test_the_first_well_formed_signature_decides() -> None:
    good = message()
    (sig,) = part_objects(good.parts)[-1:]
    forged = {**sig, "sig": EVE.sign(b"x")}
    mangled = {"kind": SIG_KIND, "sig": 1}
    for first, expected in ((forged, INVALID), (mangled, VALID), (sig, VALID)):
        given = with_parts(good, lambda parts, first=first: [first, *parts])  # type: ignore[misc]
        assert judged(given) is expected
    behind = with_parts(good, lambda parts: [*parts, forged])
    assert judged(behind) is VALID


def test_a_stranger_cannot_sign_for_ann() -> None:
    raw = sign_parts(EVE, DEN, [TextPart(text="ship it")], ts=7, uid=UID)
    assert judged(msgspec.structs.replace(message(), parts=raw)) is INVALID


def test_a_challenge_answer_is_no_message_signature() -> None:
    nonce = f"parler-auth:v1:0123456789ab:1700000000000:{UID}"
    given = with_parts(
        message(), lambda parts: parts[-1].update(sig=ANN.sign(nonce.encode()))
    )
    assert judged(given) is INVALID


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[1]",
        b'[{"kind":"data","data":1e999}]',
        b'[{"kind":"data","data":"\xff"}]',
        b"[" * 100_000,
        b'[{"kind":"data","data":"\\ud800"},{"kind":"com.parler.sig","sig":"x",'
        b'"ts":1,"uid":"u","target":{"kind":"room","room":"den"}}]',
    ],
)
def test_parts_of_a_lying_hub_are_invalid_not_a_crash(raw: bytes) -> None:
    given = msgspec.structs.replace(message(), parts=msgspec.Raw(raw))
    assert judged(given) is INVALID


# ----------------------------------------------------------------- where it belongs


def test_a_room_message_copied_into_another_room_is_invalid() -> None:
    assert judged(message(room="other")) is INVALID


def test_a_service_message_belongs_to_the_room_of_its_service() -> None:
    target = ServiceTarget(service="Re View")
    assert judged(message(target=target, room="svc.Re_View")) is VALID
    for room in ("svc.Re View", "svc.review", "Re_View", "den", "dm.Re_View"):
        assert judged(message(target=target, room=room)) is INVALID


def test_a_direct_message_is_for_its_two_ends_and_their_direct_room() -> None:
    target = DmTarget(agent=BOB.agent_id)
    given = message(target=target, room="dm.abcdef")
    assert judged(given, BOB) is VALID
    assert judged(given, ANN) is VALID, "the author reads its own"
    assert judged(given, EVE) is INVALID
    assert judged(given, None) is VALID
    for room in ("den", "dm", "svc.dm", "xdm.abcdef"):
        assert judged(message(target=target, room=room), BOB) is INVALID


def test_belonging_alone_is_no_proof() -> None:
    given = msgspec.structs.replace(message(), parts=msgspec.Raw(b"[]"))
    assert belongs_to(DEN, given, reader=None)
    assert judged(given) is UNSIGNED


# ------------------------------------------------------------------------- signing


def test_signing_again_leaves_one_signature() -> None:
    first = sign_parts(EVE, DEN, [TextPart(text="a")], ts=1, uid="u1")
    (text, old) = part_objects(first)
    parts: list[Part] = [
        SigPart(sig="", ts=1, uid="", target=DEN),
        TextPart(text="a"),
        OtherPart(kind=SIG_KIND, fields=old),
        OtherPart(kind=SIG_KIND, fields={"sig": "garbage"}),
    ]
    again = part_objects(sign_parts(ANN, DEN, parts, ts=7, uid=UID))
    assert again[:-1] == [text]
    assert again[-1]["kind"] == SIG_KIND
    given = msgspec.structs.replace(
        message(), parts=sign_parts(ANN, DEN, parts, ts=7, uid=UID)
    )
    assert judged(given) is VALID


def test_the_signature_part_has_the_pinned_fields() -> None:
    (sig,) = part_objects(sign_parts(ANN, DEN, [], ts=7, uid=UID))
    assert {**sig, "sig": None} == {
        "kind": "com.parler.sig",
        "sig": None,
        "alg": "ed25519",
        "v": 1,
        "ts": 7,
        "uid": UID,
        "target": {"kind": "room", "room": "den"},
    }


def test_what_has_no_canonical_json_is_not_signed() -> None:
    for part in (DataPart(data=float("nan")), TextPart(text="\ud800")):
        with pytest.raises(ValueError, match=r"finite|surrogates"):
            sign_parts(ANN, DEN, [part], ts=7, uid=UID)


def test_reader_of_a_room_message_does_not_matter() -> None:
    for reader in (ANN, BOB, EVE, None):
        assert judged(message(), reader) is VALID


# ------------------------------------------------------------------------------ the hub

HOME, ELSEWHERE = "0123456789ab", "ba9876543210"
REPLAYED = Signature.REPLAYED


def said_at(at: str | None, /, **changes: Any) -> StoredMessage:
    """A message of Ann's, signed for a hub, and what somebody made of its signature."""
    raw = sign_parts(ANN, DEN, [TextPart(text="do it")], ts=7, uid=UID, hub_token=at)
    *others, sig = part_objects(raw)
    sig = {key: value for key, value in (sig | changes).items() if value is not None}
    return msgspec.structs.replace(
        message(), parts=msgspec.Raw(json.dumps([*others, sig]).encode())
    )


def test_the_bytes_of_before_are_signed_as_before() -> None:
    [*_, old] = part_objects(said_at(None).parts)
    [*_, new] = part_objects(said_at(HOME).parts)
    assert set(old) == {"kind", "sig", "ts", "uid", "target", "alg", "v"}
    assert set(new) - set(old) == {"hub", "hubSig"}
    assert old == {key: new[key] for key in old}
    signed = f'parler-hub:v1:{{"hub":"{HOME}","sig":"{new["sig"]}"}}'
    assert new["hubSig"] == ANN.sign(signed.encode())


def test_what_was_said_at_another_hub_is_a_replay() -> None:
    assert check_message(said_at(HOME), reader=None, hub_token=HOME) is VALID
    assert check_message(said_at(HOME), reader=None) is VALID
    assert check_message(said_at(None), reader=None, hub_token=HOME) is VALID
    assert check_message(said_at(HOME), reader=None, hub_token=ELSEWHERE) is REPLAYED


@pytest.mark.parametrize(
    "changes",
    [
        {"hub": ELSEWHERE},
        {"hub": None},
        {"hub": 5},
        {"hub": "\ud800"},
        {"hubSig": None},
        {"hubSig": "AAAA"},
        {"hubSig": ["x"]},
        {"hubSig": EVE.sign(f'parler-hub:v1:{{"hub":"{HOME}","sig":""}}'.encode())},
    ],
)
def test_a_hub_that_the_author_did_not_sign_is_a_failure(
    changes: dict[str, Any],
) -> None:
    for hub in (HOME, ELSEWHERE, None):
        judged = check_message(said_at(HOME, **changes), reader=None, hub_token=hub)
        assert judged is INVALID


def test_a_copy_without_the_hubs_name_is_invalid_to_whoever_reads_it_first() -> None:
    uid = fresh_uid(HOME)
    assert uuid.UUID(uid).version == 8  # in the form that every client knows
    parts = sign_parts(
        ANN, DEN, [TextPart(text="do it")], ts=7, uid=uid, hub_token=HOME
    )
    original = msgspec.structs.replace(message(), parts=parts)
    *others, sig = part_objects(parts)
    left = {key: sig[key] for key in sig.keys() - {"hub", "hubSig"}}
    stripped, renamed = (
        msgspec.structs.replace(
            original, parts=msgspec.Raw(json.dumps([*others, changed]).encode())
        )
        for changed in (left, left | {"uid": fresh_uid(None)})
    )
    for hub in (HOME, ELSEWHERE, None):
        assert check_message(stripped, reader=None, hub_token=hub) is INVALID
        assert check_message(renamed, reader=None, hub_token=hub) is INVALID
    assert check_message(original, reader=None, hub_token=HOME) is VALID


def test_an_id_of_another_client_says_nothing_of_a_hub() -> None:
    assert uuid.UUID(fresh_uid(None)).version == 4
    for uid in (fresh_uid(None), str(uuid.uuid1()), "8", "", "8" * 36):
        raw = sign_parts(ANN, DEN, [TextPart(text="do it")], ts=7, uid=uid)
        said = msgspec.structs.replace(message(), parts=raw)
        assert check_message(said, reader=None, hub_token=HOME) is VALID


def test_a_forged_message_of_another_hub_is_a_forgery() -> None:
    forged = said_at(HOME, uid="another")
    assert check_message(forged, reader=None, hub_token=ELSEWHERE) is INVALID


def test_only_what_fails_is_no_word_of_its_author() -> None:
    assert [one for one in Signature if one.fails] == [INVALID, REPLAYED]
