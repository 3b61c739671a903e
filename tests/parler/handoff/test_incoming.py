"""Importing bundles: what comes in, what must not, and what stays as it is."""

import hashlib
import os
import struct
import sys
import zlib
from pathlib import Path

import pytest

from parler.errors import (
    BadBundle,
    GitFailed,
    HandoffError,
    MissingCommits,
    UsageError,
)
from parler.handoff.incoming import drop, imported_refs
from parler.handoff.repository import open_repository
from tests._support.bundles import apply, bundle, digest, handmade, pack_entry, refused
from tests._support.gitrepo import Repo


async def test_a_bundle_lands_under_a_ref_of_ours_and_nothing_else_changes(
    ann: Repo, bob: Repo
) -> None:
    ann.commit("two.txt", "2\n", "second")
    tip = ann.commit("three.txt", "3\n", "third")
    data = await bundle(ann, base="HEAD~2")
    before = bob.state()
    imported = await apply(bob, data, tip=tip)
    ref = f"refs/parler/{digest(data)[:12]}"
    assert [(one.ref, one.tip, one.name) for one in imported.refs] == [
        (ref, tip, "refs/heads/main")
    ]
    assert not imported.already
    assert [one.subject for one in imported.contents.commits] == ["third", "second"]
    assert [one.path for one in imported.contents.changes] == ["three.txt", "two.txt"]
    assert imported.merge == f"git merge {ref}"
    assert bob.state() == before
    assert bob.tip(ref) == tip
    assert (bob.folder / "one.txt").exists()
    assert not (bob.folder / "two.txt").exists()
    bob.git("merge", "--quiet", ref)
    assert bob.tip() == tip
    bob.git("fsck", "--strict")


async def test_the_same_bundle_again_changes_nothing(ann: Repo, bob: Repo) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    first = await apply(bob, data)
    again = await apply(bob, data)
    assert again.already
    assert again.refs == first.refs


async def test_a_merge_with_both_sides_can_be_taken(ann: Repo, bob: Repo) -> None:
    ann.git("checkout", "--quiet", "-b", "side")
    ann.commit("side.txt")
    ann.git("checkout", "--quiet", "main")
    ann.commit("main.txt")
    ann.git("merge", "--quiet", "--no-ff", "-m", "both", "side")
    imported = await apply(bob, await bundle(ann, base="HEAD~1^"))
    assert imported.refs[0].tip == ann.tip()
    assert imported.contents.commit_count == 3


async def test_sha256_goes_to_sha256_and_not_to_sha1(tmp_path: Path, bob: Repo) -> None:
    ann = Repo.init(tmp_path / "long", "--object-format=sha256")
    ann.commit("one.txt")
    peer = ann.clone(tmp_path / "peer")
    tip = ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    assert (await apply(peer, data)).refs[0].tip == tip
    error = await refused(bob, data)
    assert "sha256" in error.message


async def test_an_empty_repository_takes_a_whole_history(
    ann: Repo, tmp_path: Path
) -> None:
    empty = Repo.init(tmp_path / "empty")
    imported = await apply(empty, await bundle(ann))
    assert imported.merge.startswith("git switch -c parler-")
    empty.git(*imported.merge.split()[1:])
    assert empty.tip() == ann.tip()


async def test_a_bare_repository_takes_a_bundle(ann: Repo, tmp_path: Path) -> None:
    bare = ann.clone(tmp_path / "bare.git", "--bare")
    tip = ann.commit("two.txt")
    imported = await apply(bare, await bundle(ann, base="HEAD~1"))
    assert imported.refs[0].tip == tip
    assert imported.merge.startswith("git branch parler-")
    bare.git(*imported.merge.split()[1:])


async def test_a_history_of_its_own_is_said_to_be_one(
    tmp_path: Path, bob: Repo
) -> None:
    other = Repo.init(tmp_path / "other")
    other.commit("other.txt")
    imported = await apply(bob, await bundle(other))
    assert "--allow-unrelated-histories" in imported.merge


async def test_a_shallow_clone_takes_what_builds_on_what_it_has(
    ann: Repo, tmp_path: Path
) -> None:
    ann.commit("two.txt")
    shallow = ann.clone(tmp_path / "shallow", "--depth=1")
    tip = ann.commit("three.txt")
    imported = await apply(shallow, await bundle(ann, base="HEAD~1"))
    assert imported.refs[0].tip == tip


async def test_a_shallow_clone_is_told_to_get_the_rest(
    ann: Repo, tmp_path: Path
) -> None:
    """Its history only looks like one that has nothing to do with the other."""
    base = ann.commit("two.txt")
    ann.git("checkout", "--quiet", "-b", "side", base)
    tip = ann.commit("side.txt")
    ann.git("checkout", "--quiet", "main")
    ann.commit("three.txt")
    shallow = ann.clone(tmp_path / "shallow", "--depth=1", "--branch=main")
    data = await bundle(ann, tip, base=base)
    error = await refused(shallow, data, MissingCommits)
    assert (error.next_step or "").startswith("git fetch --unshallow")
    imported = await apply(shallow, await bundle(ann, tip))
    first, _, then = imported.merge.partition(" && ")
    assert first == "git fetch --unshallow"
    shallow.git(*first.split()[1:])
    shallow.git(*then.split()[1:])
    assert (shallow.folder / "side.txt").exists()


async def test_submodules_and_lfs_pointers_come_as_they_are(
    ann: Repo, bob: Repo, tmp_path: Path
) -> None:
    Repo.init(tmp_path / "inner").commit("inner.txt")
    ann.git("submodule", "--quiet", "add", f"file://{tmp_path / 'inner'}", "inner")
    ann.commit(".gitattributes", "*.bin filter=lfs diff=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n"
    ann.commit("large.bin", pointer + "size 9\n")
    imported = await apply(bob, await bundle(ann, base="HEAD~2"))
    ref = imported.refs[0].ref
    assert bob.git("cat-file", "blob", f"{ref}:large.bin").startswith("version ")
    assert bob.git("ls-tree", ref, "inner").startswith("160000 commit")
    assert not (bob.folder / "inner").exists()


# --------------------------------------------------------------------- missing commits


async def test_missing_commits_are_named_with_how_to_get_them(
    ann: Repo, bob: Repo
) -> None:
    base = ann.commit("two.txt", message="the second\x1b[2J one")
    ann.commit("three.txt")
    data = await bundle(ann, base=base)
    error = await refused(bob, data, MissingCommits)
    assert isinstance(error, MissingCommits)
    assert error.missing == [base]
    assert base[:12] in error.message
    assert "the second" in error.message
    assert "\x1b" not in error.message
    assert "git fetch" in (error.next_step or "")
    bob.git("fetch", "--quiet", "origin", "main")
    await apply(bob, data)


# --------------------------------------------------------------------------- attackers


async def test_foreign_ref_names_never_become_refs(ann: Repo, bob: Repo) -> None:
    tip = ann.commit("evil.txt")
    names = (
        "refs/heads/main",
        "refs/tags/v1",
        "HEAD",
        "refs/remotes/origin/main",
        "refs/parler/000000000000",
        "refs/heads/../../../../hooks/post-merge",
        "refs/heads/$(touch pwned)",
        "--upload-pack=touch pwned",
    )
    head = b"# v2 git bundle\n"
    head += b"".join(f"{tip} {name}\n".encode() for name in names) + b"\n"
    before, refs = bob.state(), bob.refs()
    imported = await apply(bob, handmade(head, ann, tip))
    assert len(imported.refs) == 1
    assert bob.refs() == refs | {imported.refs[0].ref: tip}
    assert bob.state() == before


async def test_several_tips_get_numbered_refs_of_ours(ann: Repo, bob: Repo) -> None:
    one, two = ann.tip(), ann.commit("two.txt")
    head = f"# v2 git bundle\n{two} refs/heads/b\n{one} refs/heads/a\n\n".encode()
    data = handmade(head, ann, two)
    imported = await apply(bob, data)
    base = f"refs/parler/{digest(data)[:12]}"
    assert [(ref.ref, ref.tip) for ref in imported.refs] == [
        (f"{base}/1", two),
        (f"{base}/2", one),
    ]
    assert (await apply(bob, data)).already
    assert len(await drop(await open_repository(bob.folder), digest(data)[:6])) == 2


async def test_a_ref_that_exists_is_never_moved(ann: Repo, bob: Repo) -> None:
    tip = ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    id_ = digest(data)
    bob.git("update-ref", f"refs/parler/{id_[:12]}", "HEAD")
    imported = await apply(bob, data)
    assert imported.refs[0].ref == f"refs/parler/{id_[:24]}"
    assert imported.refs[0].tip == tip
    assert bob.tip(f"refs/parler/{id_[:12]}") == bob.tip()


async def test_with_all_its_names_taken_a_bundle_is_refused(
    ann: Repo, bob: Repo
) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    for chars in (12, 24, 64):
        bob.git("update-ref", f"refs/parler/{digest(data)[:chars]}/x", "HEAD")
    refs = bob.refs()
    with pytest.raises(HandoffError):
        await apply(bob, data)
    assert bob.refs() == refs


async def test_a_symbolic_ref_in_the_way_does_not_move_what_it_names(
    ann: Repo, bob: Repo
) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    name = f"refs/parler/{digest(data)[:12]}"
    bob.git("symbolic-ref", name, "refs/heads/main")
    tip = bob.tip("main")
    await apply(bob, data)
    assert bob.tip("main") == tip


async def test_a_symbolic_ref_that_leads_nowhere_is_not_followed(
    ann: Repo, bob: Repo
) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    name = f"refs/parler/{digest(data)[:12]}"
    bob.git("symbolic-ref", name, "refs/heads/not-there")
    imported = await apply(bob, data)
    assert imported.refs[0].ref == f"refs/parler/{digest(data)[:24]}"
    assert "refs/heads/not-there" not in bob.refs()
    assert bob.git("symbolic-ref", name) == "refs/heads/not-there"


@pytest.mark.parametrize("at", [100, -30, -5])
async def test_a_pack_with_a_changed_byte_is_refused(
    ann: Repo, bob: Repo, at: int
) -> None:
    ann.commit("two.txt", os.urandom(300).hex())
    data = bytearray(await bundle(ann, base="HEAD~1"))
    data[at] ^= 0xFF
    await refused(bob, bytes(data))


@pytest.mark.parametrize("keep", [20, 150, -1, -25])
async def test_half_a_bundle_is_refused(ann: Repo, bob: Repo, keep: int) -> None:
    ann.commit("two.txt", os.urandom(300).hex())
    await refused(bob, (await bundle(ann, base="HEAD~1"))[:keep])


def tree_with(repo: Repo, entry: str) -> str:
    """A commit whose tree holds what no checkout should ever write."""
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\ntouch pwned\n")
    raw = entry.encode() + b"\0" + bytes.fromhex(blob)
    tree = repo.git(
        *("hash-object", "-t", "tree", "-w", "--literally", "--stdin"), stdin=raw
    )
    return repo.git("commit-tree", "-m", "evil", "-p", repo.tip(), tree)


@pytest.mark.parametrize(
    "entry", ["100755 .git", "100755 .GIT", "100644 ..", "100644 git~1", "100644 a/b"]
)
async def test_a_malicious_tree_is_refused(ann: Repo, bob: Repo, entry: str) -> None:
    evil = tree_with(ann, entry)
    head = f"# v2 git bundle\n{evil} refs/heads/main\n\n".encode()
    error = await refused(bob, handmade(head, ann, evil))
    assert "malicious" in error.message


async def test_malicious_submodule_settings_are_refused(ann: Repo, bob: Repo) -> None:
    modules = '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch pwned\n'
    evil = ann.commit(".gitmodules", modules)
    head = f"# v2 git bundle\n{evil} refs/heads/main\n\n".encode()
    await refused(bob, handmade(head, ann, evil))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can limit it")
async def test_a_small_pack_that_unpacks_without_end_takes_no_memory(
    ann: Repo, bob: Repo
) -> None:
    """A delta names the size of its result, which git makes room for at once."""
    piece, copies = b"\0" * 2**16, 3 * 2**14
    size, delta = len(piece) * copies, b""
    for number in (len(piece), size):
        while number > 127:
            delta += bytes([number & 127 | 128])
            number >>= 7
        delta += bytes([number])
    delta += b"\x80" * copies  # each copies 64 KiB from the beginning
    base = pack_entry(3, len(piece)) + zlib.compress(piece)
    bomb = pack_entry(6, len(delta)) + _back(len(base)) + zlib.compress(delta)
    pack = b"PACK" + struct.pack(">II", 2, 2) + base + bomb
    head = f"# v2 git bundle\n{ann.tip()} refs/heads/main\n\n".encode()
    error = await refused(bob, head + pack + hashlib.sha1(pack).digest())
    assert "memory" in error.message


def _back(offset: int) -> bytes:
    """How far before itself a delta's base is."""
    out = [offset & 127]
    while offset := offset >> 7:
        offset -= 1
        out.append(offset & 127 | 128)
    return bytes(reversed(out))


async def test_a_history_with_a_hole_is_refused(ann: Repo, bob: Repo) -> None:
    middle = ann.commit("two.txt")
    tip = ann.commit("three.txt")
    head = f"# v2 git bundle\n{tip} refs/heads/main\n\n".encode()
    await refused(bob, handmade(head, ann, tip, exclude=(middle,)))


async def test_a_tip_that_is_no_commit_is_refused(ann: Repo, bob: Repo) -> None:
    blob = ann.git("hash-object", "-w", "--stdin", stdin=b"x")
    for what in (blob, ann.tip("HEAD^{tree}")):
        head = f"# v2 git bundle\n{what} refs/heads/main\n\n".encode()
        pack = handmade(head, ann, ann.tip())
        if what == blob:
            path = ann.folder.parent / "blob"
            ann.git("pack-objects", "-q", str(path), stdin=f"{blob}\n".encode())
            [file] = ann.folder.parent.glob("blob-*.pack")
            pack = head + file.read_bytes()
        await refused(bob, pack)


async def test_a_tip_that_the_bundle_does_not_bring_is_refused(
    ann: Repo, bob: Repo
) -> None:
    head = f"# v2 git bundle\n{'1' * 40} refs/heads/main\n\n".encode()
    await refused(bob, handmade(head, ann, ann.tip()))


async def test_another_tip_than_announced_is_refused(ann: Repo, bob: Repo) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    with pytest.raises(BadBundle, match="announces"):
        await apply(bob, data, tip="1" * 40)


@pytest.mark.skipif(os.name == "nt", reason="hooks are shell scripts")
async def test_nothing_the_repository_is_set_up_with_is_run(
    ann: Repo, bob: Repo, tmp_path: Path
) -> None:
    """Hooks, filters, fsmonitor, aliases, converters: all of it would leave a trace."""
    trace = tmp_path / "trace"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {trace}\ncat\n", encoding="utf-8")
    script.chmod(0o755)
    tip = ann.commit("two.txt")
    for repo in (ann, bob):
        hooks = repo.folder / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for hook in (
            *("reference-transaction", "post-index-change", "pre-push", "post-merge"),
            *("post-checkout", "pre-auto-gc", "post-rewrite", "pre-commit"),
        ):
            (hooks / hook).symlink_to(script)
        for key in (
            *("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand"),
            *(
                "filter.a.clean",
                "filter.a.process",
                "filter.a=b.clean",
                "diff.a.command",
            ),
            *("diff.a.textconv", "diff.external", "core.alternateRefsCommand"),
            *("filter.a.smudge", "credential.helper", "gpg.program", "core.askPass"),
        ):
            repo.git("config", key, str(script))
        for name in ("rev-parse", "bundle", "index-pack", "status"):
            repo.git("config", f"alias.{name}", f"!{script}")
        repo.git("config", "log.showSignature", "true")
        attributes = repo.folder / ".git" / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("*.txt filter=a diff=a\n*.md filter=a=b\n", "utf-8")
        (repo.folder / "one.txt").write_text("touched\n", encoding="utf-8")
    trace.unlink(missing_ok=True)
    data = await bundle(ann, base="HEAD~1")
    imported = await apply(bob, data)
    assert imported.refs[0].tip == tip
    await drop(await open_repository(bob.folder), digest(data))
    assert not trace.exists()


async def test_variables_of_the_caller_have_no_say(
    ann: Repo, bob: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    tip = ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(ann.folder / ".git"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=true'")
    monkeypatch.setenv("GIT_TRACE", "1")
    assert (await apply(bob, data)).refs[0].tip == tip


async def test_a_folder_with_a_colon_and_quotes_in_its_name_works(
    ann: Repo, tmp_path: Path
) -> None:
    odd = ann.clone(tmp_path / 'a:b "c" ü')
    ann.commit("two.txt")
    await apply(odd, await bundle(ann, base="HEAD~1"))


# ------------------------------------------------------------------------ refs of ours


async def test_dropping_removes_the_ref_and_nothing_else(ann: Repo, bob: Repo) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    before, refs = bob.state(), bob.refs()
    await apply(bob, data)
    repository = await open_repository(bob.folder)
    [gone] = await drop(repository, digest(data))
    assert gone.ref == f"refs/parler/{digest(data)[:12]}"
    assert (bob.state(), bob.refs()) == (before, refs)
    with pytest.raises(UsageError, match="nothing"):
        await drop(repository, digest(data))


@pytest.mark.parametrize(
    "word", ["", "x", "../../heads/main", "abc", "refs/heads/main"]
)
async def test_what_is_no_id_drops_nothing(bob: Repo, word: str) -> None:
    refs = bob.refs()
    with pytest.raises(UsageError):
        await drop(await open_repository(bob.folder), word)
    assert bob.refs() == refs


async def test_an_id_that_names_two_imports_drops_neither(bob: Repo) -> None:
    for name in ("aaaa11111111", "aaaa22222222"):
        bob.git("update-ref", f"refs/parler/{name}", "HEAD")
    repository = await open_repository(bob.folder)
    with pytest.raises(UsageError, match="2 imports"):
        await drop(repository, "aaaa")
    assert len(await imported_refs(repository)) == 2
    await drop(repository, "aaaa1")


async def test_a_damaged_repository_is_gits_error(ann: Repo, bob: Repo) -> None:
    ann.commit("two.txt")
    data = await bundle(ann, base="HEAD~1")
    (bob.folder / ".git" / "config").write_text("[core\n", encoding="utf-8")
    with pytest.raises(GitFailed):
        await apply(bob, data)
