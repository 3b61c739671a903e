"""Session keys as people pass them on: bare, ``KEY@HUB``, or a link (protocol 4.7).

Those of sealed sessions have a second half, which is for whoever joins and for no hub:
``KEY.SECRET@HUB``.
"""

import re
from contextlib import suppress
from dataclasses import dataclass, field

from parler.wire.base import Code
from parler.wire.urls import same_hub

ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Letters and digits of a key: no I, O, 0, 1 (protocol 4.1)."""

CODE_LENGTH = 8
_LINK_SCHEMES = frozenset({"parler", "ws", "wss", "http", "https"})
_SEPARATORS = re.compile(r"[\s-]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_AROUND = " \t\r\n`'\"*_.,;:!?()<>\u201c\u201d\u2018\u2019\u201e\u00ab\u00bb"
"""What people and chat programs put around a key; in no hub's address at its end."""

_NOT_IN_HUB = frozenset(_AROUND) - frozenset(".:_?")
_CODE = f"([{ALPHABET}]{{{CODE_LENGTH}}})"
_HUB = r"([A-Za-z0-9\[](?:[\w.:/%~\[\]-]*[A-Za-z0-9\]/])?)"
_BEFORE, _BEHIND = r"(?<![^\W_])(?<![-@/.])", r"(?![^\W_]|[-@/]|\.\w)"
_KEY_AT_HUB = re.compile(f"{_BEFORE}{_CODE}@{_HUB}", re.ASCII)
_LINK = re.compile(
    rf"((?:{'|'.join(sorted(_LINK_SCHEMES))})://[\w.:/%~\[\]@-]+?)/join/{_CODE}"
    r"(?![^\W_])",
    re.ASCII,
)


def _sealed(between: str) -> re.Pattern[str]:
    code = f"((?:[{ALPHABET}]{between}){{{CODE_LENGTH}}})"
    secret = f"((?:[A-Z2-7]{between}){{26}})(?![^\\W_])"
    schemes = "|".join(sorted(_LINK_SCHEMES))
    return re.compile(
        rf"{_BEFORE}{code}\.{secret}(?:@{_HUB})?"
        rf"|((?:{schemes})://[\w.:/%~\[\]@-]+?)/join/{code}/?#{secret}",
        re.ASCII | re.IGNORECASE,
    )


_SEALED_ALONE, _SEALED_IN_TEXT = _sealed(r"[\s-]*"), _sealed("-?")
"""A key with the secret half that opens a sealed session; among words, sentences have
as many letters, so that there are no blanks in one."""

_CODE_ALONE = re.compile(f"{_BEFORE}{_CODE}{_BEHIND}")


class InvalidJoinKey(ValueError):
    """A text that cannot be a session key; says why."""


@dataclass(frozen=True, slots=True)
class JoinKey:
    """A session key, and the hub it belongs to if that was said."""

    code: Code
    hub: str | None = None
    secret: str | None = field(default=None, repr=False)
    """Of a sealed session: what no hub is told."""

    def __str__(self) -> str:
        """The portable spelling, without what is secret: ``KEY@HUB``."""
        return f"{self.code}@{self.hub}" if self.hub else self.code

    @property
    def whole(self) -> str:
        """What is passed on: with the secret, ``KEY.SECRET@HUB``."""
        if self.secret is None:
            return str(self)
        both = f"{self.code}.{self.secret}"
        return f"{both}@{self.hub}" if self.hub else both


def parse_join_key(text: str) -> JoinKey:
    """Read a key the way people paste it.

    Lower case, blanks and dashes inside the key are forgiven, and so is what stands
    around it: quotes and backticks, or words, if one of them is shaped like a key.

    Raises:
        InvalidJoinKey: It cannot be a key of any hub, or there are several.
    """
    text = _INVISIBLE.sub("", text)
    alone = text.strip()
    if sealed := _sealed_among(text):
        return sealed
    for one in (alone.rstrip(_AROUND), alone.strip(_AROUND)):
        code, hub = _split(one)
        if hub is None or not any(map(_is_around, hub)):
            with suppress(InvalidJoinKey):
                return JoinKey(Code(_tidy(code)), hub)
    if found := _among_words(text):
        return found
    code, hub = _split(alone)
    return JoinKey(Code(_tidy(code)), hub)


def normalise_code(text: str) -> Code:
    """What a hub looks up for a redeemed text (protocol 4.3)."""
    text = text.strip()
    if "/join/" in text:
        text = text.rsplit("/join/", 1)[1].strip().rstrip("/")
    return Code(text)


def _sealed_among(text: str) -> JoinKey | None:
    """The only key of a sealed session in a text; it counts once."""
    keys = []
    alone = _SEALED_ALONE.fullmatch(text.strip(_AROUND))
    for found in [alone] if alone else _SEALED_IN_TEXT.finditer(text):
        code, secret, hub, link, linked_code, linked_secret = found.groups()
        tidy = Code(_tidy(code or linked_code))
        spelled = _SEPARATORS.sub("", secret or linked_secret).upper()
        keys.append(JoinKey(tidy, hub or link, spelled))
    return _only(keys)


def _among_words(text: str) -> JoinKey | None:
    """The only key in a text; one that is there several times counts once."""
    keys = [JoinKey(Code(code), hub) for code, hub in _KEY_AT_HUB.findall(text)]
    keys += [JoinKey(Code(code), hub) for hub, code in _LINK.findall(text)]
    keys += [JoinKey(Code(code)) for code in _CODE_ALONE.findall(text)]
    return _only(keys)


def _only(keys: list[JoinKey]) -> JoinKey | None:
    for other in keys:
        first = keys[0]
        apart = first.hub and other.hub and not same_hub(first.hub, other.hub)
        if other.code != first.code or other.secret != first.secret or apart:
            raise InvalidJoinKey(
                f"there are several keys in that text, {first} and {other}: which one?"
            )
    return keys[0] if keys else None


def _split(text: str) -> tuple[str, str | None]:
    left, at, right = text.partition("@")
    if at and left and right and not {":", "/"} & set(left):
        return left, right.strip()
    left, link, right = text.partition("/join/")
    code = re.split(r"[/?#]", right, maxsplit=1)[0]
    if link and code and left.partition("://")[0] in _LINK_SCHEMES:
        return code, left
    return text, None


def _is_around(char: str) -> bool:
    return char in _NOT_IN_HUB or char.isspace()


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
