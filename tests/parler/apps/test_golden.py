"""Real-looking files of every app: the exact bytes after wiring, again, and after.

Beside each ``<case>[@role].before`` stands what wiring makes of it. To write them anew
after a change on purpose: PARLER_TEST_WRITE_GOLDEN=1; then read the difference.
"""

import os
from pathlib import Path

import pytest

from parler.apps.registry import all_apps
from tests.parler.apps._files import Desk, desk

GOLDEN = Path(__file__).parent / "golden"
WRITE = bool(os.environ.get("PARLER_TEST_WRITE_GOLDEN"))
FROM_EARLIER = ("legacy", "dotted")
"""What an earlier client wrote is not put back: it goes as well, to ``.removed``."""

CASES = sorted(GOLDEN.glob("*/*.before"))


def opened(case: Path, folder: Path) -> tuple[Desk, str]:
    """The app with that file in its place, and the file's role."""
    one = desk(folder, case.parent.name)
    _, _, role = case.stem.partition("@")
    role = role or "servers"
    one.has(case.read_bytes(), role)
    return one, role


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}-{c.stem}")
def test_wiring_twice_and_unwiring_leaves_exactly_these_bytes(
    case: Path, tmp_path: Path
) -> None:
    one, role = opened(case, tmp_path)
    path = one.edit(role).path
    before = case.read_bytes()
    expected = case.with_suffix(".after")

    one.wire()
    after = path.read_bytes()
    if WRITE:
        expected.write_bytes(after)
    assert after == expected.read_bytes()

    assert one.wire() == []
    assert path.read_bytes() == after

    if one.wire(approvals=True):
        assert one.wire(approvals=False)
        assert path.read_bytes() == after
        one.wire(approvals=True)

    one.unwire()
    removed = case.with_suffix(".removed")
    if WRITE and case.stem.partition("@")[0] in FROM_EARLIER:
        removed.write_bytes(path.read_bytes())
    assert path.read_bytes() == (removed.read_bytes() if removed.exists() else before)
    assert one.manifest.apps() == []


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_an_app_without_any_file_is_left_without_any(
    app: object, tmp_path: Path
) -> None:
    one = Desk(tmp_path, app)  # type: ignore[arg-type]
    assert one.wire(reservations=True, approvals=True)
    assert one.wire(reservations=True, approvals=True) == []
    one.unwire()
    assert one.files() == {}
    assert [path for path in tmp_path.rglob("*") if ".parler" not in path.parts] == []
