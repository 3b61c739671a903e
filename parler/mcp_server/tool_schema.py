"""From capabilities to tools: their arguments and schemas, as small as they go.

What a tool takes is what its capability declares; a tool only says what is its own.
What a tool does is in `tools`; nothing here talks to anybody.
"""

import re
import types
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

import msgspec
from msgspec import Meta

from parler.errors import UsageError
from parler.ops.capability import MAX_U32, REQUIRED, Capability, Hints, Param
from parler.text.terminal import visible

MAX_LIST_BYTES = 9000
"""Of the whole answer to tools/list with the default tools."""

_DROPPED = ("title", "default")
_MAX_SHOWN_CHARS = 80

Arguments: TypeAlias = type[msgspec.Struct]


def annotations_of(hints: Hints) -> dict[str, bool]:
    """Hints as the protocol spells them; what follows from another is left out."""
    if hints.reads_only:
        return {"readOnlyHint": True, "openWorldHint": hints.open_world}
    spelled = {
        "readOnlyHint": False,
        "destructiveHint": hints.destroys,
        "openWorldHint": hints.open_world,
    }
    return spelled | ({"idempotentHint": True} if hints.repeatable else {})


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument that only the tool has, or that is another kind of value there."""

    type: Any
    about: str = ""
    default: Any = REQUIRED
    hidden: bool = False
    """Taken from who knows it, and in no list: that is read at each start."""

    only_for: Callable[[Any], bool] | None = None
    """Whether a host is shown it at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A capability as a tool."""

    capability: Capability
    args: Arguments
    run: Callable[..., Awaitable[Any]]
    """Is given the call and its arguments."""

    hidden: Collection[str] = ()
    """Arguments that no list shows."""

    shown_to: Mapping[str, Callable[[Any], bool]] = field(default_factory=dict)
    """Arguments that only the lists of some hosts show."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of arguments, which no list shows either."""

    only_for: Callable[[Any], bool] | None = None
    """Whether a host is offered it at all."""

    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called by."""
        return self.capability.tool

    def as_offer(self, host: Any = None) -> dict[str, Any]:
        """As ``tools/list`` shows it to a host; None is nobody in particular."""
        shown_to = self.shown_to.items()
        unfit = [name for name, fits in shown_to if host is None or not fits(host)]
        capability = self.capability
        about = capability.brief or capability.about
        offer: dict[str, Any] = {
            "name": self.name,
            "description": f"{about} Example: {capability.call}",
            "inputSchema": schema_of(self.args, hidden=[*self.hidden, *unfit]),
            "annotations": annotations_of(capability.hints),
        }
        meta = dict(self.meta)
        if capability.asks_user:
            meta["anthropic/requiresUserInteraction"] = True
        return offer | ({"_meta": meta} if meta else {})


def arguments(
    capability: Capability, own: Mapping[str, Arg], *, drop: Collection[str] = ()
) -> Arguments:
    """What a tool takes: what its capability declares, and what is its own.

    Args:
        own: May end in ``_`` where it is a word of Python.
    """
    fields: dict[str, tuple[Any, Any]] = {}
    for one in capability.params:
        if one.param.on_tool and one.key not in drop:
            key = one.param.argument or one.key
            fields[key] = (_described(one.kind, one.param), one.default)
    for key, arg in own.items():
        fields[key] = (_described(arg.type, Param(arg.about)), arg.default)
    required: list[Any] = []
    optional: list[Any] = []
    for key, (kind, default) in fields.items():
        if default is REQUIRED:
            required.append((key, kind))
        elif isinstance(default, list):
            made = msgspec.field(default_factory=default.copy)
            optional.append((key, kind, made))
        else:
            optional.append((key, kind, default))
    return msgspec.defstruct(
        f"{capability.tool}_arguments",
        required + optional,
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
    for alias, meant in tool.aliases.items():
        if alias in values:
            values.setdefault(meant, values[alias])
            del values[alias]
    unknown = [key for key in values if key not in known]
    if unknown:
        shown = [key for key in known if key not in tool.hidden]
        raise UsageError(
            f"{tool.name} has no argument {_short(unknown[0])}",
            next_step=f"use {', '.join(shown) or 'none'}",
        )
    for key, value in values.items():
        if isinstance(value, str) and _wants_list(known[key].type):
            values[key] = [word.strip() for word in value.split(",") if word.strip()]
    try:
        return msgspec.convert(values, tool.args, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{tool.name}: {_told(str(error), tool.args)}") from None


def schema_of(args: Arguments, *, hidden: Collection[str] = ()) -> dict[str, Any]:
    """The JSON Schema of some arguments, without what says nothing to a model."""
    schema = msgspec.json.schema(args)
    definitions = schema.get("$defs", {})
    body = definitions[args.__name__]
    properties = {
        name: _tidy(one, definitions)
        for name, one in body["properties"].items()
        if name not in hidden
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


def _described(kind: Any, param: Param) -> Any:
    bounds: dict[str, Any] = {}
    if param.ge is not None:
        bounds["ge"] = param.ge
    if param.le is not None and not param.clamped and param.le < MAX_U32:
        bounds["le"] = param.le
    if bounds:
        kind = _bounded(kind, Meta(**bounds))
    words = param.about if param.brief is None else param.brief
    return Annotated[kind, Meta(description=words)] if words else kind


def _bounded(kind: Any, bounds: Meta) -> Any:
    if type(None) in get_args(kind):  # the number is bounded, not its absence
        [number] = [one for one in get_args(kind) if one is not type(None)]
        return Annotated[number, bounds] | None
    return Annotated[kind, bounds]


def _wants_list(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Annotated:
        return _wants_list(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return any(_wants_list(one) for one in get_args(kind))
    return origin is list or kind is list


def _told(error: str, args: Arguments) -> str:
    """What is wrong with arguments; of a closed choice, what there is to choose."""
    found = re.search(r"\$\.(\w+)", error)
    one = schema_of(args)["properties"].get(found[1], {}) if found else {}
    choices = one.get("enum") or one.get("items", {}).get("enum")
    said = visible(error)
    return f"{said}; it is one of {', '.join(choices)}" if choices else said


def _short(text: str) -> str:
    shown = visible(text)
    return repr(shown[:_MAX_SHOWN_CHARS])
