"""Bundles that are small and mean more than a machine has: each ends at a bound."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from parler.errors import TooManyPaths
from parler.handoff import changes, git, incoming, repository
from parler.handoff.changes import MAX_DEPTH, MAX_PATH_BYTES
from parler.handoff.git import MAX_RECORD_BYTES, MEMORY_KIB
from parler.handoff.incoming import MAX_OBJECTS, drop, imported_refs
from parler.handoff.outgoing import select
from parler.handoff.repository import (
    MAX_SHOWN_CHANGES,
    MAX_SUBJECT_CHARS,
    Change,
    open_repository,
)
from tests._support.bundles import (
    apply,
    brought,
    bundle,
    commit_of,
    count_objects,
    digest,
    handmade,
    nested_pack,
    refused,
    tree,
    tree_bomb,
)
from tests._support.gitrepo import Repo
from tests._support.polling import TEST_WAIT

resource = pytest.importorskip("resource", reason="limits need POSIX")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")

MIB = 2**20
CHILD_BYTES = 2 * 2**30
"""All that a child of these tests may ask for, so that the machine outlives a fault."""

HONEST_BYTES = 256 * MIB
"""What applying a small bundle may take, and far less than an attack would."""

_APPLY = """
import asyncio, json, resource, sys
from pathlib import Path
from parler.errors import ParlerError
from parler.handoff.incoming import take
from parler.handoff.repository import open_repository

async def apply(folder, path, id_):
    repository = await open_repository(folder)
    return await take(repository, path.read_bytes(), blob=id_)

said = {"code": None, "message": "", "next": None}
try:
    asyncio.run(apply(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
except ParlerError as error:
    said = {"code": error.code, "message": error.message, "next": error.next_step}
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
said["peak"] = used if sys.platform == "darwin" else used * 1024
print(json.dumps(said))
"""


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))


def applied(repo: Repo, data: bytes) -> dict[str, object]:
    """Take a bundle in a process of its own; its error, and the most that git took."""
    path = repo.folder.parent / "in.bundle"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _APPLY, str(repo.folder), str(path), digest(data)],
        capture_output=True,
        check=False,
        preexec_fn=_limited,
        timeout=TEST_WAIT,
    )
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def refused_in_bounds(repo: Repo, data: bytes, *, most: int = HONEST_BYTES) -> str:
    """Take what must be refused: in words, before the import, and for little memory."""
    before, refs, objects = repo.state(), repo.refs(), count_objects(repo)
    said = applied(repo, data)
    assert said["code"] == "bad_bundle", said
    assert said["next"]
    assert (repo.state(), repo.refs()) == (before, refs)
    assert count_objects(repo) == objects
    assert isinstance(said["peak"], int)
    assert said["peak"] < most
    return str(said["message"])


# ------------------------------------------------------------------------------- paths


def test_a_small_bundle_of_a_billion_paths_is_refused_before_it_is_imported(
    ann: Repo, bob: Repo
) -> None:
    data = brought(ann, commit_of(ann, tree_bomb(ann), ann.tip()), ann.tip())
    assert len(data) < 1000
    assert "1000000001 paths" in refused_in_bounds(bob, data)


@pytest.mark.parametrize("where", ["before", "beside"])
def test_a_commit_that_is_not_shown_is_held_to_the_bounds_too(
    ann: Repo, bob: Repo, where: str
) -> None:
    """`git log -p`, which we advise, would list what comes and goes again."""
    base = ann.tip()
    bomb = commit_of(ann, tree_bomb(ann), base)
    kept = ann.tip("HEAD^{tree}")
    parents = (bomb,) if where == "before" else (base, bomb)
    tip = commit_of(ann, kept, *parents)
    assert "paths" in refused_in_bounds(bob, brought(ann, tip, base))


def test_a_second_tip_is_held_to_the_bounds_too(ann: Repo, bob: Repo) -> None:
    base = ann.tip()
    bomb = commit_of(ann, tree_bomb(ann), base)
    tip = ann.commit("two.txt")
    head = f"# v2 git bundle\n-{base}\n{tip} HEAD\n{bomb} refs/heads/b\n\n"
    data = handmade(head.encode(), ann, tip, bomb, exclude=(base,))
    assert "paths" in refused_in_bounds(bob, data)


def test_what_an_older_version_imported_is_refused_the_same_way_and_can_be_dropped(
    ann: Repo, bob: Repo
) -> None:
    bomb = commit_of(ann, tree_bomb(ann), ann.tip())
    data = brought(ann, bomb, ann.tip())
    message = refused_in_bounds(bob, data)
    ref = f"refs/parler/{digest(data)[:12]}"
    bob.git("fetch", "--quiet", str(in_file(bob, data)), f"refs/heads/main:{ref}")

    again = applied(bob, data)
    assert (again["code"], again["message"]) == ("bad_bundle", message)
    base, tip = ann.tip(), ann.commit("two.txt")
    assert applied(bob, brought(ann, tip, base))["code"] is None
    listed = asyncio.run(listed_refs(bob))
    assert ref in listed
    assert len(listed) == 2
    asyncio.run(dropped(bob, digest(data)))
    assert asyncio.run(listed_refs(bob)) == listed - {ref}


def in_file(repo: Repo, data: bytes) -> Path:
    path = repo.folder.parent / "kept.bundle"
    path.write_bytes(data)
    return path


async def listed_refs(repo: Repo) -> set[str]:
    repository = await open_repository(repo.folder)
    return {one.ref for one in await imported_refs(repository)}


async def dropped(repo: Repo, id_: str) -> None:
    await drop(await open_repository(repo.folder), id_)


def wide_tree(repo: Repo, entries: int) -> str:
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"x\n")
    return tree(repo, *(("100644", blob, f"{n:07}") for n in range(entries)))


def test_a_million_files_in_one_folder_are_counted_and_refused(
    ann: Repo, bob: Repo
) -> None:
    data = brought(ann, commit_of(ann, wide_tree(ann, 10**6), ann.tip()), ann.tip())
    message = refused_in_bounds(bob, data, most=MEMORY_KIB * 1024)
    assert "1000001 paths" in message


async def test_a_hundred_thousand_files_in_one_folder_are_taken(
    ann: Repo, bob: Repo
) -> None:
    tip = commit_of(ann, wide_tree(ann, 10**5), ann.tip())
    contents = (await apply(bob, brought(ann, tip, ann.tip()))).contents
    assert (contents.change_count, contents.added) == (10**5 + 1, 10**5)
    assert len(contents.changes) == MAX_SHOWN_CHANGES


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([b"x" * 100_000], "a path of 100000 bytes"),
        ([b"x" * 1000] * 100, "a path of 100099 bytes"),
        ([b"x" * MAX_RECORD_BYTES * 2], "a name of more than"),
        ([b"x"] * (MAX_DEPTH + 2), "folders within folders"),
        ([b"x"] * 100_000, ""),
    ],
    ids=["name", "folders", "longer name", "deep", "very deep"],
)
def test_a_path_that_no_system_opens_is_refused(
    bob: Repo, names: list[bytes], said: str
) -> None:
    tip, pack = nested_pack(b"x", names)
    head = f"# v2 git bundle\n{tip} refs/heads/main\n\n".encode()
    assert said in refused_in_bounds(bob, head + pack)


async def test_a_path_of_the_length_that_systems_open_is_taken(bob: Repo) -> None:
    names = [b"x" * 15] * (MAX_PATH_BYTES // 16)
    tip, pack = nested_pack(b"x", names)
    head = f"# v2 git bundle\n{tip} refs/heads/main\n\n".encode()
    [change] = [
        one
        for one in (await apply(bob, head + pack)).contents.changes
        if one.path.startswith("x")
    ]
    assert len(change.path) == MAX_PATH_BYTES - 1


async def test_a_subject_as_long_as_a_bundle_is_cut(ann: Repo, bob: Repo) -> None:
    base = ann.tip()
    message = b"word " * 10**6
    tip = ann.git("commit-tree", "-p", base, ann.tip("HEAD^{tree}"), stdin=message)
    [commit] = (await apply(bob, brought(ann, tip, base))).contents.commits
    assert commit.subject.startswith("word word")
    assert len(commit.subject) <= MAX_SUBJECT_CHARS


# ------------------------------------------------------------------------ other numbers


def test_a_hundred_thousand_refs_are_refused(ann: Repo, bob: Repo) -> None:
    tip = ann.tip()
    refs = "".join(f"{tip} refs/heads/{n}\n" for n in range(10**5))
    data = handmade(f"# v2 git bundle\n{refs}\n".encode(), ann, tip)
    assert "head" in refused_in_bounds(bob, data)


def test_a_pack_that_claims_more_objects_than_are_taken_is_refused(
    ann: Repo, bob: Repo
) -> None:
    data = bytearray(brought(ann, ann.tip()))
    at = data.index(b"PACK") + 8
    data[at : at + 4] = (MAX_OBJECTS + 1).to_bytes(4)
    assert f"{MAX_OBJECTS + 1} objects" in refused_in_bounds(bob, bytes(data))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("MAX_COMMITS", "2 commits"),
        ("MAX_FOLDERS", "2 folders"),
        ("MAX_ENTRIES", "2 changes to folders"),
        ("MAX_LISTING_BYTES", "bytes together"),
    ],
)
async def test_many_commits_and_folders_end_at_their_own_bounds(
    ann: Repo, bob: Repo, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    for number in range(4):
        ann.commit(f"{number}/{number}.txt")
    data = await bundle(ann)
    monkeypatch.setattr(changes, name, 2)
    assert said in (await refused(bob, data)).message


async def test_an_examination_without_end_is_ended(
    ann: Repo, bob: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await bundle(ann)
    monkeypatch.setattr(incoming, "EXAMINE_SECS", 0)
    assert "within 0 s" in (await refused(bob, data)).message


async def test_lines_that_take_too_long_to_count_are_not_counted(
    ann: Repo, bob: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tip = ann.tip(), ann.commit("two.txt")
    data = brought(ann, tip, base)
    monkeypatch.setattr(repository, "COUNT_SECS", 0)
    contents = (await apply(bob, data)).contents
    assert contents.changes == [Change(path="two.txt", added=None, removed=None)]
    assert (contents.change_count, contents.added, contents.removed) == (1, None, None)


async def test_changes_of_every_kind_are_counted_as_git_lists_them(
    ann: Repo, bob: Repo
) -> None:
    """Folders that come, go, become files, stay and are the same in two places."""
    for name in ("a/b/c.txt", "d/e.txt", "f/g/h.txt", "same/1.txt", "i\nj/k.txt"):
        ann.commit(name)
    base = ann.tip()
    ann.git("rm", "-r", "--quiet", "d", "f")
    ann.commit("d", "a file now\n")
    ann.commit("f/g/h2.txt")
    ann.commit("same2/1.txt")
    ann.commit("i\nj/l\nm.txt")
    (ann.folder / "a" / "link").symlink_to("/etc")
    ann.git("add", "a")
    tip = ann.commit("a/b/c.txt", "changed\n")
    listed = ann.git("diff-tree", "-r", "--name-only", "-z", base, tip)
    bob.git("fetch", "--quiet", "origin", "main")
    bob.git("update-ref", "refs/heads/old", base)
    bob.git("checkout", "--quiet", "old")
    contents = (await apply(bob, brought(ann, tip, base))).contents
    assert contents.change_count == listed.count("\0")
    assert [one.path for one in contents.changes] == listed.split("\0")[:-1]


# ---------------------------------------------------- what else a repository may have


async def test_a_repository_that_borrows_its_objects_takes_a_bundle(
    ann: Repo, tmp_path: Path
) -> None:
    shared = ann.clone(tmp_path / "shared", "--shared")
    (shared.folder / ".git/objects/info/alternates").write_text(
        f"{ann.folder}/.git/objects\n/nowhere/at/all\n../../../ann/.git/objects\n",
        encoding="utf-8",
    )
    base, tip = ann.tip(), ann.commit("two.txt")
    data = brought(ann, tip, base)
    assert (await apply(shared, data)).refs[0].tip == tip


def partial(ann: Repo, *options: str) -> tuple[Repo, Path]:
    """A clone that fetches what it lacks, by a program that leaves a trace."""
    folder = ann.folder.parent
    ann.git("config", "uploadpack.allowFilter", "true")
    ann.commit("large.txt", "not fetched before it is looked at\n")
    clone = ann.clone(folder / "partial", "--filter=blob:none", *options)
    trace, script = folder / "trace", folder / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {trace}\n", encoding="utf-8")
    script.chmod(0o755)
    for key, value in {
        "remote.origin.uploadpack": str(script),
        "core.sshCommand": str(script),
        "protocol.file.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        clone.git("config", key, value)
    return clone, trace


@pytest.mark.parametrize("url", ["", "ext::{script}", "ssh://host/path"])
async def test_a_partial_clone_fetches_nothing_while_a_bundle_is_looked_at(
    ann: Repo, tmp_path: Path, url: str
) -> None:
    clone, trace = partial(ann, "--no-checkout")
    if url:
        clone.git("config", "remote.origin.url", url.format(script=tmp_path / "script"))
    base, tip = ann.tip(), ann.commit("large.txt", "changed\n")
    error = await refused(clone, brought(ann, tip, base))
    assert "partial clone" in error.message
    assert "--refetch" in (error.next_step or "")
    assert not trace.exists()


async def test_a_partial_clone_that_has_what_it_takes_takes_a_bundle(
    ann: Repo,
) -> None:
    clone, trace = partial(ann)
    base, tip = ann.tip(), ann.commit("large.txt", "changed\n")
    contents = (await apply(clone, brought(ann, tip, base))).contents
    assert contents.commit_count == contents.change_count == 1
    assert not trace.exists()


async def test_a_promisor_hides_no_hole(ann: Repo) -> None:
    """What somebody may have promised is not taken for something that is here."""
    clone, trace = partial(ann)
    blob = ann.git("hash-object", "-w", "--stdin", stdin=b"nobody has it\n")
    made = tree(ann, ("100644", blob, "x"))
    tip = commit_of(ann, made, ann.tip())
    names = "".join(f"{oid}\n" for oid in (tip, made))
    path = ann.folder.parent / "hole"
    ann.git("pack-objects", "-q", str(path), stdin=names.encode())
    [pack] = ann.folder.parent.glob("hole-*.pack")
    head = f"# v2 git bundle\n-{ann.tip()}\n{tip} refs/heads/main\n\n".encode()
    await refused(clone, head + pack.read_bytes())
    assert not trace.exists()


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% pwned", "file:///etc", "../../../x", "https://[::1"]
)
async def test_submodules_of_any_address_are_taken_and_nothing_of_them_is_fetched(
    ann: Repo, bob: Repo, url: str
) -> None:
    base = ann.tip()
    modules = f'[submodule "x"]\n\tpath = x\n\turl = {url}\n\tupdate = checkout\n'
    ann.commit(".gitmodules", modules)
    ann.git("update-index", "--add", "--cacheinfo", f"160000,{base},x")
    ann.git("commit", "--quiet", "-m", "a submodule")
    for setting in ("submodule.recurse", "fetch.recurseSubmodules"):
        bob.git("config", setting, "true")
    bob.git("config", "protocol.allow", "always")
    before = bob.state()
    await apply(bob, brought(ann, ann.tip(), base))
    assert bob.state() == before
    assert not (bob.folder / "x").exists()
    assert not (bob.folder / ".git" / "modules").exists()


@pytest.mark.parametrize(
    "setting",
    [
        '"x"]\n\turl = x\n\tupdate = !touch pwned',
        '"x"]\n\turl = x\n\tpath = -x',
        '"x"]\n\turl = -u./x',
        '"../x"]\n\turl = x',
    ],
)
async def test_settings_of_submodules_that_are_commands_are_refused(
    ann: Repo, bob: Repo, setting: str
) -> None:
    base = ann.tip()
    tip = ann.commit(".gitmodules", f"[submodule {setting}\n")
    assert "malicious" in (await refused(bob, brought(ann, tip, base))).message


async def test_a_link_and_a_folder_of_one_name_are_refused(
    ann: Repo, bob: Repo
) -> None:
    link = ann.git("hash-object", "-w", "--stdin", stdin=b".git/hooks")
    inner = tree(ann, ("100755", link, "post-checkout"))
    made = tree(ann, ("120000", link, "a"), ("40000", inner, "a"))
    data = brought(ann, commit_of(ann, made, ann.tip()), ann.tip())
    assert "malicious" in (await refused(bob, data)).message


async def test_names_that_differ_only_in_case_are_listed_and_not_written(
    ann: Repo, bob: Repo
) -> None:
    link = ann.git("hash-object", "-w", "--stdin", stdin=b".git/hooks")
    inner = tree(ann, ("100755", link, "post-checkout"))
    made = tree(ann, ("120000", link, "A"), ("40000", inner, "a"))
    before = bob.state()
    data = brought(ann, commit_of(ann, made, ann.tip()), ann.tip())
    contents = (await apply(bob, data)).contents
    assert [one.path for one in contents.changes] == ["A", "a/post-checkout", "one.txt"]
    assert bob.state() == before


# --------------------------------------------------------------------------- the sender


async def test_who_sends_meets_the_same_bounds(
    ann: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = commit_of(ann, tree_bomb(ann), ann.tip())
    with pytest.raises(TooManyPaths, match="1000000001 paths") as caught:
        await bundle(ann, bomb, base="HEAD")
    assert "--base" in (caught.value.next_step or "")


async def test_files_without_number_that_are_not_tracked_are_counted(
    ann: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "MAX_OUTPUT_BYTES", 1000)
    for number in range(100):
        (ann.folder / f"not-tracked-{number}").touch()
    opened = await open_repository(ann.folder)
    selection = await select(opened, "HEAD", base=None, allow_dirty=False)
    assert "100 files are not tracked: not sent" in selection.notes
