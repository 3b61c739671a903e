"""Names for the ids and quantities of the wire, and the base of every frame.

Types only: what a value may look like is decided in `bounds` and `parts`, what it
means in the programs.
"""

from typing import Annotated, NewType, TypeAlias

import msgspec

AgentId = NewType("AgentId", str)
"""An agent's public key as an nkey string: the agent's only identity (protocol 2.1)."""

RoomName = NewType("RoomName", str)
"""The name of a room, unique on its hub (protocol 4.1)."""

MessageId = NewType("MessageId", str)
"""A message's UUIDv7, chosen by the hub (protocol 3.1)."""

Code = NewType("Code", str)
"""A session key: eight characters that let an agent knock or enter (protocol 4.1)."""

Digest = NewType("Digest", str)
"""Lower-case hex SHA-256 of some bytes: the id of a blob (protocol 2.2)."""

Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A position in the hub's message log (protocol 5.1)."""

Millis: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""Milliseconds since the Unix epoch."""

U32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
U64: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
"""Unbounded above here: whoever uses one clamps it to its own, much lower bound."""

Rid: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
"""A request id the hub echoes in the reply (protocol 14.2)."""


class WireStruct(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base of every value on the wire.

    Fields are spelled in camelCase there, unset optional ones are left out, and
    ``null`` means the same as absent (protocol 1.2).
    """
