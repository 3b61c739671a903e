"""Loads of the official SDK only what a server on stdio needs, in half the time.

Its two top packages load clients, HTTP and a framework beside the server. Here they
are empty while the server's own modules are loaded, and gone afterwards: whoever
imports them later gets them whole. Where that does not work, all of it is loaded.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

WANTED = ("mcp.server.lowlevel.server",)
_SKIPPED = ("mcp", "mcp.server")


def load() -> None:
    """Load the server of the SDK."""
    if any(name in sys.modules for name in _SKIPPED):
        return  # somebody has loaded it all
    try:
        for name in _SKIPPED:
            sys.modules[name] = _empty(name)
        for name in WANTED:
            importlib.import_module(name)
    except (ImportError, AttributeError):
        for name in [one for one in sys.modules if one.partition(".")[0] == "mcp"]:
            del sys.modules[name]
    for name in _SKIPPED:
        sys.modules.pop(name, None)


def _empty(name: str) -> ModuleType:
    """A package of that name and place, with nothing in it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(name)
    module = ModuleType(name)
    module.__path__ = list(spec.submodule_search_locations)
    module.__spec__ = spec
    return module
