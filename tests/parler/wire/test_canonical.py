"""Canonical JSON: numbers, strings, order of keys (protocol 6.1-6.3)."""

import json
import struct
from typing import Any

import pytest

from parler.wire.base import AgentId, RoomName
from parler.wire.canonical import (
    SIG_KIND,
    canonical_json,
    card_bytes,
    message_bytes,
    parse_json,
)
from parler.wire.records import AgentCard, DmTarget, RoomTarget, ServiceTarget, Skill

SPELLINGS = {
    # integers
    "0": "0",
    "-0": "-0.0",
    "7": "7",
    "-7": "-7",
    "9007199254740993": "9007199254740993",
    "9223372036854775807": "9223372036854775807",
    "9223372036854775808": "9223372036854775808",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551616": "1.8446744073709552e+19",
    "-9223372036854775808": "-9223372036854775808",
    "-9223372036854775809": "-9.223372036854776e+18",
    "100000000000000000000": "1e+20",
    "-100000000000000000000": "-1e+20",
    "1" + "0" * 308: "1e+308",
    # zero
    "0.0": "0.0",
    "-0.0": "-0.0",
    "0e9": "0.0",
    "-0e-9": "-0.0",
    "1e-400": "0.0",
    "-1e-400": "-0.0",
    # positional, 0 < p <= 16
    "1.0": "1.0",
    "1e0": "1.0",
    "1E0": "1.0",
    "1.50": "1.5",
    "100.0": "100.0",
    "123456.789": "123456.789",
    "0.1": "0.1",
    "1e15": "1000000000000000.0",
    "123456789012345.6": "123456789012345.6",
    "1234567890123456.0": "1234567890123456.0",
    "9007199254740992.0": "9007199254740992.0",
    "9999999999999998.0": "9999999999999998.0",
    # -5 < p <= 0
    "0.12": "0.12",
    "0.01": "0.01",
    "0.001": "0.001",
    "0.0001": "0.0001",
    "0.00001": "0.00001",
    "0.000012345": "0.000012345",
    "-0.00001": "-0.00001",
    # exponent
    "0.000001": "1e-6",
    "0.0000012345": "1.2345e-6",
    "1.5e-7": "1.5e-7",
    "1e16": "1e+16",
    "10000000000000000.0": "1e+16",
    "12345678901234567.0": "1.2345678901234568e+16",
    "123456789012345680.0": "1.2345678901234568e+17",
    "1e100": "1e+100",
    "1.7976931348623157e308": "1.7976931348623157e+308",
    "5e-324": "5e-324",
    "2.2250738585072014e-308": "2.2250738585072014e-308",
    "-1.5e300": "-1.5e+300",
    # shortest digits
    "0.30000000000000004": "0.30000000000000004",
    "0.1000000000000000055511151231257827": "0.1",
    "5e-1": "0.5",
    "2.50e+2": "250.0",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_number_has_one_spelling(text: str) -> None:
    assert canonical_json(parse_json(text)).decode() == SPELLINGS[text]


def expected_power_of_ten(exponent: int) -> str:
    if exponent < -323:
        return "0.0"
    if exponent < -5:
        return f"{float(f'1e{exponent}')!r}".replace("e-0", "e-")
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}1"
    return f"1{'0' * exponent}.0" if exponent < 16 else f"1e+{exponent}"


def test_powers_of_ten_switch_notation_at_the_pinned_places() -> None:
    for exponent in range(-330, 309):
        spelled = canonical_json(float(f"1e{exponent}")).decode()
        assert spelled == expected_power_of_ten(exponent)


def boundary_doubles() -> list[float]:
    """Doubles next to every place where the notation changes, and odd bit patterns."""
    found: list[float] = []
    for exponent in (-7, -6, -5, -4, -1, 0, 1, 14, 15, 16, 17, 300, -300):
        (bits,) = struct.unpack("<q", struct.pack("<d", float(f"1e{exponent}")))
        for step in range(-3, 4):
            found += struct.unpack("<d", struct.pack("<q", bits + step))
    for power in range(-1074, 1024, 7):
        found += [2.0**power, -(2.0**power)]
    return found


def test_every_spelling_reads_back_as_the_same_double_and_is_shortest() -> None:
    for value in boundary_doubles():
        spelled = canonical_json(value).decode()
        assert struct.pack("<d", float(spelled)) == struct.pack("<d", value)
        digits = spelled.partition("e")[0].lstrip("-").replace(".", "").strip("0")
        shortest = repr(value).partition("e")[0].lstrip("-").replace(".", "").strip("0")
        assert digits == shortest
        assert parse_json(spelled) == value


def test_every_spelling_marks_a_float_as_one() -> None:
    for value in boundary_doubles():
        assert set(canonical_json(value).decode()) & {".", "e"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_has_no_spelling(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        canonical_json([value])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e309", "-1e309"])
def test_what_is_not_finite_is_not_parsed(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|large"):
        parse_json(f'{{"x":{text}}}')


def test_a_number_of_many_digits_is_refused_not_computed() -> None:
    with pytest.raises(ValueError, match="large"):
        parse_json("1" * 5000)


STRINGS = {
    '"': r'"\""',
    "\\": r'"\\"',
    "/": '"/"',
    "\b\f\n\r\t": r'"\b\f\n\r\t"',
    "\x00\x01\x0b\x1f": r'"\u0000\u0001\u000b\u001f"',
    "\x7f": '"\x7f"',
    "\u2028\u2029\ufeff": '"\u2028\u2029\ufeff"',
    "é漢😀": '"é漢😀"',
    "<&>'": '"<&>\'"',
    "": '""',
}


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_escapes_only_what_it_must(text: str) -> None:
    assert canonical_json(text).decode() == STRINGS[text]
    assert canonical_json({text: text}).decode() == (
        f"{{{STRINGS[text]}:{STRINGS[text]}}}"
    )


def test_an_unpaired_surrogate_has_no_bytes() -> None:
    for value in ("\ud800", {"\udc00": 1}, ["a\udfffb"]):
        with pytest.raises(UnicodeEncodeError):
            canonical_json(value)


def test_keys_are_sorted_by_code_point_at_every_depth() -> None:
    value = parse_json(
        '{"\U0001f680":1,"\uffee":{"b":1,"a":{"10":1,"9":2,"A":3}},"":0,"a":[{"z":1,"y":2}]}'
    )
    assert canonical_json(value).decode() == (
        '{"":0,"a":[{"y":2,"z":1}],"\uffee":{"a":{"10":1,"9":2,"A":3},"b":1},'
        '"\U0001f680":1}'
    )


def test_literals_empty_containers_and_arrays_are_spelled_without_blanks() -> None:
    value = parse_json(' [ null , true , false , { } , [ ] , { "a" : null } ] ')
    assert canonical_json(value) == b'[null,true,false,{},[],{"a":null}]'


def test_true_is_not_one() -> None:
    assert canonical_json([True, 1, False, 0]) == b"[true,1,false,0]"


def test_the_last_of_duplicate_keys_wins_in_free_json() -> None:
    assert canonical_json(parse_json('{"a":1,"b":2,"a":3}')) == b'{"a":3,"b":2}'


def test_depth_is_bounded_by_an_error_not_by_a_crash() -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_json("[" * 200_000 + "]" * 200_000)


# ----------------------------------------------------------- what is covered (6.2, 6.3)


def test_card_bytes_keep_empty_lists_that_are_set_and_leave_out_what_is_not() -> None:
    card = AgentCard.of(AgentId("U"), "bob", tags=[], skills=[Skill(id="a", name="b")])
    assert card_bytes(card).decode() == (
        '{"id":"U","kind":"agent","name":"bob","protocolVersion":"0.2",'
        '"skills":[{"id":"a","name":"b"}],"tags":[]}'
    )


def covered(parts: list[dict[str, Any]], **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "author": AgentId("U"),
        "target": RoomTarget(room=RoomName("r")),
        "parts": parts,
        "ts": 1,
        "uid": "u",
        "reply_to": None,
    }
    return json.loads(message_bytes(**fields | changes))


def test_message_bytes_reduce_core_parts_and_keep_extensions_whole() -> None:
    parts: list[dict[str, Any]] = [
        {"kind": "text", "text": "a", "data": 1, "more": 2},
        {"kind": "data", "data": None, "text": "x"},
        {"kind": "org.example.x", "text": "kept", "more": {"b": 1}},
    ]
    assert covered(parts)["parts"] == [
        {"kind": "text", "text": "a"},
        {"kind": "data", "data": None},
        {"kind": "org.example.x", "text": "kept", "more": {"b": 1}},
    ]


def test_message_bytes_leave_out_every_signature_part() -> None:
    sig = {"kind": SIG_KIND, "sig": "x"}
    parts = [sig, {"kind": "text", "text": "a"}, sig]
    assert covered(parts)["parts"] == [{"kind": "text", "text": "a"}]


def test_message_bytes_name_the_target_as_addressed() -> None:
    assert covered([])["target"] == {"kind": "room", "room": "r"}
    dm = covered([], target=DmTarget(agent=AgentId("V")))
    assert dm["target"] == {"kind": "dm", "agent": "V"}
    service = covered([], target=ServiceTarget(service="Re View"))
    assert service["target"] == {"kind": "service", "service": "Re View"}


def test_reply_to_is_covered_only_if_set() -> None:
    assert "replyTo" not in covered([])
    assert covered([], reply_to="")["replyTo"] == ""
