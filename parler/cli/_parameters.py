"""From what a capability declares to options and arguments, and back from what came."""

import inspect
import types
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, NewType, Union, get_args, get_origin

import typer

from parler.cli._arguments import between, only_one, piped_text, seconds
from parler.errors import UsageError
from parler.ops.capability import MAX_SEQ, REQUIRED, Capability, Means, Shown


def shown_on(capability: Capability) -> dict[str, Shown]:
    """What a capability takes on the command line, by name."""
    return {one.key: one for one in capability.params if one.param.on_cli}


def parameter_of(one: Shown) -> inspect.Parameter:
    """What typer makes an option or an argument of."""
    param, bare = one.param, _bare(one.kind)
    about = _about(one, bare)
    names = param.option.split() or [f"--{one.name.replace('_', '-')}"]
    default, kind = one.default, str if "parser" in about else bare
    if param.words:
        kind = list[str]
    if default is not REQUIRED and (param.words or default == []):
        default = None
    if param.optional:
        default = None
    if default is None:
        kind = kind | None
    if default is None or default is False or default == "":
        about["show_default"] = False
    info: Any = (
        typer.Argument(**about)
        if param.positional or param.words
        else typer.Option(*names, **about)
    )
    return inspect.Parameter(
        one.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def taken(shown: Mapping[str, Shown], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as operations take it.

    Raises:
        UsageError: More than one target was named.
    """
    targets = {
        key: given[key]
        for key, one in shown.items()
        if one.param.means is Means.TARGET and key in given
    }
    only_one(**targets)
    return {
        key: _taken(shown[key], value) if key in shown else value
        for key, value in given.items()
    }


def _taken(one: Shown, value: Any) -> Any:
    param = one.param
    if param.words and value:
        value = value[0] if value == ["-"] else " ".join(value)
    if param.stdin and value == "-":
        return piped_text(param.stdin)
    if value is None or value == []:
        if isinstance(one.default, list):
            return list(one.default)
        return None if param.optional else one.default
    return value


def _about(one: Shown, bare: Any) -> dict[str, Any]:
    """What help says of it, and how it is read."""
    param = one.param
    words = param.about.removesuffix(".")
    about: dict[str, Any] = {"help": param.about, "metavar": _metavar(one)}
    if param.stdin:
        about["help"] = f"{words}; - reads stdin."
    elif one.default == [] and not param.words:
        about["help"] = f"{words}; repeatable."
    if bare is bool:
        del about["metavar"]
    elif parse := _parser(one, bare):
        about["parser"] = parse
    if isinstance(bare, type) and issubclass(bare, StrEnum):

        def complete(incomplete: str) -> list[str]:
            return [word for word in map(str, bare) if word.startswith(incomplete)]

        about["autocompletion"] = complete
    return about


def _metavar(one: Shown) -> str:
    words = one.name.rpartition("_")[2]
    return one.param.metavar or words.upper()


def _bare(kind: Any) -> Any:
    """A type that typer knows, without None."""
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    return kind.__supertype__ if isinstance(kind, NewType) else kind


def _parser(one: Shown, bare: Any) -> Callable[[Any], Any] | None:
    param = one.param
    if param.parse is not None:
        return param.parse
    if bare is int:
        least = 0 if param.ge is None else param.ge
        return between(least, MAX_SEQ if param.le is None else param.le)
    if bare is float and param.le is not None:
        return seconds(param.le)
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        return _choice(one.name, bare)
    return None


@cache
def _choice(name: str, kind: type[StrEnum]) -> Callable[[Any], StrEnum]:
    def parse(typed: Any) -> StrEnum:
        try:
            return kind(str(typed))
        except ValueError:
            raise UsageError(
                f"{typed!r} is no {name}",
                next_step=f"--{name} " + "|".join(one.value for one in kind),
            ) from None

    return parse
