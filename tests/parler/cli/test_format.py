"""How results read."""

import pytest

from parler.cli._format import roster
from parler.identity.signing import fingerprint
from parler.ops.rooms import Member, RosterResult
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import foreign

ANN = AgentId("UB5Q6PC6OG3MCZ7BK5ZLNH5YM5S2YBK7NH3XE26AZZKTF2XZLTK3D572")


@pytest.mark.parametrize(
    ("activity", "told"),
    [
        (
            "Codex · wake: push",
            ["Codex", "takes a message at once, has read up to [7]"],
        ),
        ("wake: none", ["takes a message when it looks, has read up to [7]"]),
        ("the API", ["the API", "has read up to [7]"]),
        ("awake: all night", ["awake: all night", "has read up to [7]"]),
    ],
)
def test_members_are_told_in_words(activity: str, told: list[str]) -> None:
    ann = Member(
        id=ANN,
        name=foreign("ann"),
        status=foreign("working"),
        last_seen=0,
        activity=foreign(activity),
        seen=7,
        fingerprint=fingerprint(ANN),
    )
    first, *more = roster(RosterResult(room=RoomName("room.x"), entries=[ann]))
    assert first == f"ann  {fingerprint(ANN)}  [working]"
    assert [line.strip() for line in more] == told
