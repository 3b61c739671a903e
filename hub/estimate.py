"""How many tokens a message is worth, roughly (protocol 7)."""

import math
from typing import Any

from parler.wire.canonical import SIG_KIND

CHARS_PER_TOKEN = 4


def estimated_tokens(parts: list[dict[str, Any]]) -> int:
    """A quarter of the characters in texts and in strings of other parts, rounded up.

    Signatures and the kinds of parts are not counted.
    """
    chars = 0
    for part in parts:
        if part.get("kind") == SIG_KIND:
            continue
        pending = [value for name, value in part.items() if name != "kind"]
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                chars += len(value)
            elif isinstance(value, dict):
                pending.extend(value.values())
            elif isinstance(value, list):
                pending.extend(value)
    return math.ceil(chars / CHARS_PER_TOKEN)
