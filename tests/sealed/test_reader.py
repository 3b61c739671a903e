"""Whatever a member or a hub puts into a sealed room, its readers go on.

Mallory is an admin and signs what she likes: bodies of each kind with anything in any
place. Nobody's reader raises, everybody's log has the entry, and once she is removed
what honest members say is read.
"""

import copy
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parler.identity.message_signing import sign_parts
from parler.sealed import crypto
from parler.sealed.changes import Admit, Rekey, Remove, SetAdmin
from parler.wire.canonical import canonical_json, parse_json
from parler.wire.parts import OtherPart
from parler.wire.records import RoomTarget
from tests._support.sealed_rooms import ROOM, OneRoom, Person, said
from tests.properties.frames import values

LENGTH = 20 * settings().max_examples
KINDS = ("message", "state", "give", "ask", "leave")
junk = (
    values
    | st.sampled_from([None, -1, 0, 1, 2**53, 2**63, "", "AAAA", [], {}])
    | st.binary(max_size=64).map(bytes.hex)
)


def bodies(mallory: Person, bob: Person) -> dict[str, dict[str, Any]]:
    """A body of each kind, as Mallory would have said it."""
    made = {}
    member = mallory.member
    for kind in KINDS:
        match kind:
            case "message":
                outgoing = member.say([{"kind": "text", "text": "fine"}])
            case "state":
                member.intend(Rekey())
                pending = member.outgoing()
                assert pending
                outgoing = pending
            case "give":
                with mallory.room() as room:
                    room.add_request(bob.id, [1], due=0)
                pending = member.outgoing()
                assert pending
                outgoing = pending
            case "leave":
                outgoing = member.leave()
            case _:
                made[kind] = {
                    "kind": "com.parler.grant",
                    **{"v": 1, "op": "ask", "n": 1, "at": [0, "", ""]},
                    "want": [1],
                }
                continue
        made[kind] = parse_json(outgoing.parts)[1]
        with mallory.room() as room:
            room.drop_outgoing()
            room._database.execute("DELETE FROM changes")
    return made


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something else can stand in a body."""
    found = [path] if path else []
    match body:
        case dict():
            inner = body.items()
        case list():
            inner = list(enumerate(body))
        case _:
            return found
    return found + [p for key, value in inner for p in places(value, (*path, key))]


def put(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    at: Any = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


def test_a_reader_goes_on_whatever_a_member_says() -> None:
    hub, uids = OneRoom(), count()
    ann, bob, mallory = (Person(number, hub) for number in (1, 2, 3))
    ann.open()
    for person in (bob, mallory):
        ann.change(Admit(agent=person.id))
    ann.change(SetAdmin(agent=mallory.id, admin=True))
    bob.enter()
    mallory.enter()
    forms = bodies(mallory, bob)
    choices = [(kind, path) for kind in KINDS for path in places(forms[kind])]

    @settings(max_examples=LENGTH)
    @given(st.sampled_from(choices), junk, st.booleans())
    def says(choice: tuple[str, tuple[Any, ...]], value: Any, resigned: bool) -> None:
        kind, path = choice
        body, uid = put(forms[kind], path, value), f"uid {next(uids)}"
        if resigned and isinstance(body.get("state"), dict):
            body["sig"] = mallory.keypair.sign(crypto.state_bytes(body["state"]))
        fields = {name: value for name, value in body.items() if name != "kind"}
        part = OtherPart(kind=forms[kind]["kind"], fields=fields)
        parts = sign_parts(mallory.keypair, RoomTarget(ROOM), [part], ts=1, uid=uid)
        seq = hub.messages[-1].seq + 1
        hub.messages.append(said(mallory.id, bytes(parts), seq=seq, name=uid))
        assert [len(person.sync()) for person in (ann, bob)] == [1, 1]

    says()
    with ann.room() as ours, bob.room() as theirs:
        assert ours.position.head == theirs.position.head
        ours.accept_alarms()
    for change in (Remove(agent=mallory.id), Rekey(), Admit(agent=bob.id)):
        ann.change(change)
    ann.say("still here")
    bob.sync()
    assert ann.texts[-1] == bob.texts[-1] == "still here"


def test_a_reader_goes_on_whatever_a_hub_shows() -> None:
    hub = OneRoom()
    ann = Person(1, hub)
    ann.open()

    @settings(max_examples=LENGTH)
    @given(st.lists(junk, max_size=4), st.booleans())
    def shows(things: list[Any], signed: bool) -> None:
        parts = [{"kind": "com.parler.sealed", "ct": one} for one in things]
        if signed:
            parts.append({"kind": "com.parler.sig", "sig": "x", "uid": things})
        for raw in (canonical_json(parts), canonical_json(things), b"[" * 3000, b"{"):
            seq = hub.messages[-1].seq + 1
            hub.messages.append(said(ann.id, raw, seq=seq, name=str(seq)))
        assert len(ann.sync()) == 4

    shows()
    ann.say("still here")
    assert ann.texts == ["still here"]
