"""Which hub is told which join secret, and which hub may be spoken to in clear.

A secret belongs to one hub. A pasted ``KEY@HUB`` names any hub somebody likes, and
must not draw out the secret of another (protocol 13.2).
"""

import shlex
from pathlib import Path

from parler.errors import ConfigError
from parler.identity.settings import Settings, dialled, hub_key
from parler.machine import files
from parler.wire.limits import MAX_HELLO_SECRET_BYTES
from parler.wire.urls import leaves_this_network

FILE_NAME = "secrets.json"
MAX_SECRETS = 1000


class JoinSecrets:
    """The secrets.json of one base home: hub URL to join secret."""

    def __init__(self, path: Path) -> None:
        """Take the file's path; nothing is read yet."""
        self._path = path

    def for_hub(self, url: str) -> str | None:
        """The secret remembered for a hub, in whatever spelling.

        A secret that was given for an encrypted connection is not for a plain one:
        otherwise ``KEY@ws://…`` would have it sent in clear.

        Raises:
            IdentityError: Other users may read the file.
            ConfigError: The file is damaged, or the URL names no hub.
        """
        for known, secret in self._read().items():
            if _may_have(url, known):
                return secret
        return None

    def urls(self) -> list[str]:
        """The hubs that a secret is kept for; raises as `for_hub`."""
        return list(self._read())

    def remember(self, url: str, secret: str) -> None:
        """Keep a hub's secret, in place of an older one.

        Raises:
            ConfigError: The secret is empty or too long, or the file not writable.
        """
        size = len(secret.encode("utf-8", "replace"))
        if not 0 < size <= MAX_HELLO_SECRET_BYTES:
            raise ConfigError(
                f"a join secret has 1 to {MAX_HELLO_SECRET_BYTES} bytes, not {size}"
            )
        self._change(url, secret)

    def forget(self, url: str) -> None:
        """Drop what is kept for a hub."""
        self._change(url, None)

    def _change(self, url: str, secret: str | None) -> None:
        key = hub_key(url)
        with files.locked(self._path):
            kept: dict[str, object] = {
                known: value
                for known, value in self._read().items()
                if hub_key(known) != key
            }
            if secret is not None:
                kept[dialled(url).removesuffix("/ws")] = secret
            for oldest in list(kept)[:-MAX_SECRETS]:
                del kept[oldest]
            files.write_private(self._path, files.json_bytes(kept))

    def _read(self) -> dict[str, str]:
        try:
            raw = files.json_object(files.read_private(self._path))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise self._damaged(str(exc)) from None
        secrets: dict[str, str] = {}
        for url, secret in raw.items():
            if not isinstance(secret, str):
                raise self._damaged("a secret is not a text")
            try:
                dialled(url)
            except ConfigError as exc:
                raise self._damaged(exc.message) from None
            secrets[url] = secret
        return secrets

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(
            f"{self._path} is damaged: {why}", next_step=files.aside(self._path)
        )


def secret_for(
    hub: str, settings: Settings, store: JoinSecrets | None = None
) -> str | None:
    """The join secret for a hub that is about to be dialled, if it has one.

    ``PARLER_JOIN_SECRET`` is for the configured hub alone.

    Raises:
        IdentityError: Other users may read the stored secrets.
        ConfigError: The stored secrets are damaged, or the URL names no hub.
    """
    if settings.join_secret and _may_have(hub, settings.hub):
        return settings.join_secret
    return store.for_hub(hub) if store else None


def is_withheld(hub: str, settings: Settings) -> bool:
    """Whether ``PARLER_JOIN_SECRET`` is set but not for this hub.

    So that a refusal by a hub that wants a secret can name the remedy, ``--hub``.
    """
    return settings.join_secret is not None and not _may_have(hub, settings.hub)


def require_safe_url(hub: str, *, allow_plain: bool) -> str:
    """The URL to dial, if everything said over it stays private or was meant not to.

    Plain ``ws://`` is fine on this machine and in private networks.

    Raises:
        ConfigError: The text names no hub, or one beyond this network without TLS.
    """
    url = dialled(hub)
    if url.startswith("wss://") or allow_plain or not leaves_this_network(url):
        return url
    encrypted = "wss://" + url.removeprefix("ws://").removesuffix("/ws")
    raise ConfigError(
        f"{hub} is a plain, unencrypted connection beyond this network: everybody on "
        f"the way could read along; use {encrypted}, or --insecure if that is meant",
        next_step=f"parler doctor --hub {shlex.quote(encrypted)}",
    )


def _may_have(hub: str, owner: str) -> bool:
    """Whether the secret given for `owner` may be sent to `hub`."""
    if hub_key(hub) != hub_key(owner):
        return False
    downgrade = dialled(owner).startswith("wss:") and dialled(hub).startswith("ws:")
    return not downgrade
