"""The parts of a message: the kinds we know, and how any part reads (protocol 3.1, 7).

A part stays raw JSON on its way through a hub. Whoever shows or acts on one reads it
here; a part of a known kind whose fields do not fit reads as `OtherPart`.
"""

import re
from typing import Any, TypeAlias, cast

import msgspec

from parler.wire.base import Digest, WireStruct
from parler.wire.canonical import SIG_KIND, canonical_json, parse_json
from parler.wire.records import Target, TaskStatus

_EXTENSION_KIND = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)


class InvalidParts(ValueError):
    """The ``parts`` of a frame are not what protocol 3.1 allows."""


TOPIC_KIND = "com.parler.topic"
"""Of a part that gives a session another topic (docs/extensions.md)."""


class TextPart(WireStruct, tag_field="kind", tag="text"):
    """Plain text."""

    text: str


class DataPart(WireStruct, tag_field="kind", tag="data"):
    """Any JSON."""

    data: Any


class BundlePart(WireStruct, tag_field="kind", tag="com.parler.bundle"):
    """A git bundle in a blob."""

    blob: Digest
    vcs: str
    size: int
    tip: str | None = None
    base: str | None = None
    summary: str | None = None
    media_type: str | None = None


class FilePart(WireStruct, tag_field="kind", tag="com.parler.file"):
    """A file in a blob. `name` comes from a stranger: never a path."""

    blob: Digest
    name: str
    size: int
    media_type: str | None = None
    summary: str | None = None


class HandoffPart(WireStruct, tag_field="kind", tag="com.parler.handoff"):
    """The turn goes to `to`, a name or role, or to anyone."""

    next: str
    summary: str | None = None
    to: str | None = None
    bundle: Digest | None = None


class TaskPart(WireStruct, tag_field="kind", tag="com.parler.task"):
    """How far a task is."""

    status: TaskStatus
    task: str | None = None
    note: str | None = None
    result: Digest | None = None
    tokens: int | None = None
    elapsed_ms: int | None = None


class DispatchPart(WireStruct, tag_field="kind", tag="com.parler.dispatch"):
    """Work for exactly one worker of a role."""

    role: str


class SigPart(WireStruct, tag_field="kind", tag=SIG_KIND, omit_defaults=False):
    """The author's signature over the other parts; `alg` and `v` are sent (6.3).

    `hub` names the hub it was said at, and `hub_sig` proves that; both may be absent.
    """

    sig: str
    ts: int
    uid: str
    target: Target
    alg: Any = "ed25519"
    v: Any = 1
    hub: Any = msgspec.UNSET
    hub_sig: Any = msgspec.UNSET


class OtherPart(msgspec.Struct, frozen=True):
    """A part of a kind we do not read, or whose fields do not fit its kind."""

    kind: str
    fields: dict[str, Any]


KnownPart: TypeAlias = (
    TextPart
    | DataPart
    | BundlePart
    | FilePart
    | HandoffPart
    | TaskPart
    | DispatchPart
    | SigPart
)
Part: TypeAlias = KnownPart | OtherPart

_KNOWN: dict[str, type[KnownPart]] = {
    cast("str", struct.__struct_config__.tag): struct
    for struct in (
        TextPart,
        DataPart,
        BundlePart,
        FilePart,
        HandoffPart,
        TaskPart,
        DispatchPart,
        SigPart,
    )
}


class _Head(msgspec.Struct):
    kind: str
    text: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_HEADS = msgspec.json.Decoder(list[_Head])
_RAW_FIELDS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def check_parts(raw: bytes | msgspec.Raw) -> list[str]:
    """Hold the raw parts of a frame against protocol 3.1 and return their kinds.

    Raises:
        InvalidParts: Not an array of well-formed parts.
    """
    try:
        heads = _HEADS.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParts(f"parts: {error}") from None
    for head in heads:
        match head.kind:
            case "text":
                if not (head.text and bytes(head.text)[:1] == b'"'):
                    raise InvalidParts("a text part needs a string `text`")
            case "data":
                if head.data is msgspec.UNSET:
                    raise InvalidParts("a data part needs `data`")
            case kind if not _EXTENSION_KIND.fullmatch(kind):
                raise InvalidParts(f"unknown kind of part {kind[:64]!r}")
    return [head.kind for head in heads]


def read_parts(raw: bytes | msgspec.Raw) -> list[Part]:
    """Read raw parts.

    Raises:
        InvalidParts: Not an array of objects with a string ``kind``.
    """
    return [read_part(fields) for fields in part_objects(raw)]


def read_part(fields: dict[str, Any]) -> Part:
    """Read one part that is already parsed."""
    kind = fields["kind"]
    known = _KNOWN.get(kind)
    if known is not None:
        try:
            return msgspec.convert(fields, known)
        except msgspec.ValidationError:
            pass
    return OtherPart(kind=kind, fields=fields)


def part_objects(raw: bytes | msgspec.Raw) -> list[dict[str, Any]]:
    """The parts as plain objects, with numbers kept for canonical bytes.

    Raises:
        InvalidParts: Not an array of objects with a string ``kind``.
    """
    try:
        parts = parse_json(bytes(raw))
    except (ValueError, RecursionError) as error:
        raise InvalidParts(f"parts are not JSON: {error}") from None
    if not isinstance(parts, list) or not all(_is_part(part) for part in parts):
        raise InvalidParts("parts are not an array of objects with a kind")
    return parts


def encode_parts(parts: list[Part]) -> msgspec.Raw:
    """Print parts canonically, so that what is sent is what is signed.

    Raises:
        ValueError: A number that is not finite, or an unpaired surrogate.
    """
    objects = [
        {"kind": part.kind, **part.fields}
        if isinstance(part, OtherPart)
        else msgspec.to_builtins(part)
        for part in parts
    ]
    return msgspec.Raw(canonical_json(objects))


def _is_part(part: object) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("kind"), str):
        return False
    kind = part["kind"]
    return kind not in ("text", "data") or kind in part
