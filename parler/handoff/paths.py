"""The only way from a name that somebody sent to a name on this disk.

`safe_name` is a pure function; `place` adds the folder and refuses to leave it. What
is written there, and whether something is there already, is `inbox`'s matter.
"""

import re
import unicodedata
from pathlib import Path

from parler.errors import UnsafePath
from parler.wire.foreign import sentence

MAX_NAME_BYTES = 120
"""In UTF-8. Some file systems take no more than 143, and a copy may get a suffix."""

MAX_SUFFIX_BYTES = 16
FALLBACK = "file"

# Controls, formatting (bidirectional overrides, zero-width), surrogates, private use,
# unassigned, line and paragraph separators: nothing a person can see in a name.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SEPARATORS = re.compile(r"[/\\:]")  # also drives, alternate streams, old Macs
_SPECIAL = re.compile(r'[<>"|?*\x00-\x1f]')
_SPACES = re.compile(r"\s+")
_DEVICES = re.compile(
    r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(COM|LPT)[0-9\u00b9\u00b2\u00b3])"
    r" *(\..*)?",
    re.IGNORECASE,
)
_EDGE_FRONT = " .-~"  # hidden files, options, home directories
_EDGE_BACK = " ."  # what Windows drops by itself
_PASSES = 8


def safe_name(received: str, *, fallback: str = FALLBACK) -> str:
    """What a received name is called here: one path component, plain on any system.

    Applied to its own result it changes nothing. `fallback`, a name of ours, stands
    for one of which nothing is left.
    """
    name = _SEPARATORS.split(received)[-1]
    for _ in range(_PASSES):  # composing and cutting may uncover another edge
        cleaned = _clean(name)
        if cleaned == name:
            break
        name = cleaned
    return name or fallback


def place(folder: Path, received: str, *, fallback: str = FALLBACK) -> Path:
    """Where something of a received name goes within `folder`.

    Raises:
        UnsafePath: It would not be directly within; `safe_name` rules that out.
    """
    path = folder / safe_name(received, fallback=fallback)
    if path.parent != folder or path.name in ("", ".", ".."):
        raise UnsafePath(
            f"{sentence(received, 80)} does not name a file within {folder}"
        )
    return path


def _clean(name: str) -> str:
    name = "".join(char for char in name if unicodedata.category(char) not in _HIDDEN)
    name = unicodedata.normalize("NFC", name)
    name = _SPECIAL.sub("_", _SEPARATORS.sub("_", name))
    name = _SPACES.sub(" ", name).lstrip(_EDGE_FRONT).rstrip(_EDGE_BACK)
    if _DEVICES.fullmatch(name):
        name = f"_{name}"
    return _cut(name).rstrip(_EDGE_BACK)


def _cut(name: str) -> str:
    """Shorten a name, keeping its suffix."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    suffix = dot + suffix
    if not stem or len(suffix.encode()) > MAX_SUFFIX_BYTES:
        stem, suffix = name, ""
    room = MAX_NAME_BYTES - len(suffix.encode())
    short = stem.encode()[:room].decode(errors="ignore")
    return short.rstrip(_EDGE_BACK) + suffix
