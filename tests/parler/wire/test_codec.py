"""Bytes to frames: what is one, what is not, and how it is refused (protocol 1.2)."""

import contextlib
import json
from typing import Any

import pytest

from parler.wire import replies, requests
from parler.wire.base import AgentId, Code, MessageId, RoomName
from parler.wire.codec import (
    BadFrame,
    UnknownReply,
    decode_reply,
    decode_request,
    encode,
)
from parler.wire.limits import MAX_DEPTH
from parler.wire.records import (
    Attention,
    RoomKind,
    RoomTarget,
    Scope,
    ServiceTarget,
    Visibility,
)

TARGET = '"target":{"kind":"room","room":"r"}'


def send(parts: str, more: str = "") -> str:
    return f'{{"op":"send",{TARGET},"parts":{parts}{more}}}'


def data(value: str) -> str:
    return send(f'[{{"kind":"data","data":{value}}}]')


def refused(text: str | bytes) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        decode_request(text)
    return caught.value


# ------------------------------------------------------------------ what a frame is


def test_a_frame_reads_from_text_and_from_bytes() -> None:
    assert decode_request('{"op":"ping"}') == requests.Ping()
    assert decode_request(b'{"op":"ping"}') == requests.Ping()


@pytest.mark.parametrize(
    "text",
    [
        ' \r\n\t{ "code" : "ABCDEFGH" ,\n"op"\t: "redeem" } \n',
        r'{"\u006fp":"re\u0064eem","c\u006fde":"ABCD\u0045FGH"}',
        '{"code":"ABCDEFGH","later":{"a":[1,null]},"op":"redeem","x":1.5e3}',
        '{"op":"redeem","code":"ABCDEFGH","rid":null}',
    ],
    ids=["blanks and order", "escapes", "unknown fields", "null rid"],
)
def test_a_frame_may_be_spelled_in_many_ways(text: str) -> None:
    assert decode_request(text) == requests.Redeem(code=Code("ABCDEFGH"))


NOT_FRAMES: dict[str, str | bytes] = {
    "nothing": "",
    "blank": " ",
    "byte order mark": "\ufeff{}",
    "array": '["redeem","ABCDEFGH"]',
    "array with op": '[{"op":"ping"}]',
    "string": '"ping"',
    "number": "1",
    "null": "null",
    "truncated": '{"op":"ping"',
    "open string": '{"op":"pin',
    "open escape": '{"op":"pin\\',
    "two frames": '{"op":"ping"}{"op":"ping"}',
    "garbage behind": '{"op":"ping"}x',
    "garbage before": 'x{"op":"ping"}',
    "NUL behind": '{"op":"ping"}\x00',
    "no op": "{}",
    "null op": '{"op":null}',
    "number op": '{"op":1}',
    "unknown op": '{"op":"dance"}',
    "op in capitals": '{"op":"PING"}',
    "op with a blank": '{"op":"ping "}',
    "a reply": '{"type":"pong"}',
    "not UTF-8": b'{"op":"presence","status":"\xff"}',
    "overlong UTF-8": b'{"op":"presence","status":"\xc0\xaf"}',
    "encoded surrogate": b'{"op":"presence","status":"\xed\xa0\x80"}',
    "cut UTF-8": b'{"op":"presence","status":"\xe2\x82',
    "UTF-16": '{"op":"ping"}'.encode("utf-16"),
    "surrogate in the text": '{"op":"presence","status":"\ud83d"}',
    "trailing comma": '{"op":"ping",}',
    "single quotes": "{'op':'ping'}",
    "comment": '{"op":"ping"/**/}',
}


@pytest.mark.parametrize("name", NOT_FRAMES)
def test_anything_else_is_a_bad_frame(name: str) -> None:
    assert refused(NOT_FRAMES[name]).reason


BAD_VALUES = {
    "lone high surrogate": r'"\ud800"',
    "lone low surrogate": r'"\udc00"',
    "swapped surrogates": r'"\ude80\ud83d"',
    "high before a letter": r'"\ud800x"',
    "surrogate as a key": r'{"\ud800":1}',
    "unknown escape": r'"\x41"',
    "short escape": r'"\u12"',
    "bad hex": r'"\u12g4"',
    "raw newline": '"a\nb"',
    "raw tab": '"\t"',
    "raw NUL": '"\x00"',
    "NaN": "NaN",
    "Infinity": "Infinity",
    "minus Infinity": "-Infinity",
    "leading zero": "01",
    "leading plus": "+1",
    "leading dot": ".5",
    "trailing dot": "1.",
    "open exponent": "1e",
    "hex": "0x1",
    "true misspelled": "True",
    "number as a key": "{1:2}",
    "comma at the end": "[1,]",
    "comma missing": "[1 2]",
    "colon missing": '{"a" 1}',
    "beyond a double": "1e309",
    "far beyond": "-1e99999999999999999999",
    "beyond with leading zeros": "1e0000000309",
    "beyond with a plus": "1E+309",
    "beyond with a fraction": "0." + "0" * 10 + "1e400",
    "beyond by digits": "1" * 310,
    "beyond by digits and a short exponent": "1" * 290 + "e99",
    "beyond by digits, a dot and an exponent": "1" * 230 + "." + "1" * 20 + "e80",
    "absurdly many digits": "1" * 100_000,
    "absurdly many decimals": "0." + "1" * 100_000,
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused_wherever_it_stands(name: str) -> None:
    """Also where nothing reads it: parts go out verbatim and would break others."""
    value = BAD_VALUES[name]
    refused(data(value))
    refused(send(f'[{{"kind":"org.example.x","deep":[[{{"er":{value}}}]]}}]'))
    refused(f'{{"op":"ping","unknown":{value}}}')


FINE_VALUES = [
    r'"\ud83d\ude80"',
    '"\x7f\u2028"',
    "-0",
    "-0.0",
    "1e308",
    "1.7976931348623157e308",
    "1e-999",
    "1E+2",
    "18446744073709551616",
    "1" * 300,
    "0." + "0" * 250 + "1e250",
    '"' + "1" * 1000 + 'e999"',
    '"\\"' + "1" * 400 + '"',
    '{"a":1,"a":{"b":2,"b":3}}',
]


@pytest.mark.parametrize("value", FINE_VALUES)
def test_a_value_within_the_rules_is_kept_verbatim(value: str) -> None:
    text = data(value)
    request = decode_request(text)
    assert isinstance(request, requests.Send)
    assert bytes(request.parts).decode() == f'[{{"kind":"data","data":{value}}}]'
    assert encode(request) == text


def test_depth_is_bounded_and_brackets_in_strings_are_not_depth() -> None:
    room = MAX_DEPTH - 3  # the frame, its parts, the part
    assert decode_request(data("[" * room + "]" * room))
    assert "nested" in refused(data("[" * (room + 1) + "]" * (room + 1))).reason
    assert "nested" in refused("[" * 200_000).reason
    assert "nested" in refused('{"a":' * 200_000).reason
    assert decode_request(data('"' + "[{" * 5000 + '"'))
    assert decode_request(data('"\\"' + "[{" * 5000 + '\\\\"'))
    assert decode_request(data("[" + "[]," * 5000 + "[]]"))


HOSTILE = {
    "open string of escapes": "[" * 65 + '"' + '\\"' * 1_000_000,
    "odd number in it": '"1e999' + '\\"' * 1_000_000,
    "one long string": '{"op":"ping","x":"' + "[" * 65 + "1e999" + "x" * 1_900_000,
    "runs of digits": '{"op":"ping","x":[1e999,' + ("1" * 199 + ",") * 9000,
    "many numbers": '{"op":"ping","x":[1e999,' + "1," * 900_000,
    "many keys, one twice": '{"op":"ping","op":"ping",'
    + ",".join(f'"{number}":0' for number in range(150_000))
    + "}",
    "many duplicates": data("{" + '"a":1,' * 200_000 + '"a":1}') + " ",
    "many quotes": '"' * 2_000_000,
    "many objects": '{"op":"ping","x":[' + "{}," * 600_000,
}


@pytest.mark.timeout(120)  # what is quadratic takes many minutes
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_frame_does_not_hold_up_everybody(name: str) -> None:
    with contextlib.suppress(BadFrame):
        decode_request(HOSTILE[name])


def test_a_reason_stays_short_whatever_it_quotes() -> None:
    for text in (
        json.dumps({"op": "x" * 1_000_000}),
        json.dumps({"op": "invite", "kind": "x" * 1_000_000}),
        send(json.dumps([{"kind": "x" * 1_000_000}])),
    ):
        assert len(refused(text).reason) < 400


# -------------------------------------------------------------------- duplicate keys

TWICE = {
    "op": '{"op":"ping","op":"ping"}',
    "escaped op": r'{"op":"ping","\u006fp":"ping"}',
    "op around others": '{"op":"ping","x":1,"op":"ping"}',
    "a field": '{"op":"roster","room":"a","room":"b"}',
    "a field with null": '{"op":"pull","room":"a","since":1,"since":null}',
    "a field in camel case": '{"op":"pull","room":"a","waitSecs":1,"waitSecs":1}',
    "an escaped field": r'{"op":"roster","room":"a","r\u006fom":"b"}',
    "rid": '{"op":"ping","rid":"a","rid":"a"}',
    "after blanks": '{"op":"roster", "room":"a", "room":"a"}',
    "beside an unknown key": '{"op":"roster","é":1,"room":"a","room":"a"}',
    "target": f'{{"op":"send",{TARGET},{TARGET},"parts":[]}}',
    "kind of a target": (
        '{"op":"send","target":{"kind":"room","kind":"room","room":"r"},"parts":[]}'
    ),
    "room of a target": (
        '{"op":"send","target":{"kind":"room","room":"r","room":"s"},"parts":[]}'
    ),
    "service of a target": (
        '{"op":"send","target":{"kind":"service","service":"r","service":"s"},'
        '"parts":[]}'
    ),
    "agent of a target": (
        '{"op":"send","target":{"kind":"dm","agent":"r","agent":"s"},"parts":[]}'
    ),
    "room of an upload's target": (
        '{"op":"put_blob","sha256":"x","size":1,'
        '"target":{"kind":"room","room":"r","room":"s"}}'
    ),
    "parts": send("[]", ',"parts":[]'),
    "kind of a part": send('[{"kind":"text","kind":"data","text":"a","data":1}]'),
    "text of a part": send('[{"kind":"text","text":"a","text":"b"}]'),
    "escaped text of a part": send(r'[{"kind":"text","text":"a","t\u0065xt":"b"}]'),
    "data of a part": send('[{"kind":"data","data":1,"data":2}]'),
    "kind of an extension": send('[{"kind":"a.b","kind":"c.d"}]'),
    "name of a card": (
        '{"op":"register","card":{"id":"a","name":"b","name":"c","kind":"agent"}}'
    ),
    "id of a skill": (
        '{"op":"register","card":{"id":"a","name":"b","kind":"agent",'
        '"skills":[{"id":"a","id":"b","name":"c"}]}}'
    ),
    "text of a fact": '{"op":"remember","fact":{"text":"a","text":"b"}}',
    "room of a fact": '{"op":"remember","fact":{"text":"a","room":"a","room":"b"}}',
}


@pytest.mark.parametrize("name", TWICE)
def test_a_known_key_twice_is_a_bad_frame(name: str) -> None:
    assert "twice" in refused(TWICE[name]).reason


ALLOWED_TWICE = {
    "unknown": '{"op":"ping","x":1,"x":2}',
    "in an unknown field": '{"op":"ping","x":{"op":1,"op":2}}',
    "in data": data('{"kind":1,"kind":2,"data":1,"data":2}'),
    "in an extension": send('[{"kind":"a.b","text":1,"text":2,"x":{"y":1,"y":2}}]'),
    "in a card's meta": (
        '{"op":"register","card":{"id":"a","name":"b","kind":"agent",'
        '"meta":{"name":1,"name":2}}}'
    ),
}


@pytest.mark.parametrize("name", ALLOWED_TWICE)
def test_a_key_twice_in_free_json_is_allowed(name: str) -> None:
    assert decode_request(ALLOWED_TWICE[name])


# ------------------------------------------------------------------- null and absent


def test_null_means_absent_for_optional_fields() -> None:
    text = (
        '{"op":"pull","room":"r","since":null,"limit":null,"waitSecs":null,'
        '"ack":null,"rid":null}'
    )
    pull = decode_request(text)
    assert isinstance(pull, requests.Pull)
    assert (pull.since, pull.limit, pull.wait_secs, pull.ack) == (None,) * 4


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"invite","kind":"channel","requireApproval":null}',
        '{"op":"discover","scope":null}',
        '{"op":"register","visibility":null,'
        '"card":{"id":"x","name":"x","kind":"agent"}}',
        '{"op":"pull","room":null}',
        '{"op":"pull"}',
        '{"op":"send","target":null,"parts":[]}',
        f'{{"op":"send",{TARGET}}}',
        f'{{"op":"send",{TARGET},"parts":null}}',
    ],
)
def test_null_or_absent_is_refused_where_a_value_is_needed(text: str) -> None:
    refused(text)


def test_the_three_exceptions_may_be_absent() -> None:
    invite = decode_request('{"op":"invite","kind":"channel"}')
    assert isinstance(invite, requests.Invite)
    assert invite.require_approval is False
    discover = decode_request('{"op":"discover"}')
    assert isinstance(discover, requests.Discover)
    assert discover.scope is Scope.HUB
    card = '{"id":"x","name":"x","kind":"agent"}'
    register = decode_request(f'{{"op":"register","card":{card}}}')
    assert isinstance(register, requests.Register)
    assert register.visibility is Visibility.PRIVATE


def test_a_data_part_may_be_null_but_not_absent() -> None:
    assert decode_request(data("null"))
    refused(send('[{"kind":"data"}]'))


# ------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "value",
    ["30.0", "3e1", '"30"', "true", "-1", "4294967296", "[30]", "30.5", "1e999"],
)
def test_a_u32_is_an_integer_in_its_range(value: str) -> None:
    refused(f'{{"op":"pull","room":"r","limit":{value}}}')


@pytest.mark.parametrize(
    ("value", "fine"),
    [
        (2**63 - 1, True),
        (-(2**63), True),
        (2**63, False),
        (-(2**63) - 1, False),
        (2**64, False),
        (10**290, False),
    ],
)
def test_a_position_is_a_signed_64_bit_integer(value: int, fine: bool) -> None:
    text = f'{{"op":"pull","room":"r","since":{value},"ack":{value}}}'
    if fine:
        pull = decode_request(text)
        assert isinstance(pull, requests.Pull)
        assert pull.since == pull.ack == value
    else:
        refused(text)


def test_a_span_of_time_may_be_huge_and_never_negative() -> None:
    invite = decode_request(f'{{"op":"invite","kind":"channel","ttlSecs":{2**64 - 1}}}')
    assert isinstance(invite, requests.Invite)
    assert invite.ttl_secs == 2**64 - 1
    refused('{"op":"invite","kind":"channel","ttlSecs":-1}')


# ---------------------------------------------------------------------------- rid


@pytest.mark.parametrize(
    "rid", ["a", "x" * 64, "é" * 32, "😀" * 16, 'a"\\b', " ", "\x00"]
)
def test_a_rid_of_up_to_64_bytes_is_read(rid: str) -> None:
    assert decode_request(json.dumps({"op": "ping", "rid": rid})).rid == rid


@pytest.mark.parametrize(
    "rid", ["", "x" * 65, "é" * 33, "😀" * 17, 7, ["a"], True, {"a": "b"}]
)
def test_any_other_rid_is_refused_and_not_echoed(rid: object) -> None:
    assert refused(json.dumps({"op": "ping", "rid": rid})).rid is None


@pytest.mark.parametrize(
    "text",
    [
        '{"op":"dance","rid":"r1"}',
        '{"op":"pull","rid":"r1"}',
        '{"rid":"r1"}',
        '{"rid":"r1","op":"pull","room":7}',
        '{"op":"ping","op":"ping","rid":"r1"}',
        send("[1]", ',"rid":"r1"'),
        send("[]", ',"parts":[],"rid":"r1"'),
        '{"op":"ping","x":1e999,"rid":"r1"}',
        r'{"op":"dance","r\u0069d":"r1"}',
    ],
)
def test_a_bad_frame_keeps_its_rid_so_that_its_sender_can_tell(text: str) -> None:
    assert refused(text).rid == "r1"


@pytest.mark.parametrize(
    "text", ['{"op":"dance","rid":"r1"', '["rid","r1"]', '{"op":"x","rid":"\xff"']
)
def test_where_no_rid_can_be_read_there_is_none(text: str) -> None:
    assert refused(text).rid is None


# ------------------------------------------------------------------------- replies


def test_a_reply_of_an_unknown_type_is_told_from_garbage() -> None:
    with pytest.raises(UnknownReply) as caught:
        decode_reply('{"type":"fanfare","rid":"r1","x":1}')
    assert caught.value.rid == "r1"
    for text in ('{"type":1}', "{}", '{"type":"pong"', '{"type":"sent"}', "[]"):
        with pytest.raises(BadFrame) as other:
            decode_reply(text)
        assert not isinstance(other.value, UnknownReply)


def test_a_wrong_value_in_a_known_reply_is_not_an_unknown_type() -> None:
    with pytest.raises(BadFrame) as caught:
        decode_reply('{"type":"joined","room":"r","kind":"party"}')
    assert not isinstance(caught.value, UnknownReply)


def test_a_reply_may_carry_fields_and_codes_we_do_not_know() -> None:
    error = decode_reply('{"type":"error","message":"m","code":"new_code","hint":[1]}')
    assert error == replies.Error(message="m", code="new_code")
    assert decode_reply('{"more":{"a":1},"type":"pong"}') == replies.Pong()


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"type":"pong","x":1e400}', b'{"type":"pong","x":"\xff"}', ""],
)
def test_garbage_from_a_hub_is_a_bad_frame_too(text: str | bytes) -> None:
    with pytest.raises(BadFrame):
        decode_reply(text)


def test_parts_of_a_delivered_message_stay_verbatim() -> None:
    parts = '[ {"kind":"data", "data":1.10e+2, "x":"\\u0041"} ]'
    text = (
        '{"type":"delivery","message":{"seq":1,"id":"m","room":"r","ts":2,'
        f'"from":{{"id":"U","name":"n"}},"parts":{parts}}}}}'
    )
    delivery = decode_reply(text)
    assert isinstance(delivery, replies.Delivery)
    assert bytes(delivery.message.parts).decode() == parts
    assert parts in encode(delivery)


# ------------------------------------------------------------------------ printing


@pytest.mark.parametrize(
    ("frame", "printed"),
    [
        (requests.Ping(), {"op": "ping"}),
        (requests.Ping(rid="1"), {"op": "ping", "rid": "1"}),
        (
            requests.Invite(kind=RoomKind.CHANNEL, require_approval=True, max_uses=3),
            {
                "op": "invite",
                "kind": "channel",
                "requireApproval": True,
                "maxUses": 3,
            },
        ),
        (
            requests.SetAttention(attention=Attention.DND),
            {"op": "set_attention", "attention": "dnd"},
        ),
        (
            requests.PutBlob(
                target=ServiceTarget(service="s"), sha256="d", size=1, media_type="m"
            ),
            {
                "op": "put_blob",
                "target": {"kind": "service", "service": "s"},
                "sha256": "d",
                "size": 1,
                "mediaType": "m",
            },
        ),
        (
            requests.Pull(room=RoomName("r"), since=0, ack=0),
            {"op": "pull", "room": "r", "since": 0, "ack": 0},
        ),
        (replies.Pong(), {"type": "pong"}),
        (
            replies.JoinResolved(
                room=RoomName("r"), agent=AgentId("U"), approved=False, rid="1"
            ),
            {
                "type": "join_resolved",
                "room": "r",
                "agent": "U",
                "approved": False,
                "rid": "1",
            },
        ),
        (
            replies.Claimed(
                room=RoomName("r"), message=MessageId("m"), claimed=True, lease_until=5
            ),
            {
                "type": "claimed",
                "room": "r",
                "message": "m",
                "claimed": True,
                "leaseUntil": 5,
            },
        ),
    ],
)
def test_a_frame_is_printed_in_camel_case_without_what_is_unset(
    frame: Any, printed: dict[str, Any]
) -> None:
    assert json.loads(encode(frame)) == printed
    assert " " not in encode(frame)


def test_required_fields_are_printed_even_if_false_zero_or_empty() -> None:
    pulled = replies.Pulled(room=RoomName(""), messages=[], cursor=0)
    assert json.loads(encode(pulled)) == {
        "type": "pulled",
        "room": "",
        "messages": [],
        "cursor": 0,
    }
    target = RoomTarget(room=RoomName("r"))
    assert json.loads(encode(requests.PutBlob(target=target, sha256="", size=0))) == {
        "op": "put_blob",
        "target": {"kind": "room", "room": "r"},
        "sha256": "",
        "size": 0,
    }
