"""Bundles for tests: honest ones, and ones that only an attacker would make."""

import hashlib
import struct
import zlib

import pytest

from parler.errors import BadBundle, HandoffError
from parler.handoff.incoming import Imported, take
from parler.handoff.outgoing import select, write
from parler.handoff.repository import open_repository
from parler.wire.base import Digest
from tests._support.gitrepo import Repo


def digest(data: bytes) -> Digest:
    """The id of a blob."""
    return Digest(hashlib.sha256(data).hexdigest())


async def bundle(repo: Repo, what: str = "HEAD", *, base: str | None = None) -> bytes:
    """What `parler push` would send."""
    repository = await open_repository(repo.folder)
    selection = await select(repository, what, base=base, allow_dirty=True)
    path = repo.folder.parent / "out.bundle"
    await write(repository, selection, path, max_bytes=25 * 2**20)
    data = path.read_bytes()
    path.unlink()
    return data


async def apply(repo: Repo, data: bytes, *, tip: str | None = None) -> Imported:
    """Take a bundle as `parler apply` does."""
    repository = await open_repository(repo.folder)
    return await take(repository, data, blob=digest(data), tip=tip)


async def refused(
    repo: Repo, data: bytes, kind: type[HandoffError] = BadBundle
) -> HandoffError:
    """Apply what must not be; nothing at all is left of it."""
    before, objects = repo.state(), count_objects(repo)
    with pytest.raises(kind) as caught:
        await apply(repo, data)
    assert repo.state() == before
    assert count_objects(repo) == objects
    assert not [ref for ref in repo.refs() if ref.startswith("refs/parler")]
    return caught.value


def count_objects(repo: Repo) -> str:
    """How many objects it has, loose and packed."""
    return repo.git("count-objects", "-v")


def handmade(
    head: bytes, repo: Repo, *revisions: str, exclude: tuple[str, ...] = ()
) -> bytes:
    """A bundle with a head of the attacker's choice."""
    lines = "".join(f"{one}\n" for one in (*revisions, *(f"^{one}" for one in exclude)))
    path = repo.folder.parent / "handmade.pack"
    repo.git("pack-objects", "--revs", "-q", str(path), stdin=lines.encode())
    [pack] = repo.folder.parent.glob("handmade.pack-*.pack")
    data = pack.read_bytes()
    for leftover in repo.folder.parent.glob("handmade.pack-*"):
        leftover.unlink()
    return head + data


def brought(repo: Repo, tip: str, *needed: str) -> bytes:
    """A bundle that brings one commit and all that `needed` lack of it, unchecked."""
    lines = [*(f"-{oid}" for oid in needed), f"{tip} refs/heads/main"]
    head = "\n".join(["# v2 git bundle", *lines, "", ""])
    return handmade(head.encode(), repo, tip, exclude=needed)


def tree(repo: Repo, *entries: tuple[str, str, str]) -> str:
    """A tree of (mode, id, name), in this order, whatever git thinks of it."""
    raw = b"".join(
        f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid)
        for mode, oid, name in entries
    )
    return repo.git(
        *("hash-object", "-t", "tree", "-w", "--literally", "--stdin"), stdin=raw
    )


def tree_bomb(repo: Repo, levels: int = 9) -> str:
    """A tree of 10 ** `levels` paths, made of as many objects as it has levels."""
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"x\n")
    made = tree(repo, *(("100644", blob, f"{n}") for n in range(10)))
    for _ in range(levels - 1):
        made = tree(repo, *(("40000", made, f"{n}") for n in range(10)))
    return made


def commit_of(repo: Repo, made: str, *parents: str) -> str:
    """A commit of a tree, on no branch."""
    named = [word for parent in parents for word in ("-p", parent)]
    return repo.git("commit-tree", "-m", "made", *named, made)


def nested_pack(blob: bytes, names: list[bytes]) -> tuple[str, bytes]:
    """A commit of folders within folders around one file, and its pack.

    By hand, as git would take a process for each of them.

    Args:
        blob: What is in the file.
        names: Of the file, and then outwards.
    """
    objects = [_packed(3, blob)]
    oid, mode = _oid(b"blob", blob), b"100644"
    for name in names:
        made = mode + b" " + name + b"\0" + oid
        objects.append(_packed(2, made))
        oid, mode = _oid(b"tree", made), b"40000"
    who = b"A <a@example.org> 1700000000 +0000"
    commit = b"tree %s\nauthor %s\ncommitter %s\n\nmade\n"
    commit %= (oid.hex().encode(), who, who)
    objects.append(_packed(1, commit))
    pack = b"PACK" + struct.pack(">II", 2, len(objects)) + b"".join(objects)
    return _oid(b"commit", commit).hex(), pack + hashlib.sha1(pack).digest()


def _oid(kind: bytes, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data).digest()


def _packed(kind: int, data: bytes) -> bytes:
    return pack_entry(kind, len(data)) + zlib.compress(data)


def pack_entry(kind: int, size: int) -> bytes:
    """The head of an object in a pack."""
    out, size = [kind << 4 | size & 15], size >> 4
    while size:
        out[-1] |= 128
        out.append(size & 127)
        size >>= 7
    return bytes(out)
