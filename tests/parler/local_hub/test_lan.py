"""Inviting a team: what is handed over, what is read, and what stays secret."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.errors import UsageError
from parler.identity.join_secrets import JoinSecrets
from parler.local_hub import Record, hub_paths, write_record
from parler.local_hub.lan import (
    FoundHub,
    TeamInvite,
    _shown,
    parse_team_invite,
    qr_lines,
    reached_as,
    remember_secret,
    team_hub,
)

URLS = st.sampled_from(
    ["ws://192.168.1.5:7070", "wss://hub.example", "ws://ann.local:1", "wss://h:8/x"]
)


@given(url=URLS, secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_is_written_into_an_invite_is_read_from_it(url: str, secret: str) -> None:
    invite = TeamInvite(url=url, secret=secret)
    if len(secret.encode()) > 400:
        return
    for text in (invite.text, f"  your invite:\n{invite.text}\n"):
        read = parse_team_invite(text)
        assert (read.url, read.secret) == (url, secret)
    bare = parse_team_invite(invite.command)
    assert (bare.url, bare.secret) == (url, None)
    if len(secret) > 8:
        assert secret not in repr(invite) + invite.command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "parler-team:",
        "parler-team://",
        "parler-team://#secret",
        "parler-team://real.host@192.168.1.66:7070#s",
        "parler-team://192.168.1.5:7070\\@evil#s",
        "parler-team://192.168.1.5:99999#s",
        "parler-team://192.168.1.5:7070#%ff",
        "parler-team://192.168.1.5:7070#" + "s" * 5000,
        "gopher://192.168.1.5",
        "x" * 5000,
    ],
)
def test_anything_else_is_no_invite(text: str) -> None:
    with pytest.raises(UsageError):
        parse_team_invite(text)


@given(text=st.text(max_size=300))
def test_reading_a_paste_never_fails_otherwise(text: str) -> None:
    try:
        invite = parse_team_invite(text)
    except UsageError:
        return
    assert invite.url.startswith(("ws://", "wss://"))


def test_a_secret_is_remembered_for_all_agents_of_the_machine(home: Path) -> None:
    base = home / ".parler"
    remember_secret(base / "agents" / "codex", "ws://192.168.1.5:7070", "hush")
    secrets = JoinSecrets(base / "secrets.json")
    assert secrets.for_hub("parler://192.168.1.5:7070/ws") == "hush"


def test_without_a_team_hub_there_is_none_to_invite_to(home: Path) -> None:
    base = home / ".parler"
    assert team_hub(base) is None
    write_record(hub_paths(base), Record())
    assert team_hub(base) is None
    assert reached_as(base, "ws://127.0.0.1:7070") is None


def test_a_qr_code_is_a_square_of_half_blocks() -> None:
    lines = list(qr_lines("parler-team://192.168.1.5:7070#" + "Ab3-" * 5))
    assert {char for line in lines for char in line} <= set("█▀▄ ")
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == (len(lines[0]) + 1) // 2
    assert set(lines[0]) == {"█"}


class Announced:
    """What a stranger on the network said."""

    def __init__(self, addresses: list[str], port: int, **said: str | None) -> None:
        self.name = "evil\x1b[2J\nname._parler._tcp.local."
        self.port = port
        self.decoded_properties = said
        self._addresses = addresses

    def parsed_addresses(self) -> list[str]:
        return self._addresses


def shown(*addresses: str, port: int = 7070, **said: str | None) -> list[FoundHub]:
    return list(_shown(Announced(list(addresses), port, **said), "aaaa-bbbb"))  # type: ignore[arg-type]


def test_a_strangers_announcement_is_made_fit_to_be_shown() -> None:
    (hub,) = shown("192.168.1.5", fp="; rm -rf", version="\x1b]0;x\x07" * 9, auth=None)
    assert "\x1b" not in hub.name + str(hub.version)
    assert "\n" not in hub.name
    assert len(str(hub.version)) <= 20
    assert hub.fingerprint is None
    assert hub.asks_secret
    (ours,) = shown("192.168.1.5", fp="aaaa-bbbb", auth="open")
    assert ours.is_ours
    assert not ours.asks_secret


def test_an_announced_hub_is_in_a_private_network_or_not_shown() -> None:
    for address in ("8.8.8.8", "127.0.0.1", "0.0.0.0", "nonsense", "fe80::1"):
        assert shown(address) == []
    assert shown("192.168.1.5", port=0) == []
    (hub,) = shown("8.8.8.8", "10.0.0.7")
    assert hub.url == "ws://10.0.0.7:7070"
