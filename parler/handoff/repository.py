"""A git repository that work is handed out of or into, and what is in its commits.

Reading only. What is sent is `outgoing`'s matter, what is imported `incoming`'s.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from parler.errors import GitFailed, UsageError
from parler.handoff.bundle import SHA1
from parler.handoff.changes import count_changes, empty_tree
from parler.handoff.git import (
    Git,
    Ran,
    Watch,
    by_record,
    filters_off,
    trusted_folders,
)

MAX_SHOWN_COMMITS = 20
MAX_SHOWN_CHANGES = 50
COUNT_SECS = 30.0
"""For counting changed lines; if it takes longer they are not counted."""

MAX_SUBJECT_CHARS = 400
"""Of a commit, in what changes hands; a subject may be as long as a bundle."""

OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)

# No line counts of large files: they would be read whole, however far they unpack.
_SMALL_FILES = (("core.bigFileThreshold", "4m"),)
_PLAIN_DIFF = (
    *("--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"),
)
_TOLD = r"^(filter\..*|extensions\.partialclone|remote\..*\.promisor)$"
_SUBJECT = f"%<({MAX_SUBJECT_CHARS},trunc)%s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit, and its subject in its author's words."""

    oid: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed file; lines are None where there are none to count."""

    path: str
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What changes hands: the newest commits, the first changes, and the sums."""

    commits: list[Commit]
    commit_count: int
    changes: list[Change]
    change_count: int
    added: int | None
    """Lines; None if they could not be counted in time and memory."""

    removed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """An open repository."""

    git: Git
    objects: Path
    object_format: str
    bare: bool
    in_work_tree: bool
    shallow: Path | None
    """The file that names where the history is cut off, if it is."""

    partial: bool
    """It lacks objects that its own git would fetch when they are needed."""

    def watched(self, watch: Watch | None) -> "Repository":
        """The same one, of which somebody is told how far git is."""
        return replace(self, git=replace(self.git, watch=watch))

    async def contents(
        self, tip: str, excluded: list[str], *, since: str | None, count: int
    ) -> Contents:
        """What `tip` brings that `excluded` lack, as a change of `since` or nothing.

        Raises:
            TooManyPaths: It changes more of them than can be listed.
            GitFailed: Git could not tell within its bounds.
        """
        limit = f"--max-count={MAX_SHOWN_COMMITS}"
        commits = await self.log(limit, tip, *excluded)
        after = await self.git.text("rev-parse", f"{tip}^{{tree}}")
        if since is None:
            before = (await empty_tree(self.git)).decode()
        else:
            before = await self.git.text("rev-parse", f"{since}^{{tree}}")
        change_count = await count_changes(self.git, before, after)
        try:
            changes, added, removed = await self._counted_changes(before, after)
        except GitFailed:  # too large to look into; which paths it is can be told
            changes, added, removed = await self._changes(before, after), None, None
        return Contents(
            commits=commits,
            commit_count=count,
            changes=changes,
            change_count=change_count,
            added=added,
            removed=removed,
        )

    async def count(self, tip: str, excluded: list[str]) -> int:
        """How many commits `tip` brings that `excluded` lack."""
        return int(await self.git.text("rev-list", "--count", tip, *excluded))

    async def log(self, *arguments: str) -> list[Commit]:
        """Commits; with ``--boundary`` those at the edge have a dash in front."""
        found = await self.git.run(
            "rev-list", "--encoding=UTF-8", f"--format={_SUBJECT}", *arguments
        )
        lines = iter(found.lines)
        return [
            Commit(oid=line.removeprefix("commit "), subject=next(lines, "").rstrip())
            for line in lines
        ]

    async def _counted_changes(
        self, before: str, after: str
    ) -> tuple[list[Change], int, int]:
        """The first changes, and the lines of all."""
        changes: list[Change] = []
        added = removed = 0

        def take(record: bytes) -> None:
            nonlocal added, removed
            plus, minus, path = record.decode(errors="replace").split("\t", 2)
            change = Change(path=path, added=_number(plus), removed=_number(minus))
            added += change.added or 0
            removed += change.removed or 0
            if len(changes) < MAX_SHOWN_CHANGES:
                changes.append(change)

        git = replace(self.git, config=self.git.config + _SMALL_FILES)
        await git.run(
            *("diff-tree", "-r", "-z", "--numstat", *_PLAIN_DIFF, before, after),
            into=by_record(take),
            secs=COUNT_SECS,
        )
        return changes, added, removed

    async def _changes(self, before: str, after: str) -> list[Change]:
        """The first changes, by their paths alone."""
        changes: list[Change] = []

        def take(record: bytes) -> None:
            if len(changes) < MAX_SHOWN_CHANGES:
                path = record.decode(errors="replace")
                changes.append(Change(path=path, added=None, removed=None))

        await self.git.run(
            *("diff-tree", "-r", "-z", "--name-only", *_PLAIN_DIFF, before, after),
            into=by_record(take),
        )
        return changes


async def open_repository(folder: Path) -> Repository:
    """Find the repository that a folder belongs to.

    Raises:
        UsageError: There is none.
        GitFailed: Git does not want to work in it, or is not installed.
    """
    git = Git(folder=folder)
    found = await _ask(git)
    if found.status != 0 and "dubious ownership" in found.err:
        # Somebody else's folder, which the user may have declared to be safe.
        git = replace(git, config=await trusted_folders(folder))
        found = await _ask(git)
    if found.status != 0:
        if "not a git repository" in found.err:
            raise UsageError(
                f"{folder} is in no git repository",
                next_step="run it inside the repository",
            )
        raise GitFailed(f"git does not work in {folder}: {found.err}")
    answers = os.fsdecode(found.out).splitlines()
    objects, shallow, bare, inside, is_shallow, object_format = answers
    told = await git.run("config", "--name-only", "--get-regexp", _TOLD, may_fail=True)
    filters = [key for key in told.lines if key.startswith("filter.")]
    return Repository(
        git=replace(git, config=git.config + filters_off(filters)),
        objects=Path(objects),
        object_format=object_format or SHA1,
        bare=bare == "true",
        in_work_tree=inside == "true",
        shallow=Path(shallow) if is_shallow == "true" else None,
        partial=len(filters) < len(told.lines),
    )


async def _ask(git: Git) -> Ran:
    return await git.run(
        *("rev-parse", "--path-format=absolute", "--git-path", "objects"),
        *("--git-path", "shallow", "--is-bare-repository", "--is-inside-work-tree"),
        *("--is-shallow-repository", "--show-object-format"),
        may_fail=True,
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
