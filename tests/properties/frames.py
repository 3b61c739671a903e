"""Strategies for values of the wire, made from the definitions of its types."""

import json
from enum import Enum
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from parler.wire.replies import AnyReply, Reply
from parler.wire.requests import AnyRequest, Request

REQUESTS: tuple[type[Request], ...] = AnyRequest.__args__  # type: ignore[attr-defined]
REPLIES: tuple[type[Reply], ...] = AnyReply.__args__  # type: ignore[attr-defined]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
    ),
    max_leaves=8,
)
"""Free JSON that survives any parser unchanged."""

kinds = st.from_regex(r"[A-Za-z0-9-]{1,4}(\.[A-Za-z0-9-]{1,4}){1,3}", fullmatch=True)
part_objects = (
    st.builds(lambda text: {"kind": "text", "text": text}, texts)
    | st.builds(lambda data: {"kind": "data", "data": data}, values)
    | st.builds(
        lambda kind, fields: {**fields, "kind": kind},
        kinds,
        st.dictionaries(texts, values, max_size=3),
    )
)
raw_parts = st.builds(
    lambda parts, blank, ascii_only: msgspec.Raw(
        json.dumps(
            parts, ensure_ascii=ascii_only, separators=("," + blank, ":" + blank)
        ).encode()
    ),
    st.lists(part_objects, max_size=3),
    st.sampled_from(["", " ", "\n\t"]),
    st.booleans(),
)
rids = st.none() | st.text(st.characters(codec="ascii"), min_size=1, max_size=64)


@cache
def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a Struct, each field within its type."""
    fields = {
        field.name: rids
        if field.name == "rid"
        else raw_parts
        if field.name == "parts"
        else _of(inspect.type_info(field.type))
        for field in msgspec.structs.fields(kind)
    }
    return st.fixed_dictionaries(fields).map(lambda given: kind(**given))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType(cls=kind):
            return structs(kind)
        case inspect.UnionType(types=types):
            return st.one_of([_of(one) for one in types])
        case inspect.EnumType(cls=kind) if issubclass(kind, Enum):
            return st.sampled_from(list(kind))
        case inspect.ListType(item_type=item):
            return st.lists(_of(item), max_size=3)
        case inspect.DictType():
            return st.dictionaries(texts, values, max_size=3)
        case inspect.IntType(ge=low, le=high, lt=below):
            top = 2**64 - 1 if high is None else high
            return st.integers(
                -(2**63) if low is None else low, top if below is None else below - 1
            )
        case inspect.StrType():
            return texts
        case inspect.FloatType():
            return floats
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return values
        case _:
            raise NotImplementedError(info)


requests = st.one_of([structs(kind) for kind in REQUESTS])
replies = st.one_of([structs(kind) for kind in REPLIES])
