"""What the C library is told of keeping memory."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from hub.admin import malloc
from parler.wire.limits import MAX_PULLED_BYTES
from tests._support.polling import WAIT

FAULTS = """
import resource, sys
from hub.admin.malloc import keep_buffers
if sys.argv[1:] == ["keep"]:
    assert keep_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(300):
    replies = [bytes(2**20) for _ in range(4)]
    del replies
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
HELD = """
import psutil, sys
from hub.admin.malloc import give_back, keep_buffers
assert keep_buffers()
held = [b"x" * 2**20 for _ in range(64)]
del held[:-1]  # the last one lies above all the others
if sys.argv[1:] == ["give back"]:
    assert give_back()
print(psutil.Process().memory_info().rss)
"""
on_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="it is glibc's to keep"
)


def told(program: str, *arguments: str) -> int:
    """The number that a program prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=True,
        timeout=WAIT,
    )
    return int(done.stdout)


@on_glibc
def test_a_buffer_that_is_freed_is_there_for_the_next() -> None:
    assert told(FAULTS, "keep") * 10 < told(FAULTS)


@on_glibc
def test_what_is_kept_between_things_in_use_can_be_given_back() -> None:
    assert told(HELD, "give back") + 32 * 2**20 < told(HELD)


def test_the_largest_reply_is_kept() -> None:
    assert MAX_PULLED_BYTES < malloc.LARGE_BYTES
