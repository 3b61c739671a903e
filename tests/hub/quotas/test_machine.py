"""What the machine gives a hub."""

from pathlib import Path

import pytest

from hub.quotas.machine import disk_bytes, memory_bytes

MIB = 2**20


def group(folder: Path, line: str, limits: dict[str, str]) -> tuple[Path, Path]:
    """Control groups with limits, and the file that names our own."""
    for name, value in limits.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n", encoding="ascii")
    own = folder / "self"
    own.write_text(line, encoding="ascii")
    return folder / "cgroup", own


@pytest.mark.parametrize(
    ("line", "limits", "expected"),
    [
        ("0::/hub.service\n", {"hub.service/memory.max": str(64 * MIB)}, 64),
        (
            "0::/system.slice/hub.service\n",
            {
                "system.slice/hub.service/memory.max": "max",
                "system.slice/memory.max": str(32 * MIB),
            },
            32,
        ),
        ("0::/\n", {"memory.max": str(16 * MIB)}, 16),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": str(8 * MIB)}, 8),
        ("4:memory:/a\n", {"memory/memory.limit_in_bytes": str(8 * MIB)}, 8),
    ],
)
def test_the_limit_of_the_control_group_counts(
    tmp_path: Path, line: str, limits: dict[str, str], expected: int
) -> None:
    assert memory_bytes(*group(tmp_path, line, limits)) == expected * MIB


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("", {}),
        ("nonsense\n", {}),
        ("0::/a\n", {"a/memory.max": "max"}),
        ("0::/a\n", {"a/memory.max": "nonsense"}),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": str(2**63 - 4096)}),
        ("4:cpu:/a\n", {"cpu/a/memory.limit_in_bytes": "1"}),
    ],
)
def test_without_one_it_is_what_the_machine_has(
    tmp_path: Path, line: str, limits: dict[str, str]
) -> None:
    whole = memory_bytes(tmp_path / "none", tmp_path / "none")
    assert memory_bytes(*group(tmp_path, line, limits)) == whole


def test_the_disk_is_that_of_the_folder_that_will_be_there(tmp_path: Path) -> None:
    there = disk_bytes(tmp_path)
    assert there > 0
    assert disk_bytes(tmp_path / "not" / "yet" / "hub.sqlite") == there
