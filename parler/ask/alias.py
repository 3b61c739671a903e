"""What a project may be called. Whatever names a project passes here."""

import re
from typing import NewType

from parler.errors import UsageError
from parler.handoff.paths import safe_name

Alias = NewType("Alias", str)
"""A project's name on this machine: one plain path component."""

MAX_ALIAS_CHARS = 64
_SHAPE = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_NOT_IN_ALIAS = re.compile(r"[^a-z0-9]+", re.ASCII)


def alias_of(text: str) -> Alias:
    """The name that was typed, if it may be one.

    Raises:
        UsageError: It is a path, or nothing to call a project.
    """
    name = text.strip().lower()
    fits = len(name) <= MAX_ALIAS_CHARS and _SHAPE.fullmatch(name)
    if not fits or safe_name(name) != name:
        raise UsageError(
            f"{text[:80]!r} is no name for a project: letters, digits and single "
            "dots, dashes and underscores between them",
            next_step="parler project list",
        )
    return Alias(name)


def suggested_alias(folder_name: str) -> Alias | None:
    """A name for a project in a folder of this name."""
    name = _NOT_IN_ALIAS.sub("-", folder_name.lower()).strip("-")
    try:
        return alias_of(name[:MAX_ALIAS_CHARS].strip("-"))
    except UsageError:
        return None
