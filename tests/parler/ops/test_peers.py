"""Peers as an agent sees them: true, shown once, and gone with their app."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from parler.identity.signing import Keypair
from parler.machine.processes import Process, process
from parler.ops import machine_context as here_module
from parler.ops.addressing import find_agent
from parler.ops.identity import presence
from parler.ops.machine_context import Here
from parler.ops.peers import (
    PeersParams,
    PeersResult,
    Reach,
    Scope,
    SummaryParams,
    peers,
    set_summary,
)
from parler.ops.reservations import ReserveParams, release, reservations, reserve
from parler.peers.activity import keep_fresh
from parler.peers.presence import (
    HostProcess,
    Kind,
    LiveRecord,
    amend,
    announce,
    read_live,
    record_here,
)
from parler.wire.base import AgentId
from tests._support.actors import HUB, stage
from tests._support.gitrepo import Repo
from tests._support.polling import WAIT
from tests._support.workers import Working, until

ANN, BOB, EVE = (Keypair.generate().agent_id for _ in range(3))


@pytest.fixture
def app() -> Iterator["subprocess.Popen[bytes]"]:
    """An agent app, as far as a process is one."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def here(tmp_path: Path, folder: Path, agent: AgentId = ANN) -> Here:
    folder.mkdir(parents=True, exist_ok=True)
    return Here(
        home=tmp_path / "home",
        folder=folder,
        environment={},
        agent=agent,
        name="ann",
        pid=os.getpid(),
        now=lambda: 0,
        token=lambda size: os.urandom(size).hex(),
    )


def of(child: "subprocess.Popen[bytes]") -> Process:
    found = process(child.pid)
    assert found
    return found


def put(
    at: Here, agent: AgentId, name: str, folder: Path, host: Process, **fields: object
) -> LiveRecord:
    record = record_here(agent, name, folder=folder, hub=HUB, **fields)
    import msgspec

    record = msgspec.structs.replace(record, host=HostProcess.of(host))
    return announce(at.home, record).record


async def seen(at: Here, scope: Scope = Scope.MACHINE) -> PeersResult:
    return await peers(at, PeersParams(scope=scope))


def names(result: PeersResult) -> list[str]:
    return [peer.name for peer in result.peers]


async def test_each_scope_shows_whom_it_says(
    tmp_path: Path, app: "subprocess.Popen[bytes]"
) -> None:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("src/a.py")
    clone = repo.clone(tmp_path / "clone")
    at = here(tmp_path, repo.folder)
    host = of(app)
    put(at, ANN, "deep", repo.folder / "src", host)
    put(at, BOB, "clone", clone.folder, host)
    put(at, EVE, "else", tmp_path, host)
    assert names(await seen(at)) == ["clone", "deep", "else"]
    assert names(await seen(at, Scope.REPO)) == ["clone", "deep"]
    assert names(await seen(at, Scope.DIRECTORY)) == ["deep"]
    assert names(await peers(at, PeersParams(query="ELS"))) == ["else"]
    app.kill()
    app.wait(WAIT)
    assert names(await seen(at)) == []


REACHES = [
    ({"wake": "push"}, Reach.AT_ONCE),
    ({"wake": "turn"}, Reach.TURN_END),
    ({"wake": "next"}, Reach.NEXT_TURN),
    ({"wake": "none"}, Reach.WHEN_IT_LOOKS),
    ({"wake": "whatever"}, Reach.WHEN_IT_LOOKS),
    ({"wake": "push", "helper": HostProcess(1, "gone")}, Reach.NOT_NOW),
    ({"wake": "push", "hub": None}, Reach.NOT_NOW),
]


@pytest.mark.parametrize(("fields", "reach"), REACHES)
async def test_reachability_is_what_is_true_now(
    tmp_path: Path,
    app: "subprocess.Popen[bytes]",
    fields: dict[str, object],
    reach: Reach,
) -> None:
    at = here(tmp_path, tmp_path / "web")
    record = put(at, BOB, "bob", tmp_path, of(app))
    amend(at.home, record, **fields)
    [peer] = (await seen(at)).peers
    assert peer.reach is reach
    assert not peer.me


async def test_a_summary_is_shown_to_the_others_until_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = here(tmp_path, Repo.init(tmp_path / "web").folder)
    own = process(os.getpid())
    assert own
    put(at, ANN, "ann", at.folder, own, derived="in web")
    said = set_summary(at, SummaryParams(text=" building\n the page "))
    assert (said.summary, said.shown) == ("building the page", True)
    [peer] = (await seen(at)).peers
    assert (peer.me, peer.summary, peer.said_by_itself) == (
        True,
        "building the page",
        True,
    )
    assert set_summary(at, SummaryParams(text="")).summary == "in web"
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    other = replace(at, home=tmp_path / "elsewhere")
    assert not set_summary(other, SummaryParams(text="x")).shown


async def test_what_a_session_reserved_is_shown_with_it_and_ends_with_it(
    tmp_path: Path, app: "subprocess.Popen[bytes]"
) -> None:
    repo = Repo.init(tmp_path / "repo")
    at = here(tmp_path, repo.folder)
    put(at, BOB, "bob", repo.folder, of(app))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(here_module.Here, "above", lambda self: {of(app)})
        params = ReserveParams(glob="src/**", why="moving", minutes=5)
        made = reserve(replace(at, agent=BOB), params).reserved
        assert made
        assert made.mine
    [peer] = (await seen(at)).peers
    assert [(one.glob, one.why, one.minutes) for one in peer.reserved] == [
        ("src/**", "moving", 5)
    ]
    blocked = reserve(at, ReserveParams(glob="src/a.py"))
    assert [one.name for one in blocked.in_the_way] == ["bob"]
    assert release(at, None).released == []
    app.kill()
    app.wait(WAIT)
    assert reservations(at).reservations == []
    assert reserve(at, ReserveParams(glob="src/a.py")).reserved


async def test_a_record_follows_the_work_and_renews_what_is_reserved(
    tmp_path: Path,
) -> None:
    repo = Repo.init(tmp_path / "repo")
    repo.commit("a.txt", message="begin")
    at = here(tmp_path, repo.folder)
    record = record_here(ANN, "ann", folder=repo.folder, kind=Kind.ANSWERER)
    handle = announce(at.home, record)

    def now() -> LiveRecord:
        [one] = read_live(at.home)
        return one

    async with Working(keep_fresh(handle, every=0.01)):
        await until(lambda: now().derived)
        assert now().derived == "in repo on main; last commit: begin"
        (repo.folder / "new.txt").touch()
        await until(lambda: now().changed == ["new.txt"])
        repo.git("checkout", "--quiet", "-b", "side")
        await until(lambda: now().branch == "side")


async def test_the_hub_adds_those_who_are_connected_there(
    tmp_path: Path, app: "subprocess.Popen[bytes]"
) -> None:
    from parler.ops.directory import RegisterParams, register

    async with stage(tmp_path) as at:
        ann, bob = await at.enter("ann"), await at.enter("bob", "webdev")
        await register(bob, RegisterParams())
        await register(ann, RegisterParams())
        await presence(bob, "working", activity="the page")
        mine = here(tmp_path, tmp_path / "web", ann.client.agent_id)
        put(mine, BOB, "near", tmp_path, of(app))
        amend(mine.home, read_live(mine.home)[0], hub="ws://other.example:1")
        result = await peers(mine, PeersParams(scope=Scope.HUB), ctx=ann)
        near, far = result.peers
        assert (near.name, near.on_this_machine, near.other_hub) == ("near", True, True)
        assert (far.name, far.on_this_machine, far.summary) == (
            "bob",
            False,
            "the page",
        )
        assert far.folder is None


async def test_a_peer_of_this_machine_is_found_by_name(
    tmp_path: Path, app: "subprocess.Popen[bytes]"
) -> None:
    async with stage(tmp_path) as at:
        ann, bob = await at.enter("ann"), await at.enter("bob")
        mine = replace(here(tmp_path, tmp_path / "web"), home=ann.identity.home)
        put(mine, bob.client.agent_id, "builder", tmp_path, of(app))
        async with asyncio.timeout(WAIT):
            found = await find_agent(ann, "builder")
        assert found.agent == bob.client.agent_id
