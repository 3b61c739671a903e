"""What is shown of commits that change hands."""

import pytest

from parler.cli import render
from parler.cli.attachments import _contents, _fetched
from parler.ops.bundles import CommitLine, Edit, Outline
from parler.ops.files import FetchResult
from parler.wire.base import Digest


def shown(*, added: int | None) -> list[str]:
    outline = Outline(
        commits=[CommitLine(oid="a" * 40, subject="the\x1b[2J subject")],
        commit_count=1,
        changes=[Edit(path="one.txt", added=added, removed=added)],
        change_count=1,
        added=added,
        removed=added,
    )
    return list(_contents(outline, files=True))


def test_lines_are_shown_where_they_were_counted() -> None:
    _, total, change = shown(added=3)
    assert total == "1 commit, 1 file changed, +3 -3 lines"
    assert change.split() == ["+3", "-3", "one.txt"]


def test_what_was_too_much_to_count_is_listed_and_not_called_binary() -> None:
    _, total, change = shown(added=None)
    assert total == "1 commit, 1 file changed, too much to count the lines"
    assert change.split() == ["one.txt"]


def test_the_path_of_what_was_fetched_is_a_row_of_its_own_to_be_copied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/home/ann/.parler/inbox/{'ab' * 32}/report.pdf"
    kept = FetchResult(
        blob=Digest("ab" * 32),
        path=path,
        name="report.pdf",
        size=3,
        already=True,
        looks_like="a " + "long " * 20,
    )
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(render, "_at_terminal", lambda stream: True)
    out = render.Output(json=False, quiet=False)
    out.result(kept, _fetched(kept), foreign=True)
    first, second, *others = capsys.readouterr().out.splitlines()
    assert (first, second.startswith("  3 bytes")) == (path, True)
    assert all(one.startswith(("  | ", "  from")) for one in others)
