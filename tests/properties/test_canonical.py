"""Canonical bytes do not depend on how a value was printed (protocol 6.1)."""

import json
from typing import Any
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from parler.wire.canonical import canonical_json, parse_json
from tests._support import plainclient
from tests.properties.frames import floats, values


def shuffled(value: Any, seed: int) -> Any:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: crc32(f"{seed}{name}".encode()))
        return {name: shuffled(value[name], seed) for name in names}
    if isinstance(value, list):
        return [shuffled(item, seed) for item in value]
    return value


@given(values, st.integers(), st.booleans(), st.none() | st.integers(0, 3))
def test_order_of_keys_blanks_and_escapes_do_not_matter(
    value: Any, seed: int, ascii_only: bool, indent: int | None
) -> None:
    printed = json.dumps(shuffled(value, seed), ensure_ascii=ascii_only, indent=indent)
    assert canonical_json(parse_json(printed)) == canonical_json(value)


@given(values)
def test_canonical_bytes_are_a_fixed_point(value: Any) -> None:
    once = canonical_json(value)
    assert canonical_json(parse_json(once)) == once
    assert parse_json(once) == value


@given(values)
def test_a_second_implementation_agrees(value: Any) -> None:
    assert canonical_json(value) == plainclient.canonical_bytes(value)


@given(floats)
def test_a_float_stays_the_same_float_and_is_told_from_an_integer(
    value: float,
) -> None:
    spelled = canonical_json(value).decode()
    again = parse_json(spelled)
    assert isinstance(again, float)
    assert again == value
    assert str(again) == str(value), "the sign of zero too"
    assert len(spelled) <= 25


@given(st.integers(-(10**300), 10**300))
def test_an_integer_is_exact_within_64_bits_and_a_float_beyond(value: int) -> None:
    spelled = canonical_json(parse_json(str(value))).decode()
    if -(2**63) <= value < 2**64:
        assert spelled == str(value)
    else:
        assert float(spelled) == float(value)
        assert set(spelled) & {".", "e"}


@given(values, values)
def test_different_values_have_different_bytes(one: Any, other: Any) -> None:
    same = canonical_json(one) == canonical_json(other)
    assert same == (repr(shuffled(one, 0)) == repr(shuffled(other, 0)))
