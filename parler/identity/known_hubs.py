"""Which hub a challenge belongs to, so that no hub passes on another hub's.

Whoever answers a challenge signs in at the hub that made it. A hostile hub could ask a
real one for a challenge, hand it to us, and be us over there (protocol 13.1). Each
challenge carries a token, a hash of its hub's public URL (protocol 2.3): we remember
where we met a token first, and refuse to answer it elsewhere.

What a token can and cannot tell decides the exceptions:

- A token that is the hash of the dialled URL itself belongs there, whatever we noted
  before.
- A hub without a configured URL uses its bind address, as ``parler://127.0.0.1:7070``:
  countless hubs share that token, and it names no particular one. On this machine and
  in private networks it is neither compared nor remembered. Beyond, where a hub
  behind a proxy may show it, it is remembered, and a second such hub is refused; but
  having met it in here is no objection, because nobody out there can reach a hub in
  here to ask it for a challenge.
- Two loopback addresses are two ports of this machine, a forwarded port or a restarted
  hub. To relay between them somebody must already run programs here, who has nearer
  ways to the key; an alarm would only teach people to override it.
- Everything else that differs is refused, also between machines of one network: there
  a stranger's laptop is enough.
"""

import hashlib
import logging
import re
import shlex
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

from parler.errors import ConfigError, RelayedChallenge
from parler.identity.settings import dialled, hub_key
from parler.machine import files
from parler.wire.urls import is_loopback, leaves_this_network

FILE_NAME = "known_hubs.json"
MAX_TOKENS = 1000
MAX_URLS_PER_TOKEN = 16
MAX_REFUSED = 20

_TOKEN = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DEFAULT_PORT = 7070
_SCHEMES = ("parler", "wss", "https", "ws", "http")
_BIND_HOSTS = ("127.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]")  # noqa: S104 - compared, never bound

logger = logging.getLogger(__name__)


class _Verdict(Enum):
    FINE = auto()
    REMEMBER = auto()
    RELAYED = auto()


@dataclass(slots=True)
class _File:
    """The file in memory: tokens with the URLs they were met under, first one first."""

    hubs: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class KnownHubs:
    """The known_hubs.json of one base home; safe to share between processes."""

    def __init__(self, path: Path, *, remember: bool = True) -> None:
        """Take the file's path; nothing is read yet.

        Args:
            remember: Whether `check` notes what it meets; to look only, it does not.
        """
        self._path = path
        self._remember = remember

    def check(self, token_field: str, dialled_url: str) -> None:
        """Make sure that a challenge may be answered, and remember where it was met.

        If nothing can be written, as in a read-only home, it is still checked, but not
        remembered.

        Args:
            token_field: The third field of the nonce, which was checked to be one.
            dialled_url: The hub's URL in any spelling.

        Raises:
            RelayedChallenge: The token is known from another hub.
            ConfigError: The file is damaged.
        """
        if not _TOKEN.fullmatch(token_field):
            raise ValueError("the token of a hub has twelve hex digits")
        url = _display(dialled_url)
        file = self._read()
        verdict = _judge(file, token_field, url)
        if verdict is _Verdict.FINE:
            return
        if verdict is _Verdict.REMEMBER and not self._remember:
            return
        met_under = file.hubs.get(token_field, [])
        try:
            with files.locked(self._path):
                file = self._read()
                verdict = _judge(file, token_field, url)
                met_under = file.hubs.get(token_field, met_under)
                if verdict is _Verdict.REMEMBER:
                    _remember(file, token_field, url)
                elif verdict is _Verdict.RELAYED:
                    _note_refusal(file, token_field, url)
                self._write(file)
        except files.Unwritable:
            logger.warning("cannot remember hubs in %s", self._path)
        if verdict is _Verdict.RELAYED:
            raise RelayedChallenge(
                f"the hub {url} asks for proof with a challenge that belongs to "
                f"{' or '.join(met_under)}: somebody may be relaying it to sign in "
                "there as you; nothing was signed. Only if both addresses are one "
                "hub, say so",
                next_step=f"parler trust-hub {shlex.quote(url)}",
            )

    def trust(self, url: str, token: str | None = None) -> str:
        """Accept a hub's token under one more URL, as its user asked for.

        Without `token` it is the one last refused under that URL. Returns the URL as
        it was noted.

        Raises:
            ConfigError: Nothing was refused under that URL, or the file is damaged or
                not writable.
        """
        shown = _display(url)
        with files.locked(self._path):
            file = self._read()
            pending = _pending(file, shown)
            token = token or (file.refused[pending] if pending else None)
            if token is None or not _TOKEN.fullmatch(token):
                raise ConfigError(
                    f"no challenge of the hub {shown} was refused lately; connect "
                    "to it first",
                    next_step=f"parler doctor --hub {shlex.quote(shown)}",
                )
            _remember(file, token, shown, trusted=True)
            if pending:
                del file.refused[pending]
            self._write(file)
        return shown

    def _read(self) -> _File:
        try:
            return _book(files.json_object(files.read_bounded(self._path)))
        except FileNotFoundError:
            return _File()
        except ValueError as exc:
            # Starting afresh on our own would forget whom to refuse.
            aside = self._path.with_name(f"{self._path.name}.bak")
            raise ConfigError(
                f"{self._path} is damaged ({exc}): which hub is which is not known",
                next_step=shlex.join(["mv", str(self._path), str(aside)]),
            ) from None

    def _write(self, file: _File) -> None:
        value: dict[str, object] = {"hubs": file.hubs, "refused": file.refused}
        files.write_private(self._path, files.json_bytes(value))


def names_one_hub(token: str, url: str) -> bool:
    """Whether a token stands for one hub, and not for a bind address of many."""
    return not _is_bind_address(token, [_display(url)])


def _judge(file: _File, token: str, url: str) -> _Verdict:
    known = file.hubs.get(token, [])
    if any(_same(url, other) for other in known):
        return _Verdict.FINE
    if _is_hash_of(token, url):
        return _Verdict.REMEMBER
    anybodys = _is_bind_address(token, [url, *known])
    if anybodys and _is_local(url):
        return _Verdict.FINE
    if not known:
        return _Verdict.REMEMBER
    if _on_this_machine(url) and all(_on_this_machine(other) for other in known):
        return _Verdict.FINE
    if anybodys and all(_is_local(other) for other in known):
        return _Verdict.REMEMBER
    return _Verdict.RELAYED


def _remember(file: _File, token: str, url: str, *, trusted: bool = False) -> None:
    for other in list(file.hubs):
        # A hub has one token: a stranger who shows a new one at each connection fills
        # no more than his own entry, and cannot push out the others.
        left = [known for known in file.hubs[other] if not _same(known, url)]
        if left:
            file.hubs[other] = left
        else:
            del file.hubs[other]
    known = file.hubs.pop(token, [])
    if not trusted and _is_hash_of(token, url):
        # Proven to be at home here. Where we met it first was chance, and perhaps a
        # relay; what the user trusted since stays.
        known = [url, *(k for k in known[:1] if _is_hash_of(token, k)), *known[1:]]
    else:
        known = [*known, url]
    file.hubs[token] = known[:MAX_URLS_PER_TOKEN]
    for oldest in list(file.hubs)[:-MAX_TOKENS]:
        del file.hubs[oldest]


def _note_refusal(file: _File, token: str, url: str) -> None:
    if pending := _pending(file, url):
        del file.refused[pending]
    file.refused[url] = token
    for oldest in list(file.refused)[:-MAX_REFUSED]:
        del file.refused[oldest]


def _pending(file: _File, url: str) -> str | None:
    return next((known for known in file.refused if _same(known, url)), None)


def _book(raw: dict[str, object]) -> _File:
    hubs, refused = raw.get("hubs", {}), raw.get("refused", {})
    if not isinstance(hubs, dict) or not isinstance(refused, dict):
        raise ValueError("not a list of hubs")
    for token, urls in hubs.items():
        if not _TOKEN.fullmatch(token) or not isinstance(urls, list) or not urls:
            raise ValueError("an entry is no hub")
        _expect_urls(urls)
    _expect_urls(list(refused))
    if not all(isinstance(t, str) and _TOKEN.fullmatch(t) for t in refused.values()):
        raise ValueError("a refused entry is no hub")
    return _File(hubs=hubs, refused=refused)


def _expect_urls(urls: list[object]) -> None:
    for url in urls:
        if not isinstance(url, str):
            raise ValueError("a URL is not a text")
        try:
            hub_key(url)
        except ConfigError:
            raise ValueError("a URL names no hub") from None


def _display(url: str) -> str:
    return dialled(url).removesuffix("/ws")


def _same(one: str, other: str) -> bool:
    return hub_key(one) == hub_key(other)


def _is_local(url: str) -> bool:
    return not leaves_this_network(url)


def _on_this_machine(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _is_hash_of(token: str, url: str) -> bool:
    """Whether a token stands for a URL in any spelling a hub may be configured with."""
    bare = hub_key(url)
    scheme, _, rest = _display(url).partition("://")
    typed = {bare, rest, rest.lower()}
    if scheme == "wss" and "/" not in bare:
        typed.add(f"{bare}:443")
    return any(
        _hash(f"{scheme}://{text}{end}") == token
        for scheme in _SCHEMES
        for text in typed
        for end in ("", "/", "/ws")
    )


def _is_bind_address(token: str, urls: list[str]) -> bool:
    """Whether a token may stand for a bind address, which any number of hubs share.

    The ports tried are those of the URLs, the default, and 0 for "any free one".
    """
    ports = {_DEFAULT_PORT, 0, *(urlsplit(url).port or 0 for url in urls)}
    return any(
        _hash(f"parler://{host}:{port}") == token
        for host in _BIND_HOSTS
        for port in ports
    )


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]
