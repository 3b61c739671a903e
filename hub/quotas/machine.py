"""What the machine gives this process: memory, open files, disk."""

import os
import resource
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_NO_LIMIT = 2**60
"""What an older kernel says for none is a little less than 2**63."""


def memory_bytes(cgroups: Path = _CGROUPS, own_cgroup: Path = _OWN_CGROUP) -> int:
    """What this process may use: of the machine, its control group, its own limit.

    Args:
        cgroups: Where control groups are mounted.
        own_cgroup: Where the process's own is named.
    """
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    found += _cgroup_limits(cgroups, own_cgroup)
    for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            found.append(soft)
    return min(each for each in found if 0 < each < _NO_LIMIT)


def _cgroup_limits(cgroups: Path, own_cgroup: Path) -> list[int]:
    try:
        lines = own_cgroup.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return []
    limits = []
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers not in ("", "memory"):
            continue
        root = cgroups / controllers
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        folder = root / group.lstrip("/")
        # Of all that are around ours too; a container sees its own as the root.
        for each in (folder, *folder.parents):
            limits += _number_in(each / name)
            if each == root:
                break
    return limits


def _number_in(file: Path) -> list[int]:
    try:
        return [int(file.read_text(encoding="ascii"))]
    except (OSError, ValueError):  # `max`, or not there
        return []


def disk_bytes(path: Path) -> int:
    """The size of the file system a file or folder is on, or will be."""
    for place in (path, *path.absolute().parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            break
        return status.f_blocks * status.f_frsize
    return _NO_LIMIT


def allow_files(wanted: int) -> int:
    """Raise the limit of open files to what is wanted if we may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed
