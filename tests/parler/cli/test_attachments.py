"""What is shown of commits that change hands."""

from parler.cli.attachments import _contents
from parler.ops.bundles import CommitLine, Edit, Outline


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
