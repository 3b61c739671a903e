"""Which fields of a request may be how long, in bytes of UTF-8 (protocol 3.2, 2.3).

A frame over a bound is well formed and is refused with ``too_large``; what makes a
frame malformed is decided in `codec`.
"""

from collections.abc import Iterator

import msgspec

from parler.wire import limits
from parler.wire.records import DmTarget, Fact, RoomTarget, ServiceTarget
from parler.wire.requests import (
    AnyRequest,
    Discover,
    Forget,
    GetBlob,
    Hello,
    PutBlob,
    Recall,
    Register,
    Remember,
    Request,
    Send,
    op_of,
)

_BOUNDS: dict[tuple[type[Request], str], int] = {
    (Hello, "id"): limits.MAX_HELLO_NAME_BYTES,
    (Hello, "name"): limits.MAX_HELLO_NAME_BYTES,
    (Hello, "role"): limits.MAX_HELLO_NAME_BYTES,
    (Hello, "sig"): limits.MAX_HELLO_SIG_BYTES,
    (Hello, "secret"): limits.MAX_HELLO_SECRET_BYTES,
    (Discover, "query"): limits.MAX_QUERY_BYTES,
    (Recall, "query"): limits.MAX_QUERY_BYTES,
    (Forget, "text"): limits.MAX_CLIENT_MESSAGE_BYTES,  # bounded with the frame, below
    (PutBlob, "sha256"): limits.MAX_DIGEST_BYTES,
    (PutBlob, "media_type"): limits.MAX_MEDIA_TYPE_BYTES,
    (GetBlob, "id"): limits.MAX_DIGEST_BYTES,
}


def oversized(request: AnyRequest, *, max_message_bytes: int) -> str | None:
    """Name the first field of a request that is over its bound, or return None.

    Args:
        max_message_bytes: The hub's bound on the parts of a message, and on whole
            ``register``, ``remember``, ``recall`` and ``forget`` frames.
    """
    kind = type(request)
    for name, text in _texts(request):
        if _longer(text, _BOUNDS.get((kind, name), limits.MAX_ID_BYTES)):
            return name
    match request:
        case Send():
            if request.mentions and len(request.mentions) > limits.MAX_MENTIONS:
                return "mentions"
            if _compact_size(request.parts, max_message_bytes) > max_message_bytes:
                return "parts"
        case Register() | Remember() | Recall() | Forget():
            if len(msgspec.json.encode(request)) > max_message_bytes:
                return op_of(request)
    return None


def _texts(request: AnyRequest) -> Iterator[tuple[str, str]]:
    for name in request.__struct_fields__:
        match getattr(request, name):
            case str() as text:
                yield name, text
            case RoomTarget(room=text) | DmTarget(agent=text):
                yield name, text
            case ServiceTarget(service=text):
                yield name, text
            case Fact(key=key, room=room):
                yield from (("fact", text) for text in (key, room) if text is not None)
            case [*items]:
                yield from ((name, item) for item in items if isinstance(item, str))


def _longer(text: str, bound: int) -> bool:
    # Four bytes is the most one character takes, so short texts need no encoding.
    return len(text) * 4 > bound and len(text.encode()) > bound


def _compact_size(raw: msgspec.Raw, enough: int) -> int:
    size = len(bytes(raw))
    return size if size <= enough else len(msgspec.json.format(bytes(raw), indent=-1))
