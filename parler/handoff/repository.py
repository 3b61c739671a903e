"""A git repository that work is handed out of or into, and what is in its commits.

Reading only. What is sent is `outgoing`'s matter, what is imported `incoming`'s.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from parler.errors import GitFailed, UsageError
from parler.handoff.bundle import SHA1
from parler.handoff.git import Git, Ran, filters_off, trusted_folders

MAX_SHOWN_COMMITS = 20
MAX_SHOWN_CHANGES = 50
OID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?", re.ASCII)

# No line counts of large files: they would be read whole, however far they unpack.
_SMALL_FILES = (("core.bigFileThreshold", "4m"),)


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
    added: int
    removed: int


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

    async def contents(
        self, tip: str, excluded: list[str], *, since: str | None, count: int
    ) -> Contents:
        """What `tip` brings that `excluded` lack, as a change of `since` or nothing."""
        limit = f"--max-count={MAX_SHOWN_COMMITS}"
        commits = await self.log(limit, tip, *excluded)
        before = since or await self.git.text("hash-object", "-t", "tree", "--stdin")
        changes = await self._changes(before, tip)
        return Contents(
            commits=commits,
            commit_count=count,
            changes=changes[:MAX_SHOWN_CHANGES],
            change_count=len(changes),
            added=sum(one.added or 0 for one in changes),
            removed=sum(one.removed or 0 for one in changes),
        )

    async def count(self, tip: str, excluded: list[str]) -> int:
        """How many commits `tip` brings that `excluded` lack."""
        return int(await self.git.text("rev-list", "--count", tip, *excluded))

    async def log(self, *arguments: str) -> list[Commit]:
        """Commits; with ``--boundary`` those at the edge have a dash in front."""
        found = await self.git.run(
            "rev-list", "--encoding=UTF-8", "--format=%s", *arguments
        )
        lines = iter(found.lines)
        return [
            Commit(oid=line.removeprefix("commit "), subject=next(lines, ""))
            for line in lines
        ]

    async def _changes(self, before: str, after: str) -> list[Change]:
        git = replace(self.git, config=self.git.config + _SMALL_FILES)
        found = await git.run(
            *("diff-tree", "-r", "--numstat", "-z", "--no-renames", "--no-ext-diff"),
            *("--no-textconv", "--ignore-submodules=dirty", before, after),
        )
        entries = (entry.split("\t", 2) for entry in found.text.split("\0") if entry)
        return [
            Change(path=path, added=_number(added), removed=_number(removed))
            for added, removed, path in entries
        ]


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
    filters = await git.run(
        "config", "--name-only", "--get-regexp", r"^filter\.", may_fail=True
    )
    return Repository(
        git=replace(git, config=git.config + filters_off(filters.lines)),
        objects=Path(objects),
        object_format=object_format or SHA1,
        bare=bare == "true",
        in_work_tree=inside == "true",
        shallow=Path(shallow) if is_shallow == "true" else None,
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
