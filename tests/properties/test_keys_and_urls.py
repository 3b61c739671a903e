"""Session keys round-trip and forgive nothing they must not; any text has a verdict."""

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parler.wire.joinkey import (
    ALPHABET,
    CODE_LENGTH,
    InvalidJoinKey,
    JoinKey,
    normalise_code,
    parse_join_key,
)
from parler.wire.names import token
from parler.wire.urls import InvalidHubUrl, dial_url, leaves_this_network, same_hub

codes = st.text(st.sampled_from(ALPHABET), min_size=8, max_size=8)
hubs = st.sampled_from(
    ["hub.example", "wss://hub.example/x", "ws://127.0.0.1:7070", "https://h/a/b"]
)
anything = st.text(st.characters())


@given(codes, st.none() | hubs)
def test_a_key_survives_being_passed_on(code: str, hub: str | None) -> None:
    key = JoinKey(code, hub)  # type: ignore[arg-type]
    assert parse_join_key(str(key)) == key
    assert parse_join_key(f"\n {key}\t") == key


@given(codes, hubs)
def test_a_link_is_the_same_key_and_a_hub_finds_it(code: str, hub: str) -> None:
    link = f"{hub if '://' in hub else f'parler://{hub}'}/join/{code}"
    key = parse_join_key(link)
    assert key.code == normalise_code(link) == code
    assert key.hub is not None
    assert same_hub(key.hub, hub)


@given(codes, st.data())
def test_blanks_dashes_and_case_are_forgiven(code: str, data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.sampled_from(["", " ", "-", "\t"]), min_size=7))
    loose = "".join(char + gap for char, gap in zip(code, [*gaps[:7], ""], strict=True))
    assert parse_join_key(loose.lower()).code == code


@given(codes, st.integers(0, 7), st.characters())
def test_a_near_miss_with_a_foreign_character_is_refused(
    code: str, index: int, char: str
) -> None:
    assume(char.upper() not in ALPHABET or not char.isascii())
    assume(not char.isspace() and char not in "-@/")
    with pytest.raises(InvalidJoinKey):
        parse_join_key(code[:index] + char + code[index + 1 :])


@given(codes, st.integers(0, 8), st.sampled_from(ALPHABET))
def test_a_key_too_long_or_too_short_is_refused(
    code: str, index: int, char: str
) -> None:
    for text in (code[:index] + char + code[index:], code[:index] + code[index + 1 :]):
        if len(text) != CODE_LENGTH:
            with pytest.raises(InvalidJoinKey):
                parse_join_key(text)


@given(anything)
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidJoinKey):
        key = parse_join_key(text)
        assert len(key.code) == CODE_LENGTH
        assert set(key.code) <= set(ALPHABET)
    normalise_code(text)


@given(
    anything
    | st.builds(
        lambda scheme, rest: f"{scheme}://{rest}",
        st.sampled_from(["ws", "wss", "http", "https", "parler", "HTTPS", "ftp", ""]),
        anything | st.from_regex(r"[\[\]@:/?#a-z0-9.%]{0,20}", fullmatch=True),
    )
)
def test_any_text_is_dialled_or_refused(typed: str) -> None:
    with contextlib.suppress(InvalidHubUrl):
        url = dial_url(typed)
        assert url.startswith(("ws://", "wss://"))
        assert url.endswith("/ws")
        assert dial_url(url) == url
        assert not set(url) & set(" \t\r\n\x00")
        assert leaves_this_network(url) in (True, False)
        assert same_hub(url, typed)


@given(anything)
def test_a_token_is_safe_as_part_of_a_name_and_stays_one(text: str) -> None:
    made = token(text)
    assert made
    assert made.isascii()
    assert not set(made) & set("./\\ \n\x00")
    assert token(made) == made
