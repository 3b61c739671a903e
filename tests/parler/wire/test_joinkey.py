"""Session keys as people paste them, and what a hub looks up (4.1, 4.3, 4.7)."""

import pytest

from parler.wire.joinkey import (
    ALPHABET,
    CODE_LENGTH,
    InvalidJoinKey,
    JoinKey,
    normalise_code,
    parse_join_key,
)

KEY = "ABCDEFG2"


def test_the_alphabet_has_32_symbols_and_none_that_look_alike() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 32
    assert not set(ALPHABET) & set("IO01")
    assert CODE_LENGTH == 8


@pytest.mark.parametrize(
    ("text", "hub"),
    [
        (KEY, None),
        (f"  {KEY}\n", None),
        (KEY.lower(), None),
        ("ABCD-EFG2", None),
        ("abcd efg2", None),
        ("AB-CD EF\tG2", None),
        ("\u00a0ABCD\u2003EFG2", None),
        (f"{KEY}@hub.example", "hub.example"),
        (f"{KEY}@wss://hub.example/x", "wss://hub.example/x"),
        (f"{KEY} @ hub.example", "hub.example"),
        (f"{KEY}@user@hub", "user@hub"),
        (f"{KEY}@hub/join/ZZZZZZZZ", "hub/join/ZZZZZZZZ"),
        (f"wss://hub.example/join/{KEY}", "wss://hub.example"),
        (f"https://hub.example/p/join/{KEY}/", "https://hub.example/p"),
        (f"parler://127.0.0.1:7070/join/{KEY}?x=1", "parler://127.0.0.1:7070"),
        (f"ws://hub/join/{KEY}#top", "ws://hub"),
        (f"http://u@hub/join/{KEY}", "http://u@hub"),
    ],
)
def test_a_key_reads_in_all_its_spellings(text: str, hub: str | None) -> None:
    assert parse_join_key(text) == JoinKey(KEY, hub)  # type: ignore[arg-type]


SECRET = "WZEJZMGHXHVQG3LLDHWF5B6AGY"


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY}.{SECRET}",
        f"{KEY}.{SECRET}@wss://hub.example",
        f"`{KEY}.{SECRET}@hub.example`",
        f"KEY: {KEY}.{SECRET}@hub.example and soon",
        f"{KEY[:4]}-{KEY[4:]}.{SECRET[:9]} {SECRET[9:]}@hub.example".lower(),
        f"https://hub.example/join/{KEY}#{SECRET}",
    ],
)
def test_the_key_of_a_sealed_session_has_a_secret_that_is_not_told(text: str) -> None:
    key = parse_join_key(text)
    assert (key.code, key.secret) == (KEY, SECRET)
    assert key.whole == f"{KEY}.{SECRET}" + (f"@{key.hub}" if key.hub else "")
    assert SECRET[:4] not in f"{key} {key!r}"


def test_a_sentence_after_a_key_is_no_secret() -> None:
    prose = "Please come into this room"
    assert parse_join_key(f"{KEY}. {prose}, we wait").secret is None
    with pytest.raises(InvalidJoinKey):
        parse_join_key(f"{KEY}.{SECRET[:20]}@hub.example")


@pytest.mark.parametrize("key", [KEY, f"{KEY}@wss://hub.example/x"])
@pytest.mark.parametrize(
    "around",
    [
        *("`{}`", '"{}"', "'{}'", "**{}**", "<{}>", "({}).", "\u201e{}\u201c", "`{}"),
        *("KEY: {}", "key: `{}`", "the key is {}, thanks!", "__{}__", "- {}\n"),
        "parler session join '{}' --wait 600",
        "KEY: {}\n\nparler session join {}\n",
        "parler_join_session({{'key': '{}'}})",
        "\u200b{}\ufeff",
        "Session of ann on wss://hub.example/x \u2014 {} \u2014 until tomorrow",
    ],
)
def test_a_key_is_found_in_what_stands_around_it(around: str, key: str) -> None:
    text = around.format(key, key)
    assert str(parse_join_key(text)) == key
    assert parse_join_key(f"{KEY[:4]}\u200b{KEY[4:]}").code == KEY


def test_the_same_key_in_several_spellings_is_one_and_two_are_asked_back() -> None:
    link = f"https://hub.example/x/join/{KEY}"
    text = f"KEY: {KEY}\njoin {KEY}@wss://hub.example/x or {link}."
    assert parse_join_key(text) == JoinKey(KEY, "wss://hub.example/x")  # type: ignore[arg-type]
    for other in ("HJKLMNP2", f"{KEY}@other.example"):
        with pytest.raises(InvalidJoinKey, match="several keys"):
            parse_join_key(f"{text} and {other}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fingerprint ABCD-EFG2-ABCD-EFG2",
        "see https://web.example/ABCDEFG2",
        "the room's name is room.ABCDEFG2",
        "   ",
        "-",
        KEY[:-1],
        KEY + "A",
        "ABCDEFGI",
        "ABCDEFGO",
        "ABCDEFG0",
        "ABCDEFG1",
        "abcdefgi",
        "ABCDEFG!",
        "ABCDEFGÉ",
        "\u0410BCDEFG2",  # a Cyrillic letter
        "ßßßß",
        "ABCDEF\u017f2",  # a long s
        "\uff21BCDEFG2",
        f"{KEY}@",
        f"@{KEY}",
        "@hub.example",
        f"gopher://hub/join/{KEY}",
        f"/join/{KEY}",
        "wss://hub/join/",
        f"hub.example/join/{KEY}",
        "x" * 10_000,
    ],
)
def test_what_can_be_no_key_is_refused_in_one_short_sentence(text: str) -> None:
    with pytest.raises(InvalidJoinKey) as caught:
        parse_join_key(text)
    assert 0 < len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [KEY, f"{KEY}@wss://hub/x", f"{KEY}@h:7070"])
def test_the_portable_spelling_comes_back(text: str) -> None:
    assert str(parse_join_key(text)) == text
    assert parse_join_key(str(parse_join_key(text))) == parse_join_key(text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (KEY, KEY),
        (f"  {KEY} ", KEY),
        (f"parler://h/join/{KEY}", KEY),
        (f"x/join/AAAAAAAA/join/ {KEY}///", KEY),
        ("/join/", ""),
        (KEY.lower(), KEY.lower()),
        (f"{KEY}/", f"{KEY}/"),
    ],
)
def test_a_hub_looks_up_what_follows_the_last_join(text: str, code: str) -> None:
    """Case counts there, as it always has (protocol 4.1)."""
    assert normalise_code(text) == code
