"""Who is meant: by id, fingerprint, name."""

import pytest

from parler.errors import UsageError
from parler.identity.signing import Keypair, fingerprint
from parler.ops.addressing import Candidate, matching, pick

ANN, BOB, EVE = (Keypair(bytes([number]) * 32).agent_id for number in (1, 2, 3))


def people(*names: str) -> list[Candidate]:
    return [
        Candidate(agent=agent, name=name)
        for agent, name in zip((ANN, BOB, EVE), names, strict=False)
    ]


def test_a_unique_name_is_found_whatever_its_case() -> None:
    assert [one.agent for one in matching(" BOB ", people("ann", "bob"))] == [BOB]


def test_an_id_beats_a_name_that_copies_it() -> None:
    assert [one.agent for one in matching(ANN, people("ann", ANN))] == [ANN]


def test_a_name_that_copies_a_fingerprint_is_never_meant() -> None:
    mark = fingerprint(ANN)
    assert [one.agent for one in matching(mark, people("ann", mark))] == [ANN]
    assert matching(mark, [Candidate(agent=EVE, name=mark)]) == []


def test_nine_characters_of_a_fingerprint_are_enough_and_eight_are_not() -> None:
    mark = fingerprint(BOB)
    assert [one.agent for one in matching(mark[:9].lower(), people("a", "b"))] == [BOB]
    assert matching(mark[:8], people("a", "b")) == []


def test_one_agent_listed_twice_is_one() -> None:
    assert len(matching("ann", [*people("ann"), *people("ann")])) == 1


@pytest.mark.parametrize("who", ["bob", "nobody", ""])
def test_nobody_or_several_is_an_error_with_a_next_step(who: str) -> None:
    with pytest.raises(UsageError) as refused:
        pick(who, people("bob", "Bob"), among="is waiting", next_step="look")
    assert refused.value.next_step
    if who == "bob":
        assert fingerprint(ANN) in refused.value.message


def test_names_in_errors_are_neutralised() -> None:
    two = [Candidate(agent=ANN, name="x\x1b[2J"), Candidate(agent=BOB, name="X\x1b[2J")]
    with pytest.raises(UsageError) as refused:
        pick("x\x1b[2J", two, among="waits", next_step="look")
    assert "\x1b[2J," not in refused.value.message
