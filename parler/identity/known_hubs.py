"""Which hub a challenge belongs to, so that no hub passes on another hub's.

Whoever answers a challenge signs in at the hub that made it. A hostile hub could ask a
real one for a challenge, hand it to us, and be us over there (protocol 13.1). Each
challenge carries a token that stands for its hub: a hash of its URL, or the beginning
of its id (protocol 2.3). We remember which token an address has, and stop where a token
comes from another address, or an address shows another token: there is another hub now.

What a token can and cannot tell decides the exceptions:

- A token that is the hash of the dialled URL itself belongs there, whatever we noted
  before.
- Loopback and this machine's own addresses are one place, if the port is one.
- An existing hub without a configured URL uses its bind address, such as
  ``parler://127.0.0.1:7070``: countless hubs share that token, and it names no
  particular one. On this machine and in private networks it is neither compared nor
  remembered. Beyond, where a hub behind a proxy may show it, it is remembered, and a
  second such hub is refused; but having met it in here is no objection, because nobody
  out there can reach a hub in here to ask it for a challenge. Where such a hub was and
  one with an id is now, it was upgraded.
- Everything else that differs is refused, also between two ports of this machine and
  two machines of one network: there a stranger's laptop is enough.
"""

import hashlib
import logging
import re
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from parler.errors import ConfigError, RelayedChallenge, ReplacedHub
from parler.identity.settings import dialled, hub_key
from parler.machine import files
from parler.machine.network import own_addresses
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
    REPLACED = auto()


@dataclass(slots=True)
class _File:
    """The file in memory: tokens with the URLs they were met under, first one first."""

    hubs: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    """Tokens that gave way to the hash of the URL that they were met under."""


class KnownHubs:
    """The known_hubs.json of one machine's home; safe to share between processes."""

    def __init__(
        self,
        path: Path,
        *,
        remember: bool = True,
        own_hub: Callable[[], str | None] = lambda: None,
        earlier: Path | None = None,
        own_addresses: Callable[[], Collection[str]] = own_addresses,
    ) -> None:
        """Take the file's path; nothing is read yet.

        Args:
            remember: Whether `check` notes what it meets; to look only, it does not.
            own_hub: Where this machine's own hub runs now, if that is known by the
                lock it holds: it may come from another port of this machine.
            earlier: Where an app's home had a file of its own, which is known too.
            own_addresses: The addresses of this machine's interfaces.
        """
        self._path = path
        self._remember = remember
        self._own_hub = own_hub
        self._earlier = earlier
        self._places = _Places(own_addresses)

    def check(self, token_field: str, dialled_url: str) -> None:
        """Make sure that a challenge may be answered, and remember where it was met.

        If nothing can be written, as in a read-only home, it is still checked, but not
        remembered.

        Args:
            token_field: The third field of the nonce, which was checked to be one.
            dialled_url: The hub's URL in any spelling.

        Raises:
            RelayedChallenge: The token is known from another address.
            ReplacedHub: The address is known with another token.
            ConfigError: The file is damaged.
        """
        if not _TOKEN.fullmatch(token_field):
            raise ValueError("the token of a hub has twelve hex digits")
        url = _display(dialled_url)
        file = self._read()
        verdict = self._judge(file, token_field, url)
        if verdict is _Verdict.FINE:
            return
        if verdict is _Verdict.REMEMBER and not self._remember:
            return
        try:
            with files.locked(self._path):
                file = self._read()
                verdict = self._judge(file, token_field, url)
                if verdict is _Verdict.REMEMBER:
                    self._note(file, token_field, url)
                elif verdict is not _Verdict.FINE:
                    self._note_refusal(file, token_field, url)
                self._write(file)
        except files.Unwritable:
            logger.warning("cannot remember hubs in %s", self._path)
        mend = f"parler trust-hub {shlex.quote(url)}"
        if verdict is _Verdict.RELAYED:
            raise RelayedChallenge(
                f"the hub {url} asks for proof with a challenge that belongs to "
                f"{' or '.join(file.hubs[token_field])}: somebody may be relaying it "
                "to sign in there as you; nothing was signed. Only if both addresses "
                "are one hub, say so",
                next_step=mend,
            )
        if verdict is _Verdict.REPLACED:
            before = self._places.token_of(file, url)
            raise ReplacedHub(
                f"another hub answers at {url}: your rooms live on hub {before}, this "
                f"is hub {token_field}; nothing was signed. Only if the hub there was "
                "set up anew, say so",
                next_step=mend,
            )

    def urls(self) -> list[str]:
        """The addresses that hubs were met at.

        Raises:
            ConfigError: The file is damaged.
        """
        return [url for urls in self._read().hubs.values() for url in urls]

    def token_of(self, url: str) -> str | None:
        """The token of the one hub that an address is known for, if it is.

        Raises:
            ConfigError: The file is damaged.
        """
        token = self._places.token_of(self._read(), _display(url))
        return token if token and names_one_hub(token, url) else None

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
            pending = self._pending(file, shown)
            token = token or (file.refused[pending] if pending else None)
            if token is None or not _TOKEN.fullmatch(token):
                raise ConfigError(
                    f"no challenge of the hub {shown} was refused lately; connect "
                    "to it first",
                    next_step=f"parler doctor --hub {shlex.quote(shown)}",
                )
            self._note(file, token, shown, trusted=True)
            if pending:
                del file.refused[pending]
            self._write(file)
        return shown

    def former(self, dialled_url: str) -> frozenset[str]:
        """The tokens that the hub at a URL had before it was told that URL.

        Whoever answers there could show them as well, so nobody gains by it.

        Raises:
            ConfigError: The file is damaged.
        """
        file, url = self._read(), _display(dialled_url)
        return frozenset(
            token
            for token, at in file.former.items()
            if token not in file.hubs and self._places.same(at, url)
        )

    def _read(self) -> _File:
        file = _read_file(self._path)
        if self._earlier is not None:
            # What is said of an address here is newer.
            earlier = {
                token: [at for at in urls if self._places.token_of(file, at) is None]
                for token, urls in _read_file(self._earlier).hubs.items()
            }
            file.hubs = {t: at for t, at in earlier.items() if at} | file.hubs
        return file

    def _write(self, file: _File) -> None:
        value: dict[str, object] = {"hubs": file.hubs, "refused": file.refused}
        if file.former:
            value["former"] = file.former
        files.write_private(self._path, files.json_bytes(value))

    def _judge(self, file: _File, token: str, url: str) -> _Verdict:
        known = file.hubs.get(token, [])
        if any(self._places.same(url, other) for other in known):
            return _Verdict.FINE
        nobodys = _is_bind_address(token, [url, *known])
        at_home = not nobodys and _is_hash_of(token, url)
        verdict = self._judge_token(known, url, nobodys=nobodys, at_home=at_home)
        if verdict is _Verdict.RELAYED or at_home:
            return verdict
        before = self._places.token_of(file, url)
        if before is None or _is_from_before_ids(before, url):
            return verdict
        return _Verdict.REPLACED

    def _judge_token(
        self, known: list[str], url: str, *, nobodys: bool, at_home: bool
    ) -> _Verdict:
        if nobodys and _is_local(url):
            return _Verdict.FINE
        if at_home or not known:
            return _Verdict.REMEMBER
        if nobodys and all(_is_local(other) for other in known):
            return _Verdict.REMEMBER
        here = self._places.on_this_machine
        own = self._own_hub()
        if own and self._places.same(url, own):
            moved = all(here(other) for other in known)
            return _Verdict.REMEMBER if moved else _Verdict.RELAYED
        return _Verdict.RELAYED

    def _note(
        self, file: _File, token: str, url: str, *, trusted: bool = False
    ) -> None:
        at_home = not trusted and _is_hash_of(token, url)
        if not at_home:
            self._forget_former(file, url)
        for other in list(file.hubs):
            # A hub has one token: what it had before is not its own any more.
            left = [at for at in file.hubs[other] if not self._places.same(at, url)]
            gave_way = other != token and len(left) < len(file.hubs[other])
            if at_home and gave_way and not _is_from_before_ids(other, url):
                file.former[other] = url
            if left:
                file.hubs[other] = left
            else:
                del file.hubs[other]
        known = file.hubs.pop(token, [])
        if at_home:
            # Proven to be at home here. Where we met it first was chance, and perhaps
            # a relay; what the user trusted since stays.
            known = [url, *(k for k in known[:1] if _is_hash_of(token, k)), *known[1:]]
        else:
            known = [*known, url]
        file.hubs[token] = known[:MAX_URLS_PER_TOKEN]
        for tokens in (file.hubs, file.former):
            for oldest in list(tokens)[:-MAX_TOKENS]:
                del tokens[oldest]

    def _forget_former(self, file: _File, url: str) -> None:
        """Another hub is there now, or one that goes by its id again."""
        for token, at in list(file.former.items()):
            if self._places.same(at, url):
                del file.former[token]

    def _note_refusal(self, file: _File, token: str, url: str) -> None:
        if pending := self._pending(file, url):
            del file.refused[pending]
        file.refused[url] = token
        for oldest in list(file.refused)[:-MAX_REFUSED]:
            del file.refused[oldest]

    def _pending(self, file: _File, url: str) -> str | None:
        same = self._places.same
        return next((known for known in file.refused if same(known, url)), None)


def names_one_hub(token: str, url: str) -> bool:
    """Whether a token stands for one hub, and not for a bind address of many."""
    return not _is_bind_address(token, [_display(url)])


def same_place(one: str, other: str) -> bool:
    """Whether two URLs are one hub's, or lead to one port of this machine."""
    return _Places(own_addresses).same(one, other)


class _Places:
    """Which addresses are one place."""

    def __init__(self, own_addresses: Callable[[], Collection[str]]) -> None:
        self._own_addresses = own_addresses

    def same(self, one: str, other: str) -> bool:
        """Whether two URLs lead to one port of one machine."""
        if hub_key(one) == hub_key(other):
            return True
        return (
            _port_and_path(one) == _port_and_path(other)
            and self.on_this_machine(one)
            and self.on_this_machine(other)
        )

    def on_this_machine(self, url: str) -> bool:
        """Whether a URL dials this machine, be it by its address in a network."""
        host = urlsplit(url).hostname or ""
        return is_loopback(host) or host.partition("%")[0] in self._own_addresses()

    def token_of(self, file: _File, url: str) -> str | None:
        """The token that an address was last met with."""
        for token, urls in file.hubs.items():
            if any(self.same(known, url) for known in urls):
                return token
        return None


def _read_file(path: Path) -> _File:
    try:
        return _file(files.json_object(files.read_bounded(path)))
    except FileNotFoundError:
        return _File()
    except ValueError as exc:
        # Starting afresh on our own would forget whom to refuse.
        raise ConfigError(
            f"{path} is damaged ({exc}): which hub is which is not known",
            next_step=files.aside(path),
        ) from None


def _file(raw: dict[str, object]) -> _File:
    kinds = (raw.get(name, {}) for name in ("hubs", "refused", "former"))
    hubs, refused, former = kinds
    if not (
        isinstance(hubs, dict)
        and isinstance(refused, dict)
        and isinstance(former, dict)
    ):
        raise ValueError("not a list of hubs")
    for token, urls in hubs.items():
        if not _TOKEN.fullmatch(token) or not isinstance(urls, list) or not urls:
            raise ValueError("an entry is no hub")
        _expect_urls(urls)
    _expect_urls([*refused, *former.values()])
    for token in (*refused.values(), *former):
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise ValueError("a refused or a former entry is no hub")
    return _File(hubs=hubs, refused=refused, former=former)


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


def _port_and_path(url: str) -> tuple[int, str]:
    parts = urlsplit(_display(url))
    return parts.port or (443 if parts.scheme == "wss" else 80), parts.path


def _is_local(url: str) -> bool:
    return not leaves_this_network(url)


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


def _is_from_before_ids(token: str, url: str) -> bool:
    """Whether a token may be what a hub had for its bind address, on whatever port."""
    return _hash(f"parler://{urlsplit(url).netloc}") == token or _is_of_any_port(token)


@lru_cache(maxsize=64)
def _is_of_any_port(token: str) -> bool:
    return any(
        _hash(f"parler://{host}:{port}") == token
        for host in _BIND_HOSTS
        for port in range(2**16)
    )


def _hash(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]
