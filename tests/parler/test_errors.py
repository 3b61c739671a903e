"""The error tree: exit statuses, codes, and what a hub's refusal becomes."""

import inspect

import pytest

from parler import errors
from parler.errors import HubError, HubRefused, InvalidInvite, ParlerError, refusal
from parler.wire.codes import MEANINGS, ErrorCode

TREE = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, ParlerError)
]


FAMILIES: dict[type[ParlerError], int] = {
    errors.UsageError: 2,
    errors.ConfigError: 3,
    errors.TransportError: 4,
    errors.ProtocolError: 5,
    errors.HubError: 6,
    errors.VerificationError: 7,
    errors.HandoffError: 8,
    errors.AppError: 9,
}


def test_each_family_of_errors_has_the_documented_exit_status() -> None:
    for kind in TREE:
        family = [status for base, status in FAMILIES.items() if issubclass(kind, base)]
        assert len(family) <= 1, kind
        if family:
            assert kind.exit_status == family[0], kind
    assert ParlerError.exit_status == 1


def test_the_module_text_names_every_error() -> None:
    assert errors.__doc__ is not None
    for kind in TREE:
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_becomes_an_error_of_its_own_kind(code: ErrorCode) -> None:
    error = refusal("the hub's words", code.value)
    assert isinstance(error, HubError)
    assert type(error) is not HubError
    # Whoever takes no for an answer must not get a hub that was only busy.
    assert isinstance(error, HubRefused) is not MEANINGS[code].retryable
    assert error.hub_code == error.code == code.value
    assert error.message == str(error) == "the hub's words"
    assert error.retryable == MEANINGS[code].retryable


def test_a_code_of_a_newer_hub_is_kept_and_not_retried() -> None:
    error = refusal("no", "moon_phase")
    assert type(error) is HubRefused
    assert (error.code, error.retryable) == ("moon_phase", False)


def test_a_refusal_without_code_is_told_only_by_the_pinned_words() -> None:
    assert type(refusal("sorry: invalid or unknown invite code", None)) is InvalidInvite
    other = refusal("something else", None)
    assert type(other) is HubRefused
    assert (other.hub_code, other.code, other.retryable) == (None, "refused", False)


def test_a_code_outweighs_the_words_beside_it() -> None:
    error = refusal("invalid or unknown invite code", "rate_limited")
    assert type(error) is errors.RateLimited


def test_the_next_step_and_the_facts_are_kept() -> None:
    error = errors.ConnectFailed("ws://h/ws", "refused", next_step="parler hub")
    assert (error.url, error.reason, error.next_step) == (
        "ws://h/ws",
        "refused",
        "parler hub",
    )
    assert error.retryable
    late = errors.TimedOut("pull", 2.5)
    assert "'pull'" in late.message
    assert "2.5 s" in late.message
    assert late.may_have_happened
    assert not errors.TimedOut("pull", 2.5, may_have_happened=False).may_have_happened
