"""A join secret goes to its own hub, and plain text stays in this network."""

import stat
import sys
from pathlib import Path

import pytest

from parler.errors import ConfigError, IdentityError
from parler.identity.join_secrets import (
    JoinSecrets,
    is_withheld,
    require_safe_url,
    secret_for,
)
from parler.identity.settings import Disk, Flags, Settings, resolve_settings
from parler.machine import files

TEAM = "wss://team.example"
EVIL = "wss://evil.example"
NO_DISK = Disk(
    exists=lambda _: False, canonical=lambda path: path, saved=lambda _: None
)


@pytest.fixture
def store(tmp_path: Path) -> JoinSecrets:
    return JoinSecrets(tmp_path / "home" / "secrets.json")


def settings(hub: str, secret: str = "") -> Settings:
    env = {"PARLER_HUB": hub, "PARLER_JOIN_SECRET": secret}
    return resolve_settings(env, Path("/p"), Path("/u"), Flags(), disk=NO_DISK)


@pytest.mark.parametrize(
    ("hub", "expected"),
    [
        (TEAM, "hush"),
        ("https://Team.Example/", "hush"),
        ("wss://team.example:443/ws", "hush"),
        (EVIL, None),
        ("wss://team.example.evil.example", None),
        ("wss://team.example@evil.example", None),
        ("wss://team.example:8443", None),
        ("wss://team.example/other", None),
        ("ws://team.example", None),
        ("team.example", None),
        ("parler://team.example", None),
    ],
)
def test_secret_of_the_environment_is_for_the_configured_hub_alone(
    hub: str, expected: str | None
) -> None:
    configured = settings(TEAM, "hush")
    assert secret_for(hub, configured) == expected
    assert is_withheld(hub, configured) is (expected is None)


def test_nothing_is_withheld_without_a_secret() -> None:
    assert not is_withheld(EVIL, settings(TEAM))
    assert secret_for(TEAM, settings(TEAM)) is None


def test_plain_local_hub_gets_its_secret() -> None:
    configured = settings("parler://127.0.0.1:7070", "hush")
    assert secret_for("ws://127.0.0.1:7070/ws", configured) == "hush"
    assert secret_for("wss://127.0.0.1:7070", configured) == "hush"


def test_environment_goes_before_the_store(store: JoinSecrets) -> None:
    store.remember(TEAM, "kept")
    store.remember(EVIL, "evil's own")
    configured = settings(TEAM, "hush")
    assert secret_for(TEAM, configured, store) == "hush"
    assert secret_for(EVIL, configured, store) == "evil's own"
    assert secret_for(TEAM, settings(EVIL), store) == "kept"


def test_remembered_secret_is_found_under_any_spelling(store: JoinSecrets) -> None:
    assert store.for_hub(TEAM) is None
    store.remember("https://Team.Example/ws/", "one")
    assert store.for_hub(TEAM) == "one"
    assert store.for_hub(EVIL) is None
    store.remember(TEAM, "two")
    assert store.for_hub("https://team.example") == "two"
    store.forget("wss://team.example:443")
    assert store.for_hub(TEAM) is None


def test_remembered_secret_is_not_sent_in_clear(store: JoinSecrets) -> None:
    store.remember(TEAM, "one")
    assert store.for_hub("ws://team.example") is None
    store.remember("ws://192.168.1.5:7070", "two")
    assert store.for_hub("parler://192.168.1.5:7070") == "two"
    assert store.for_hub("wss://192.168.1.5:7070") == "two"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")
def test_secrets_are_private_and_refused_when_they_are_not(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    store = JoinSecrets(path)
    store.remember(TEAM, "hush")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(IdentityError) as caught:
        store.for_hub(TEAM)
    assert caught.value.next_step == f"chmod 600 {path}"
    with pytest.raises(IdentityError):
        store.remember(TEAM, "other")


@pytest.mark.parametrize("secret", ["", "x" * 4097, "é" * 2049])
def test_secret_no_hub_takes_is_refused(store: JoinSecrets, secret: str) -> None:
    with pytest.raises(ConfigError, match="a join secret has"):
        store.remember(TEAM, secret)


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"wss://a": 1}', b'{"ftp://a": "x"}'])
def test_damaged_store_is_named_and_not_replaced(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "secrets.json"
    files.write_private(path, damage)
    with pytest.raises(ConfigError, match="is damaged") as caught:
        JoinSecrets(path).for_hub(TEAM)
    assert str(path) in caught.value.message
    assert caught.value.next_step == f"mv {path} {path}.bak"
    with pytest.raises(ConfigError, match="is damaged"):
        JoinSecrets(path).remember(TEAM, "x")
    assert path.read_bytes() == damage


@pytest.mark.parametrize(
    ("hub", "url"),
    [
        ("wss://hub.example", "wss://hub.example/ws"),
        ("https://hub.example", "wss://hub.example/ws"),
        ("ws://127.0.0.1:7070", "ws://127.0.0.1:7070/ws"),
        ("parler://localhost:7070", "ws://localhost:7070/ws"),
        ("[::1]:7070", "ws://[::1]:7070/ws"),
        ("parler://192.168.1.5:7070", "ws://192.168.1.5:7070/ws"),
        ("parler://10.1.2.3", "ws://10.1.2.3/ws"),
        ("ws://nas.local", "ws://nas.local/ws"),
    ],
)
def test_encrypted_or_nearby_hub_is_dialled(hub: str, url: str) -> None:
    assert require_safe_url(hub, allow_plain=False) == url


@pytest.mark.parametrize(
    "hub",
    [
        "ws://hub.example",
        "http://hub.example",
        "parler://hub.example:7070",
        "hub.example:7070",
        "ws://8.8.8.8",
        "ws://localhost.evil.example",
        "ws://127.0.0.1.evil.example",
        "ws://127.0.0.1@evil.example",
    ],
)
def test_plain_hub_beyond_this_network_is_refused_unless_forced(hub: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_safe_url(hub, allow_plain=False)
    assert "wss://" in caught.value.message
    assert "--insecure" in caught.value.message
    assert require_safe_url(hub, allow_plain=True).startswith("ws://")


@pytest.mark.parametrize("hub", ["", "ftp://x", "wss://"])
def test_text_that_names_no_hub_is_refused_even_when_forced(hub: str) -> None:
    with pytest.raises(ConfigError, match="not a hub"):
        require_safe_url(hub, allow_plain=True)
