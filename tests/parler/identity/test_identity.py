"""One config.json: made once, kept whole, refused when damaged."""

import json
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parler.errors import ConfigError, IdentityError
from parler.identity.identity import (
    ADJECTIVES,
    ANIMALS,
    AttentionPolicy,
    Identity,
    active_session,
    default_name,
    ensure_identity,
    find_identity,
    load_identity,
    mint_identity,
    noted_session,
    set_active_session,
    update_identity,
)
from parler.identity.signing import Keypair
from parler.wire.base import RoomName
from parler.wire.records import Attention
from tests._support.polling import WAIT

HUB = "parler://127.0.0.1:7070"
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")


def raw_config(home: Path) -> dict[str, Any]:
    value = json.loads((home / "config.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def write_config(home: Path, value: object) -> None:
    path = home / "config.json"
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def test_minted_identity_is_loaded_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    minted = mint_identity(home, hub_url=HUB, name=" alice ", role="planner")
    loaded = load_identity(home)
    assert (loaded.name, loaded.role, loaded.hub_url) == ("alice", "planner", HUB)
    assert loaded.agent_id == minted.agent_id
    assert loaded.keypair.sign(b"x") == minted.keypair.sign(b"x")
    assert loaded.attention == AttentionPolicy(mode=Attention.OPEN)
    assert loaded.home == home


def test_file_has_the_fields_and_spelling_of_existing_clients(tmp_path: Path) -> None:
    minted = mint_identity(tmp_path, hub_url=HUB, name="alice")
    assert raw_config(tmp_path) == {
        "hub_url": HUB,
        "id": minted.agent_id,
        "seed": minted.keypair.seed,
        "name": "alice",
        "attention": {"mode": "open"},
    }
    assert (tmp_path / "config.json").read_bytes().count(b"\n") > 5


@posix
def test_key_file_is_0600_in_a_0700_home(tmp_path: Path) -> None:
    home = tmp_path / "a" / "home"
    mint_identity(home, hub_url=HUB)
    assert stat.S_IMODE((home / "config.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_config_of_an_existing_client_is_read(tmp_path: Path) -> None:
    keypair = Keypair(bytes(range(32)))
    config: dict[str, object] = {
        "hub_url": "wss://parler-hub.fly.dev",
        "id": keypair.agent_id,
        "seed": keypair.seed,
        "name": "bob",
        "role": None,
    }
    write_config(tmp_path, config)
    loaded = load_identity(tmp_path)
    assert loaded.role is None
    assert loaded.attention == AttentionPolicy()
    config["attention"] = {"mode": "focus", "muted_rooms": ["r1"], "quiet_rooms": []}
    write_config(tmp_path, config)
    assert load_identity(tmp_path).attention == AttentionPolicy(
        mode=Attention.FOCUS, muted_rooms=(RoomName("r1"),)
    )


def test_missing_identity_names_the_command_that_makes_one(tmp_path: Path) -> None:
    assert find_identity(tmp_path) is None
    with pytest.raises(IdentityError) as caught:
        load_identity(tmp_path)
    assert caught.value.next_step == f"parler init --home {tmp_path}"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": None},
        {"seed": 5},
        {"seed": ""},
        {"seed": "SU" + "A" * 56},
        {"id": None},
        {"id": "UAU2ZOXBIG6MV4FSFYNJJU2NBPDTMHSSNUF74EWIS6KLZEZCSZW5PMRM"},
        {"name": None},
        {"name": 1},
        {"hub_url": None},
        {"role": 5},
        {"name": "\udc80"},
        {"attention": "open"},
        {"attention": {"mode": "loud"}},
        {"attention": {"mode": []}},
        {"attention": {"mode": "open", "quiet_rooms": "r"}},
        {"attention": {"mode": "open", "muted_rooms": [1]}},
    ],
)
def test_damaged_field_is_refused_without_showing_the_seed(
    tmp_path: Path, change: dict[str, object]
) -> None:
    minted = mint_identity(tmp_path, hub_url=HUB)
    write_config(tmp_path, raw_config(tmp_path) | change)
    with pytest.raises(IdentityError, match="damaged") as caught:
        load_identity(tmp_path)
    assert caught.value.next_step == f"parler init --force --home {tmp_path}"
    assert minted.keypair.seed not in str(caught.value)
    assert caught.value.__cause__ is None


def test_file_cut_anywhere_is_damaged_and_never_replaced(tmp_path: Path) -> None:
    mint_identity(tmp_path, hub_url=HUB)
    whole = (tmp_path / "config.json").read_bytes().rstrip()
    for length in range(0, len(whole), 7):
        (tmp_path / "config.json").write_bytes(whole[:length])
        with pytest.raises(IdentityError, match="damaged"):
            load_identity(tmp_path)
        with pytest.raises(IdentityError, match="damaged"):
            ensure_identity(tmp_path, hub_url=HUB)
    assert (tmp_path / "config.json").read_bytes() == whole[:length]


@given(data=st.binary(max_size=300))
@settings(max_examples=50)
def test_any_bytes_are_an_identity_or_an_identity_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "config.json").write_bytes(data)
    (home / "config.json").chmod(0o600)
    with pytest.raises(IdentityError):
        load_identity(home)


@posix
def test_key_file_others_can_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    mint_identity(tmp_path, hub_url=HUB)
    path = tmp_path / "config.json"
    path.chmod(0o644)
    with pytest.raises(IdentityError) as caught:
        load_identity(tmp_path)
    assert caught.value.next_step == f"chmod 600 {path}"
    with pytest.raises(IdentityError):
        ensure_identity(tmp_path, hub_url=HUB)
    path.chmod(0o600)
    load_identity(tmp_path)


def test_identity_is_never_overwritten_without_force(tmp_path: Path) -> None:
    first = mint_identity(tmp_path, hub_url=HUB)
    with pytest.raises(IdentityError, match="already") as caught:
        mint_identity(tmp_path, hub_url=HUB)
    # What is pasted without a second thought takes nothing away.
    assert caught.value.next_step == f"parler init --home {tmp_path}-2"
    assert load_identity(tmp_path).agent_id == first.agent_id


def test_force_keeps_each_old_file_beside(tmp_path: Path) -> None:
    minted = [mint_identity(tmp_path, hub_url=HUB)]
    minted += [mint_identity(tmp_path, hub_url=HUB, force=True) for _ in range(2)]
    kept = [tmp_path / f"config.json.{number}.bak" for number in (1, 2)]
    seeds = [json.loads(path.read_bytes())["seed"] for path in kept]
    assert seeds == [identity.keypair.seed for identity in minted[:2]]
    assert load_identity(tmp_path).agent_id == minted[2].agent_id


def test_force_mends_a_damaged_home_and_keeps_the_damage(tmp_path: Path) -> None:
    write_config(tmp_path, '{"seed": "half')
    fresh = mint_identity(tmp_path, hub_url=HUB, force=True)
    assert load_identity(tmp_path).agent_id == fresh.agent_id
    assert (tmp_path / "config.json.1.bak").read_text(
        encoding="utf-8"
    ) == '{"seed": "half'


def test_ensuring_makes_an_identity_once(tmp_path: Path) -> None:
    first, made = ensure_identity(tmp_path, hub_url=HUB, name="alice")
    second, made_again = ensure_identity(tmp_path, hub_url="ws://other", name="bob")
    assert (made, made_again) == (True, False)
    assert second.agent_id == first.agent_id
    assert (second.name, second.hub_url) == ("alice", HUB)


def test_threads_that_start_together_end_with_one_identity(tmp_path: Path) -> None:
    start = threading.Barrier(6)
    got: list[tuple[Identity, bool]] = []

    def agent() -> None:
        start.wait(WAIT)
        got.append(ensure_identity(tmp_path / "home", hub_url=HUB))

    threads = [threading.Thread(target=agent) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert {identity.agent_id for identity, _ in got} == {
        load_identity(tmp_path / "home").agent_id
    }
    assert sorted(made for _, made in got) == [False] * 5 + [True]


def test_processes_that_start_together_end_with_one_identity(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from parler.identity.identity import *;"
        "print('ready', flush=True); sys.stdin.readline();"
        f"print(ensure_identity(Path(sys.argv[1]), hub_url={HUB!r})[0].agent_id)"
    )
    home = tmp_path / "home"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd=Path(__file__).parents[3],
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ids = {process.communicate(timeout=WAIT)[0].strip() for process in processes}
    assert ids == {load_identity(home).agent_id}


def test_rewriting_keeps_what_we_do_not_know(tmp_path: Path) -> None:
    minted = mint_identity(tmp_path, hub_url=HUB, role="planner")
    write_config(
        tmp_path,
        raw_config(tmp_path)
        | {"later": {"x": [1]}, "attention": {"mode": "dnd", "until": 5}},
    )
    changed = update_identity(
        tmp_path,
        attention=AttentionPolicy(
            mode=Attention.FOCUS, quiet_rooms=(RoomName("r"),), muted_rooms=()
        ),
    )
    raw = raw_config(tmp_path)
    assert raw["later"] == {"x": [1]}
    assert raw["attention"] == {"mode": "focus", "until": 5, "quiet_rooms": ["r"]}
    assert (raw["seed"], raw["role"]) == (minted.keypair.seed, "planner")
    assert changed == Identity(
        keypair=changed.keypair,
        name=minted.name,
        role="planner",
        hub_url=HUB,
        home=tmp_path,
        attention=AttentionPolicy(mode=Attention.FOCUS, quiet_rooms=(RoomName("r"),)),
    )


def test_name_role_and_hub_can_be_changed_without_a_new_key(tmp_path: Path) -> None:
    minted = mint_identity(tmp_path, hub_url=HUB, role="planner")
    update_identity(tmp_path, name="carol", hub_url="wss://hub.example", role="")
    loaded = load_identity(tmp_path)
    assert loaded.agent_id == minted.agent_id
    assert (loaded.name, loaded.role) == ("carol", None)
    assert loaded.hub_url == "wss://hub.example"
    assert "role" not in raw_config(tmp_path)


@pytest.mark.parametrize(
    "change", [{"name": "a\nb"}, {"name": "  "}, {"hub_url": "ftp://x"}]
)
def test_refused_change_leaves_the_file_alone(
    tmp_path: Path, change: dict[str, str]
) -> None:
    mint_identity(tmp_path, hub_url=HUB)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ConfigError):
        update_identity(tmp_path, **change)  # type: ignore[arg-type]
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "x" * 257, "é" * 129])
def test_name_no_hub_takes_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError):
        mint_identity(tmp_path, hub_url=HUB, name=name)
    assert find_identity(tmp_path) is None


def test_an_agents_default_name_follows_from_the_id(tmp_path: Path) -> None:
    minted = mint_identity(tmp_path / "agents" / "codex", hub_url=HUB)
    assert minted.name == default_name(minted.agent_id)
    adjective, animal, number = minted.name.split("-")
    assert adjective in ADJECTIVES
    assert animal in ANIMALS
    assert len(number) == 4
    assert int(number, 16) >= 0


def test_word_lists_hold_32_different_words_each() -> None:
    assert len(set(ADJECTIVES)) == len(set(ANIMALS)) == 32


def test_repr_of_an_identity_hides_its_seed(tmp_path: Path) -> None:
    minted = mint_identity(tmp_path, hub_url=HUB)
    assert minted.keypair.seed not in repr(minted)


def test_a_session_that_cannot_be_read_is_not_called_none(tmp_path: Path) -> None:
    damaged, no_file = tmp_path / "damaged", tmp_path / "no file"
    (no_file / "active_session").mkdir(parents=True)
    damaged.mkdir()
    (damaged / "active_session").write_bytes(b"\xff")
    for home in (damaged, no_file):
        assert active_session(home) is None  # for who only looks
        with pytest.raises(ConfigError, match="active_session"):
            noted_session(home)


def test_active_session_is_remembered_and_forgotten(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert active_session(home) is None
    set_active_session(home, None)
    set_active_session(home, RoomName("session-1"))
    assert active_session(home) == "session-1"
    set_active_session(home, RoomName("session-2"))
    assert active_session(home) == "session-2"
    set_active_session(home, None)
    assert active_session(home) is None


@pytest.mark.parametrize(
    ("data", "room"),
    [
        (b"room", "room"),
        (b"  room \r\n", "room"),
        (b"", None),
        (b" \n", None),
        (b"\xff", None),
        (b"x" * 5000, None),
    ],
)
def test_active_session_note_of_others_is_trimmed_or_ignored(
    tmp_path: Path, data: bytes, room: str | None
) -> None:
    (tmp_path / "active_session").write_bytes(data)
    assert active_session(tmp_path) == room
