"""What a capability is declared with: once, beside the function that carries it out.

From a declaration are made the command with its options and help, the tool with its
schema, and their pages in the reference. What a face of its own does is with that face.
Every command makes these classes as it starts: they have no methods they do not need.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import (
    KW_ONLY,
    MISSING,
    dataclass,
    field,
    fields,
    is_dataclass,
    replace,
)
from enum import Enum, auto
from functools import cached_property
from typing import Annotated, Any, get_args, get_origin

MAX_SEQ = 2**63 - 1
MAX_U32 = 2**32 - 1

REQUIRED: Any = inspect.Parameter.empty
"""The default of what has to be given."""


class Means(Enum):
    """Whether more than the value itself is meant by a parameter."""

    VALUE = auto()
    SESSION = auto()
    """A room; the active session, if none is named."""

    TARGET = auto()
    """A room, one agent or a service; the active session, if none is named."""

    ROOM = auto()
    """A room that may be left out; the hub is the one it is on."""

    SERVICE = auto()
    """A service; the hub is the one its room is on."""


@dataclass(slots=True, eq=False, repr=False)
class Param:
    """What faces say of a parameter, as ``Annotated[type, Param(…)]``."""

    about: str = ""
    metavar: str = ""
    """What stands for the value in help; the name in capitals, if not given."""

    _: KW_ONLY
    name: str = ""
    """What faces call it, if not as the operation does; may end in ``_``."""

    option: str = ""
    """What the command line calls it, if not as tools do: ``--mention``."""

    argument: str = ""
    """What tools call it, if not as the command line does."""

    brief: str | None = None
    """What tools are told instead; they share one budget."""

    positional: bool = False
    words: bool = False
    """All words that follow, as one text."""

    stdin: str = ""
    """What is read from stdin where ``-`` is given."""

    ge: int | None = None
    le: int | None = None
    clamped: bool = False
    """More than `le` counts as `le`; only on the command line it is refused."""

    parse: Callable[[str], Any] | None = None
    """From what people type; raises UsageError."""

    typed: Any = None
    """What faces take, if that is not what the operation takes."""

    optional: bool = False
    """The command can do without it."""

    on_cli: bool = True
    on_tool: bool = True
    means: Means = Means.VALUE


SESSION = Param("Default: active session.", "ROOM", means=Means.SESSION)
TARGET = Param(means=Means.TARGET)
TO = Param("One agent: id, name or fingerprint.", "AGENT")
SERVICE = Param("Whoever serves it.", "NAME", brief="")


@dataclass(slots=True, eq=False, repr=False)
class Shown:
    """A parameter as it is given to a face."""

    key: str
    """Its name in Python."""

    kind: Any
    default: Any
    param: Param
    source: str = ""
    """The parameter of the operation that it becomes, or a part of; none if a face
    makes something else of it."""

    @property
    def name(self) -> str:
        """What faces call it."""
        return self.key.removesuffix("_")


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class Hints:
    """What a call does to the world; hosts decide by it whom to ask."""

    reads_only: bool = False
    destroys: bool = False
    repeatable: bool = False
    open_world: bool = False
    """It reaches beyond the members of our rooms, or lets code and files out."""


READS = Hints(reads_only=True)
TALKS = Hints()
SETS = Hints(repeatable=True)


@dataclass(kw_only=True, eq=False, repr=False)
class Capability:
    """Something that can be done, and how it is shown."""

    run: Callable[..., Any]
    """The operation: is given a connection or this machine, then its parameters."""

    about: str
    """In a sentence."""

    more: str = ""
    """What help says below it."""

    command: str = ""
    """The words after `parler`."""

    example: str = ""
    """For a shell; the bare command, if not given."""

    hidden: bool = False
    tool: str = ""
    brief: str = ""
    """What tools are told instead of `about`."""

    call: str = "{}"
    """Example arguments of the tool, as JSON."""

    hints: Hints = TALKS
    common: bool = False
    """The tool is offered without being asked for."""

    asks_user: bool = False
    """Each call has to be confirmed by a person where the host can do that."""

    no_tool: str = ""
    """Why there is none."""

    no_command: str = ""
    also: Sequence[Callable[..., Any]] = ()
    """Further operations that the same faces carry out; they take what those do."""

    result: Sequence[type] = ()
    """What the command prints with ``--json``, if not what operations return."""

    besides: Sequence[Shown] = ()
    """What faces are given beside what operations are."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are not the caller's choice."""

    @cached_property
    def params(self) -> tuple[Shown, ...]:
        """What it is given, in order."""
        shown = {one.key: one for one in _shown_of(self.run)}
        for function in self.also:
            for one in _shown_of(function):
                shown.setdefault(one.key, _not_needed(one))
        shown |= {one.key: one for one in self.besides}
        return tuple(shown.values())

    @cached_property
    def needs(self) -> str:
        """What it is given first: the name of its type."""
        kinds = (one.annotation for one in _parameters(self.run))
        return str(getattr(next(kinds, None), "__name__", ""))

    def means(self, meaning: Means) -> Shown | None:
        """The parameter of that meaning."""
        found = (one for one in self.params if one.param.means is meaning)
        return next(found, None)

    def perform(self, where: Any, values: Mapping[str, Any]) -> Any:
        """Carry it out, as `run` does.

        Args:
            values: The operation's parameters; rooms and targets are found already.
        """
        if (params := _struct_of(self.run)) is not None:
            return self.run(where, params(**values, **self.fixed))
        return self.run(where, **values, **self.fixed)


def _shown_of(function: Callable[..., Any]) -> Iterator[Shown]:
    for name, kind, default in _declared(_struct_of(function) or function):
        if get_origin(kind) is Annotated:
            bare, *marks = get_args(kind)
            for param in marks:
                if isinstance(param, Param):
                    yield from _faces(name, bare, default, param)


def _not_needed(one: Shown) -> Shown:
    """A parameter of an operation that is only one of several."""
    if one.default is not REQUIRED:
        return replace(one, source="")
    return replace(one, source="", kind=one.kind | None, default=None)


def _struct_of(function: Callable[..., Any]) -> Any:
    """The class of an operation's parameters, if they have one."""
    kinds = (one.annotation for one in _parameters(function))
    named = (kind for kind in kinds if getattr(kind, "__name__", "").endswith("Params"))
    return next(named, None)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _declared(source: Any) -> Iterator[tuple[str, Any, Any]]:
    if not is_dataclass(source):
        for one in _parameters(source):
            yield one.name, one.annotation, one.default
        return
    for each in fields(source):
        default: Any = each.default
        if each.default_factory is not MISSING:
            default = each.default_factory()
        yield each.name, each.type, REQUIRED if default is MISSING else default


def _faces(name: str, kind: Any, default: Any, param: Param) -> Iterator[Shown]:
    if param.means is Means.TARGET:
        for key, part in (("room", SESSION), ("to", TO), ("service", SERVICE)):
            yield Shown(key, str | None, None, _plain(part), name)
        return
    if param.means is Means.SESSION:
        kind, default = str | None, None
    yield Shown(param.name or name, param.typed or kind, default, param, name)


def _plain(param: Param) -> Param:
    return replace(param, means=Means.TARGET)
