"""What the first bytes of a received file look like, held against what was declared.

A hint for a person before opening it, no judgement: a file that looks harmless need
not be. Nothing is parsed here.
"""

import mimetypes
from dataclasses import dataclass

_PROGRAMS = (
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\xfe\xed\xfa\xce", "application/x-mach-binary"),
    (b"\xfe\xed\xfa\xcf", "application/x-mach-binary"),
    (b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"\x00asm", "application/wasm"),
    (b"#!", "text/x-script"),
)
_DATA = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\x00", "application/x-xz"),
    (b"(\xb5/\xfd", "application/zstd"),
    (b"7z\xbc\xaf'\x1c", "application/x-7z-compressed"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"# v2 git bundle\n", "application/x-git-bundle"),
    (b"# v3 git bundle\n", "application/x-git-bundle"),
)
_MARKUP = (
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<script", "text/html"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "application/xml"),
)
_LOOKED_AT = 4096
_ZIPPED = ("application/vnd.", "application/epub", "application/java-archive")
_NAMES = mimetypes.MimeTypes()  # its own table: no file of this system has a say


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What bytes look like."""

    kind: str
    """A media type; "application/octet-stream" if nothing is recognised."""

    warning: str | None = None
    """Why to be careful, if there is a reason."""


def guessed_type(name: str) -> str | None:
    """The media type that a name suggests."""
    return _NAMES.guess_type(name, strict=False)[0]


def look(data: bytes, *, name: str, declared: str | None) -> Look:
    """Look at received bytes, beside the name and the type their sender gave them."""
    program = _matching(data, _PROGRAMS)
    if program:
        return Look(kind=program, warning="it is a program; do not run it unread")
    kind = _matching(data, _DATA) or _markup(data) or _plain(data)
    claims = {claim for claim in (declared, guessed_type(name)) if claim}
    false = sorted(claim for claim in claims if not _fits(claim, kind))
    if false:
        return Look(kind=kind, warning=f"it is called {false[0]} but is {kind}")
    if kind in ("text/html", "image/svg+xml"):
        return Look(kind=kind, warning="it may run scripts when opened in a browser")
    return Look(kind=kind)


def _matching(data: bytes, table: tuple[tuple[bytes, str], ...]) -> str | None:
    return next((kind for magic, kind in table if data.startswith(magic)), None)


def _markup(data: bytes) -> str | None:
    return _matching(data[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n").lower(), _MARKUP)


def _plain(data: bytes) -> str:
    head = data[:_LOOKED_AT]
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if len(data) <= _LOOKED_AT or error.start < len(head) - 4:
            return "application/octet-stream"
    return "application/octet-stream" if b"\x00" in head else "text/plain"


def _fits(claim: str, kind: str) -> bool:
    if kind == "application/octet-stream":  # we do not know every format
        known = {known for _, known in (*_DATA, *_MARKUP)}
        return not claim.startswith("text/") and claim not in known
    if kind == "text/plain":  # source code goes by many names
        return claim.startswith(("text/", "application/")) and not any(
            claim == known for _, known in _DATA
        )
    if kind == "application/zip":
        return claim == kind or claim.startswith(_ZIPPED) or "zip" in claim
    if kind == "application/xml":
        return "xml" in claim or claim == "text/html"
    return claim in (kind, "application/octet-stream")
