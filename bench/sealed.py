"""What sealed rooms cost a client: ``python -m bench.sealed`` prints a JSON line each.

Without a hub or a network, in CPU time, and with the store on disk: what stands beside
it as plain is signing and encoding, or judging and reading, the same text.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from parler.client.messages import read_message
from parler.identity.message_signing import fresh_uid, sign_parts
from parler.identity.signing import Keypair
from parler.sealed.changes import Admit, Remove
from parler.sealed.member import Member
from parler.sealed.reader import Reading
from parler.sealed.store import FILE_NAME, Outgoing, open_store
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.foreign import foreign
from parler.wire.parts import Part, TextPart
from parler.wire.records import EndpointRef, RoomTarget, StoredMessage

HUB, ROOM = "wss://hub.example", RoomName("room.bench")
TEXT = "x" * 300
MESSAGES = 2_000
MEMBERS = 100


class Log:
    """A room as a hub would show it, and who is in it."""

    def __init__(self, folder: Path) -> None:
        """Make it, with its owner."""
        self.folder = folder
        self.messages: list[StoredMessage] = []
        self.owner = self.person("owner")
        self.post(self.owner, self.owner.open())

    def person(self, name: str) -> Member:
        """Somebody with a store of its own."""
        return Member(
            open_store(self.folder / name / FILE_NAME),
            Keypair.generate(),
            hub=HUB,
            room=ROOM,
            name=name,
            now=lambda: time.time_ns() // 1_000_000,
        )

    def post(self, author: Member, outgoing: Outgoing | None) -> None:
        """Take a message, and show it to its author."""
        assert outgoing is not None
        self.messages.append(stored(author.agent, outgoing.parts, len(self.messages)))
        author.take(self.messages[-2:])

    def change(self, change: Admit | Remove) -> None:
        """Have the owner change who is in."""
        self.owner.intend(change)
        self.post(self.owner, self.owner.outgoing())


def stored(author: AgentId, parts: bytes, at: int) -> StoredMessage:
    """A message as a hub hands it out."""
    return StoredMessage(
        seq=at + 1,
        id=MessageId(str(at)),
        room=ROOM,
        author=EndpointRef(id=author, name=foreign("x")),
        parts=msgspec.Raw(parts),
        ts=0,
    )


def cost(work: Callable[[], object], *, times: int = 1) -> float:
    """The CPU time of doing something, in ms; the least of three runs."""
    took = []
    for _ in range(3 if times > 1 else 1):
        started = time.process_time()
        for _ in range(times):
            work()
        took.append((time.process_time() - started) * 1000 / times)
    return round(min(took), 4)


def messages(log: Log) -> dict[str, float]:
    """Sending one, reading one, and catching up with many."""
    reader = log.person("reader")
    log.change(Admit(agent=reader.agent))
    plain = Keypair.generate()

    def say_plain() -> bytes:
        part: list[Part] = [TextPart(text=TEXT)]
        uid = fresh_uid(None)
        return bytes(sign_parts(plain, RoomTarget(ROOM), part, ts=1, uid=uid))

    said = stored(plain.agent_id, say_plain(), 0)

    def say_sealed() -> None:
        outgoing = log.owner.say([{"kind": "text", "text": TEXT}])
        log.messages.append(stored(log.owner.agent, outgoing.parts, len(log.messages)))

    one, took = [], 0.0
    for _ in range(MESSAGES):
        started = time.process_time()
        say_sealed()
        one.append(time.process_time() - started)
        log.owner.take(log.messages[-2:])
    assert reader.begin(log.messages[:3])
    reader.take(log.messages[:3])

    def catch_up() -> list[Reading]:
        readings: list[Reading] = []
        for at in range(2, len(log.messages) - 1, 100):
            readings += reader.take(log.messages[at : at + 101])
        return readings

    took = cost(catch_up)
    plain_read = cost(lambda: read_message(said, reader=plain.agent_id), times=500)
    return {
        "send_plain_ms": cost(say_plain, times=500),
        "send_sealed_ms": round(sorted(one)[len(one) // 2] * 1000, 4),
        "read_plain_ms": plain_read,
        "catch_up_ms_each": round(took / MESSAGES, 4),
    }


def removal(log: Log, members: int) -> dict[str, float]:
    """Letting one in and putting one out of a room of so many."""
    agents = [Keypair(secrets.token_bytes(32)).agent_id for _ in range(members - 1)]
    for agent in agents[:-1]:
        log.owner.intend(Admit(agent=agent))
    started = time.process_time()
    while (outgoing := log.owner.outgoing()) is not None:
        log.post(log.owner, outgoing)
    filled = time.process_time() - started
    log.change(Admit(agent=agents[-1]))
    log.owner.intend(Remove(agent=agents[0]))
    made: list[Outgoing | None] = []
    took = cost(lambda: made.append(log.owner.outgoing()))
    assert made[0] is not None
    return {
        "members": members,
        "filled_s": round(filled, 2),
        "removal_ms": took,
        "removal_bytes": len(made[0].parts),
    }


def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(messages(Log(Path(folder) / "messages"))), flush=True)
        print(json.dumps(removal(Log(Path(folder) / "100"), MEMBERS)), flush=True)


if __name__ == "__main__":
    main()
