"""Reservations: the same files in every work tree and clone, for sessions that live."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from parler.errors import ConfigError
from parler.machine.processes import Process, machine, process
from parler.peers.live_folder import live_folder
from parler.peers.reservations import (
    FILE_NAME,
    MAX_GLOB_CHARS,
    MAX_RESERVATIONS,
    Holder,
    Reservation,
    Reservations,
    check_edit,
    overlap,
    place_of,
)
from tests._support.gitrepo import Repo
from tests._support.polling import WAIT

MINUTE = 60_000


class Uptime:
    """A clock of the machine that only the test moves."""

    def __init__(self) -> None:
        self.ms = 10_000_000

    def __call__(self) -> int:
        return self.ms


def me() -> Process:
    own = process(os.getpid())
    assert own
    return own


def ann(host: Process | None = None) -> Holder:
    return Holder(agent="UANN", name="ann", host=host)


def made(
    place: tuple[str, str, str],
    holder: Holder,
    uptime: Uptime,
    *,
    for_ms: int = 30 * MINUTE,
) -> Reservation:
    key, project, glob = place
    host = holder.host
    return Reservation(
        id=f"{glob}-{holder.agent}"[:20],
        key=key,
        project=project,
        glob=glob,
        agent=holder.agent,
        name=holder.name,
        why="moving to sessions",
        for_ms=for_ms,
        since=uptime(),
        until=uptime() + for_ms,
        machine=machine(),
        pid=host.pid if host else None,
        started=host.started if host else None,
    )


COVERED = [
    ("src/auth/**", "src/auth/a.py", True),
    ("src/auth/**", "src/auth/deep/er/a.py", True),
    ("src/auth/**", "src/author.py", False),
    ("src/auth", "src/auth/a.py", True),
    ("src/*.py", "src/a.py", True),
    ("src/*.py", "src/deep/a.py", False),
    ("**/test_*.py", "test_a.py", True),
    ("**/test_*.py", "a/b/test_a.py", True),
    ("a/**/z", "a/z", True),
    ("a/**/z", "a/b/c/z", True),
    ("a/**/z", "a/b/c/y", False),
    ("README.md", "docs/README.md", False),
    ("**/" * 30 + "x", "/".join("y" * 1 for _ in range(60)), False),
]


@pytest.mark.parametrize(("glob", "path", "covered"), COVERED)
def test_what_a_pattern_covers(glob: str, path: str, covered: bool) -> None:
    one = made(("key", "app", glob), ann(), Uptime())
    assert one.covers(path) is covered


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("src/**", "src/auth/a.py", True),
        ("src/*.py", "src/a*", True),
        ("src/a.py", "src/b.py", False),
        ("src", "src/b.py", True),
        ("docs/**", "src/**", False),
        ("**/a.py", "src/b.py", False),
        ("**/a.py", "src", True),
        ("**", "x", True),
    ],
)
def test_which_patterns_may_mean_the_same_file(
    one: str, other: str, both: bool
) -> None:
    left = made(("key", "app", one), ann(), Uptime())
    right = made(("key", "app", other), ann(), Uptime())
    assert overlap(left, right) is both
    assert overlap(right, left) is both
    assert not overlap(left, replace(right, key="another"))


def test_a_pattern_means_the_folder_it_was_typed_in(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo")
    (repo.folder / "src" / "api").mkdir(parents=True)
    key, project, glob = place_of("auth/**", repo.folder / "src")
    assert (project, glob) == ("repo", "src/auth/**")
    assert place_of("../web/*.ts", repo.folder / "src")[2] == "web/*.ts"
    assert place_of(str(repo.folder / "x.py"), tmp_path)[0] != key
    assert place_of(str(repo.folder / "x.py"), repo.folder) == (key, "repo", "x.py")


@pytest.mark.parametrize(
    "glob", ["", " ", ".", "..", "../x", "/etc/passwd", "a/**/../b", "a\0b", "x" * 600]
)
def test_a_pattern_that_names_nothing_within_is_refused(
    tmp_path: Path, glob: str
) -> None:
    with pytest.raises(ValueError, match=r"pattern|names nothing"):
        place_of(glob, Repo.init(tmp_path / "repo").folder)
    assert len(glob) <= MAX_GLOB_CHARS or glob.startswith("x")


def test_others_hear_of_it_in_every_work_tree_and_clone(tmp_path: Path) -> None:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("src/auth/a.py")
    clone = repo.clone(tmp_path / "clone")
    repo.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "tree"))
    uptime, home = Uptime(), tmp_path / "home"
    wanted = made(place_of("src/auth/**", clone.folder), ann(), uptime)
    assert Reservations(home, uptime=uptime).add(wanted, ann())[0] == wanted
    for folder in (repo.folder, clone.folder, tmp_path / "tree"):
        refused = check_edit(folder / "src/auth/new.py", home=home, uptime=uptime)
        assert refused
        assert '"ann" for 30 more min' in refused.text
        assert '"moving to sessions"' in refused.text
        assert not check_edit(folder / "src/b.py", home=home, uptime=uptime)
    link = tmp_path / "link.py"
    link.symlink_to(repo.folder / "src/auth/a.py")
    assert check_edit(link, home=home, uptime=uptime)
    mine = check_edit(
        repo.folder / "src/auth/a.py", home=home, agent="UANN", uptime=uptime
    )
    assert mine is None


def test_the_session_that_reserved_may_edit_and_the_next_window_may_not(
    tmp_path: Path,
) -> None:
    repo, uptime, home = Repo.init(tmp_path / "repo"), Uptime(), tmp_path / "home"
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        host = process(other.pid)
        held = Reservations(home, uptime=uptime)
        held.add(made(place_of("a", repo.folder), ann(me()), uptime), ann(me()))
        held.add(made(place_of("b", repo.folder), ann(host), uptime), ann(host))

        def refused(name: str) -> bool:
            path = repo.folder / name
            return bool(check_edit(path, home=home, agent="UANN", uptime=uptime))

        assert [refused("a"), refused("b")] == [False, True]
        other.kill()
        other.communicate()
        assert not refused("b")  # its host is gone
    finally:
        other.kill()
        other.communicate()


def test_what_overlaps_anothers_is_not_reserved(tmp_path: Path) -> None:
    repo, uptime = Repo.init(tmp_path / "repo"), Uptime()
    held = Reservations(tmp_path / "home", uptime=uptime)
    bob = Holder(agent="UBOB", name="bob", host=None)
    first = made(place_of("src/**", repo.folder), ann(), uptime)
    assert held.add(first, ann()) == (first, [])
    wanted = made(place_of("src/a.py", repo.folder), bob, uptime)
    assert held.add(wanted, bob) == (None, [first])
    again = replace(first, for_ms=60 * MINUTE, until=uptime() + 60 * MINUTE)
    assert held.add(again, ann()) == (again, [])
    assert held.all() == [again]
    assert held.remove(lambda one: one.agent == "UANN") == [again]
    assert held.add(wanted, bob) == (wanted, [])


def test_it_ends_with_time_unless_the_session_renews_it(tmp_path: Path) -> None:
    repo, uptime = Repo.init(tmp_path / "repo"), Uptime()
    held = Reservations(tmp_path / "home", uptime=uptime)
    bob = Holder(agent="UBOB", name="bob", host=None)
    held.add(made(place_of("a", repo.folder), ann(), uptime), ann())
    held.add(made(place_of("b", repo.folder), bob, uptime), bob)
    for _ in range(10):
        uptime.ms += 20 * MINUTE
        held.renew(ann())
    assert [one.glob for one in held.all()] == ["a"]
    uptime.ms += 31 * MINUTE
    assert held.all() == []


def test_nothing_is_renewed_for_more_than_a_day(tmp_path: Path) -> None:
    repo, uptime = Repo.init(tmp_path / "repo"), Uptime()
    held = Reservations(tmp_path / "home", uptime=uptime)
    held.add(made(place_of("a", repo.folder), ann(), uptime), ann())
    for _ in range(24 * 3 + 1):
        uptime.ms += 20 * MINUTE
        held.renew(ann())
    assert held.all() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[]",
        b'{"reservations": 7}',
        b'{"reservations": [7, {}, {"id": 1}, null]}',
        b"[" * 200_000,
        b"\xff",
    ],
)
def test_a_damaged_file_reserves_nothing_and_is_mended(
    tmp_path: Path, content: bytes
) -> None:
    path = live_folder(tmp_path) / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    uptime = Uptime()
    held = Reservations(tmp_path, uptime=uptime)
    assert held.all() == []
    wanted = made(("key", "app", "a"), ann(), uptime)
    assert held.add(wanted, ann()) == (wanted, [])
    assert held.all() == [wanted]


def test_a_forged_entry_does_not_hold_for_ever(tmp_path: Path) -> None:
    uptime = Uptime()
    good = made(("key", "app", "a"), ann(), uptime)
    held = Reservations(tmp_path, uptime=uptime)
    held.add(good, ann())
    path = live_folder(tmp_path) / FILE_NAME
    [entry] = json.loads(path.read_bytes())["reservations"]
    forged = [
        entry | {"until": 10**18},
        entry | {"since": 10**18},
        entry | {"machine": "another", "until_at": 10**18},
        entry | {"until": True},
    ]
    path.write_text(json.dumps({"reservations": forged}), encoding="utf-8")
    assert held.all() == []


@pytest.mark.parametrize("where", ["another container", "another machine"])
def test_what_was_reserved_where_nobody_can_look_is_held_until_it_is_too_old(
    tmp_path: Path, where: str
) -> None:
    repo, uptime, clock = Repo.init(tmp_path / "repo"), Uptime(), Uptime()
    boot = machine().partition(" ")[0]
    there = f"{boot} pid:[1]" if where == "another container" else "other pid:[1]"
    host = Process(me().pid, me().started)  # the same numbers mean others there
    held = Reservations(tmp_path, uptime=uptime, clock=clock)
    theirs = replace(made(place_of("a", repo.folder), ann(host), uptime), machine=there)
    assert held.add(theirs, ann(host)) == (theirs, [])
    if where == "another machine":
        uptime.ms = 5
    bob = Holder(agent="UBOB", name="bob", host=me())
    wanted = made(place_of("a", repo.folder), bob, uptime)

    def refused(agent: str) -> bool:
        path = repo.folder / "a"
        return bool(
            check_edit(path, home=tmp_path, agent=agent, uptime=uptime, clock=clock)
        )

    held.renew(bob)
    assert held.add(wanted, bob) == (None, [theirs])
    assert (refused("UBOB"), refused("UANN")) == (True, False)
    uptime.ms += 30 * MINUTE
    clock.ms += 30 * MINUTE
    wanted = made(place_of("a", repo.folder), bob, uptime)
    assert not refused("UBOB")
    assert held.add(wanted, bob) == (wanted, [])


def test_what_an_earlier_version_reserved_counts_until_it_ends(tmp_path: Path) -> None:
    uptime = Uptime()
    before = made(("key", "app", "a"), ann(me()), uptime)
    path = tmp_path / FILE_NAME
    fields = {name: value for name, value in asdict(before).items() if value}
    path.write_text(json.dumps({"reservations": [fields]}), encoding="utf-8")
    held = Reservations(tmp_path, uptime=uptime)
    bob = Holder(agent="UBOB", name="bob", host=None)
    for _ in range(2):
        assert held.add(made(("key", "app", "a"), bob, uptime), bob) == (None, [before])
    mine = made(("key", "app", "b"), bob, uptime)
    assert held.add(mine, bob) == (mine, [])
    uptime.ms += 20 * MINUTE
    held.renew(ann(me()))
    [entry] = json.loads(path.read_bytes())["reservations"]
    assert entry["until"] == uptime() + 30 * MINUTE
    assert Reservations(tmp_path / "other", uptime=uptime).all() == [mine]
    assert held.remove(lambda one: one.glob == "a")
    assert json.loads(path.read_bytes())["reservations"] == []
    assert held.all() == [mine]


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    path = live_folder(tmp_path) / FILE_NAME
    path.mkdir(parents=True)
    held = Reservations(tmp_path)
    wanted = made(("key", "app", "a"), ann(), Uptime())
    for ask in (held.all, lambda: held.add(wanted, ann())):
        with pytest.raises(ConfigError, match=r"cannot read .*reservations"):
            ask()


def test_there_is_an_end_to_how_much_is_reserved(tmp_path: Path) -> None:
    uptime = Uptime()
    entry = made(("key", "app", "a"), ann(), uptime)
    many = [asdict(replace(entry, glob=str(n))) for n in range(MAX_RESERVATIONS)]
    path = live_folder(tmp_path) / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"reservations": many}), encoding="utf-8")
    held = Reservations(tmp_path, uptime=uptime)
    assert len(held.all()) == MAX_RESERVATIONS
    assert held.add(replace(entry, glob="one more"), ann()) == (None, [])


def test_the_hooks_question_needs_nothing_slow() -> None:
    program = (
        "import sys, parler.peers.reservations;"
        " heavy = {'msgspec', 'asyncio', 'psutil', 'nacl', 'subprocess', 'typer'};"
        " print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=WAIT,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == b"[]"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="programs as Linux names them"
)
@pytest.mark.parametrize(("argument", "apart"), [("app-server", True), ("tui", False)])
def test_agents_of_one_process_are_told_apart_only_if_it_serves_several(
    tmp_path: Path, argument: str, apart: bool
) -> None:
    shell = ["codex", "-c", "read -r line", argument]
    with subprocess.Popen(
        shell, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as app:
        host = process(app.pid)
        uptime = Uptime()
        held = Reservations(tmp_path, uptime=uptime)
        place = ("key", "app", "src/**")
        bob = Holder(agent="UBOB", name="bob", host=host)
        assert held.add(made(place, ann(host), uptime), ann(host))[0]
        before = held.all()
        got, in_the_way = held.add(made(place, bob, uptime), bob)
        assert (got is None, in_the_way == before) == (apart, apart)
        app.communicate(b"end\n")
