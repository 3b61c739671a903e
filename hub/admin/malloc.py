"""Having the C library keep memory that a hub frees and needs again at once.

By default glibc gives a large buffer back to the system when it is freed, and the
system clears every page of the next one. For the replies of agents that catch up,
about a mebibyte each, that took longer than to fill them. What is kept goes back now
and then, all of it: after a rush most of it lies between what is still in use.
"""

from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)

LARGE_BYTES = 16 * 2**20
"""A buffer from here on still goes back when it is freed: only large blobs need one."""

SPARE_BYTES = 32 * 2**20
"""What may be free at the end of an arena: a blob of 8 MiB needs three such buffers."""


def keep_buffers() -> bool:
    """Keep what is freed until `give_back`; False where that cannot be asked."""
    mallopt = _of_libc("mallopt")
    return bool(
        mallopt
        and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        and mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
    )


def give_back() -> bool:
    """Give every free page back to the system; False if there was none.

    Takes milliseconds for 100 MiB: call it in a thread.
    """
    trim = _of_libc("malloc_trim")
    return bool(trim and trim(0))


def _of_libc(name: str) -> Any:
    try:
        import ctypes

        return getattr(ctypes.CDLL(None), name)
    except (ImportError, AttributeError, OSError, TypeError):
        return None  # another C library, which does as it likes
