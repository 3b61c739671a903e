"""How many paths commits change, found without listing them.

A few hundred bytes of trees can mean 10^9 paths, as one tree may be in another many
times. Here each pair of trees is compared once and the sums are made from that, so that
the work grows with what was sent and not with what it means.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import NamedTuple

from parler.errors import TooManyPaths
from parler.handoff.git import Git, by_record

MAX_PATHS = 250_000
"""Paths that one commit, or all that is handed over, may change."""

MAX_PATH_BYTES = 4096
"""Of a changed path; no system opens a longer one."""

MAX_LISTING_BYTES = 64 * 2**20
"""Of all changed paths of a commit, which git holds in memory to list them."""

MAX_COMMITS = 100_000
MAX_FOLDERS = 250_000
"""Pairs of trees that differ, in all commits together; each keeps about 600 bytes."""

MAX_DEPTH = 512
"""Folders within folders; each level is one more run of git."""

MAX_ENTRIES = 2_000_000
"""Differences between the entries of two trees, in all commits together."""

_FEWER = "parler push --base REF, with fewer commits at a time"
_FOLDER, _NOTHING = b"040000", b"000000"

Pair = tuple[bytes, bytes]
"""The ids of a tree before and after."""


class Extent(NamedTuple):
    """The changed paths below a pair of trees."""

    paths: int = 0
    longest: int = 0
    """Bytes of the longest of them."""

    listing: int = 0
    """Bytes of all of them."""


@dataclass(slots=True)
class _Difference:
    """How two trees differ, of which the trees in them are compared by themselves."""

    paths: int = 0
    longest: int = 0
    listing: int = 0
    folders: list[Pair] = field(default_factory=list)
    name_bytes: list[int] = field(default_factory=list)
    """Of the name of each folder."""


async def check_commits(git: Git, *revisions: str) -> None:
    """Hold every commit that ``git rev-list`` finds to the bounds.

    Each against that of its parents which it differs from least, as ``git log`` and
    ``git merge`` would.

    Raises:
        TooManyPaths: One is beyond them, or all together are.
        GitFailed: Git could not tell within its own bounds.
    """
    empty = await empty_tree(git)
    trees, parents = await _commits(git, revisions)
    pairs = {
        oid: [(trees.get(parent, empty), trees[oid]) for parent in of]
        or [(empty, trees[oid])]
        for oid, of in parents.items()
    }
    extents = await _extents(git, [pair for of in pairs.values() for pair in of])
    for oid, of in pairs.items():
        least = min(extents[pair] for pair in of)
        _check(least, f"commit {oid[:12].decode()}")


async def count_changes(git: Git, before: str, after: str) -> int:
    """How many paths differ between two trees.

    Raises:
        TooManyPaths: More than can be listed.
        GitFailed: Git could not tell within its own bounds.
    """
    pair = (before.encode(), after.encode())
    extent = (await _extents(git, [pair]))[pair]
    _check(extent, "this")
    return extent.paths


async def empty_tree(git: Git) -> bytes:
    """The id of the tree that holds nothing."""
    return (await git.text("hash-object", "-t", "tree", "--stdin")).encode()


def _check(extent: Extent, what: str) -> None:
    if extent.paths > MAX_PATHS:
        found, bound = f"{extent.paths} paths", f"{MAX_PATHS}"
    elif extent.longest > MAX_PATH_BYTES:
        found, bound = f"a path of {extent.longest} bytes", f"{MAX_PATH_BYTES} bytes"
    elif extent.listing > MAX_LISTING_BYTES:
        found = f"paths of {extent.listing} bytes together"
        bound = f"{MAX_LISTING_BYTES} bytes"
    else:
        return
    raise TooManyPaths(
        f"{what} changes {found}; at most {bound} can be handed over", next_step=_FEWER
    )


async def _commits(
    git: Git, revisions: Iterable[str]
) -> tuple[dict[bytes, bytes], dict[bytes, list[bytes]]]:
    """The trees of commits and of those at their edge, and the commits' parents."""
    trees: dict[bytes, bytes] = {}
    parents: dict[bytes, list[bytes]] = {}
    oid = b""

    def take(line: bytes) -> None:
        nonlocal oid
        if line.startswith(b"commit "):
            oid = line.removeprefix(b"commit ")
            return
        tree, *of = line.split()
        trees[oid.removeprefix(b"-")] = tree
        if not oid.startswith(b"-"):  # that is one at the edge
            parents[oid] = of
            _bound(len(parents), MAX_COMMITS, "commits")

    await git.run(
        *("rev-list", "--boundary", "--format=%T %P", *revisions),
        into=by_record(take, b"\n"),
    )
    return trees, parents


async def _extents(git: Git, pairs: Iterable[Pair]) -> dict[Pair, Extent]:
    differences = await _compare(git, pairs)
    extents: dict[Pair, Extent] = {}
    order = TopologicalSorter({pair: of.folders for pair, of in differences.items()})
    for pair in order.static_order():
        one = differences[pair]
        paths, longest, listing = one.paths, one.longest, one.listing
        for folder, size in zip(one.folders, one.name_bytes, strict=True):
            below = extents[folder]
            paths += below.paths
            longest = max(longest, size + below.longest)
            listing += size * below.paths + below.listing
        extents[pair] = Extent(paths, longest, listing)
    return extents


async def _compare(git: Git, pairs: Iterable[Pair]) -> dict[Pair, _Difference]:
    """Compare trees and, level by level, the trees in them; each pair once."""
    comparison = _Comparison(await empty_tree(git), dict.fromkeys(pairs))
    depth = 0
    while level := [pair for pair in comparison.waiting if pair[0] != pair[1]]:
        comparison.waiting = {}
        depth += 1
        _bound(depth, MAX_DEPTH, "folders within folders")
        await git.run(
            *("diff-tree", "--stdin", "-z", "--raw", "--no-renames", "--no-abbrev"),
            stdin=b"".join(b"%s %s\n" % pair for pair in level),
            into=by_record(comparison.take),
        )
    return comparison.found


class _Comparison:
    """Reads what ``git diff-tree --stdin -z`` says of pairs of trees."""

    def __init__(self, empty: bytes, waiting: dict[Pair, None]) -> None:
        self.waiting = waiting
        """Pairs to be compared next."""

        self.found = {pair: _Difference() for pair in waiting}
        self._empty = empty
        self._current = _Difference()
        self._entry: list[bytes] = []
        self._entries = 0

    def take(self, record: bytes) -> None:
        """Take what stands before a NUL: an entry, or the name that belongs to it."""
        if self._entry:
            (old, new, before, after, _), self._entry = self._entry, []
            self._add(record, (old, before), (new, after))
            return
        # In front of an entry are lines that say which trees come now.
        *lines, last = record.split(b"\n")
        if lines:
            before, after = lines[-1].split()
            self._current = self.found[before, after]
        self._entry = last.removeprefix(b":").split()

    def _add(self, name: bytes, *sides: tuple[bytes, bytes]) -> None:
        self._entries += 1
        _bound(self._entries, MAX_ENTRIES, "changes to folders")
        current, modes = self._current, {mode for mode, _ in sides}
        if modes - {_FOLDER, _NOTHING}:
            current.paths += 1
            current.longest = max(current.longest, len(name))
            current.listing += len(name)
        if _FOLDER not in modes:
            return
        before, after = (oid if mode == _FOLDER else self._empty for mode, oid in sides)
        pair = (before, after)
        if pair not in self.found:
            self.found[pair] = _Difference()
            self.waiting[pair] = None
            _bound(len(self.found), MAX_FOLDERS, "folders")
        current.folders.append(pair)
        current.name_bytes.append(len(name) + 1)


def _bound(number: int, most: int, what: str) -> None:
    if number > most:
        raise TooManyPaths(
            f"there are more than {most} {what} to look at", next_step=_FEWER
        )
