"""How long the fields of a request may be (protocol 3.2, 2.3)."""

from typing import Any

import msgspec
import pytest

from parler.wire import limits, requests
from parler.wire.base import AgentId, Code, Digest, MessageId, RoomName
from parler.wire.bounds import oversized
from parler.wire.records import (
    AgentCard,
    CardKind,
    DmTarget,
    Fact,
    RoomKind,
    RoomTarget,
    ServiceTarget,
    TaskStatus,
)
from parler.wire.requests import AnyRequest

MESSAGE = 10_000
HERE = RoomTarget(room=RoomName("r"))
CARD = AgentCard(id=AgentId("U"), name="n", kind=CardKind.AGENT)

BASES: list[AnyRequest] = [
    requests.Hello(id=AgentId(""), name=""),
    requests.Subscribe(),
    requests.Invite(kind=RoomKind.CHANNEL),
    requests.Redeem(code=Code("")),
    requests.JoinRequests(room=RoomName("")),
    requests.ResolveJoin(room=RoomName(""), agent=AgentId(""), approve=True),
    requests.Serve(service=""),
    requests.AdmitWorker(service="", agent=AgentId("")),
    requests.Claim(room=RoomName(""), message=MessageId("")),
    requests.Queue(room=RoomName(""), role=""),
    requests.Complete(room=RoomName(""), message=MessageId(""), status=TaskStatus.DONE),
    requests.Register(card=CARD),
    requests.Discover(),
    requests.Lookup(id=AgentId("")),
    requests.MintWatch(room=RoomName("")),
    requests.Send(target=HERE, parts=msgspec.Raw(b"[]")),
    requests.Pull(room=RoomName("")),
    requests.Remember(fact=Fact(text="")),
    requests.Recall(query=""),
    requests.Forget(key="", text=""),
    requests.DeleteRoom(room=RoomName("")),
    requests.Roster(room=RoomName("")),
    requests.Presence(status=""),
    requests.PutBlob(target=HERE, sha256=Digest(""), size=0),
    requests.GetBlob(id=Digest("")),
    requests.Receipts(room=RoomName(""), seq=0),
    requests.Leave(room=RoomName("")),
    requests.RemoveMember(room=RoomName(""), agent=AgentId("")),
    requests.Invites(room=RoomName("")),
    requests.RevokeInvite(code=Code("")),
    requests.RevokeTokens(),
]
BOUNDS = {
    "hello.id": 256,
    "hello.name": 256,
    "hello.role": 256,
    "hello.sig": 512,
    "hello.secret": 4096,
    "discover.query": 65_536,
    "recall.query": 65_536,
    "put_blob.sha256": 128,
    "put_blob.media_type": 256,
    "get_blob.id": 128,
}
FREE = {"rid", "history", "text"}  # bounded by the codec, by value, with the frame


def text_fields() -> list[tuple[AnyRequest, str]]:
    """Every field of every request that may be a text."""
    return [
        (request, field.name)
        for request in BASES
        for field in msgspec.structs.fields(request)
        if field.name not in FREE and "str" in str(field.type)
    ]


def title(value: object) -> str:
    return value if isinstance(value, str) else requests.op_of(value)


@pytest.mark.parametrize(("request_", "name"), text_fields(), ids=title)
def test_every_text_has_a_bound_in_bytes(request_: AnyRequest, name: str) -> None:
    bound = BOUNDS.get(f"{requests.op_of(request_)}.{name}", 4096)
    is_list = isinstance(getattr(request_, name), list) or name in (
        "mentions",
        "events",
    )

    def judged(text: str) -> str | None:
        value: Any = [text] if is_list else text
        changed = msgspec.structs.replace(request_, **{name: value})
        return oversized(changed, max_message_bytes=2**20)

    assert judged("x" * bound) is None
    assert judged("é" * (bound // 2)) is None
    assert judged("x" * (bound + 1)) == name
    assert judged("é" * (bound // 2) + "x") == name
    assert judged("😀" * (bound // 4) + "x") == name


def test_every_request_with_a_text_is_walked_above() -> None:
    walked = {type(request) for request in BASES}
    rest = {
        struct
        for struct in requests.AnyRequest.__args__  # type: ignore[attr-defined]
        if struct not in walked
    }
    assert rest == {
        requests.Ping,
        requests.Rooms,
        requests.SetAttention,
        requests.MintDirectoryToken,
    }


@pytest.mark.parametrize("op", ["send", "put_blob"])
@pytest.mark.parametrize("kind", ["room", "dm", "service"])
def test_the_name_in_a_target_is_bounded(op: str, kind: str) -> None:
    def judged(length: int) -> str | None:
        name = "x" * length
        target: Any = {
            "room": RoomTarget(room=RoomName(name)),
            "dm": DmTarget(agent=AgentId(name)),
            "service": ServiceTarget(service=name),
        }[kind]
        request: AnyRequest = (
            requests.Send(target=target, parts=msgspec.Raw(b"[]"))
            if op == "send"
            else requests.PutBlob(target=target, sha256=Digest("d"), size=1)
        )
        return oversized(request, max_message_bytes=MESSAGE)

    assert judged(4096) is None
    assert judged(4097) == "target"


@pytest.mark.parametrize("name", ["key", "room"])
def test_key_and_room_of_a_fact_are_bounded(name: str) -> None:
    def judged(length: int) -> str | None:
        fact = msgspec.structs.replace(Fact(text="t"), **{name: "x" * length})
        return oversized(requests.Remember(fact=fact), max_message_bytes=2**20)

    assert judged(4096) is None
    assert judged(4097) == "fact"


def test_mentions_are_bounded_in_number_and_each_in_length() -> None:
    def judged(mentions: list[str]) -> str | None:
        send = requests.Send(target=HERE, parts=msgspec.Raw(b"[]"), mentions=mentions)
        return oversized(send, max_message_bytes=MESSAGE)

    assert judged(["m"] * limits.MAX_MENTIONS) is None
    assert judged(["m"] * (limits.MAX_MENTIONS + 1)) == "mentions"
    assert judged(["m", "x" * 4097]) == "mentions"


def test_parts_are_measured_compactly_in_bytes() -> None:
    def judged(raw: str) -> str | None:
        send = requests.Send(target=HERE, parts=msgspec.Raw(raw.encode()))
        return oversized(send, max_message_bytes=MESSAGE)

    frame = '[{"kind":"text","text":"%s"}]'
    room = MESSAGE - len(frame % "")
    assert judged(frame % ("x" * room)) is None
    assert judged(frame % ("x" * (room + 1))) == "parts"
    assert judged(frame % ("é" * (room // 2 + 1))) == "parts"
    spaced = frame.replace(":", "  :  ").replace(",", " , ") + " " * MESSAGE
    assert judged(spaced % ("x" * room)) is None
    assert judged(spaced % ("x" * (room + 1))) == "parts"
    assert judged(frame % (" " * (room + 1))) == "parts", "blanks in a text count"


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (
            requests.Register(
                card=msgspec.structs.replace(CARD, description="x" * MESSAGE)
            ),
            "register",
        ),
        (
            requests.Register(card=msgspec.structs.replace(CARD, tags=["x"] * MESSAGE)),
            "register",
        ),
        (requests.Remember(fact=Fact(text="x" * MESSAGE)), "remember"),
        (requests.Recall(query="", embedding=[0.5] * MESSAGE), "recall"),
        (requests.Forget(text="x" * MESSAGE), "forget"),
    ],
    ids=["description", "tags", "fact", "embedding", "forgotten"],
)
def test_cards_facts_and_questions_are_bounded_as_a_whole(
    request_: AnyRequest, name: str
) -> None:
    assert oversized(request_, max_message_bytes=MESSAGE) == name
    assert oversized(request_, max_message_bytes=MESSAGE * 10) is None


def test_plain_requests_are_never_oversized() -> None:
    for request in BASES:
        assert oversized(request, max_message_bytes=MESSAGE) is None
