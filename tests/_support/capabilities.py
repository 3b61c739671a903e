"""What can be done, as it is declared in `parler.ops`."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import parler.ops
from parler.ops.capability import Capability


def modules() -> Iterator[Any]:
    for info in pkgutil.walk_packages(parler.ops.__path__, "parler.ops."):
        yield importlib.import_module(info.name)


@cache
def declared() -> dict[str, Capability]:
    """By where it is declared; those of a face alone are found with it."""
    return {
        f"{module.__name__}.{name}": value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, Capability)
    }
