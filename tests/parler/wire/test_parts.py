"""The parts of a message: which frames may carry, and how they read (protocol 3.1)."""

import json
from typing import Any

import msgspec
import pytest

from parler.wire.parts import (
    BundlePart,
    DataPart,
    DispatchPart,
    FilePart,
    HandoffPart,
    InvalidParts,
    OtherPart,
    Part,
    SigPart,
    TaskPart,
    TextPart,
    check_parts,
    encode_parts,
    part_objects,
    read_parts,
)
from parler.wire.records import RoomTarget, TaskStatus


def raw(*parts: object) -> bytes:
    return json.dumps(list(parts)).encode()


def read_one(part: dict[str, Any]) -> Part:
    (found,) = read_parts(raw(part))
    return found


@pytest.mark.parametrize(
    "kind",
    [
        "com.parler.handoff",
        "a.b",
        "A-1.b-2.C3",
        "0.0",
        "-.-",
        "x." * 500 + "y",
    ],
)
def test_a_reverse_dns_kind_is_an_extension(kind: str) -> None:
    assert check_parts(raw({"kind": kind, "x": 1})) == [kind]


@pytest.mark.parametrize(
    "kind",
    [
        "image",
        "TEXT",
        "text ",
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a_b.c",
        "a.b_c",
        "a b.c",
        "a.b\n",
        "à.b",
        "com/parler.x",
        "٣.b",
    ],
)
def test_any_other_kind_is_refused(kind: str) -> None:
    with pytest.raises(InvalidParts, match="kind"):
        check_parts(raw({"kind": kind}))


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"null",
        b'"text"',
        b"[1]",
        b"[null]",
        b"[[]]",
        b'["text"]',
        b"[{}]",
        b'[{"kind":null}]',
        b'[{"kind":1}]',
        b'[{"kind":["text"]}]',
        b'[{"kind":"text"}]',
        b'[{"kind":"text","text":null}]',
        b'[{"kind":"text","text":1}]',
        b'[{"kind":"text","text":["a"]}]',
        b'[{"kind":"data"}]',
        b'[{"kind":"data","Data":1}]',
        b'[{"kind":"text","text":"a"},{"kind":"data"}]',
    ],
)
def test_malformed_parts_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidParts):
        check_parts(text)


def test_empty_and_unusual_parts_are_fine() -> None:
    assert check_parts(b" [ ] ") == []
    assert check_parts(b'[{"kind":"text","text":""}]') == ["text"]
    assert check_parts(b'[{"text":"a","kind":"text","data":1}]') == ["text"]
    assert check_parts(b'[{"kind":"data","data":null}]') == ["data"]
    assert check_parts(b'[{"kind":"data","data" : false}]') == ["data"]


TARGET = {"kind": "room", "room": "r"}


@pytest.mark.parametrize(
    ("fields", "struct"),
    [
        ({"kind": "text", "text": "a", "more": 1}, TextPart),
        ({"kind": "data", "data": None}, DataPart),
        (
            {"kind": "com.parler.bundle", "blob": "d", "vcs": "git", "size": 1},
            BundlePart,
        ),
        ({"kind": "com.parler.file", "blob": "d", "name": "n", "size": 1}, FilePart),
        ({"kind": "com.parler.handoff", "next": "n", "to": None}, HandoffPart),
        ({"kind": "com.parler.task", "status": "done"}, TaskPart),
        ({"kind": "com.parler.dispatch", "role": "r"}, DispatchPart),
        (
            {"kind": "com.parler.sig", "sig": "", "ts": 1, "uid": "", "target": TARGET},
            SigPart,
        ),
        (
            {
                "kind": "com.parler.sig",
                "sig": "",
                "ts": 1,
                "uid": "",
                "target": TARGET,
                "alg": 5,
                "v": [None],
            },
            SigPart,
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_known_part_reads_as_its_type(
    fields: dict[str, Any], struct: type[Part]
) -> None:
    assert isinstance(read_one(fields), struct)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "text", "text": 1},
        {"kind": "com.parler.file", "blob": "d", "name": "n", "size": 1.0},
        {"kind": "com.parler.file", "blob": "d", "name": "n", "size": "1"},
        {"kind": "com.parler.file", "blob": "d", "name": ["n"], "size": 1},
        {"kind": "com.parler.handoff"},
        {"kind": "com.parler.task", "status": "finished"},
        {"kind": "com.parler.sig", "sig": "s", "uid": "u", "target": TARGET},
        {
            "kind": "com.parler.sig",
            "sig": "s",
            "uid": "u",
            "ts": 1.5,
            "target": TARGET,
        },
        {"kind": "org.example.x", "text": "a"},
        {"kind": "com.parler.later"},
    ],
)
def test_a_part_that_does_not_fit_reads_as_other_and_keeps_its_fields(
    fields: dict[str, Any],
) -> None:
    assert read_one(fields) == OtherPart(kind=fields["kind"], fields=fields)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[",
        b"{}",
        b"[1]",
        b'[{"kind":1}]',
        b'[{"kind":"text"}]',
        b'[{"kind":"data"}]',
        b'[{"kind":"data","data":NaN}]',
        b'[{"kind":"data","data":1e400}]',
        b'[{"kind":"data","data":"\xff"}]',
        b"[" * 200_000,
    ],
)
def test_what_a_hub_hands_out_is_checked_again(text: bytes) -> None:
    with pytest.raises(InvalidParts):
        read_parts(text)


def test_numbers_of_free_json_are_kept_for_canonical_bytes() -> None:
    (part,) = part_objects(b'[{"kind":"data","data":[1.0,-0,18446744073709551616]}]')
    assert [repr(number) for number in part["data"]] == [
        "1.0",
        "-0.0",
        "1.8446744073709552e+19",
    ]


def test_parts_are_printed_canonically_and_come_back() -> None:
    parts: list[Part] = [
        TextPart(text="é\n"),
        DataPart(data={"b": 1.5e20, "a": None}),
        TaskPart(status=TaskStatus.DONE, elapsed_ms=3),
        HandoffPart(next="n", to="webdev"),
        SigPart(sig="s", ts=1, uid="u", target=RoomTarget(room="r")),  # type: ignore[arg-type]
        OtherPart(kind="org.example.x", fields={"z": 1, "a": [True]}),
    ]
    printed = bytes(encode_parts(parts)).decode()
    assert printed == (
        '[{"kind":"text","text":"é\\n"},'
        '{"data":{"a":null,"b":1.5e+20},"kind":"data"},'
        '{"elapsedMs":3,"kind":"com.parler.task","status":"done"},'
        '{"kind":"com.parler.handoff","next":"n","to":"webdev"},'
        '{"alg":"ed25519","kind":"com.parler.sig","sig":"s",'
        '"target":{"kind":"room","room":"r"},"ts":1,"uid":"u","v":1},'
        '{"a":[true],"kind":"org.example.x","z":1}]'
    )
    check_parts(printed.encode())
    again = read_parts(printed.encode())
    assert again[:-1] == parts[:-1]
    assert bytes(encode_parts(again)).decode() == printed


@pytest.mark.parametrize(
    "part",
    [
        DataPart(data=float("nan")),
        DataPart(data=[float("inf")]),
        TextPart(text="\ud800"),
        OtherPart(kind="a.b", fields={"x": {"\udfff": 1}}),
    ],
)
def test_a_part_without_canonical_json_cannot_be_printed(part: Part) -> None:
    with pytest.raises(ValueError, match=r"finite|surrogates"):
        encode_parts([part])


def test_reading_does_not_take_the_field_order_or_blanks_for_content() -> None:
    loose = b' [ { "text" : "a" , "kind" : "text" } ] '
    assert read_parts(loose) == read_parts(raw({"kind": "text", "text": "a"}))
    assert read_parts(msgspec.Raw(loose)) == [TextPart(text="a")]
