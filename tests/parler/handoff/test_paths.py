"""The one path function, attack by attack."""

from pathlib import Path

import pytest

from parler.errors import UnsafePath
from parler.handoff.paths import MAX_NAME_BYTES, place, safe_name


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("Übersicht 2.md", "Übersicht 2.md"),
        ("../x", "x"),
        ("../../../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\x", "x"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("C:evil", "evil"),
        ("\\\\server\\share\\x", "x"),
        ("file.txt:stream", "stream"),
        (".git/hooks/post-merge", "post-merge"),
        (".bashrc", "bashrc"),
        ("...", "file"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        ("dir/", "file"),
        ("   ", "file"),
        ("-rf", "rf"),
        ("--output=/etc/passwd", "passwd"),
        ("--help", "help"),
        ("~root", "root"),
        ("x\x00.txt", "x.txt"),
        ("a\nb.txt", "ab.txt"),
        ("a\x1b[2Jb", "a[2Jb"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("inv\u200bisible", "invisible"),
        ("lone\ud800", "lone"),
        ("e\u0301", "é"),
        ('a<b>c"d|e?f*g', "a_b_c_d_e_f_g"),
        ("trailing. . .", "trailing"),
        ("a  \t  b", "a b"),
    ],
)
def test_a_name_becomes_one_plain_component(received: str, kept: str) -> None:
    assert safe_name(received) == kept


@pytest.mark.parametrize(
    "device",
    [
        *("CON", "con", "con.txt", "NUL", "nul.tar.gz", "AUX .c", "PRN.", "COM1.log"),
        *("lpt9", "LPT\u00b2", "CONIN$", "\u200bCON", "x/CON", "Co\u200bN.h"),
    ],
)
def test_a_windows_device_is_no_name(device: str) -> None:
    assert safe_name(device).startswith("_")


def test_names_near_a_device_stay() -> None:
    for name in ("CONSOLE", "com10", "nullable.py", "lpt"):
        assert safe_name(name) == name


def test_a_name_of_ten_kilobytes_is_cut_and_keeps_its_suffix() -> None:
    name = safe_name("ü" * 10_240 + ".tar")
    assert len(name.encode()) <= MAX_NAME_BYTES
    assert name.endswith("ü.tar")


def test_a_suffix_of_ten_kilobytes_is_none() -> None:
    assert len(safe_name("a." + "b" * 10_240)) == MAX_NAME_BYTES


def test_a_cut_never_ends_in_half_a_character_or_a_dot() -> None:
    for length in range(100, 130):
        name = safe_name("x" * length + ". .ü€" + "y" * 200)
        assert name.isprintable()
        assert not name.endswith((".", " "))


def test_a_place_is_within_its_folder(tmp_path: Path) -> None:
    assert place(tmp_path, "../../x") == tmp_path / "x"
    assert place(tmp_path, "..", fallback="0123.bin") == tmp_path / "0123.bin"


@pytest.mark.parametrize("fallback", ["", "..", "a/b", "/etc/passwd"])
def test_even_a_bad_fallback_does_not_lead_out(tmp_path: Path, fallback: str) -> None:
    with pytest.raises(UnsafePath):
        place(tmp_path, "", fallback=fallback)
