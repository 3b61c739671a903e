"""The table of error codes is total and closed (protocol 3.3)."""

from parler.wire.codes import MEANINGS, PROTOCOL_VERSION, ErrorCode, Feature

PINNED = (
    "unauthenticated bad_frame protocol at_capacity timeout not_member unknown_service "
    "invalid_invite not_owner rate_limited too_large storage_full not_authorized "
    "unknown_blob invalid_card internal"
)


def test_the_codes_are_the_pinned_ones() -> None:
    assert {code.value for code in ErrorCode} == set(PINNED.split())


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ErrorCode)
    for meaning in MEANINGS.values():
        assert 400 <= meaning.http_status < 600


def test_what_may_pass_by_itself_is_retryable_and_nothing_else() -> None:
    retryable = {code.value for code in ErrorCode if MEANINGS[code].retryable}
    assert retryable == {
        "at_capacity",
        "timeout",
        "rate_limited",
        "storage_full",
        "internal",
    }


def test_features_and_version_are_those_of_the_protocol() -> None:
    assert {feature.value for feature in Feature} >= {
        "rid",
        "events",
        "receipts",
        "membership",
        "history",
        "forget",
        "look",
    }
    assert PROTOCOL_VERSION == "0.2"
