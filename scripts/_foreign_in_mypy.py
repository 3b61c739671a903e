"""What mypy does not refuse by itself of foreign text: `str()`, `repr()` and `!r`.

`parler.wire.foreign` makes such text a kind of bytes for mypy, which lets nobody format
it; these three take any object.
"""

from collections.abc import Callable
from typing import TypeVar

from mypy.errorcodes import STR_BYTES_PY3
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import Instance, Type, UnionType, get_proper_type

FOREIGN = "parler.wire.foreign.Foreign"
TAKES_ANYTHING = frozenset({"builtins.str", "builtins.repr", "builtins.ascii"})

C = TypeVar("C", FunctionContext, MethodContext)


class ForeignPlugin(Plugin):
    """Looks at what gets any object and makes text of it."""

    def get_function_hook(
        self, fullname: str
    ) -> Callable[[FunctionContext], Type] | None:
        """`str(name)` and its like."""
        return _refused if fullname in TAKES_ANYTHING else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        """`f"{name!r}"`, which mypy reads as a call of `format`."""
        return _refused if fullname == "builtins.str.format" else None


def _refused(context: C) -> Type:
    given = [one for types in context.arg_types for one in types]
    if any(map(_is_foreign, given)):
        context.api.fail(
            "Text that others wrote is shown by word, sentence, quote or paragraph",
            context.context,
            code=STR_BYTES_PY3,
        )
    return context.default_return_type


def _is_foreign(kind: Type) -> bool:
    kind = get_proper_type(kind)
    if isinstance(kind, UnionType):
        return any(map(_is_foreign, kind.items))
    return isinstance(kind, Instance) and kind.type.fullname == FOREIGN


def plugin(version: str) -> type[Plugin]:
    """What mypy asks for."""
    return ForeignPlugin
