"""Choosing what to send, in every kind of repository people have."""

import re
from pathlib import Path

import pytest

from parler.errors import (
    HandoffError,
    IdentityError,
    NothingToSend,
    TooManyBytes,
    UncommittedChanges,
    UsageError,
)
from parler.handoff.bundle import read_head
from parler.handoff.outgoing import Selection, select, write
from parler.handoff.repository import open_repository
from parler.identity.identity import mint_identity
from tests._support.gitrepo import Repo

MIB = 2**20


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("one.txt", "1\n", "first")
    repo.commit("two.txt", "2\n", "second")
    return repo


async def chosen(
    repo: Repo, what: str = "HEAD", *, base: str | None = None, dirty: bool = False
) -> Selection:
    repository = await open_repository(repo.folder)
    return await select(repository, what, base=base, allow_dirty=dirty)


async def sent(repo: Repo, path: Path, what: str = "HEAD", **more: str) -> bytes:
    repository = await open_repository(repo.folder)
    selection = await select(repository, what, base=more.get("base"), allow_dirty=False)
    size = await write(repository, selection, path, max_bytes=25 * MIB)
    data = path.read_bytes()
    assert size == len(data)
    return data


async def test_without_a_base_the_whole_history_is_sent(repo: Repo) -> None:
    selection = await chosen(repo)
    assert (selection.tip, selection.base) == (repo.tip(), None)
    assert [one.subject for one in selection.contents.commits] == ["second", "first"]
    assert selection.contents.commit_count == 2
    assert [one.path for one in selection.contents.changes] == ["one.txt", "two.txt"]
    assert selection.contents.added == 2
    assert selection.names == ["HEAD", "refs/heads/main"]
    assert selection.needed == []
    assert selection.notes == []


@pytest.mark.parametrize("folder", [".parler", "deep/in/ws/0123", ""])
async def test_home_of_ours_is_not_sent_even_if_a_later_commit_removes_it(
    repo: Repo, folder: str
) -> None:
    base = repo.tip()
    repo.commit("config.json", '{"seed": "a game\'s"}\n')
    identity = mint_identity(repo.folder / folder / "x", hub_url="ws://h")
    path = f"{folder}/config.json".removeprefix("/")
    repo.commit(path, (identity.home / "config.json").read_bytes())
    repo.git("rm", "-q", "-r", path)
    repo.git("commit", "-q", "-m", "oh")
    with pytest.raises(IdentityError, match=re.escape(repr(path))):
        await chosen(repo, base=base, dirty=True)
    assert (await chosen(repo, "HEAD~2", base=base)).contents.commit_count == 1


@pytest.mark.parametrize("what", ["HEAD~1..HEAD", "HEAD~1..", "HEAD~1..main"])
async def test_a_range_sends_what_its_base_lacks(repo: Repo, what: str) -> None:
    selection = await chosen(repo, what)
    assert selection.base == repo.tip("HEAD~1")
    [needed] = selection.needed
    assert (needed.oid, needed.comment) == (repo.tip("HEAD~1"), "first")
    assert [one.path for one in selection.contents.changes] == ["two.txt"]


async def test_a_base_that_went_its_own_way_needs_only_the_common_commit(
    repo: Repo,
) -> None:
    fork = repo.tip()
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.commit("three.txt")
    repo.git("checkout", "--quiet", "main")
    base = repo.commit("elsewhere.txt")
    selection = await chosen(repo, "topic", base="main")
    assert selection.base == base
    assert [one.oid for one in selection.needed] == [fork]
    assert [one.path for one in selection.contents.changes] == ["three.txt"]
    assert selection.names[1] == "refs/heads/topic"


async def test_a_merge_is_sent_with_both_of_its_sides(
    repo: Repo, tmp_path: Path
) -> None:
    repo.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    repo.commit("side.txt")
    repo.git("checkout", "--quiet", "main")
    repo.git("merge", "--quiet", "--no-ff", "-m", "merge side", "side")
    selection = await chosen(repo, "HEAD~1..HEAD")
    assert selection.contents.commit_count == 2
    assert {one.oid for one in selection.needed} == {
        repo.tip("HEAD~1"),
        repo.tip("HEAD~2"),
    }
    await sent(repo, tmp_path / "b", "HEAD~1..HEAD")


async def test_a_bundle_of_any_commit_is_one_that_git_knows(
    repo: Repo, tmp_path: Path
) -> None:
    data = await sent(repo, tmp_path / "b", "HEAD~1")
    head = read_head(data)
    assert {one.oid for one in head.tips} == {repo.tip("HEAD~1")}
    assert head.tips[1].name == f"refs/heads/parler-{repo.tip('HEAD~1')[:12]}"
    other = Repo.init(tmp_path / "other")
    other.git("fetch", "--quiet", str(tmp_path / "b"), "+HEAD:refs/x")
    assert other.tip("refs/x") == repo.tip("HEAD~1")
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


async def test_a_detached_head_can_be_sent(repo: Repo) -> None:
    repo.git("checkout", "--quiet", "--detach", "HEAD~1")
    selection = await chosen(repo)
    assert selection.tip == repo.tip("main~1")


async def test_a_tag_sends_its_commit(repo: Repo) -> None:
    repo.git("tag", "-a", "-m", "v1", "v1", "HEAD~1")
    assert (await chosen(repo, "v1")).tip == repo.tip("HEAD~1")


async def test_a_bare_repository_can_send(repo: Repo, tmp_path: Path) -> None:
    bare = repo.clone(tmp_path / "bare.git", "--bare")
    assert (await chosen(bare, "main")).tip == repo.tip()
    await sent(bare, tmp_path / "b")


async def test_a_linked_work_tree_can_send(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked")
    tip = linked.commit("linked.txt")
    assert (await chosen(linked, "main..")).tip == tip
    await sent(linked, tmp_path / "b", "main..HEAD")


async def test_a_repository_with_sha256_can_send(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo", "--object-format=sha256")
    repo.commit("one.txt")
    base, tip = repo.tip(), repo.commit("two.txt")
    head = read_head(await sent(repo, tmp_path / "b", base=base))
    assert head.object_format == "sha256"
    assert (head.needed[0].oid, head.tips[0].oid) == (base, tip)
    assert len(tip) == 64


async def test_a_submodule_is_announced_as_a_commit_id_only(
    repo: Repo, tmp_path: Path
) -> None:
    Repo.init(tmp_path / "inner").commit("inner.txt")
    url = f"file://{tmp_path / 'inner'}"
    repo.git("submodule", "--quiet", "add", url, "inner")
    repo.git("commit", "--quiet", "-m", "add a submodule")
    selection = await chosen(repo, "HEAD~1..")
    assert any("submodules" in note for note in selection.notes)
    await sent(repo, tmp_path / "b")


async def test_lfs_is_announced_as_pointers_only(repo: Repo) -> None:
    repo.commit(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n"
    repo.commit("large.bin", pointer + "size 12345\n")
    selection = await chosen(repo)
    assert any("LFS" in note for note in selection.notes)


# ---------------------------------------------------------------------------- refusals


async def test_outside_of_a_repository_nothing_is_sent(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no git repository"):
        await open_repository(tmp_path)


async def test_an_empty_repository_has_nothing_to_send(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo")
    with pytest.raises(NothingToSend, match="no commit here yet"):
        await chosen(repo)


@pytest.mark.parametrize("what", ["HEAD..HEAD", "HEAD..HEAD~1", "main.."])
async def test_an_empty_range_is_refused(repo: Repo, what: str) -> None:
    with pytest.raises(NothingToSend, match="nothing to send") as caught:
        await chosen(repo, what)
    assert caught.value.next_step


async def test_an_empty_range_says_what_is_not_committed(repo: Repo) -> None:
    (repo.folder / "one.txt").write_text("changed\n", encoding="utf-8")
    with pytest.raises(NothingToSend, match="1 changed file is not committed"):
        await chosen(repo, base="HEAD")


@pytest.mark.parametrize(
    "word",
    ["nope", "origin/main", "HEAD~99", "0" * 40, "HEAD:one.txt", "", "a\nb", "--all"],
)
async def test_an_unknown_ref_or_base_is_refused(repo: Repo, word: str) -> None:
    for what, base in ((word, None), ("HEAD", word)):
        with pytest.raises(UsageError):
            await chosen(repo, what, base=base)


async def test_a_range_with_two_bases_or_no_direction_is_refused(repo: Repo) -> None:
    with pytest.raises(UsageError, match="no direction"):
        await chosen(repo, "HEAD~1...HEAD")
    with pytest.raises(UsageError, match="--base"):
        await chosen(repo, "HEAD~1..HEAD", base="HEAD~1")


@pytest.mark.parametrize("staged", [True, False])
async def test_uncommitted_changes_are_no_surprise(repo: Repo, staged: bool) -> None:
    (repo.folder / "one.txt").write_text("changed\n", encoding="utf-8")
    if staged:
        repo.git("add", "one.txt")
    before = repo.state()
    with pytest.raises(UncommittedChanges, match="1 changed file") as caught:
        await chosen(repo)
    assert "--allow-dirty" in (caught.value.next_step or "")
    selection = await chosen(repo, dirty=True)
    assert selection.notes == ["1 changed file is not committed: not sent"]
    assert (await chosen(repo, "HEAD~1")).notes == []  # nobody expects them there
    assert repo.state() == before


async def test_untracked_files_are_mentioned(repo: Repo) -> None:
    (repo.folder / "new.txt").touch()
    assert (await chosen(repo)).notes == ["1 file is not tracked: not sent"]


async def test_a_shallow_clone_sends_only_what_it_has_whole(
    repo: Repo, tmp_path: Path
) -> None:
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    cut = shallow.tip()
    with pytest.raises(HandoffError, match="shallow") as caught:
        await chosen(shallow)
    assert "--unshallow" in (caught.value.next_step or "")
    tip = shallow.commit("three.txt")
    selection = await chosen(shallow, base=cut)
    assert (selection.tip, selection.needed[0].oid) == (tip, cut)


async def test_a_shallow_base_beside_the_history_is_refused(
    repo: Repo, tmp_path: Path
) -> None:
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    shallow.git("checkout", "--quiet", "--orphan", "fresh")
    shallow.commit("fresh.txt")
    with pytest.raises(HandoffError, match="shallow"):
        await chosen(shallow, "main", base="fresh")


async def test_more_than_a_hub_takes_is_refused_and_leaves_nothing_large(
    repo: Repo, tmp_path: Path
) -> None:
    repo.commit("noise.bin", bytes(range(256)) * 16 + (b"%d" * 9) % tuple(range(9)))
    repository = await open_repository(repo.folder)
    selection = await select(repository, "HEAD", base=None, allow_dirty=False)
    with pytest.raises(TooManyBytes) as caught:
        await write(repository, selection, tmp_path / "b", max_bytes=300)
    assert "--base" in (caught.value.next_step or "")
    assert (tmp_path / "b").stat().st_size <= 300
