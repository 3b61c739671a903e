"""From operations to tools: names, arguments and their schemas, as small as they go.

Arguments are the fields of an operation's Params, so that a tool offers what the
operation takes; a tool only says what it calls them and how short. What a tool does is
in `tools`; nothing here talks to anybody.
"""

import dataclasses
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta

from parler.errors import UsageError
from parler.text.terminal import visible

MAX_LIST_BYTES = 9000
"""Of the whole answer to tools/list with the default tools."""

_DROPPED = ("title", "default")
_MAX_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a call does to the world; hosts decide by it whom to ask."""

    reads_only: bool = False
    destroys: bool = False
    repeatable: bool = False
    open_world: bool = False
    """It reaches beyond the members of our rooms, or lets code and files out."""

    def as_annotations(self) -> dict[str, bool]:
        """As the protocol spells them; what follows from another one is left out."""
        if self.reads_only:
            return {"readOnlyHint": True, "openWorldHint": self.open_world}
        hints = {
            "readOnlyHint": False,
            "destructiveHint": self.destroys,
            "openWorldHint": self.open_world,
        }
        return hints | ({"idempotentHint": True} if self.repeatable else {})


READS = Hints(reads_only=True)
TALKS = Hints()
SETS = Hints(repeatable=True)


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument that no operation has, or that is called otherwise there."""

    type: Any
    about: str = ""
    default: Any = msgspec.NODEFAULT


Arguments: TypeAlias = type[msgspec.Struct]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool."""

    name: str
    about: str
    """A sentence or two, with an example."""

    args: Arguments
    run: Callable[..., Awaitable[Any]]
    """Is given the call and its arguments."""

    hints: Hints
    common: bool = False
    """It is offered without being asked for."""

    asks_user: bool = False
    """Each call has to be confirmed by a person where the host can do that."""

    only_for: Callable[[Any], bool] | None = None
    """Whether a host is offered it at all."""

    operation: str = ""
    """The function in `parler.ops` it stands for."""

    meta: Mapping[str, Any] = field(default_factory=dict)

    def as_offer(self) -> dict[str, Any]:
        """As ``tools/list`` shows it."""
        offer: dict[str, Any] = {
            "name": self.name,
            "description": self.about,
            "inputSchema": schema_of(self.args),
            "annotations": self.hints.as_annotations(),
        }
        meta = dict(self.meta)
        if self.asks_user:
            meta["anthropic/requiresUserInteraction"] = True
        return offer | ({"_meta": meta} if meta else {})


def arguments(
    name: str,
    params: type | None = None,
    *,
    only: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
    **others: Arg,
) -> Arguments:
    """The arguments of a tool: fields of an operation's Params, and others.

    Args:
        only: The fields that are taken over; all of them, if it is not given.
        about: Shorter words than the operation's for some; "" for none.
        others: Further arguments, or other types for those of the same name. A name
            may end in ``_`` where it is a word of Python.
    """
    fields: dict[str, tuple[Any, Any]] = {}
    words = about or {}
    if params is not None:
        hints = get_type_hints(params, include_extras=True)
        for one in dataclasses.fields(params):
            if one.name in drop or (only is not None and one.name not in only):
                continue
            kind = _described(hints[one.name], words.get(one.name))
            fields[one.name] = (kind, _default_of(one))
    for key, arg in others.items():
        about_it = Meta(description=arg.about)
        kind = Annotated[arg.type, about_it] if arg.about else arg.type
        fields[key] = (kind, arg.default)
    required = [(key, *pair) for key, pair in fields.items() if _is_required(pair)]
    optional = [(key, *pair) for key, pair in fields.items() if not _is_required(pair)]
    declared: list[Any] = [(key, kind) for key, kind, _ in required]
    declared += optional
    return msgspec.defstruct(
        f"{name}Arguments",
        declared,
        rename={key: key.removesuffix("_") for key in fields if key.endswith("_")},
        kw_only=True,
        forbid_unknown_fields=True,
    )


def read_arguments(tool: Tool, given: Mapping[str, Any] | None) -> Any:
    """The arguments of a call, checked; what models often write is understood.

    Raises:
        UsageError: One is missing, unknown or of the wrong kind.
    """
    values = {key: value for key, value in (given or {}).items() if value is not None}
    known = {one.encode_name: one for one in msgspec.structs.fields(tool.args)}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise UsageError(
            f"{tool.name} has no argument {_short(unknown[0])}",
            next_step=f"use {', '.join(known) or 'none'}",
        )
    for key, value in values.items():
        if isinstance(value, str) and _wants_list(known[key].type):
            values[key] = [word.strip() for word in value.split(",") if word.strip()]
    try:
        return msgspec.convert(values, tool.args, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{tool.name}: {visible(str(error))}") from None


def schema_of(args: Arguments) -> dict[str, Any]:
    """The JSON Schema of some arguments, without what says nothing to a model."""
    schema = msgspec.json.schema(args)
    definitions = schema.get("$defs", {})
    body = definitions[args.__name__]
    properties = {
        name: _tidy(one, definitions) for name, one in body["properties"].items()
    }
    tidy: dict[str, Any] = {"type": "object", "properties": properties}
    if required := body.get("required"):
        tidy["required"] = required
    return tidy


def _tidy(one: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if reference := one.get("$ref"):
        meant = dict(definitions[reference.rpartition("/")[2]])
        meant.pop("description", None)  # the docstring of a class of ours
        one = {**meant, **one}
        del one["$ref"]
    if choices := one.get("anyOf"):
        real = [choice for choice in choices if choice.get("type") != "null"]
        if len(real) == 1:
            rest = {key: value for key, value in one.items() if key != "anyOf"}
            one = {**_tidy(real[0], definitions), **rest}
    said = one.get("description")
    tidy = {key: value for key, value in one.items() if key not in _DROPPED}
    if "enum" in tidy:
        tidy = {"enum": sorted(tidy["enum"]), "type": "string"}
        if said:
            tidy["description"] = said
    if isinstance(tidy.get("type"), list):
        tidy["type"] = next(kind for kind in tidy["type"] if kind != "null")
    if "items" in tidy:
        tidy["items"] = _tidy(tidy["items"], definitions)
    if one.get("default") not in (None, "", [], False):
        tidy["default"] = one["default"]
    return tidy


def _described(kind: Any, words: str | None) -> Any:
    """A field's type, with other words about it if there are any; its bounds stay."""
    if get_origin(kind) is not Annotated:
        return Annotated[kind, Meta(description=words)] if words else kind
    bare, *metas = get_args(kind)
    said: dict[str, Any] = {"description": words} if words else {}
    for meta in metas:
        if words is None and meta.description:
            said["description"] = meta.description
        if not _may_be_none(bare):  # a bound on something optional has no schema
            for name in ("ge", "gt", "le", "lt"):
                if (bound := getattr(meta, name)) is not None:
                    said[name] = bound
    return Annotated[bare, Meta(**said)] if said else bare


def _may_be_none(kind: Any) -> bool:
    return type(None) in get_args(kind)


def _default_of(one: "dataclasses.Field[Any]") -> Any:
    if one.default is not dataclasses.MISSING:
        return one.default
    if one.default_factory is not dataclasses.MISSING:
        return msgspec.field(default_factory=one.default_factory)
    return msgspec.NODEFAULT


def _is_required(pair: tuple[Any, Any]) -> bool:
    return pair[1] is msgspec.NODEFAULT


def _wants_list(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Annotated:
        return _wants_list(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return any(_wants_list(one) for one in get_args(kind))
    return origin is list or kind is list


def _short(text: str) -> str:
    shown = visible(text)
    return repr(shown[:_MAX_SHOWN_CHARS])
