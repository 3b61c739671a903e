"""Whatever a stranger calls a file, it stays one plain name in one folder."""

import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from parler.handoff.paths import MAX_NAME_BYTES, place, safe_name

# Pieces that have broken such functions elsewhere, mixed with anything.
NASTY = st.sampled_from(
    [
        *("..", ".", "/", "\\", ":", "~", "-", " ", "\x00", "\n", "\u202e", "\ufeff"),
        *("CON", "nul", "COM1", "LPT\u00b9", ".git", ".gi\u200ct", "a\u0301", "\u212a"),
        *(
            "C:",
            "\\\\?\\",
            "%2e%2e%2f",
            "x" * 300,
            "\ud800",
            "é" * 90,
            ".txt",
            "\u0345",
        ),
    ]
)
NAMES = st.lists(st.one_of(NASTY, st.text(max_size=20)), max_size=8).map("".join)
FOLDER = Path("/in/box")
DEVICES = {"con", "prn", "aux", "nul", "com1", "lpt1", "lpt\u00b9", "conin$"}


@given(NAMES)
def test_a_received_name_never_leaves_its_folder(received: str) -> None:
    path = place(FOLDER, received)
    assert path.parent == FOLDER
    assert path.name not in ("", ".", "..")
    assert not set(path.name) & set('/\\:\x00<>"|?*')


@given(NAMES)
def test_a_safe_name_is_plain(received: str) -> None:
    name = safe_name(received)
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert not name.startswith((".", "-", "~", " "))
    assert not name.endswith((".", " "))
    assert unicodedata.is_normalized("NFC", name)
    assert name.isprintable()
    assert name.partition(".")[0].strip().casefold() not in DEVICES


@given(NAMES)
def test_a_safe_name_is_safe_already(received: str) -> None:
    name = safe_name(received)
    assert safe_name(name) == name


@given(st.from_regex(r"[A-Za-z0-9_]{1,20}(\.[a-z]{1,4})?", fullmatch=True))
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    if name.partition(".")[0].casefold() not in DEVICES | {
        f"{port}{number}" for port in ("com", "lpt") for number in range(10)
    }:
        assert safe_name(name) == name
