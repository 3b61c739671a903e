"""Handing over commits over the command line: real git, real hub, real processes."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests._support.bundles import brought, commit_of, tree_bomb
from tests._support.forgeries import send_bundle, send_parts
from tests._support.gitrepo import Repo
from tests._support.processes import Agent, Done, HubProcess, running_hub
from tests._support.terminal import at_a_terminal


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


class Coder(Agent):
    """An agent whose shell is inside a git repository."""

    def __init__(self, folder: Path, name: str, hub: str) -> None:
        super().__init__(folder, name, hub)
        self.shell = self.folder

    def in_(self, repo: Repo) -> "Coder":
        """Go into a repository."""
        self.folder = repo.folder
        return self


@pytest.fixture
def ann(tmp_path: Path, hub: HubProcess) -> Coder:
    repo = Repo.init(tmp_path / "ann-repo")
    repo.commit("one.txt", "1\n", "first")
    return Coder(tmp_path, "ann", hub.url).in_(repo)


@pytest.fixture
def bob(tmp_path: Path, ann: Coder, hub: HubProcess) -> Coder:
    """In the session of ann, with a clone of her repository."""
    opened = ann("session", "open", "--no-approval", "--json").json
    bob = Coder(tmp_path, "bob", hub.url)
    assert bob("session", "join", opened["portable"]).status == 0
    return bob.in_(Repo(ann.folder).clone(tmp_path / "bob-repo"))


def error_code(done: Done, status: int = 8) -> str:
    assert (done.status, done.out) == (status, ""), done.err
    assert done.error["next"]
    return str(done.error["code"])


def test_a_pushed_commit_is_applied_and_merged_by_hand(ann: Coder, bob: Coder) -> None:
    ours, theirs = Repo(ann.folder), Repo(bob.folder)
    base, tip = ours.tip(), ours.commit("two.txt", "2\n", "the second")
    before = ours.state()
    pushed = ann("push", "--base", "HEAD~1", "--note", "review please", "--json").json
    assert set(pushed) == {"blob", "tip", "base", "size", "seq", "room"}
    assert (pushed["tip"], pushed["base"]) == (tip, base)
    assert ours.state() == before

    shown = bob("recv").out
    assert f"review please 📦 the second @{tip[:12]} ({pushed['size']} bytes)" in shown
    [command] = [line for line in shown.splitlines() if "parler apply" in line]
    words = command[command.index("parler apply") :].split()
    assert words == ["parler", "apply", pushed["blob"][:12], "--room", pushed["room"]]

    before, refs = theirs.state(), theirs.refs()
    applied = bob("apply", pushed["blob"][:10], "--json").json
    ref = f"refs/parler/{pushed['blob'][:12]}"
    assert applied["refs"] == [{"ref": ref, "tip": tip, "name": "refs/heads/main"}]
    assert applied["sender"]["name"] == "ann"
    assert applied["sender"]["signature"] == "valid"
    assert applied["merge"] == f"git merge {ref}"
    assert theirs.state() == before
    assert theirs.refs() == refs | {ref: tip}

    again = bob(*words[1:])
    assert again.status == 0
    assert "was there already" in again.out
    assert "the second" in again.out
    assert "two.txt" in again.out
    assert "signature verified" in again.out
    assert f"git merge {ref}" in again.out
    theirs.git("merge", "--quiet", ref)
    assert theirs.tip() == tip

    listed = bob("bundles", "--json").json["bundles"]
    assert [(one["blob"], one["refs"]) for one in listed] == [(pushed["blob"], [ref])]
    assert bob("apply", "--drop", pushed["blob"][:12]).status == 0
    assert theirs.refs() == refs | {"refs/heads/main": tip}
    assert "parler apply" in bob("bundles").out


def test_push_shows_what_it_sends_and_what_it_does_not(ann: Coder, bob: Coder) -> None:
    repo = Repo(ann.folder)
    repo.commit("big.txt", "line\n" * 500, "many \x1b[2J lines")
    (ann.folder / "forgotten.txt").touch()
    done = ann("push", "--summary", "the summary")
    assert done.status == 0
    assert "2 commits, 2 files changed, +501 -0 lines" in done.err
    assert "1 file is not tracked: not sent" in done.err
    assert "\x1b" not in done.err + done.out
    assert "parler apply " in done.out
    assert "the summary" in bob("recv").out


def test_a_whole_history_goes_into_an_empty_repository(
    ann: Coder, bob: Coder, tmp_path: Path
) -> None:
    blob = ann("push", "--json").json["blob"]
    empty = Repo.init(tmp_path / "empty")
    applied = bob.in_(empty)("apply", blob, "--json").json
    empty.git(*applied["merge"].split()[1:])
    assert empty.tip() == Repo(ann.folder).tip()


def with_a_merge(repo: Repo) -> None:
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit("side.txt")
    repo.git("checkout", "--quiet", "main")
    repo.commit("main.txt")
    repo.git("merge", "--quiet", "--no-ff", "-m", "both", "side")


def with_a_submodule(repo: Repo) -> None:
    inner = Repo.init(repo.folder.parent / "inner")
    inner.commit("inner.txt")
    repo.git("submodule", "--quiet", "add", f"file://{inner.folder}", "inner")
    repo.git("commit", "--quiet", "-m", "a submodule")


def with_an_lfs_pointer(repo: Repo) -> None:
    repo.commit(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n"
    repo.commit("large.bin", pointer + "size 12345\n")


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (with_a_merge, ()),
        (with_a_submodule, ()),
        (with_an_lfs_pointer, ()),
        (with_a_merge, ("--object-format=sha256",)),
    ],
    ids=["merge", "submodule", "lfs", "sha256"],
)
def test_every_kind_of_history_arrives_as_it_was(
    ann: Coder,
    bob: Coder,
    tmp_path: Path,
    make: Callable[[Repo], None],
    options: tuple[str, ...],
) -> None:
    ours = Repo.init(tmp_path / "ours", *options)
    base = ours.commit("zero.txt")
    theirs = ours.clone(tmp_path / "theirs")
    make(ours)
    pushed = ann.in_(ours)("push", f"{base}..", "--json").json
    applied = bob.in_(theirs)("apply", pushed["blob"], "--json").json
    assert applied["refs"][0]["tip"] == pushed["tip"] == ours.tip()
    theirs.git(*applied["merge"].split()[1:])
    assert theirs.git("ls-tree", "-r", "HEAD") == ours.git("ls-tree", "-r", "HEAD")
    theirs.git("fsck", "--strict")


def test_a_bundle_that_means_too_much_is_refused_and_stays_listed(
    ann: Coder, bob: Coder
) -> None:
    ours, theirs = Repo(ann.folder), Repo(bob.folder)
    base = ours.tip()
    bomb = commit_of(ours, tree_bomb(ours), base)
    refused = ann("push", "--base", base, bomb, "--json")
    assert error_code(refused) == "too_many_paths"

    room = ann("rooms", "--json").json["active"]
    blob = send_bundle(ann, room, brought(ours, bomb, base), bomb)
    before, refs = theirs.state(), theirs.refs()
    for _ in range(2):
        refused = bob("apply", blob, "--json")
        assert error_code(refused) == "bad_bundle"
        assert "1000000001 paths" in refused.error["message"]
        assert "--base" in refused.error["next"]
    assert (theirs.state(), theirs.refs()) == (before, refs)
    assert f"parler apply {blob[:12]} " in bob("bundles").out

    ours.commit("two.txt")
    honest = ann("push", "--base", base, "--json").json["blob"]
    assert bob("apply", honest).status == 0


def test_missing_commits_are_named(ann: Coder, bob: Coder) -> None:
    repo = Repo(ann.folder)
    base = repo.commit("two.txt", message="bob lacks this")
    repo.commit("three.txt")
    blob = ann("push", "HEAD~1..", "--json").json["blob"]
    refused = bob("apply", blob, "--json")
    assert error_code(refused) == "missing_commits"
    assert base[:12] in refused.error["message"]
    assert "bob lacks this" in refused.error["message"]
    assert "git fetch" in refused.error["next"]
    whole = ann("push", "--json").json["blob"]
    assert bob("apply", whole).status == 0


def test_a_bundle_swapped_by_the_hub_is_refused(
    ann: Coder, bob: Coder, hub: HubProcess
) -> None:
    Repo(ann.folder).commit("two.txt")
    blob = ann("push", "--json").json["blob"]
    [stored] = hub.folder.rglob(blob)
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    refs = Repo(bob.folder).refs()
    refused = bob("apply", blob, "--json")
    assert error_code(refused, 7) == "digest_mismatch"
    stored.write_bytes(data[:-1])
    assert error_code(bob("apply", blob, "--json"), 7) == "digest_mismatch"
    assert Repo(bob.folder).refs() == refs


def test_not_in_a_repository(ann: Coder, bob: Coder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    ann.folder = outside
    for command in (["push"], ["apply", "0" * 64], ["apply", "--drop", "0000"]):
        refused = ann(*command, "--json")
        assert error_code(refused, 2) == "usage"
        assert "no git repository" in refused.error["message"]


def test_a_refused_push_bothers_no_hub(ann: Coder, bob: Coder, hub: HubProcess) -> None:
    hub.stop()
    repo = Repo(ann.folder)
    assert error_code(ann("push", "HEAD..", "--json")) == "nothing_to_send"
    assert error_code(ann("push", "--base", "nope", "--json"), 2) == "usage"
    (ann.folder / "one.txt").write_text("changed\n", encoding="utf-8")
    assert error_code(ann("push", "--json")) == "uncommitted_changes"
    shallow = repo.clone(ann.folder.parent / "shallow", "--depth=1")
    assert error_code(ann.in_(shallow)("push", "--json")) == "handoff"
    empty = Repo.init(ann.folder.parent / "empty")
    assert error_code(ann.in_(empty)("push", "--json")) == "nothing_to_send"
    hub.start()


def test_uncommitted_changes_go_along_only_by_being_committed(
    ann: Coder, bob: Coder
) -> None:
    (ann.folder / "one.txt").write_text("changed\n", encoding="utf-8")
    done = ann("push", "--allow-dirty")
    assert done.status == 0
    assert "1 changed file is not committed: not sent" in done.err


def test_one_byte_more_than_a_hub_takes_is_refused_before_it_is_uploaded(
    ann: Coder, bob: Coder, hub: HubProcess
) -> None:
    Repo(ann.folder).commit("noise.bin", os.urandom(25 * 2**20 + 1))
    refused = ann("push", "--json")
    assert error_code(refused) == "too_many_bytes"
    assert "--base" in refused.error["next"]
    assert not list(hub.folder.glob("*.blobs/*"))
    assert bob("recv", "--json").json["messages"] == []


def test_a_file_is_no_bundle(ann: Coder, bob: Coder) -> None:
    (ann.folder / "notes.txt").write_text("hello", encoding="utf-8")
    blob = ann("send-file", "notes.txt", "--json").json["blob"]
    refused = bob("apply", blob, "--json")
    assert error_code(refused) == "bad_bundle"
    assert refused.error["next"] == f"parler fetch {blob}"


def test_a_name_that_fits_nothing_or_too_much_is_refused(
    ann: Coder, bob: Coder
) -> None:
    for word in ("nothing", "zz", "ffff", "../x", "0" * 63):
        assert error_code(bob("apply", word, "--json"), 2) == "usage"
    assert error_code(bob("apply", "--json"), 2) == "usage"
    assert bob("apply", "0" * 64, "--json").error["code"] == "unknown_blob"


def test_commits_go_to_one_agent_and_to_a_service(ann: Coder, bob: Coder) -> None:
    whoami = bob("whoami", "--json").json
    assert bob("register", "--public").status == 0
    pushed = ann("push", "--to", whoami["id"], "--json").json
    assert pushed["room"].startswith("dm.")
    assert bob("apply", pushed["blob"], "--room", pushed["room"]).status == 0
    assert bob("serve", "review", "--json").status == 0
    pushed = ann("push", "--service", "review", "--note", "look", "--json").json
    assert pushed["room"] == "svc.review"
    assert bob("apply", pushed["blob"][:12], "--room", "svc.review").status == 0


def test_a_stranger_cannot_fetch_what_was_pushed(
    ann: Coder, bob: Coder, hub: HubProcess, tmp_path: Path
) -> None:
    blob = ann("push", "--json").json["blob"]
    eve = Coder(tmp_path, "eve", hub.url).in_(Repo.init(tmp_path / "eve-repo"))
    assert eve("apply", blob, "--json").error["code"] in (
        "unknown_blob",
        "not_authorized",
    )


def announcement(pushed: dict[str, object], **claims: object) -> dict[str, object]:
    part = {"kind": "com.parler.bundle", "vcs": "git", "blob": pushed["blob"]}
    return part | {"size": pushed["size"], "tip": pushed["tip"]} | claims


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        ({"size": 1}, "verification"),
        ({"tip": "1" * 40}, "bad_bundle"),
        ({"vcs": "svn"}, "bad_bundle"),
    ],
)
def test_a_liar_who_announces_a_bundle_is_not_believed(
    ann: Coder, bob: Coder, claim: dict[str, object], code: str
) -> None:
    assert bob("register", "--public").status == 0
    pushed = ann("push", "--to", "bob", "--json").json
    room = ann("rooms", "--json").json["active"]
    send_parts(ann, room, [announcement(pushed, **claim)])
    refused = bob("apply", pushed["blob"], "--json")
    assert refused.error["code"] == code, refused.err
    assert not [ref for ref in Repo(bob.folder).refs() if "parler" in ref]


def test_a_liar_who_repeats_an_announcement_does_not_stand_in_its_way(
    ann: Coder, bob: Coder, hub: HubProcess, tmp_path: Path
) -> None:
    room = ann("rooms", "--json").json["active"]
    eve = Coder(tmp_path, "eve", hub.url)
    assert eve("join", ann("invite", "--group", room, "--json").json["portable"])
    pushed = ann("push", "--json").json
    send_parts(eve, room, [announcement(pushed, size=1, tip="1" * 40)])
    applied = bob("apply", pushed["blob"][:8], "--json").json
    assert applied["sender"]["name"] == "ann"


def test_a_session_is_listed_outside_of_a_repository_too(
    ann: Coder, bob: Coder, tmp_path: Path
) -> None:
    blob = ann("push", "--json").json["blob"]
    bob.folder = tmp_path
    [listed] = bob("bundles", "--json").json["bundles"]
    assert listed["blob"] == blob
    assert "refs" not in listed


@pytest.mark.parametrize("columns", [40, 80])
def test_what_is_to_be_pasted_is_whole_on_a_terminal(
    columns: int, ann: Coder, bob: Coder
) -> None:
    def shown(agent: Coder, *words: str) -> str:
        env = agent.environment | {"COLUMNS": str(columns)}
        with at_a_terminal(*words, cwd=agent.folder, env=env) as screen:
            assert screen.end() == 0
        lines = screen.shown.replace("\r", "").split("\n")
        assert all(len(line) <= columns for line in lines if "://" not in line)
        return re.sub(r" \\\n +", " ", screen.shown.replace("\r", ""))

    Repo(ann.folder).commit("two.txt", "2\n", "the second of them " * 5)
    sent = shown(ann, "push", "--note", "review please, " * 8)
    file = ann.folder / "the plan.txt"
    file.write_text("x", encoding="utf-8")
    sent_file = shown(ann, "send-file", file.name)
    for words, said in (("parler apply ", sent), ("parler fetch ", sent_file)):
        [command] = [line.strip() for line in said.split("\n") if words in line]
        room = ann("session", "list", "--json").json["rooms"][0]["name"]
        assert command.endswith(f" --room {room}")
        read = shown(bob, "recv", "--all")
        assert command in read if columns > 50 else command[:20] in read
        blob = command.split()[2]
        assert ann("handoff", "--next", "go on", "--bundle", blob).status == 0
        code = command.replace("fetch", "apply")
        assert f"\ncode:  {code}\n" in bob("recv").out
        assert bob(*command.split()[1:]).status == 0
