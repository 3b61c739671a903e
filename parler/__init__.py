"""Parler for programs: connect to a hub, say something, read what others said.

    from parler import RoomTarget, TextPart, connect, load_identity

    me = load_identity(home)
    async with connect(hub, me.keypair, name=me.name) as client:
        await client.send(RoomTarget(room=room), [TextPart(text="hello")])
        async for batch in client.follow(room):
            ...
            await batch.ack()

Names are imported when they are first used, so that ``import parler`` costs nothing.
"""

from importlib import import_module

from parler._version import __version__

TYPE_CHECKING = False  # typing's own would cost every start ten milliseconds
if TYPE_CHECKING:
    from parler.client.client import Client, connect
    from parler.client.messages import Batch, Message
    from parler.errors import (
        ConfigError,
        HubError,
        ParlerError,
        ProtocolError,
        TransportError,
        UsageError,
        VerificationError,
    )
    from parler.identity.identity import Identity, load_identity
    from parler.identity.message_signing import Signature
    from parler.identity.seen_messages import SeenMessages
    from parler.identity.signing import Keypair
    from parler.wire.base import RoomName
    from parler.wire.parts import TextPart
    from parler.wire.records import (
        AgentCard,
        DmTarget,
        RoomInfo,
        RoomTarget,
        ServiceTarget,
    )

__all__ = [
    "connect",
    "Client",
    "Batch",
    "Message",
    "Identity",
    "load_identity",
    "Keypair",
    "Signature",
    "SeenMessages",
    "AgentCard",
    "RoomName",
    "RoomInfo",
    "RoomTarget",
    "DmTarget",
    "ServiceTarget",
    "TextPart",
    "ParlerError",
    "UsageError",
    "ConfigError",
    "TransportError",
    "ProtocolError",
    "HubError",
    "VerificationError",
    "__version__",
]

_MODULES = {
    "connect": "parler.client.client",
    "Client": "parler.client.client",
    "Batch": "parler.client.messages",
    "Message": "parler.client.messages",
    "Identity": "parler.identity.identity",
    "load_identity": "parler.identity.identity",
    "Keypair": "parler.identity.signing",
    "Signature": "parler.identity.message_signing",
    "SeenMessages": "parler.identity.seen_messages",
    "AgentCard": "parler.wire.records",
    "RoomName": "parler.wire.base",
    "RoomInfo": "parler.wire.records",
    "RoomTarget": "parler.wire.records",
    "DmTarget": "parler.wire.records",
    "ServiceTarget": "parler.wire.records",
    "TextPart": "parler.wire.parts",
    "ParlerError": "parler.errors",
    "UsageError": "parler.errors",
    "ConfigError": "parler.errors",
    "TransportError": "parler.errors",
    "ProtocolError": "parler.errors",
    "HubError": "parler.errors",
    "VerificationError": "parler.errors",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'parler' has no attribute {name!r}")
    value: object = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
