"""What is refused outside of a folder, as far as patterns can say it."""

import re
from pathlib import PurePosixPath

import pytest

from parler.apps.claude_code.deny_patterns import outside

FOLDER = PurePosixPath("/home/ann/my code (x)/shop-1")

BESIDE = [
    *("/etc/passwd", "/h/x", "/homes/x", "/home/bob/x", "/home/an/x", "/home/anna/x"),
    *("/home/ann/.ssh/id", "/home/ann/my code/x", "/home/ann/My Documents/x"),
    *("/home/ann/my code (x)/shop-2/x", "/home/ann/my code (x)/shop-/x"),
    *("/home/ann/my code (x)/shop-10/x", "/home/ann/my code (x)/notes.txt"),
    *("/home/ann/my code (x)/\u00fcber/x", "/home/ann/my code (x)/_x"),
]
WITHIN = ["/a.txt", "/.git/config", "/src/home/x", "/shop-2", "/etc/passwd"]


def covers(pattern: str, path: str) -> bool:
    """By the rules of gitignore, with no regard to case, as one app reads them."""
    translated = re.sub(
        r"\\(.)|(\[[^\]]*\])|(\*)|(\?)|(.)",
        lambda found: (
            re.escape(found[1] or found[5])
            if found[1] or found[5]
            else found[2] or ("[^/]*" if found[3] else "[^/]")
        ),
        pattern,
    )
    return re.match(f"{translated}(/|$)", path, re.IGNORECASE) is not None


@pytest.mark.parametrize("path", BESIDE)
def test_what_lies_beside_a_folder_is_outside(path: str) -> None:
    assert any(covers(pattern, path) for pattern in outside(FOLDER))


@pytest.mark.parametrize("path", WITHIN)
def test_what_lies_in_a_folder_is_not(path: str) -> None:
    for place in (str(FOLDER), str(FOLDER).upper()):
        assert not any(covers(pattern, place + path) for pattern in outside(FOLDER))
