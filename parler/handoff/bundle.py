"""The bundle file: reading its head, and writing one.

A bundle is a list of commits it needs, a list of commits it brings under names, and a
pack. The names and comments in it are a stranger's words: they are shown, and never
used. What becomes of a bundle in a repository is `repository`'s matter.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from parler.errors import BadBundle, GitFailed, TooManyBytes
from parler.handoff.git import Git
from parler.wire.foreign import sentence

MAX_HEAD_BYTES = 2**20
MAX_NEEDED = 2000
MAX_TIPS = 100
"""Commits a bundle may bring under names; each becomes a ref of ours."""

SHA1, SHA256 = "sha1", "sha256"
_OID_CHARS = {SHA1: 40, SHA256: 64}
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_MAGIC = {b"# v2 git bundle": 2, b"# v3 git bundle": 3}


@dataclass(frozen=True, slots=True)
class Needed:
    """A commit the receiver must have, and its subject in the sender's words."""

    oid: str
    comment: str


@dataclass(frozen=True, slots=True)
class Tip:
    """A commit the bundle brings, and what the sender calls it."""

    oid: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The readable part of a bundle."""

    object_format: str
    needed: list[Needed]
    tips: list[Tip]
    pack_at: int
    """Where the pack begins, in bytes."""


def read_head(data: bytes) -> Head:
    """Read the head of a bundle.

    Raises:
        BadBundle: It is none, or one that is not whole.
    """
    end = data.find(b"\n\n", 0, MAX_HEAD_BYTES)
    if not data.startswith(tuple(_MAGIC)):
        raise BadBundle("these bytes are no git bundle")
    if end < 0:
        raise BadBundle(
            f"the bundle's head is damaged, or longer than {MAX_HEAD_BYTES} bytes",
            next_step="ask the sender for one branch: parler push --base REF BRANCH",
        )
    first, *lines = data[:end].decode(errors="replace").split("\n")
    version = _MAGIC.get(first.encode())
    if version is None:
        raise BadBundle("these bytes are no git bundle")
    object_format = SHA1
    needed: list[Needed] = []
    tips: list[Tip] = []
    for line in lines:
        if line.startswith("@") and version > 2:
            object_format = _capability(line)
        elif line.startswith("-"):
            needed.append(Needed(*_entry(line[1:], object_format)))
        else:
            tips.append(Tip(*_entry(line, object_format)))
    if not tips:
        raise BadBundle("the bundle brings nothing")
    if len(tips) > MAX_TIPS or len(needed) > MAX_NEEDED:
        raise BadBundle(
            f"the bundle names {len(tips)} tips and {len(needed)} needed commits; "
            f"{MAX_TIPS} and {MAX_NEEDED} are taken",
            next_step="ask the sender for one branch: parler push --base REF BRANCH",
        )
    return Head(object_format=object_format, needed=needed, tips=tips, pack_at=end + 2)


def _capability(line: str) -> str:
    name, _, value = line[1:].partition("=")
    if name == "object-format" and value in _OID_CHARS:
        return value
    if name == "filter":
        raise BadBundle("the bundle leaves objects out (a partial clone's)")
    raise BadBundle(
        f"the bundle asks for {sentence(name, 40)}, which is not known here"
    )


def _entry(line: str, object_format: str) -> tuple[str, str]:
    oid, _, words = line.partition(" ")
    if len(oid) != _OID_CHARS[object_format] or not _HEX.fullmatch(oid):
        raise BadBundle("the bundle's head is damaged")
    return oid, words


def create_private(path: Path) -> BinaryIO:
    """A new file that only we may read; a link planted there is never followed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


async def write_bundle(
    git: Git,
    path: Path,
    *,
    object_format: str,
    tip: str,
    names: list[str],
    needed: list[Needed],
    max_bytes: int,
) -> int:
    """Write what `tip` has and `needed` lack, and verify it; returns its size.

    Unlike ``git bundle create`` this takes any commit, not only one with a ref.

    Raises:
        TooManyBytes: It gets larger than `max_bytes`. Nothing is left.
        GitFailed: Git could not make it, or does not accept it.
    """
    size = 0
    with create_private(path) as file:

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > max_bytes:
                raise TooManyBytes(
                    f"the bundle has more than the {max_bytes} bytes that a hub takes",
                    next_step="parler push --base REF, with what the others have",
                )
            file.write(piece)

        take(_head(object_format, tip, names, needed))
        revisions = [tip, *(f"^{one.oid}" for one in needed)]
        await git.run(
            *("pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset"),
            *git.told("--all-progress", "--quiet"),
            stdin="".join(f"{one}\n" for one in revisions).encode(),
            into=take,
        )
    await verify(git, path)
    return size


async def verify(git: Git, path: Path) -> None:
    """Have git look at a bundle, and at whether we have what it needs.

    Raises:
        BadBundle: Git does not accept it here.
    """
    try:
        await git.run("bundle", "verify", "--quiet", str(path))
    except GitFailed as failed:
        raise BadBundle(f"the bundle is not accepted here: {failed.message}") from None


def _head(
    object_format: str, tip: str, names: list[str], needed: list[Needed]
) -> bytes:
    if object_format == SHA1:
        lines = ["# v2 git bundle"]
    else:
        lines = ["# v3 git bundle", f"@object-format={object_format}"]
    lines += [f"-{one.oid} {one.comment}".rstrip() for one in needed]
    lines += [f"{tip} {name}" for name in names]
    return ("\n".join(lines) + "\n\n").encode()
