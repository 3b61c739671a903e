"""Signed messages as a hub would deliver them."""

import itertools
from collections.abc import Sequence

from parler.client.messages import Message, read_message
from parler.identity.message_signing import sign_parts
from parler.identity.signing import Keypair
from parler.text.transcript import Reader
from parler.wire.base import MessageId, RoomName
from parler.wire.parts import Part
from parler.wire.records import EndpointRef, RoomTarget, StoredMessage, Target

NOON = 1_700_000_000_000
ROOM = RoomName("room.a")
ANN, BOB, EVE = (Keypair.from_seed(Keypair(bytes([n]) * 32).seed) for n in (1, 2, 3))
ME = Reader(agent=BOB.agent_id, name="bob", role="webdev")

_seqs = itertools.count(1)


def message(
    parts: Sequence[Part],
    *,
    author: Keypair = ANN,
    name: str = "ann",
    room: RoomName = ROOM,
    target: Target | None = None,
    ts: int = NOON,
    uid: str = "uid-1",
    reply_to: str | None = None,
) -> Message:
    """A message of Ann's to the room, as Bob judges it."""
    aim = target or RoomTarget(room=room)
    seq = next(_seqs)
    stored = StoredMessage(
        seq=seq,
        id=MessageId(f"message-{seq}"),
        room=room,
        author=EndpointRef(id=author.agent_id, name=name),
        parts=sign_parts(author, aim, list(parts), ts=ts, uid=uid, reply_to=reply_to),
        ts=ts,
        reply_to=reply_to,
    )
    return read_message(stored, reader=BOB.agent_id)
