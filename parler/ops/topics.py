"""What a session is about: said in its first message, by whoever opened it, or later.

A new topic is a signed message of whoever opened the session, and a fact that tells
where that message is, so that nobody has to read a whole room for it (docs/extensions).
"""

import re
from typing import TYPE_CHECKING

from parler.errors import HubError
from parler.identity.message_signing import Signature
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.parts import TOPIC_KIND, OtherPart, Part, TextPart
from parler.wire.records import Fact
from parler.wire.replies import Recalled
from parler.wire.requests import Recall, Remember

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from parler.client.client import Client
    from parler.client.messages import Message
    from parler.wire.base import AgentId, RoomName
    from parler.wire.records import RecallHit

SEED = "📋 session context (from "
TOPIC_KEY = "session-topic"
_TOPIC = "Topic: "
MAX_TOPIC_CHARS = 200
MAX_RENAMED = 50
"""New topics looked up at once; the newest come first."""

_WHERE = re.compile(r".* \(message ([1-9][0-9]{0,15})\)", re.ASCII | re.DOTALL)


def seed_of(name: str, topic: str | None, context: str | None) -> str | None:
    """The first message of a session: its topic and recap; None if there is neither."""
    topic = " ".join((topic or "").split())
    context = (context or "").strip("\n")
    said = [f"{_TOPIC}{topic}"] if topic else []
    said += [context] if context.strip() else []
    return f"{SEED}{name}):\n" + "\n\n".join(said) if said else None


def topic_in(first: str) -> Foreign:
    """The topic that a session's first message names; empty if it names none."""
    head, _, rest = first.partition("):\n")
    line = rest.partition("\n")[0]
    if not head.startswith(SEED) or not line.startswith(_TOPIC):
        return foreign("")
    return foreign(line.removeprefix(_TOPIC).strip()[:MAX_TOPIC_CHARS])


_KEYS_FIRST = 5
"""Messages of a sealed room among which what opens it is: genesis, key, recap."""


def is_topic(topic: Foreign | None, words: str) -> bool:
    """Whether somebody who types some words means that topic."""
    return topic is not None and exact(topic).casefold() == words.casefold()


def perhaps(rooms: "Iterable[tuple[RoomName, Foreign | None]]", words: str) -> str:
    """The end of an error: the only room whose topic begins so, if there is one."""
    begun = words.casefold()
    near = {
        name
        for name, topic in rooms
        if topic is not None and exact(topic).casefold().startswith(begun)
    }
    return f". Did you mean {near.pop()}?" if begun and len(near) == 1 else ""


def new_topic(topic: str) -> list[Part]:
    """The message that gives a session another topic."""
    said = TextPart(text=f"The topic is now: {topic}")
    return [said, OtherPart(kind=TOPIC_KIND, fields={"topic": topic})]


def where_said(room: "RoomName", topic: str, seq: int) -> Remember:
    """The fact by which that message is found."""
    text = f"The topic is now: {topic} (message {seq})"
    return Remember(fact=Fact(text=text, key=TOPIC_KEY, room=room))


async def renamed(
    client: "Client", known: "dict[RoomName, int]", rooms: "Container[RoomName]"
) -> "dict[RoomName, tuple[Foreign, int]]":
    """The topics that sessions were given later, and the messages that say so.

    Args:
        known: Up to which message the topic of a room is known.
        rooms: Only of these.
    """
    try:
        frame = Recall(query="", key=TOPIC_KEY, limit=MAX_RENAMED)
        hits = (await client.request(frame, Recalled)).hits
    except HubError:
        return {}  # it is too busy, or knows no facts: as it was
    found: dict[RoomName, tuple[Foreign, int]] = {}
    for hit in sorted(hits, key=lambda one: one.ts):
        seq = _seq(hit)
        if hit.room is None or hit.room not in rooms or seq <= known.get(hit.room, 0):
            continue
        topic = await _said(client, hit.room, seq, hit.author)
        if topic is not None and seq > found.get(hit.room, (topic, 0))[1]:
            found[hit.room] = topic, seq
    return found


def _seq(hit: "RecallHit") -> int:
    match = _WHERE.fullmatch(exact(hit.text))
    return int(match[1]) if match else 0


async def _said(
    client: "Client", room: "RoomName", seq: int, author: "AgentId"
) -> Foreign | None:
    """The topic in that message, if it is signed by whoever opened the session."""
    try:
        first = await opening(client, room)
        there = (await client.pull(room, since=seq - 1, limit=1)).messages
    except HubError:
        return None
    if not first or not there or there[0].seq != seq or not opens(first, author):
        return None
    return _topic_of(there[0], author)


async def opening(client: "Client", room: "RoomName") -> "Message | None":
    """The first message of a room: behind its keys, if it is sealed.

    Raises:
        HubError: The hub refused.
    """
    first = (await client.pull(room, since=0, limit=1)).messages
    if first and not first[0].said:
        first = (await client.pull(room, since=0, limit=_KEYS_FIRST)).messages
    return next((message for message in first if message.said), None)


def opens(first: "Message", author: "AgentId") -> bool:
    """Whether the first message of a room shows all that somebody opened it."""
    is_context = first.text.startswith(SEED) and not first.signature.fails
    return is_context and first.author.id == author


def _topic_of(message: "Message", author: "AgentId") -> Foreign | None:
    if message.author.id != author or message.signature is not Signature.VALID:
        return None
    for part in message.parts:
        if isinstance(part, OtherPart) and part.kind == TOPIC_KIND:
            topic = part.fields.get("topic")
            if isinstance(topic, str) and topic.strip():
                return foreign(" ".join(topic.split())[:MAX_TOPIC_CHARS])
    return None
