"""A challenge is answered only at the hub it belongs to."""

import hashlib
import json
import stat
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parler.errors import ConfigError, RelayedChallenge, ReplacedHub
from parler.identity import known_hubs as module
from parler.identity.known_hubs import MAX_REFUSED, MAX_TOKENS, KnownHubs
from parler.machine import files
from tests._support.polling import WAIT

REAL = "wss://parler-hub.fly.dev"
EVIL = "wss://evil.example"
OPAQUE = "0123456789ab"


def token_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


DEFAULT = token_of("parler://127.0.0.1:7070")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "known_hubs.json"


@pytest.fixture
def known(path: Path) -> KnownHubs:
    return KnownHubs(path)


def saved(path: Path) -> dict[str, list[str]]:
    hubs = json.loads(path.read_bytes())["hubs"]
    assert isinstance(hubs, dict)
    return hubs


def test_relayed_challenge_is_refused_and_says_so(known: KnownHubs) -> None:
    known.check(OPAQUE, REAL)
    with pytest.raises(RelayedChallenge) as caught:
        known.check(OPAQUE, EVIL)
    assert EVIL in caught.value.message
    assert REAL in caught.value.message
    assert "relaying" in caught.value.message
    assert caught.value.next_step == f"parler trust-hub {EVIL}"
    with pytest.raises(RelayedChallenge):
        known.check(OPAQUE, EVIL)
    known.check(OPAQUE, REAL)


def test_another_process_remembers_too(known: KnownHubs, path: Path) -> None:
    known.check(OPAQUE, REAL)
    with pytest.raises(RelayedChallenge):
        KnownHubs(path).check(OPAQUE, EVIL)


def test_first_use_is_written_once_and_privately(known: KnownHubs, path: Path) -> None:
    known.check(OPAQUE, REAL)
    assert saved(path) == {OPAQUE: [REAL]}
    before = path.stat()
    known.check(OPAQUE, REAL + "/ws")
    assert path.stat() == before
    if sys.platform != "win32":
        assert stat.S_IMODE(before.st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "spelling",
    [
        "https://parler-hub.fly.dev",
        "wss://parler-hub.fly.dev/",
        "wss://parler-hub.fly.dev/ws",
        "WSS://Parler-Hub.Fly.Dev",
        "wss://parler-hub.fly.dev:443/ws/",
    ],
)
def test_other_spelling_of_a_hub_is_that_hub(known: KnownHubs, spelling: str) -> None:
    known.check(OPAQUE, REAL)
    known.check(OPAQUE, spelling)


def test_hubs_with_their_own_tokens_are_all_fine(known: KnownHubs) -> None:
    for number in range(5):
        known.check(f"{number:012x}", f"wss://hub{number}.example")
    for number in range(5):
        known.check(f"{number:012x}", f"wss://hub{number}.example")


@pytest.mark.parametrize(
    "url", [REAL, "ws://192.168.1.5:7070", "ws://127.0.0.1:7070", "ws://nas.local"]
)
def test_another_hub_at_a_known_address_stops_with_both_named(
    known: KnownHubs, path: Path, url: str
) -> None:
    known.check("a" * 12, url)
    for _ in range(2):
        with pytest.raises(ReplacedHub) as caught:
            known.check("b" * 12, url)
        assert url in caught.value.message
        assert "your rooms live on hub aaaaaaaaaaaa" in caught.value.message
        assert "this is hub bbbbbbbbbbbb" in caught.value.message
        assert caught.value.next_step == f"parler trust-hub {url}"
    known.check("a" * 12, url)
    known.trust(url)
    known.check("b" * 12, url)
    assert saved(path) == {"b" * 12: [url]}


def test_a_hub_that_was_told_its_url_is_known_by_its_former_token(
    known: KnownHubs, path: Path
) -> None:
    known.check("a" * 12, REAL)
    assert not known.former(REAL)
    known.check(token_of(REAL), REAL)
    assert KnownHubs(path).former(REAL + "/ws") == {"a" * 12}
    assert not known.former(EVIL)


def test_a_bind_address_is_no_former_token(known: KnownHubs) -> None:
    known.check(token_of("parler://0.0.0.0:9"), REAL)
    known.check(token_of(REAL), REAL)
    assert not known.former(REAL)


def test_a_former_token_that_is_another_hubs_is_nobodys(known: KnownHubs) -> None:
    """Evil passed on the challenge of a hub that nobody knew yet."""
    known.check(token_of(REAL), EVIL)
    known.check(token_of(EVIL), EVIL)
    assert known.former(EVIL) == {token_of(REAL)}
    known.check(token_of(REAL), REAL)
    assert not known.former(EVIL)


def test_a_hub_that_was_set_up_anew_has_no_former_token(known: KnownHubs) -> None:
    known.check("a" * 12, REAL)
    known.check(token_of(REAL), REAL)
    with pytest.raises(ReplacedHub):
        known.check("b" * 12, REAL)
    known.trust(REAL)
    assert not known.former(REAL)


def test_former_tokens_are_bounded(
    known: KnownHubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 3)
    urls = [f"wss://hub{number}.example" for number in range(5)]
    for number, url in enumerate(urls):
        known.check(f"{number:012x}", url)
        known.check(token_of(url), url)
    assert [len(known.former(url)) for url in urls] == [0, 0, 1, 1, 1]


def test_hub_run_by_hand_in_place_of_the_known_one_is_noticed(known: KnownHubs) -> None:
    known.check("a" * 12, "ws://127.0.0.1:7070")
    with pytest.raises(ReplacedHub):
        known.check(DEFAULT, "ws://localhost:7070")


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        ("parler://127.0.0.1:7070", "ws://127.0.0.1:7070"),
        ("parler://0.0.0.0:7070", "ws://192.168.1.5:7070"),
        ("parler://0.0.0.0:8080", "wss://team.example"),
        ("parler://192.168.1.5:7070", "ws://192.168.1.5:7070"),
    ],
)
def test_hub_that_has_an_id_since_its_upgrade_is_the_hub_it_was(
    known: KnownHubs, path: Path, bound: str, url: str
) -> None:
    # As an earlier version of this file has it.
    before = {"hubs": {token_of(bound): [url]}, "refused": {}}
    files.write_private(path, files.json_bytes(before))
    known.check("a" * 12, url)
    assert saved(path) == {"a" * 12: [url]}


def test_hub_that_was_given_its_url_is_the_hub_it_was(
    known: KnownHubs, path: Path
) -> None:
    known.check("a" * 12, REAL)
    known.check(token_of(REAL), REAL)
    assert saved(path) == {token_of(REAL): [REAL]}


def test_hub_cannot_push_out_others_by_showing_many_tokens(
    known: KnownHubs, path: Path
) -> None:
    known.check(OPAQUE, REAL)
    known.check("f" * 12, EVIL)
    for number in range(20):
        with pytest.raises(ReplacedHub):
            known.check(f"{number:012x}", EVIL)
    assert saved(path) == {OPAQUE: [REAL], "f" * 12: [EVIL]}
    with pytest.raises(RelayedChallenge):
        known.check(OPAQUE, EVIL)


# default public urls, shared by many hubs


@pytest.mark.parametrize(
    "urls",
    [
        ("parler://127.0.0.1:7070", "ws://localhost:7070"),
        ("parler://127.0.0.1:7070", "ws://127.0.0.1:9000"),
        ("parler://192.168.1.5:7070", "parler://192.168.1.6:7070"),
        ("parler://127.0.0.1:7070", "parler://10.0.0.9:7070", "ws://[::1]:7070"),
        ("parler://127.0.0.1:7070", "wss://team.example"),
        ("wss://team.example", "parler://127.0.0.1:7070"),
        ("wss://team.example", "parler://192.168.1.5:7070"),
        ("ws://nas.local:7070", "ws://192.168.1.5:7070", "wss://team.example"),
    ],
)
def test_hubs_that_share_the_default_url_do_not_trip_the_alarm(
    known: KnownHubs, urls: tuple[str, ...]
) -> None:
    for url in (*urls, *urls):
        known.check(DEFAULT, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "[::]"])
@pytest.mark.parametrize("port", [0, 7070, 8123])
def test_bind_address_of_any_port_names_no_hub(
    known: KnownHubs, host: str, port: int
) -> None:
    token = token_of(f"parler://{host}:{port}")
    for address in ("192.168.1.5", "192.168.1.6", "127.0.0.1"):
        known.check(token, f"parler://{address}:8123")


def test_second_hub_beyond_this_network_with_the_default_url_is_refused(
    known: KnownHubs,
) -> None:
    known.check(DEFAULT, "parler://127.0.0.1:7070")
    known.check(DEFAULT, "wss://team.example")
    with pytest.raises(RelayedChallenge):
        known.check(DEFAULT, EVIL)
    known.check(DEFAULT, "parler://127.0.0.1:7070")


@pytest.mark.parametrize(
    "relay", ["ws://127.0.0.1:7070", "ws://192.168.1.66:7070", "ws://nas.local:7070"]
)
def test_nearby_relay_of_a_public_hub_is_refused(known: KnownHubs, relay: str) -> None:
    known.check(token_of(REAL), REAL)
    with pytest.raises(RelayedChallenge):
        known.check(token_of(REAL), relay)


def test_relay_between_machines_of_one_network_is_refused(known: KnownHubs) -> None:
    known.check(token_of("parler://192.168.1.5:7070"), "ws://192.168.1.5:7070")
    with pytest.raises(RelayedChallenge):
        known.check(token_of("parler://192.168.1.5:7070"), "ws://192.168.1.66:7070")


@pytest.mark.parametrize(
    ("first", "relay"),
    [
        ("ws://192.168.1.5:7070", "ws://192.168.1.66:7070"),
        ("ws://192.168.1.5:7070", "ws://192.168.1.5:7071"),
        ("ws://192.168.1.5:7070", "ws://127.0.0.1:7070"),
        ("ws://127.0.0.1:9001", "ws://127.0.0.1:9002"),
        ("ws://127.0.0.1:7070", "ws://10.0.0.9:7070"),
        ("ws://nas.local:7070", "ws://10.0.0.9:7070"),
    ],
)
def test_id_of_one_hub_is_never_answered_at_another_address(
    known: KnownHubs, first: str, relay: str
) -> None:
    # Also what a copy of a hub's database shows on another machine.
    known.check(OPAQUE, first)
    with pytest.raises(RelayedChallenge) as caught:
        known.check(OPAQUE, relay)
    assert first in caught.value.message
    assert caught.value.next_step == f"parler trust-hub {relay}"
    known.trust(relay)
    known.check(OPAQUE, relay)
    known.check(OPAQUE, first)


def test_what_an_apps_home_knew_is_known_to_all(path: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "home" / "agents" / "codex" / "known_hubs.json"
    KnownHubs(earlier).check(OPAQUE, REAL)
    known = KnownHubs(path, earlier=earlier)
    for _ in range(2):
        known.check(OPAQUE, REAL)
        with pytest.raises(RelayedChallenge):
            known.check(OPAQUE, EVIL)
        with pytest.raises(ReplacedHub):
            known.check("b" * 12, REAL)
    # What a person then says in a terminal holds for the app as well.
    KnownHubs(path).trust(EVIL, OPAQUE)
    known.check(OPAQUE, EVIL)


def test_hub_that_was_replaced_is_not_known_again_by_an_apps_file(
    path: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "home" / "agents" / "codex" / "known_hubs.json"
    KnownHubs(earlier).check(OPAQUE, REAL)
    known = KnownHubs(path, earlier=earlier)
    with pytest.raises(ReplacedHub):
        known.check("b" * 12, REAL)
    KnownHubs(path).trust(REAL)
    known.check("b" * 12, REAL)
    with pytest.raises(ReplacedHub):
        known.check(OPAQUE, REAL)
    assert saved(path) == {"b" * 12: [REAL]}


def test_loopback_and_own_addresses_are_one_place(path: Path) -> None:
    known = KnownHubs(path, own_addresses=lambda: {"192.168.1.5", "fe80::5"})
    known.check(OPAQUE, "ws://127.0.0.1:7070")
    for same in ("localhost", "[::1]", "127.0.0.9", "192.168.1.5", "[fe80::5%eth0]"):
        known.check(OPAQUE, f"ws://{same}:7070")
    assert saved(path) == {OPAQUE: ["ws://127.0.0.1:7070"]}
    with pytest.raises(ReplacedHub):
        known.check("b" * 12, "ws://192.168.1.5:7070")
    for other in ("ws://192.168.1.5:7071", "ws://192.168.1.6:7070"):
        with pytest.raises(RelayedChallenge):
            known.check(OPAQUE, other)


def test_own_hub_may_move_to_another_port(path: Path) -> None:
    KnownHubs(path).check(OPAQUE, "ws://127.0.0.1:7070")
    moved = KnownHubs(path, own_hub=lambda: "ws://127.0.0.1:7071")
    moved.check(OPAQUE, "ws://127.0.0.1:7071")
    KnownHubs(path).check(OPAQUE, "ws://127.0.0.1:7071")
    with pytest.raises(ReplacedHub):
        moved.check("b" * 12, "ws://127.0.0.1:7071")


def test_own_hub_passes_on_no_challenge_from_beyond_this_machine(path: Path) -> None:
    KnownHubs(path).check(OPAQUE, "ws://192.168.1.66:7070")
    with pytest.raises(RelayedChallenge):
        KnownHubs(path, own_hub=lambda: "ws://127.0.0.1:7070").check(
            OPAQUE, "ws://127.0.0.1:7070"
        )


@pytest.mark.parametrize(
    "public",
    [
        REAL,
        "https://parler-hub.fly.dev",
        "wss://parler-hub.fly.dev/ws",
        "https://parler-hub.fly.dev/",
        "parler://parler-hub.fly.dev",
        "wss://parler-hub.fly.dev:443",
    ],
)
def test_hub_at_home_is_believed_and_the_earlier_relay_forgotten(
    known: KnownHubs, path: Path, public: str
) -> None:
    known.check(token_of(public), EVIL)
    known.check(token_of(public), REAL)
    assert saved(path) == {token_of(public): [REAL]}
    with pytest.raises(RelayedChallenge):
        known.check(token_of(public), EVIL)


# the override


def test_trusting_a_refused_hub_lets_it_through(known: KnownHubs, path: Path) -> None:
    known.check(OPAQUE, REAL)
    with pytest.raises(RelayedChallenge):
        known.check(OPAQUE, "wss://alias.example/ws")
    assert known.trust("https://alias.example") == "wss://alias.example"
    known.check(OPAQUE, "wss://alias.example")
    known.check(OPAQUE, REAL)
    assert json.loads(path.read_bytes())["refused"] == {}
    with pytest.raises(RelayedChallenge):
        known.check(OPAQUE, EVIL)


def test_trust_survives_meeting_the_hub_at_home(known: KnownHubs) -> None:
    token = token_of(REAL)
    known.check(token, REAL)
    known.trust("wss://alias.example", token)
    known.check(token, REAL)
    known.check(token, "wss://alias.example")


def test_trusting_a_hub_that_was_not_refused_is_an_error(known: KnownHubs) -> None:
    with pytest.raises(ConfigError, match="no challenge of the hub") as caught:
        known.trust(EVIL)
    assert caught.value.next_step == f"parler doctor --hub {EVIL}"


def test_trust_is_for_one_token_only(known: KnownHubs) -> None:
    known.check("a" * 12, "wss://one.example")
    known.check("b" * 12, "wss://two.example")
    with pytest.raises(RelayedChallenge):
        known.check("a" * 12, EVIL)
    known.trust(EVIL)
    with pytest.raises(RelayedChallenge):
        known.check("b" * 12, EVIL)


# the file


def test_file_is_bounded(known: KnownHubs, path: Path) -> None:
    hubs = {f"{n:012x}": [f"wss://h{n}.example"] for n in range(MAX_TOKENS)}
    files.write_private(path, files.json_bytes({"hubs": hubs, "refused": {}}))
    known.check("f" * 12, REAL)
    assert len(saved(path)) == MAX_TOKENS
    assert "f" * 12 in saved(path)
    assert f"{0:012x}" not in saved(path)


def test_refusals_are_bounded(known: KnownHubs, path: Path) -> None:
    known.check(OPAQUE, REAL)
    for number in range(MAX_REFUSED + 5):
        with pytest.raises(RelayedChallenge):
            known.check(OPAQUE, f"wss://evil{number}.example")
    assert len(json.loads(path.read_bytes())["refused"]) == MAX_REFUSED


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"[]",
        b'{"hubs": []}',
        b'{"hubs": {"x": ["wss://a"]}}',
        b'{"hubs": {"0123456789ab": []}}',
        b'{"hubs": {"0123456789ab": [1]}}',
        b'{"hubs": {"0123456789ab": "wss://a"}}',
        b'{"hubs": {"0123456789ab": ["ftp://a"]}}',
        b'{"refused": {"wss://a": 5}}',
        b'{"refused": {"": "0123456789ab"}}',
    ],
)
def test_damaged_file_is_refused_and_not_replaced(
    known: KnownHubs, path: Path, damage: bytes
) -> None:
    files.write_private(path, damage)
    with pytest.raises(ConfigError, match="damaged") as caught:
        known.check(OPAQUE, REAL)
    assert caught.value.next_step == f"mv {path} {path}.bak"
    assert path.read_bytes() == damage


def test_unwritable_home_still_catches_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "known_hubs.json"
    KnownHubs(path).check(OPAQUE, REAL)
    (tmp_path / "known_hubs.json.lock").unlink()
    (tmp_path / "known_hubs.json.lock").mkdir()
    known = KnownHubs(path)
    known.check("b" * 12, "wss://new.example")
    with pytest.raises(RelayedChallenge, match="parler-hub"):
        known.check(OPAQUE, EVIL)
    assert saved(path) == {OPAQUE: [REAL]}


def test_text_that_is_no_token_is_our_own_mistake(known: KnownHubs) -> None:
    for text in ("", "x" * 12, "0123456789AB", "0123456789ab\n"):
        with pytest.raises(ValueError, match="twelve hex digits"):
            known.check(text, REAL)


def test_first_uses_at_the_same_moment_are_all_remembered(
    known: KnownHubs, path: Path
) -> None:
    start = threading.Barrier(6)

    def connect(number: int) -> None:
        start.wait(WAIT)
        known.check(f"{number:012x}", f"wss://hub{number}.example")

    threads = [threading.Thread(target=connect, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(saved(path)) == 6


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OPAQUE, DEFAULT, token_of(REAL), "b" * 12]),
            st.sampled_from(
                [REAL, EVIL, "ws://127.0.0.1:7070", "ws://192.168.1.5:7070"]
            ),
        ),
        max_size=6,
    )
)
@settings(max_examples=25, deadline=None)
def test_token_is_never_accepted_at_two_hubs_beyond_this_network(
    tmp_path_factory: pytest.TempPathFactory, meetings: list[tuple[str, str]]
) -> None:
    known = KnownHubs(tmp_path_factory.mktemp("home") / "known_hubs.json")
    at: dict[str, str] = {}
    for token, url in meetings:
        try:
            known.check(token, url)
        except (RelayedChallenge, ReplacedHub):
            continue
        if url in (REAL, EVIL):
            before = at.get(token, url)
            home = token == token_of(REAL) and url == REAL
            # One hub has one token: what it had before it was known by its URL, or by
            # an id, is forgotten.
            assert before == url or home
            shown = {known_token for known_token, u in at.items() if u == url}
            assert shown <= {token, DEFAULT} or home
            at = {known_token: u for known_token, u in at.items() if u != url}
            at[token] = url
