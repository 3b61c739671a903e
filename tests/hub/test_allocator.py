"""What the C library is told of keeping memory."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from hub import allocator
from parler.wire.limits import MAX_PULLED_BYTES

FAULTS = """
import resource, sys
from hub.allocator import keep_buffers
if sys.argv[1:] == ["keep"]:
    assert keep_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(300):
    replies = [bytes(2**20) for _ in range(4)]
    del replies
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    """Pages the system had to find while large buffers came and went."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        timeout=20,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's to keep")
def test_a_buffer_that_is_freed_is_there_for_the_next() -> None:
    assert faults("keep") * 10 < faults()


def test_the_largest_reply_is_kept() -> None:
    assert MAX_PULLED_BYTES < allocator.LARGE_BYTES
