"""From what somebody typed to what is dialled, and how far it goes (protocol 1.1)."""

import pytest

from parler.wire.urls import (
    InvalidHubUrl,
    dial_url,
    is_loopback,
    leaves_this_network,
    same_hub,
)


@pytest.mark.parametrize(
    ("typed", "dialled"),
    [
        ("hub.example", "ws://hub.example/ws"),
        ("hub.example:7070", "ws://hub.example:7070/ws"),
        ("  hub.example \n", "ws://hub.example/ws"),
        ("parler://127.0.0.1:7070", "ws://127.0.0.1:7070/ws"),
        ("ws://h", "ws://h/ws"),
        ("wss://h", "wss://h/ws"),
        ("http://h", "ws://h/ws"),
        ("https://h", "wss://h/ws"),
        ("HTTPS://H", "wss://H/ws"),
        ("https://h/", "wss://h/ws"),
        ("https://h///", "wss://h/ws"),
        ("https://h/x", "wss://h/x/ws"),
        ("https://h/x/ws", "wss://h/x/ws"),
        ("https://h/x/ws/", "wss://h/x/ws"),
        ("https://ws", "wss://ws/ws"),
        ("https://h/news", "wss://h/news/ws"),
        ("ws://[::1]:7070", "ws://[::1]:7070/ws"),
    ],
)
def test_a_hub_may_be_typed_in_many_ways(typed: str, dialled: str) -> None:
    assert dial_url(typed) == dialled
    assert dial_url(dialled) == dialled


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "/",
        "://",
        "wss://",
        "wss:///x",
        "wss://:7070",
        "gopher://h",
        "file:///etc/passwd",
        "javascript://h",
        "wss://h:99999",
        "wss://h:x",
        "wss://h:-1",
        "wss://[::1",
        "wss://h\r\nX: y",
        "wss://h x",
        "wss://h\tx",
        "wss://h\x00",
        "wss://h\u2028x",
        "wss://\u2102\uff0fh",
        "wss://@",
    ],
)
def test_what_names_no_hub_is_refused(typed: str) -> None:
    with pytest.raises(InvalidHubUrl):
        dial_url(typed)


@pytest.mark.parametrize(
    "other",
    [
        "hub.example/x",
        "ws://hub.example/x",
        "https://HUB.example/x/",
        "parler://hub.example/x/ws",
        " wss://hub.example/x/ws/ ",
    ],
)
def test_scheme_slash_and_case_do_not_make_another_hub(other: str) -> None:
    assert same_hub("wss://hub.example/x", other)
    assert same_hub(other, "wss://hub.example/x")


@pytest.mark.parametrize(
    "other", ["hub.example", "hub.example/y", "hub.example:1/x", "x.hub.example/x", ""]
)
def test_host_port_and_path_do(other: str) -> None:
    assert not same_hub("wss://hub.example/x", other)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "x.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "[fe80::1]",
        "[fd00::1]",
        "printer.local",
    ],
)
def test_private_addresses_stay_in_this_network(host: str) -> None:
    assert not leaves_this_network(f"ws://{host}:7070/ws")


@pytest.mark.parametrize(
    "host",
    [
        "hub.example",
        "8.8.8.8",
        "172.32.0.1",
        "172.15.255.255",
        "192.169.0.1",
        "[2001:4860:4860::8888]",
        "[::ffff:8.8.8.8]",
        "localhost.example",
        "127.0.0.1.example",
        "local",
        "2130706433",
        "0x7f.1",
        "user@8.8.8.8",
        "127.0.0.1@8.8.8.8",
        "localhost@hub.example",
    ],
)
def test_everything_else_leaves_it(host: str) -> None:
    assert leaves_this_network(f"ws://{host}/ws")


def test_loopback_is_this_machine_only() -> None:
    for host in ("localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"):
        assert is_loopback(host)
    for host in ("::ffff:127.0.0.1", "[::ffff:7f00:1]"):
        assert is_loopback(host)
    for host in (
        "0.0.0.0",
        "::",
        "",
        "10.0.0.1",
        "::ffff:10.0.0.1",
        "hub.example",
        "localhost.x",
        "LO",
    ):
        assert not is_loopback(host)
