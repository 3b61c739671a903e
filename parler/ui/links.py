"""Addresses in what peers wrote: where they lead is named before one goes there.

Only http and https, and only hosts that are spelled as a browser would read them: of
letters outside of ASCII the punycode is named and opened, so that no look-alike is
followed for what it looks like. What is odd in another way stays text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

MAX_LINKS = 50
"""Of one text; further ones stay text."""

MAX_URL_CHARS = 2000

_URL = re.compile(r"(?<![\w@.+-])https?://[^\s<>\"'`|\\^{}]+", re.ASCII | re.IGNORECASE)
_AFTER = ".,;:!?*_~…"
"""What ends a sentence rather than an address."""

_PAIRS = {")": "(", "]": "["}
_LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_UNSEEN = re.compile(r"[^\x21-\x7e]")
_OCTETS = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a text, and where it leads if it is an address."""

    text: str
    url: str = ""
    host: str = ""
    """Whom the browser would ask, with the port if there is one."""

    disguised: bool = False
    """The text shows another host than the one that would be asked."""


def spans(text: str, *, whole: bool = True) -> list[Span]:
    """A text, parted at its addresses.

    Args:
        whole: It was not cut at its end; what ends there else is no address.
    """
    return list(_spans(text, whole=whole))


def _spans(text: str, *, whole: bool) -> Iterator[Span]:
    at = found = 0
    for match in _URL.finditer(text):
        shown = _without_end(match[0])
        cut = match.end() == len(text) and not whole
        link = None if cut else _link(shown)
        if link is None:
            continue
        if match.start() > at:
            yield Span(text=text[at : match.start()])
        yield link
        at = match.start() + len(shown)
        found += 1
        if found == MAX_LINKS:
            break
    if at < len(text) or not text:
        yield Span(text=text[at:])


def _without_end(url: str) -> str:
    while url:
        last = url[-1]
        opened = _PAIRS.get(last)
        if last in _AFTER or (opened and url.count(last) > url.count(opened)):
            url = url[:-1]
        else:
            break
    return url


def _link(shown: str) -> Span | None:
    if len(shown) > MAX_URL_CHARS:
        return None
    try:
        parts = urlsplit(shown)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if "@" in parts.netloc or "%" in parts.netloc:  # for whom reads it in haste
        return None
    asked = _asked(host)
    if asked is None:
        return None
    if port is not None:
        asked = f"{asked}:{port}"
    rest = _UNSEEN.sub(_escaped, shown[shown.index("//") + 2 + len(parts.netloc) :])
    url = f"{parts.scheme}://{asked}{rest}"
    disguised = asked != parts.netloc.lower()
    return Span(text=shown, url=url, host=asked, disguised=disguised)


def _asked(host: str) -> str | None:
    """The host as it is asked for; None if browsers may read it in another way."""
    if ":" in host:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError:
            return None
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    host = host.lower()
    if not _LABELS.fullmatch(host):
        return None
    last = host.removesuffix(".").rpartition(".")[2]
    if _NUMBER.fullmatch(last):  # a browser takes it for an address in some spelling
        if not _OCTETS.fullmatch(host):
            return None
        try:
            return str(IPv4Address(host))
        except ValueError:
            return None
    return host


def _escaped(char: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in char[0].encode("utf-8", "replace"))
