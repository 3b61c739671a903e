"""docs/security.md promises nothing that no test holds; its numbers are the code's."""

import ast
import math
import re
from pathlib import Path

import pytest

from hub import ids
from hub.http.addresses import _IPV6_NETWORK
from hub.settings import read_settings
from parler.wire.joinkey import ALPHABET, CODE_LENGTH
from parler.wire.limits import DEFAULT_INVITE_TTL_SECS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
PROMISES = [line for line in PAGE.splitlines() if line.startswith("- ")]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def rounded(number: float) -> str:
    return f"{round(number):,}"


def expected_numbers() -> dict[str, str]:
    settings = read_settings([], {})
    keys = len(ALPHABET) ** CODE_LENGTH
    by_agent = settings.max_knocks_per_min
    by_address = settings.max_knocks_per_ip_per_min
    a_day = by_address * DEFAULT_INVITE_TTL_SECS // 60
    networks = 2 ** (_IPV6_NETWORK - 48)
    odds = keys / a_day
    token, secret = ids.bearer_token(), ids.join_secret()
    return {
        "random bits of a key": rounded(math.log2(keys)),
        "possible keys": rounded(keys),
        "wrong keys one agent may try": f"{by_agent} a minute",
        "wrong keys one address may try": f"{by_address} a minute, {a_day:,} a day",
        "odds that one address hits one given key in its day": f"1 in {rounded(odds)}",
        "odds that it hits one of 1,000 live keys": f"1 in {rounded(odds / 1000)}",
        f"odds with all {networks:,} networks of an IPv6 /48, one given key": (
            f"1 in {rounded(odds / networks)}"
        ),
        "bits of a bearer token": str(int(len(token) * math.log2(len(ALPHABET)))),
        "bits of a join secret made by Parler": str(
            int(len(secret) * math.log2(len(ids._READABLE)))
        ),
    }


def test_numbers_are_those_of_the_limits() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    shown = {name: value for name, value in rows if name.strip()}
    assert shown == expected_numbers()


@pytest.mark.parametrize("promise", PROMISES)
def test_every_promise_ends_with_its_tests(promise: str) -> None:
    assert re.search(
        r"[.:] `tests/[\w/]+\.py::\w+`(, `tests/[\w/]+\.py::\w+`)*$", promise
    )


@pytest.mark.parametrize(("path", "name"), dict.fromkeys(NAMED))
def test_every_test_that_is_named_is_there(path: str, name: str) -> None:
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    tests = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in tests


def test_the_page_promises_something() -> None:
    assert PAGE.count("::") == len(NAMED) >= len(PROMISES) > 35
