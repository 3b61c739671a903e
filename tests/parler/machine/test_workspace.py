"""Work trees and clones of a repository are one place; other folders are others."""

import os
from pathlib import Path

import pytest

from parler.machine.workspace import normal_remote, workspace_of
from parler.peers.activity import derived_summary, look
from tests._support.gitrepo import Repo

REMOTES = [
    ("git@github.com:Org/Repo.git", "github.com/org/repo"),
    ("https://user:secret@github.com/org/repo", "github.com/org/repo"),
    ("ssh://git@github.com:22/org/repo.git/", "github.com/org/repo"),
    ("/srv/repo.git", None),
    ("file:///srv/repo", None),
    ("../repo", None),
    (r"C:\repo", None),
    ("", None),
    ("https://", None),
]


@pytest.mark.parametrize(("url", "normal"), REMOTES)
def test_spellings_of_a_remote_are_one(url: str, normal: str | None) -> None:
    assert normal_remote(url) == normal


def test_work_trees_clones_and_clones_of_clones_have_one_key(tmp_path: Path) -> None:
    origin = Repo.init(tmp_path / "origin")
    origin.commit("a.txt")
    clone = origin.clone(tmp_path / "clone")
    again = clone.clone(tmp_path / "again")
    origin.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"))
    (tmp_path / "tree" / "deep").mkdir()
    keys = {
        workspace_of(folder).repository
        for folder in (origin.folder, clone.folder, again.folder)
    }
    tree = workspace_of(tmp_path / "tree" / "deep")
    assert keys == {tree.repository}
    assert (tree.top, tree.branch) == (tmp_path / "tree", "side")
    assert tree.name == "origin"


def test_clones_of_one_remote_agree_however_they_fetch_it(tmp_path: Path) -> None:
    one, two = Repo.init(tmp_path / "one"), Repo.init(tmp_path / "two")
    one.git("remote", "add", "origin", "git@example.org:team/app.git")
    two.git("remote", "add", "upstream", "https://example.org/team/app")
    assert workspace_of(one.folder).repository == workspace_of(two.folder).repository
    three = one.clone(tmp_path / "three")
    assert workspace_of(three.folder).repository == workspace_of(one.folder).repository


def test_different_repositories_and_plain_folders_differ(tmp_path: Path) -> None:
    one, two = Repo.init(tmp_path / "one"), Repo.init(tmp_path / "two")
    (tmp_path / "plain").mkdir()
    places = [workspace_of(one.folder), workspace_of(two.folder)]
    plain = workspace_of(tmp_path / "plain")
    assert plain.repository is None
    assert len({*(place.key for place in places), plain.key}) == 3


def test_a_detached_head_has_no_branch(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo")
    repo.git("checkout", "--quiet", "--detach", repo.commit("a.txt"))
    assert workspace_of(repo.folder).branch is None


@pytest.mark.parametrize(
    "content", [b"", b"gitdir:", b"gitdir: .\n", b"\xff\x00", b"x" * 2**21]
)
def test_a_file_that_only_looks_like_gits_harms_nobody(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / ".git").write_bytes(content)
    assert workspace_of(tmp_path).folder == tmp_path


def test_a_repository_that_is_its_own_origin_ends_the_search(tmp_path: Path) -> None:
    one, two = Repo.init(tmp_path / "one"), Repo.init(tmp_path / "two")
    one.git("remote", "add", "origin", str(two.folder))
    two.git("remote", "add", "origin", str(one.folder))
    assert workspace_of(one.folder).repository
    os.mkfifo(tmp_path / "one" / ".git" / "commondir")
    assert workspace_of(one.folder).repository


async def test_what_is_changed_is_told_by_names_only(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "shop")
    repo.commit("src/auth.py", message="add login")
    (repo.folder / "src" / "auth.py").write_text("secret = 1\n", encoding="utf-8")
    (repo.folder / "new file.txt").write_text("hello", encoding="utf-8")
    activity = await look(repo.folder / "src")
    assert activity.changed == ["src/auth.py", "new file.txt"]
    assert derived_summary(activity) == (
        "in shop on main, changing auth.py, new file.txt; last commit: add login"
    )


async def test_a_folder_without_git_or_commits_has_a_summary_too(
    tmp_path: Path,
) -> None:
    assert derived_summary(await look(tmp_path)) == f"in {tmp_path.name}"
    empty = Repo.init(tmp_path / "empty")
    assert derived_summary(await look(empty.folder)) == "in empty on main"
    assert (await look(tmp_path / "gone")).changed == []


async def test_looking_runs_nothing_of_the_repository(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("a.txt")
    for setting in ("core.fsmonitor", "filter.x.clean", "core.pager"):
        repo.git("config", setting, f"touch {tmp_path}/ran")
    (repo.folder / ".gitattributes").write_text("* filter=x\n", encoding="utf-8")
    (repo.folder / "a.txt").write_text("changed\n", encoding="utf-8")
    assert "a.txt" in (await look(repo.folder)).changed
    assert not (tmp_path / "ran").exists()
