"""Choosing the commits to hand out, and writing them as a bundle.

Nothing in the repository changes by it, not even its index.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from parler.errors import (
    HandoffError,
    IdentityError,
    NothingToSend,
    UncommittedChanges,
    UsageError,
)
from parler.handoff.bundle import Needed, write_bundle
from parler.handoff.git import by_record
from parler.handoff.repository import OID, Contents, Repository
from parler.identity.homes import CONFIG_FILE
from parler.identity.identity import MAX_FILE_BYTES, is_identity
from parler.text.terminal import counted

MAX_SHALLOW = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is to be sent."""

    tip: str
    base: str | None
    names: list[str]
    needed: list[Needed]
    contents: Contents
    notes: list[str]
    """What a sender may not expect."""


async def select(
    repository: Repository, what: str, *, base: str | None, allow_dirty: bool
) -> Selection:
    """Decide what a ref or a range means, and look at it.

    Raises:
        UsageError: It names nothing here, or says two things at once.
        NothingToSend: There is no commit in it.
        IdentityError: An identity of Parler's is in it.
        UncommittedChanges: The work tree holds more than what is committed.
        HandoffError: The history is cut off too early.
    """
    ref, base = _range(what, base)
    tip = await _commit(repository, ref)
    base_oid = await _commit(repository, base) if base is not None else None
    excluded = [f"^{base_oid}"] if base_oid else []
    dirty, untracked = await _uncommitted(repository, tip)
    uncommitted = (
        f"{counted(dirty, 'changed file is', 'changed files are')} not committed"
    )
    count = await repository.count(tip, excluded)
    if count == 0:
        raise NothingToSend(
            f"{base} has everything that {ref} has: there is nothing to send"
            + (f" ({uncommitted})" if dirty else ""),
            next_step="commit first, or name another --base",
        )
    if dirty and not allow_dirty:
        raise UncommittedChanges(
            f"{uncommitted} and would not be sent",
            next_step="commit or stash them, or add --allow-dirty",
        )
    needed = await _needed(repository, tip, base_oid)
    notes = [f"{uncommitted}: not sent"] if dirty else []
    if untracked:
        files = counted(untracked, "file is", "files are")
        notes.append(f"{files} not tracked: not sent")
    contents = await repository.contents(
        tip, excluded, since=needed[0].oid if needed else None, count=count
    )
    await _require_no_identity(repository, tip, excluded)
    return Selection(
        tip=tip,
        base=base_oid,
        names=["HEAD", await _branch(repository, ref, tip)],
        needed=needed,
        contents=contents,
        notes=notes + await _left_out(repository, tip),
    )


async def write(
    repository: Repository, selection: Selection, path: Path, *, max_bytes: int
) -> int:
    """Write a selection as a bundle, verified; returns its size.

    Raises:
        TooManyBytes: It gets larger than `max_bytes`.
        HandoffError: Git could not make it.
    """
    return await write_bundle(
        repository.git,
        path,
        object_format=repository.object_format,
        tip=selection.tip,
        names=selection.names,
        needed=selection.needed,
        max_bytes=max_bytes,
    )


async def _commit(repository: Repository, revision: str) -> str:
    if not revision or revision.startswith("-") or not revision.isprintable():
        raise UsageError(f"{revision!r} is no name of a commit")
    wanted = f"{revision}^{{commit}}"
    found = await repository.git.run(
        "rev-parse", "--verify", "--quiet", wanted, may_fail=True
    )
    if found.status == 0 and OID.fullmatch(found.text):
        return found.text
    head = await repository.git.run(
        "rev-parse", "--verify", "--quiet", "HEAD", may_fail=True
    )
    if head.status != 0 and revision == "HEAD":
        raise NothingToSend(
            "there is no commit here yet: there is nothing to send",
            next_step="git commit",
        )
    raise UsageError(
        f"{revision!r} names no commit here",
        next_step="git fetch, or name another commit (git log --oneline)",
    )


async def _uncommitted(repository: Repository, tip: str) -> tuple[int, int]:
    """Changed and untracked files, where one would expect `tip` to have them."""
    head = await repository.git.run(
        "rev-parse", "--verify", "--quiet", "HEAD^{commit}", may_fail=True
    )
    if not repository.in_work_tree or head.text != tip:
        return 0, 0
    changed = untracked = 0

    def take(entry: bytes) -> None:
        nonlocal changed, untracked
        if entry.startswith(b"??"):
            untracked += 1
        else:
            changed += 1

    await repository.git.run(
        *("status", "--porcelain=v1", "-z", "--no-renames"),
        *("--untracked-files=normal", "--ignore-submodules=dirty"),
        into=by_record(take),
    )
    return changed, untracked


async def _needed(repository: Repository, tip: str, base: str | None) -> list[Needed]:
    """The commits just outside of what is sent."""
    cut = _lines_of(repository.shallow) if repository.shallow else set()
    if base is None:
        if cut:
            raise _too_shallow("the whole history")
        return []
    found = await repository.log("--boundary", tip, f"^{base}")
    inside = {one.oid for one in found if not one.oid.startswith("-")}
    if inside & cut:
        raise _too_shallow("what comes after that base")
    edge = [one for one in found if one.oid.startswith("-")]
    return [Needed(one.oid[1:], one.subject) for one in edge]


async def _require_no_identity(
    repository: Repository, tip: str, excluded: list[str]
) -> None:
    """Refuse commits with a home of ours: who has its seed can speak for that agent."""
    paths: dict[bytes, bytes] = {}
    blob = b""

    def take(record: bytes) -> None:
        nonlocal blob
        if blob:
            if record.rpartition(b"/")[2] == CONFIG_FILE.encode():
                paths[blob] = record
            blob = b""
        elif record:
            blob = record.split()[3]

    commits = await repository.git.run("rev-list", tip, *excluded)
    await repository.git.run(
        *("diff-tree", "--stdin", "-m", "--root", "-r", "--raw", "-z", "--no-abbrev"),
        *("--no-commit-id", "--no-renames", "--diff-filter=d"),
        stdin=commits.out,
        into=by_record(take),
    )
    sizes = await repository.git.run(
        *("cat-file", "--batch-check=%(objectsize) %(objecttype) %(objectname)"),
        stdin=b"".join(oid + b"\n" for oid in paths),
    )
    for line in sizes.lines:
        size, kind, oid = line.split()
        if kind != "blob" or int(size) > MAX_FILE_BYTES:
            continue
        found = await repository.git.run("cat-file", "blob", oid)
        if is_identity(found.out):
            path = paths[oid.encode()].decode(errors="replace")
            raise IdentityError(
                f"{path!r} in these commits is the private key of an agent: whoever "
                "gets it can speak in its name; nothing was sent",
                next_step="git rm -r --cached that folder, name it in .gitignore, and "
                "take it out of the commits (git commit --amend, or git rebase -i)",
            )


async def _branch(repository: Repository, ref: str, tip: str) -> str:
    full = await repository.git.run(
        "rev-parse", "--symbolic-full-name", ref, may_fail=True
    )
    if full.status == 0 and re.fullmatch(r"refs/heads/[^\s\x00-\x1f]+", full.text):
        return full.text
    return f"refs/heads/parler-{tip[:12]}"


async def _left_out(repository: Repository, tip: str) -> list[str]:
    notes = []
    attributes = await repository.git.run(
        "cat-file", "blob", f"{tip}:.gitattributes", may_fail=True
    )
    if attributes.status == 0 and b"filter=lfs" in attributes.out:
        notes.append("Git LFS: only the pointers are sent, not the files")
    modules = await repository.git.run(
        "cat-file", "-e", f"{tip}:.gitmodules", may_fail=True
    )
    if modules.status == 0:
        notes.append("submodules: only which commit they are at is sent")
    return notes


def _range(what: str, base: str | None) -> tuple[str, str | None]:
    if "..." in what:
        raise UsageError(
            f"{what!r} has two ends and no direction", next_step="use BASE..TIP"
        )
    if ".." not in what:
        return what, base
    if base is not None:
        raise UsageError("a range has its base already; leave --base away")
    first, _, last = what.partition("..")
    return last or "HEAD", first or "HEAD"


def _too_shallow(what: str) -> HandoffError:
    return HandoffError(
        f"this clone is shallow: {what} is not all here, so it cannot be sent",
        next_step="git fetch --unshallow, or --base REF with a commit that is here",
    )


def _lines_of(path: Path) -> set[str]:
    with path.open(encoding="ascii", errors="replace") as file:
        lines = [
            line.strip() for _, line in zip(range(MAX_SHALLOW), file, strict=False)
        ]
    return set(lines)
