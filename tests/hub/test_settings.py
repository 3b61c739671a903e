"""Flags and environment become checked settings, or the hub does not start (12.1)."""

import stat
from pathlib import Path

import pytest

from hub.errors import CannotStart
from hub.settings import Settings, read_settings, split_address


def read(*argv: str, **variables: str) -> Settings:
    environment = {f"PARLER_HUB_{name}": value for name, value in variables.items()}
    return read_settings(argv, environment)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = read()
    assert (settings.host, settings.port) == ("127.0.0.1", 7070)
    assert settings.db is None
    assert settings.join_secret is None
    assert settings.mode == "private"
    assert settings.name == "Parler Protocol Hub"
    assert settings.idle_timeout_secs == 1800
    assert (settings.max_connections, settings.max_owned_rooms) == (1024, 1000)
    assert (settings.max_ops_per_min, settings.max_sends_per_min) == (600, 240)
    assert settings.max_room_sends_per_min == 1200
    assert settings.max_message_bytes == 2**20
    assert settings.max_text_frame_bytes == 2**21


def test_a_flag_wins_over_its_variable_and_both_over_the_default() -> None:
    assert read(NAME="env").name == "env"
    assert read("--name", "flag", NAME="env").name == "flag"
    assert read(NAME="").name == "Parler Protocol Hub"
    assert read(MAX_OPS_PER_MIN="7").max_ops_per_min == 7
    assert read("--max-ops-per-min", "8", MAX_OPS_PER_MIN="7").max_ops_per_min == 8
    assert read("--max-ops-per-min", "0").max_ops_per_min == 0
    assert read(ADDR="127.0.0.1:9").port == 9
    assert read(IDLE_TIMEOUT_SECS="0.25").idle_timeout_secs == 0.25


@pytest.mark.parametrize(
    ("value", "on"),
    [("1", True), ("true", True), ("yes", True), ("x", True)]
    + [(value, False) for value in ("", "0", "false", "FALSE", "no", " No ")],
)
def test_a_switch_reads_the_usual_words(value: str, on: bool) -> None:
    assert read(PUBLIC=value).public is on
    assert read("--public", PUBLIC=value).public


@pytest.mark.parametrize(
    "argv",
    [
        ["--max-connections", "-1"],
        ["--max-connections", "many"],
        ["--max-connections", "1.5"],
        ["--idle-timeout-secs", "-1"],
        ["--idle-timeout-secs", "nan"],
        ["--idle-timeout-secs", "inf"],
        ["--idle-timeout-secs", "soon"],
        ["--log-level", "loud"],
        ["--no-such-flag"],
        ["leftover"],
    ],
)
def test_nonsense_is_refused_as_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*argv)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "variables",
    [{"MAX_CONNECTIONS": "-1"}, {"IDLE_TIMEOUT_SECS": "x"}, {"LOG_LEVEL": "loud"}],
    ids=str,
)
def test_nonsense_in_the_environment_is_refused_too(variables: dict[str, str]) -> None:
    with pytest.raises((SystemExit, CannotStart)):
        read(**variables)


# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:7070", "localhost", 7070),
        ("[::1]:65535", "::1", 65535),
        ("hub.example:1", "hub.example", 1),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "7070", ":7070", "h:", "h:x", "h:-1", "h:65536", "h:1 ", "h:٣", "h:1.0"],
)
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(CannotStart):
        split_address(text)


# ------------------------------------------------------------------------ unsafe starts


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0:7070", "[::]:7070", "192.168.1.5:1", "hub.example:1", "localhost.x:1"],
)
def test_an_open_hub_beyond_this_machine_is_refused(address: str) -> None:
    with pytest.raises(CannotStart, match="refusing to listen"):
        read("--addr", address)
    with pytest.raises(CannotStart, match="refusing to listen"):
        read(ADDR=address)
    with pytest.raises(CannotStart, match="refusing to listen"):
        read("--addr", address, JOIN_SECRET="", JOIN_SECRET_FILE="")
    assert read("--addr", address, "--public").mode == "public"
    assert read("--addr", address, "--join-secret", "s").join_secret == "s"
    assert read("--addr", address, JOIN_SECRET="s").join_secret == "s"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1"])
def test_this_machine_alone_needs_no_secret(address: str) -> None:
    assert read("--addr", address).join_secret is None


def test_a_local_hub_keeps_its_data_at_home_and_listens_on_loopback_only() -> None:
    settings = read_settings(["--local"], {"PARLER_HOME": "/somewhere"})
    assert settings.db == Path("/somewhere/hub/hub.sqlite")
    assert read("--local", "--db", "/x/y").db == Path("/x/y")
    with pytest.raises(CannotStart, match="loopback"):
        read("--local", "--addr", "0.0.0.0:1", "--public")


# ---------------------------------------------------------------------- the secret file


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_missing_secret_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "secret"
    made = read("--join-secret-file", str(file)).join_secret
    assert made is not None
    assert len(made) == 32
    assert mode(file) == 0o600
    assert read("--join-secret-file", str(file)).join_secret == made


def test_a_blank_secret_file_is_filled_and_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(" \n", encoding="utf-8")
    file.chmod(0o644)
    made = read(JOIN_SECRET_FILE=str(file)).join_secret
    assert made is not None
    assert file.read_text(encoding="utf-8") == f"{made}\n"
    assert mode(file) == 0o600


def test_a_given_secret_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    settings = read("--join-secret-file", str(file), JOIN_SECRET="given")
    assert settings.join_secret == "given"
    assert not file.exists()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_no_secret(tmp_path: Path, bits: int) -> None:
    file = tmp_path / "secret"
    file.write_text("hush-hush\n", encoding="utf-8")
    file.chmod(bits)
    with pytest.raises(CannotStart, match="chmod 600") as caught:
        read("--join-secret-file", str(file))
    assert "hush-hush" not in str(caught.value)


def test_a_secret_is_trimmed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("\n  hush \n", encoding="utf-8")
    file.chmod(0o600)
    assert read("--join-secret-file", str(file)).join_secret == "hush"


def test_a_secret_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for file in (tmp_path, tmp_path / "binary", tmp_path / "file" / "secret"):
        with pytest.raises(CannotStart, match="cannot use the join secret file"):
            read("--join-secret-file", str(file))


def test_one_header_says_who_asks_behind_a_proxy() -> None:
    assert read().address_header is None
    assert read("--trust-proxy-headers").address_header == "x-forwarded-for"
    assert read(CLIENT_IP_HEADER="Fly-Client-IP").address_header == "fly-client-ip"
    both = read("--client-ip-header", "CF-Connecting-IP", TRUST_PROXY_HEADERS="1")
    assert both.address_header == "cf-connecting-ip"


@pytest.mark.parametrize("name", ["a b", "x:", "é", "x\n", "x" * 65, "Forwarded"])
def test_name_that_can_be_no_such_header_is_refused(name: str) -> None:
    with pytest.raises(CannotStart, match="--client-ip-header"):
        read("--client-ip-header", name)


def test_allowed_origins_are_a_list() -> None:
    assert read().allow_origin == frozenset()
    several = read("--allow-origin", "https://a.example, http://localhost:5173")
    assert several.allow_origin == {"https://a.example", "http://localhost:5173"}
    assert read(ALLOW_ORIGIN="*").allow_origin == {"*"}


@pytest.mark.parametrize(
    "origin",
    ["null", "a.example", "https://a.example/", "https://A.example", "https://", "**"],
)
def test_text_that_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(CannotStart, match="--allow-origin"):
        read("--allow-origin", origin)
