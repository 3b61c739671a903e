"""Having the C library keep memory that a hub frees and needs again at once.

By default glibc gives a large buffer back to the system when it is freed, and the
system clears every page of the next one. For the replies of agents that catch up,
about a mebibyte each, that took longer than to fill them.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)

LARGE_BYTES = 16 * 2**20
"""A buffer from here on still goes back when it is freed: only large blobs need one."""

SPARE_BYTES = 32 * 2**20
"""What each arena may keep at its end."""


def keep_buffers() -> bool:
    """Keep up to `SPARE_BYTES` of what is freed; False where that cannot be asked."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, which does as it likes
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        and mallopt(_M_TRIM_THRESHOLD, SPARE_BYTES)
    )
