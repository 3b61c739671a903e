"""Which bundle or file a word means, and whose word counts."""

from collections.abc import Iterator
from itertools import count

import pytest

from parler.errors import UsageError, VerificationError
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint
from parler.ops.attachments import Attachment, Sender, check_size, find, only_named
from parler.wire.base import AgentId, Digest, RoomName
from parler.wire.parts import FilePart

ANN, EVE = AgentId("U" + "A" * 55), AgentId("U" + "E" * 55)
ONE, TWO = Digest("1" * 64), Digest("1" * 8 + "2" * 56)
_SEQS: Iterator[int] = count(1)


def sent(
    blob: Digest = ONE,
    *,
    name: str = "notes.txt",
    by: AgentId = ANN,
    signature: Signature = Signature.VALID,
    size: int = 10,
) -> Attachment:
    return Attachment(
        part=FilePart(blob=blob, name=name, size=size),
        sender=Sender(
            id=by,
            name="ann" if by == ANN else "eve",
            fingerprint=fingerprint(by),
            signature=signature,
            room=RoomName("den"),
            seq=next(_SEQS),
            ts=0,
        ),
    )


def called(attachment: Attachment, word: str) -> bool:
    return isinstance(attachment.part, FilePart) and attachment.part.name == word


def found(word: str, *among: Attachment) -> Attachment | None:
    return find(word, among, named=called, next_step="parler recv")


def test_an_id_its_beginning_and_a_name_mean_the_same() -> None:
    one = sent()
    for word in (ONE, ONE[:8], "notes.txt"):
        assert found(word, one, sent(Digest("3" * 64), name="other")) is one


def test_the_beginning_of_an_id_that_is_only_named_means_that_one() -> None:
    def named(word: str, *ids: Digest) -> Digest | None:
        return only_named(word, [sent(ONE)], set(ids), called)

    three = Digest("3" * 64)
    assert named("3333", three) == three
    assert named("1111", three, ONE) is None  # announced: that is found with its sender
    assert named("notes.txt", three) is None
    assert named("4444", three) is None
    for word, ids in (("3333", (three, Digest("3" * 63 + "4"))), ("1111", (TWO,))):
        with pytest.raises(UsageError, match="any of 2"):
            named(word, *ids)


def test_of_one_senders_files_of_a_name_the_last_one_counts() -> None:
    last = sent(TWO)
    assert found("notes.txt", sent(ONE), last) is last


def test_a_name_of_two_senders_is_nobodys() -> None:
    with pytest.raises(UsageError, match="eve") as caught:
        found("notes.txt", sent(ONE), sent(TWO, by=EVE))
    assert "ann" in caught.value.message


def test_a_beginning_of_two_ids_is_neither() -> None:
    with pytest.raises(UsageError, match="any of 2"):
        found("1" * 8, sent(ONE), sent(TWO))
    two = sent(TWO)
    assert found("1" * 8 + "2", sent(ONE), two) is two


def test_a_file_called_like_an_id_does_not_come_in_its_place() -> None:
    short = ONE[:12]
    with pytest.raises(UsageError, match="any of 2"):
        found(short, sent(ONE), sent(Digest("3" * 64), name=short, by=EVE))
    with pytest.raises(UsageError, match="any of 2"):
        found(short, sent(ONE), sent(Digest("3" * 64), name=short))
    one = sent(ONE)
    assert found(ONE, one, sent(Digest("3" * 64), name=ONE, by=EVE)) is one
    assert found(ONE, sent(Digest("3" * 64), name=ONE, by=EVE)) is None
    named = sent(Digest("3" * 64), name=short, by=EVE)
    with pytest.raises(UsageError, match="any of 2"):
        only_named(short, [named], {ONE}, called)


def test_who_repeats_an_announcement_does_not_replace_it() -> None:
    first = sent(size=10)
    assert found(ONE, first, sent(size=1, by=EVE)) is first


def test_an_unsigned_message_does_not_stand_for_a_signed_one() -> None:
    signed = sent(ONE)
    forged = sent(TWO, signature=Signature.UNSIGNED)
    assert found("notes.txt", signed, forged) is signed
    assert found(TWO, signed, forged) is forged  # it is shown as unsigned


def test_a_message_whose_signature_fails_hands_over_nothing() -> None:
    forged = sent(signature=Signature.INVALID)
    for word in (ONE, ONE[:8], "notes.txt"):
        with pytest.raises(VerificationError):
            found(word, forged)
    honest = sent(ONE)
    assert found(ONE, forged, honest) is honest


def test_only_a_whole_id_may_be_unheard_of() -> None:
    assert found("a" * 64, sent()) is None
    for word in ("a" * 63, "nope", "", "abc"):
        with pytest.raises(UsageError, match="nothing called"):
            found(word, sent())


def test_another_length_than_announced_is_refused() -> None:
    check_size(None, 7)
    check_size(sent(size=7), 7)
    with pytest.raises(VerificationError, match="10 bytes"):
        check_size(sent(size=10), 7)
