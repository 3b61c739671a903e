"""Every input that a fuzzer once found worth keeping, and each of its beginnings."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
MAX_FILES = 150
MAX_BYTES = 4096


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_still_holds(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        data = path.read_bytes()
        for end in {len(data), len(data) // 2, len(data) - 1, 0}:
            TARGETS[name](data[: max(end, 0)])


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_stays_small(name: str) -> None:
    kept = list((CORPUS / name).iterdir())
    assert len(kept) <= MAX_FILES
    assert max(path.stat().st_size for path in kept) <= MAX_BYTES
