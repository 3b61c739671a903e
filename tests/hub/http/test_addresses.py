"""Which address a limit counts, and which URL a hub is known under."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.http.addresses import base_url, http_url, peer_address


def scope(client: str | None = "192.0.2.1", **headers: str) -> dict[str, Any]:
    return {
        "client": (client, 1234) if client else None,
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1"))
            for name, value in headers.items()
        ],
    }


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, None),
        ("/run/hub.sock", None),
    ],
)
def test_limits_count_an_address_or_a_network_of_ipv6(
    client: str | None, counted: str | None
) -> None:
    assert peer_address(scope(client), header=None) == counted


@pytest.mark.parametrize(
    ("headers", "counted"),
    [
        ({}, "192.0.2.1"),
        ({"x_forwarded_for": "198.51.100.2"}, "198.51.100.2"),
        ({"x_forwarded_for": "6.6.6.6, 198.51.100.2"}, "198.51.100.2"),
        ({"x_forwarded_for": "6.6.6.6,198.51.100.2:443"}, "198.51.100.2"),
        ({"x_forwarded_for": "[2001:db8::9]:443"}, "2001:db8::/64"),
        ({"x_forwarded_for": "::ffff:198.51.100.2"}, "198.51.100.2"),
        ({"x_forwarded_for": "fe80::1%eth0"}, "fe80::/64"),
        ({"x_forwarded_for": "not an address"}, "192.0.2.1"),
        ({"x_forwarded_for": ""}, "192.0.2.1"),
        ({"x_forwarded_for": "6.6.6.6,"}, "192.0.2.1"),
        ({"x_forwarded_for": "6.6.6.6, unknown"}, "192.0.2.1"),
        ({"x_forwarded_for": "6.6.6.6 198.51.100.2"}, "192.0.2.1"),
        ({"x_forwarded_for": "198.51.100.2:443:443"}, "192.0.2.1"),
        ({"x_forwarded_for": "9" * 20_000}, "192.0.2.1"),
        ({"x_forwarded_for": "٣.٣.٣.٣".encode().decode("latin-1")}, "192.0.2.1"),
        # The operator named one header; what others say, any client could have said.
        ({"fly_client_ip": "6.6.6.6"}, "192.0.2.1"),
        (
            {"fly_client_ip": "6.6.6.6", "x_forwarded_for": "198.51.100.2"},
            "198.51.100.2",
        ),
    ],
)
def test_header_that_the_operator_named_says_who_asks(
    headers: dict[str, str], counted: str
) -> None:
    assert peer_address(scope(**headers), header="x-forwarded-for") == counted


def test_last_of_many_lines_of_a_header_counts() -> None:
    asked = scope()
    for said in ("6.6.6.6", "198.51.100.2, 198.51.100.3"):
        asked["headers"].append((b"Fly-Client-IP", said.encode()))
    assert peer_address(asked, header="fly-client-ip") == "198.51.100.3"


@given(st.binary(max_size=200))
def test_no_bytes_in_a_header_are_more_than_an_address(said: bytes) -> None:
    asked = scope()
    asked["headers"].append((b"x-real-ip", said))
    counted = peer_address(asked, header="x-real-ip")
    assert counted is not None
    ipaddress.ip_network(counted)


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"host": "hub.example"}, "https://hub.example"),
        ({"host": "hub.example:8080"}, "https://hub.example:8080"),
        ({"host": "localhost:7070"}, "http://localhost:7070"),
        ({"host": "127.1.2.3"}, "http://127.1.2.3"),
        ({"host": "0.0.0.0:7070"}, "http://0.0.0.0:7070"),
        ({"host": "[::1]:7070"}, "http://[::1]:7070"),
        ({"host": "h.example", "x_forwarded_proto": "http, https"}, "http://h.example"),
        ({"host": "127.0.0.1", "x_forwarded_proto": "https"}, "https://127.0.0.1"),
        ({"host": "h.example", "x_forwarded_proto": "javascript"}, "https://h.example"),
        ({}, "http://public.example:7070"),
        ({"host": 'evil"><script>'}, "http://public.example:7070"),
        ({"host": "user@evil.example"}, "http://public.example:7070"),
    ],
)
def test_base_url_is_how_the_asker_reached_the_hub(
    headers: dict[str, str], base: str
) -> None:
    assert base_url(scope(**headers), "parler://public.example:7070") == base


@pytest.mark.parametrize(
    ("public", "shown"),
    [
        ("parler://h:1", "http://h:1"),
        ("ws://h", "http://h"),
        ("wss://h/", "https://h"),
        ("https://h/prefix/ws", "https://h/prefix"),
        ("h:7070", "http://h:7070"),
    ],
)
def test_public_url_has_an_http_spelling(public: str, shown: str) -> None:
    assert http_url(public) == shown
