"""What a phone and the person's machine say to one another (`com.parler.remote`).

Bytes and words alone: keys, sealing, the closed set of what a phone may ask for. The
same is in `hub/http/phone/wire.js`.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from parler.client.messages import Message
from parler.identity.message_signing import Signature
from parler.sealed.crypto import decrypt, encrypt, remote_bytes
from parler.sealed.formats import Refused
from parler.wire.base import AgentId, RoomName
from parler.wire.parts import OtherPart

KIND = "com.parler.remote"
SECRET_BYTES = 32
MAX_BOX_BYTES = 64 * 2**10
"""Of what a phone says."""

MAX_COUNTER = 2**53 - 1
_BLOCK = 256

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
_Words = Annotated[str, msgspec.Meta(max_length=4000)]


class Command(msgspec.Struct, tag_field="do", frozen=True, kw_only=True):
    """Something a phone asks for; there is nothing else."""

    id: _Id


class Pair(Command, tag="pair", frozen=True, kw_only=True):
    """To be let in; only while a code is shown."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Look(Command, tag="look", frozen=True, kw_only=True):
    """What waits, who is here, the rooms."""


class Tail(Command, tag="tail", frozen=True, kw_only=True):
    """The end of a room."""

    at: _Name
    name: _Name


class Decide(Command, tag="decide", frozen=True, kw_only=True):
    """Something that waits, by what tells it from all others."""

    key: _Id
    act: _Id
    text: _Words = ""


class Ask(Command, tag="ask", frozen=True, kw_only=True):
    """A question to a project of this machine."""

    project: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    question: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


_COMMANDS = msgspec.json.Decoder(Pair | Look | Tail | Decide | Ask)


@dataclass(frozen=True, slots=True)
class Line:
    """The direct room of a phone and its person, with what both know."""

    secret: bytes
    room: RoomName
    phone: AgentId
    person: AgentId

    @property
    def comparison(self) -> str:
        """Six digits that both sides show."""
        about = f"compare:{self.phone}:{self.person}:{self.room}"
        number = int.from_bytes(remote_bytes(self.secret, about, 8), "big") % 10**6
        return f"{number // 1000:03} {number % 1000:03}"

    def say(self, counter: int, value: Any) -> OtherPart:
        """What the machine says, sealed."""
        return self.seal(self.person, self.phone, counter, value)

    def hear(self, message: Message) -> tuple[int, Command] | None:
        """What the phone said, with its counter; None if it is nothing of the phone's.

        It has to be the phone's in three ways: by its author, by the author's
        signature, and by the secret.
        """
        if message.author.id != self.phone or message.room != self.room:
            return None
        if message.signature is not Signature.VALID:
            return None
        found = self.opened(self.phone, self.person, message.parts)
        if found is None:
            return None
        try:
            return found[0], _COMMANDS.decode(found[1])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None

    def seal(
        self, author: AgentId, reader: AgentId, counter: int, value: Any
    ) -> OtherPart:
        """A part that only who has the secret can read."""
        plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "replace"
        )
        padded = plain + b" " * (-len(plain) % _BLOCK)
        key, nonce = self._key(author, reader, counter)
        box = b64encode(encrypt(key, nonce, padded)).decode()
        return OtherPart(KIND, {"kind": KIND, "v": 1, "n": counter, "box": box})

    def opened(
        self, author: AgentId, reader: AgentId, parts: Sequence[object]
    ) -> tuple[int, bytes] | None:
        """What the first such part says, with its counter; None if it does not open."""
        for part in parts:
            if isinstance(part, OtherPart) and part.kind == KIND:
                counter, box = part.fields.get("n"), part.fields.get("box")
                break
        else:
            return None
        if type(counter) is not int or not 0 < counter <= MAX_COUNTER:
            return None
        if not isinstance(box, str) or len(box) > MAX_BOX_BYTES:
            return None
        key, nonce = self._key(author, reader, counter)
        try:
            return counter, decrypt(key, nonce, b64decode(box, validate=True))
        except (ValueError, Refused):
            return None

    def _key(
        self, author: AgentId, reader: AgentId, counter: int
    ) -> tuple[bytes, bytes]:
        about = f"{author}:{reader}:{self.room}:{counter}"
        made = remote_bytes(self.secret, about, 44)
        return made[:32], made[32:]
