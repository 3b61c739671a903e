"""Session keys as people pass them on: bare, ``KEY@HUB``, or a link (protocol 4.7)."""

import re
from dataclasses import dataclass

from parler.wire.base import Code

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Letters and digits of a key: no I, O, 0, 1 (protocol 4.1)."""

CODE_LENGTH = 8
_LINK_SCHEMES = frozenset({"parler", "ws", "wss", "http", "https"})
_SEPARATORS = re.compile(r"[\s-]+")


class InvalidJoinKey(ValueError):
    """A text that cannot be a session key; says why."""


@dataclass(frozen=True, slots=True)
class JoinKey:
    """A session key, and the hub it belongs to if that was said."""

    code: Code
    hub: str | None = None

    def __str__(self) -> str:
        """The portable spelling: ``KEY@HUB``."""
        return f"{self.code}@{self.hub}" if self.hub else self.code


def parse_join_key(text: str) -> JoinKey:
    """Read a key the way people paste it.

    Lower case, blanks and dashes inside the key are forgiven.

    Raises:
        InvalidJoinKey: It cannot be a key of any hub.
    """
    code, hub = _split(text.strip())
    return JoinKey(Code(_tidy(code)), hub)


def normalise_code(text: str) -> Code:
    """What a hub looks up for a redeemed text (protocol 4.3)."""
    text = text.strip()
    if "/join/" in text:
        text = text.rsplit("/join/", 1)[1].strip().rstrip("/")
    return Code(text)


def _split(text: str) -> tuple[str, str | None]:
    left, at, right = text.partition("@")
    if at and left and right and not {":", "/"} & set(left):
        return left, right.strip()
    left, link, right = text.partition("/join/")
    code = re.split(r"[/?#]", right, maxsplit=1)[0]
    if link and code and left.partition("://")[0] in _LINK_SCHEMES:
        return code, left
    return text, None


def _tidy(text: str) -> str:
    code = _SEPARATORS.sub("", text)
    if code.isascii():  # some foreign letters become two of ours in upper case
        code = code.upper()
    if not code:
        raise InvalidJoinKey("the key is empty")
    if len(code) != CODE_LENGTH:
        raise InvalidJoinKey(
            f"{text[:40]!r} is not a session key: a key has {CODE_LENGTH} characters"
        )
    strangers = sorted(set(code) - set(ALPHABET))
    if strangers:
        raise InvalidJoinKey(
            f"{text[:40]!r} is not a session key: keys never contain "
            f"{' or '.join(repr(char) for char in strangers)} (nor I, O, 0, 1)"
        )
    return code
