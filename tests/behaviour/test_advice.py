"""Each next step that is named: it is done as it is said, and then the fault is gone.

What is printed is what is run; a person puts words in the place of its capitals. Steps
that no row takes are named with why, or with the test that does.
"""

import copy
import json
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import count
from pathlib import Path

import pytest

from parler.local_hub.record import hub_paths
from tests._support.advice import next_steps
from tests._support.gitrepo import Repo
from tests._support.processes import (
    CHECKOUT,
    Agent,
    Done,
    HubProcess,
    running_hub,
)
from tests.parler.ask._fakes import FakeClaude

SECRET = "a secret of forty characters, or nearly"
DIGEST = "ab" * 32


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class World:
    """A hub; ann owns a session there, and bob is in it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.callback = stack.callback
        self.hub = stack.enter_context(running_hub(folder / "hub"))
        self.ann = Agent(folder, "ann", self.hub.url)
        self.bob = Agent(folder, "bob", self.hub.url)
        self.room, self.key = self.opened(self.ann, "--no-approval")
        assert self.bob("session", "join", self.key).status == 0
        assert self.bob("register").status == 0
        gone = Agent(folder, "gone", self.hub.url)
        assert gone("session", "join", self.key).status == 0
        sent = self.ann("send", "hello", "--json").json
        self.seq, self.id = sent["seq"], sent["id"]
        (self.ann.folder / "notes.txt").write_text("notes\n", encoding="utf-8")
        self.file = self.ann("send-file", "notes.txt", "--json").json["blob"]

    @cached_property
    def plain(self) -> HubProcess:
        """One without our extensions."""
        return self._stack.enter_context(
            running_hub(self.folder / "plain-hub", plain=True)
        )

    @cached_property
    def guarded(self) -> HubProcess:
        """One that asks for a secret."""
        return self._stack.enter_context(
            running_hub(self.folder / "guarded", PARLER_HUB_JOIN_SECRET=SECRET)
        )

    @cached_property
    def replaced(self) -> HubProcess:
        """One that somebody sets up anew."""
        return HubProcess(self.folder / "replaced")

    def replace(self) -> None:
        """Have another hub at its address."""
        address = self.replaced.url.removeprefix("ws://")
        self.replaced.stop()
        self.callback(HubProcess(self.folder / "replacing", address=address).stop)

    def new(self, name: str, *, hub: str | None = None, **variables: str) -> Agent:
        """Somebody who has done nothing yet."""
        return Agent(self.folder, name, hub or self.hub.url, **variables)

    def opened(self, agent: Agent, *how: str) -> tuple[str, str]:
        """The room of a new session, and its key."""
        done = agent("session", "open", *how, "--json").json
        return done["room"], done["portable"]

    @cached_property
    def origin(self) -> Repo:
        """A repository of two commits."""
        repo = Repo.init(self.folder / "origin")
        repo.commit("one.txt", "1\n")
        repo.commit("two.txt", "2\n")
        return repo

    def local(self, name: str) -> tuple[Agent, int]:
        """Somebody with a hub of their own machine, and a port for it."""
        agent = self.new(name)
        del agent.environment["PARLER_HUB"]
        self.callback(lambda: agent("hub", "stop"))
        return agent, free_port()

    def coder(self, name: str, *how: str) -> tuple[Agent, Repo]:
        """Somebody in the session, within a clone of that repository."""
        agent = self.new(name)
        assert agent("session", "join", self.key).status == 0
        repo = self.origin.clone(self.folder / f"{name}-repo", *how)
        agent.folder = repo.folder
        return agent, repo


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A command that fails, and how what it says is followed."""

    who: Agent
    words: str
    by: Agent | None = None
    """Who does what is said, if somebody else."""

    fill: dict[str, str] = field(default_factory=dict)
    """What a person puts in the place of capitals."""

    more: tuple[str, ...] = ()
    """What a person without a terminal adds to what is said."""

    meanwhile: Callable[[], object] = lambda: None
    """What others do before the step is done."""

    again: Callable[[str], str] | None = None
    """What is typed at last, if something else: from what the step printed."""

    finds: int = 0
    """The status of a step that looks for what is wrong."""

    ends: int = 0
    """The status at last."""

    last: Agent | None = None
    """Who does it at last, if somebody else."""

    corrected: bool = False
    """The step is the command as it should have been."""


Row = Callable[[World], Fault]
ROWS: dict[str, Row] = {}


def tries(step: str) -> Callable[[Row], Row]:
    """A row of the table: how this step is tried."""

    def enter(row: Row) -> Row:
        assert step not in ROWS
        ROWS[step] = row
        return row

    return enter


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("advice"), stack)


_COMMAND = re.compile(r"\b(?:parler|git|mv|rm|chmod|ls|unset) .*")
_BEYOND = re.compile(
    r"[,;] (?:or|then|with|which|and|run|of|whom|who|joining|its) .*|"
    r" (?:prints|shows|gives|makes|and apply|replaces|in a terminal) .*|[;,] .*|\)$"
)


def typed(step: str, fill: dict[str, str]) -> list[str]:
    """The first command that a next step names, as a person would type it."""
    found = _COMMAND.search(step.replace("`", " "))
    assert found, step
    words = shlex.split(_BEYOND.sub("", found[0].strip()))
    return [fill.get(word, word) for word in words]


def pattern(step: str) -> str:
    """What a next step looks like once its gaps are filled."""
    return ".+".join(map(re.escape, step.split("{}")))


def named_by(failed: Done) -> list[str]:
    """The next steps of an error, or of the rows of a result."""
    if not failed.out:
        return [failed.error["next"]]
    result = json.loads(failed.out)
    rows = result["hosts"] if "hosts" in result else result["checks"]
    return [one["next"] for one in rows if "next" in one]


def do(agent: Agent, words: list[str]) -> Done:
    if words[0] == "parler":
        return agent(*words[1:])
    if words[0] == "unset":
        del agent.environment[words[1]]
        return Done(0, "", "")
    done = subprocess.run(
        words, cwd=agent.folder, env=agent.environment, capture_output=True, check=False
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize("step", ROWS)
def test_the_fault_is_gone_once_the_next_step_is_done(step: str, world: World) -> None:
    fault = ROWS[step](world)
    failed = fault.who(*shlex.split(fault.words), "--json")
    assert failed.status > 1, failed
    [said] = [one for one in named_by(failed) if re.fullmatch(pattern(step), one)]
    fault.meanwhile()
    printed = ""
    if _COMMAND.search(said):
        done = do(fault.by or fault.who, [*typed(said, fault.fill), *fault.more])
        assert done.status == fault.finds, done
        printed = done.out
    if fault.corrected:
        return
    words = fault.again(printed) if fault.again else fault.words
    last = (fault.last or fault.who)(*shlex.split(words))
    assert last.status == fault.ends, last


def corrected(who: str, words: str, **fill: str) -> Row:
    """A row of one of the two, to whom the right command is told."""

    def row(world: World) -> Fault:
        agent = {"ann": world.ann, "bob": world.bob}[who]
        return Fault(who=agent, words=words, fill=fill, corrected=True)

    return row


def instead(who: str, words: str, again: str) -> Row:
    """A row of one of the two, who sees by the step what to type."""

    def row(world: World) -> Fault:
        agent = {"ann": world.ann, "bob": world.bob}[who]
        last = again.format(w=world)
        return Fault(who=agent, words=words.format(w=world), again=lambda said: last)

    return row


def damaged(name: str, words: str, *, again: str | None = None) -> Row:
    """A row of a file of ours that is no such file any more."""

    def row(world: World) -> Fault:
        agent = world.new(f"damaged {name}")  # a blank, as there are in paths
        assert agent("rooms").status == 0
        path = agent.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\xff{")
        path.chmod(0o600)
        last = again.format(w=world) if again else words
        return Fault(who=agent, words=words, again=lambda said: last)

    return row


# Words that were forgotten or mistyped

ROWS |= {
    "parler send TEXT, or parler send -": corrected("ann", "send ' '", TEXT="x"),
    'parler handoff --next "…"': corrected("ann", "handoff --next ' '"),
    "--since 30m, 2h, 3d or 2026-11-30": instead(
        "ann", "history --since soon", "history --since 2h"
    ),
    "use one of {}": instead("ann", "attention loud", "attention focus"),
    "parler attention {} --room ROOM": corrected("ann", "attention muted", ROOM="any"),
    "--{} {}": instead("ann", "peers --scope town", "peers --scope repo"),
    "{} --help": instead("ann", "peers --town", "peers --scope repo"),
    "parler remember TEXT, or parler remember -": corrected(
        "ann", "remember --private ' '", TEXT="x"
    ),
    "parler recall WORDS, or parler recall --key KEY": corrected(
        "ann", "recall", WORDS="x"
    ),
    "parler forget --key KEY, or parler forget TEXT": corrected(
        "ann", "forget --private", KEY="k"
    ),
    "parler serve NAME": corrected("bob", "queue ' '", NAME="advised"),
    "name one of them, or none for the active session": instead(
        "ann", "send x --room {w.room} --to bob", "send x --room {w.room}"
    ),
}

# Rooms, people and messages that are not there

ROWS |= {
    "parler rooms": instead("ann", "recv --room cart", "recv --room {w.room}"),
    "parler session list": instead("ann", "session use cart", "session use {w.room}"),
    "parler recv --all --room {}": instead(
        "ann", "status 4711 --room {w.room}", "status {w.seq} --room {w.room}"
    ),
    "parler roster --room {}": instead(
        "ann", "members remove zoe --yes", "members remove gone --yes"
    ),
    "parler contacts": instead("ann", "untrust zoe", "contacts"),
    "parler recv --all": instead("ann", "fetch note.txt", "fetch notes.txt"),
    "parler discover": instead("ann", "card zoe", "card bob"),
    "parler roster, or use the agent's id: its `parler whoami` shows it": instead(
        "ann", "send x --to zoe", "send x --to bob"
    ),
    "parler inbox, or the id of the agent": instead("ann", "accept zoe", "inbox"),
    "parler inbox": instead("ann", "accept", "inbox"),
}

ROWS |= {
    "parler history {}, where its number stands before each": instead(
        "ann",
        "send x --room {w.room} --reply-to 4711",
        "send x --room {w.room} --reply-to {w.seq}",
    ),
    "use the number that stands before it: parler history {}": instead(
        "ann",
        "send x --room {w.room} --reply-to {w.id:.6}",
        "send x --room {w.room} --reply-to {w.seq}",
    ),
    "use --room ROOM instead of --to, or the whole id": instead(
        "ann", "send x --to bob --reply-to {w.seq}", "send x --to bob --reply-to {w.id}"
    ),
}

# Files of ours that are damaged

ROWS |= {
    "mv {} {}": damaged("secrets.json", "rooms"),
    "{}; joining again restores it": damaged("sessions.json", "session open"),
    "{}, then parler use local, or the hub that you had": damaged("hub.json", "hubs"),
    "{}; whom you knew has to be trusted again": damaged("contacts.json", "contacts"),
    "{}; who was accepted has to be again": damaged(
        "senders.json", "accept --strangers"
    ),
    "{}, then name the room": damaged(
        "active_session", "recv", again="session join {w.key}"
    ),
    "{}, then add the projects again": damaged("projects.json", "project list"),
}


# Git


def of_coder(
    name: str,
    words: str,
    *change: str | tuple[str, str],
    clone: tuple[str, ...] = (),
    again: str | None = None,
    corrected: bool = False,
    **fill: str,
) -> Row:
    """A row of somebody in a clone, in which files are changed or commits made."""

    def row(world: World) -> Fault:
        agent, repo = world.coder(name, *clone)
        for one in change:
            if isinstance(one, str):
                (repo.folder / one).write_text("changed\n", encoding="utf-8")
            else:
                repo.commit(*one)
        last = (lambda said: again) if again else None
        return Fault(who=agent, words=words, again=last, fill=fill, corrected=corrected)

    return row


ROWS |= {
    "git fetch --unshallow, or --base REF with a commit that is here": of_coder(
        "shallow", "push", clone=("--depth", "1")
    ),
    "commit first, or name another --base": of_coder(
        "nothing", "push --base HEAD", again="push --base HEAD~1"
    ),
    "commit or stash them, or add --allow-dirty": of_coder(
        "dirty", "push", "one.txt", again="push --allow-dirty"
    ),
    "git fetch, or name another commit (git log --oneline)": of_coder(
        "absent", "push --base upstream", again="push --base HEAD~1"
    ),
    "use BASE..TIP": of_coder("dots", "push HEAD~1...HEAD", again="push HEAD~1..HEAD"),
    "parler bundles, or parler recv --all": of_coder(
        "unknown", "apply abcd", again="bundles"
    ),
}


@tries("git commit")
def unborn(world: World) -> Fault:
    repo = Repo.init(world.folder / "unborn")
    agent = world.new("early")
    assert agent("session", "join", world.key).status == 0
    agent.folder = repo.folder
    (repo.folder / "one.txt").write_text("1\n", encoding="utf-8")
    repo.git("add", "one.txt")
    for key, value in (("user.name", "Ann"), ("user.email", "ann@example.org")):
        repo.git("config", key, value)
    agent.environment["GIT_EDITOR"] = "echo first >"
    return Fault(who=agent, words="push")


@tries("run it inside the repository")
def outside(world: World) -> Fault:
    agent, repo = world.coder("outside")
    agent.folder = world.folder

    def enter() -> None:
        agent.folder = repo.folder

    return Fault(who=agent, words="push", meanwhile=enter)


@tries("parler fetch {}")
def no_bundle(world: World) -> Fault:
    agent, _ = world.coder("fetcher")
    return Fault(who=agent, words=f"apply {world.file[:12]}", corrected=True)


@tries("the same command with -o and another path")
def in_the_way(world: World) -> Fault:
    (world.ann.folder / "there.txt").write_text("mine\n", encoding="utf-8")
    return Fault(
        who=world.ann,
        words="fetch notes.txt -o there.txt",
        again=lambda said: "fetch notes.txt -o elsewhere.txt",
    )


def pushed(world: World, name: str) -> tuple[Agent, Repo, str]:
    """Somebody who can take a bundle that builds on a commit, and its id."""
    sender, repo = world.coder(f"{name}-sender")
    repo.commit(f"{name}.txt")
    blob = sender("push", "--base", "HEAD~1", "--json").json["blob"]
    taker, theirs = world.coder(f"{name}-taker")
    return taker, theirs, blob


@tries("{} and apply again, or ask the sender for `parler push` without --base")
def missing(world: World) -> Fault:
    taker, _, blob = pushed(world, "missing")
    other = Repo.init(world.folder / "other")
    other.commit("three.txt")
    other.git("remote", "add", "origin", f"file://{world.origin.folder}")
    taker.folder = other.folder

    def fetch() -> None:
        other.git("fetch", "origin")

    return Fault(who=taker, words=f"apply {blob}", meanwhile=fetch)


@tries("parler bundles")
def dropped(world: World) -> Fault:
    taker, _, blob = pushed(world, "dropped")
    assert taker("apply", blob).status == 0
    return Fault(
        who=taker,
        words="apply --drop abcdef",
        again=lambda said: f"apply --drop {blob if blob[:12] in said else ''}",
    )


# Who may what, and which hub


def knocking(world: World, name: str, *how: str) -> tuple[Agent, str, str]:
    """Somebody who knocks at a session of ann's."""
    room, key = world.opened(world.ann)
    agent = world.new(name, **dict(zip(how[::2], how[1::2], strict=True)))
    assert agent("session", "join", key).status == 0
    world.ann("session", "use", world.room)
    return agent, room, key


@tries("parler session join {} --wait 600")
def waiting(world: World) -> Fault:
    agent, room, _ = knocking(world, "carol")

    def approve() -> None:
        assert world.ann("approve", "carol", "--room", room, "--yes").status == 0

    return Fault(who=agent, words="send hi", meanwhile=approve)


@tries("only the owner can still let you in: parler session approve {}")
def rejected(world: World) -> Fault:
    agent, room, key = knocking(world, "dora")
    assert world.ann("reject", "dora", "--room", room, "--yes").status == 0
    world.ann("session", "use", room)
    return Fault(
        who=agent,
        words=f"session join {key}",
        by=world.ann,
        more=("--yes",),
    )


@tries("ask the owner for a new key (parler session open, or parler invite)")
def revoked(world: World) -> Fault:
    _, key = world.opened(world.ann, "--no-approval")
    assert world.ann("revoke", key).status == 0
    return Fault(
        who=world.new("emil"),
        words=f"session join {key}",
        by=world.ann,
        again=lambda said: f"session join {world.opened(world.ann)[1]}",
    )


@tries(
    "if another hub gave out the key, ask for all of it, KEY@HUB: parler session join "
    "{}@HUB; else ask the owner for a new key (parler session open, or parler invite)"
)
def elsewhere(world: World) -> Fault:
    _, key = world.opened(world.new("frida", hub=world.plain.url), "--no-approval")
    code = key.partition("@")[0]
    return Fault(
        who=world.new("gustav"),
        words=f"session join {code}",
        fill={f"{code}@HUB": key},
        corrected=True,
    )


@tries("parler session open, or parler session join KEY")
def nowhere(world: World) -> Fault:
    return Fault(who=world.new("hedda"), words="send hi")


@tries("name a --room, or say --private if it is for you alone")
def no_place(world: World) -> Fault:
    last = "remember x --private"
    return Fault(who=world.new("ida"), words="remember x", again=lambda said: last)


@tries("parler session requests")
def nobody(world: World) -> Fault:
    _, room, _ = knocking(world, "jan")
    return Fault(
        who=world.ann,
        words=f"approve jane --room {room} --yes",
        again=lambda said: f"approve {'jan' if 'jan' in said else ''} --yes",
    )


@tries("{} --yes")
def no_terminal(world: World) -> Fault:
    _, room, _ = knocking(world, "karl")
    return Fault(who=world.ann, words=f"approve karl --room {room}", corrected=True)


@tries("name one of them with --room {}")
def at_two_doors(world: World) -> Fault:
    agent, room, _ = knocking(world, "lars")
    assert agent("session", "join", world.opened(world.ann)[1]).status == 0
    return Fault(
        who=world.ann,
        words="approve lars --yes",
        again=lambda said: f"approve lars --yes --room {room}",
    )


@tries("parler session use {}")
def same_topics(world: World) -> Fault:
    agent = world.new("mona")
    for _ in range(2):
        world.opened(agent, "--topic", "carts")
    return Fault(who=agent, words="session use carts", corrected=True)


@tries("parler register, run by that agent")
def no_card(world: World) -> Fault:
    owner = world.new("nils")
    who = owner("whoami", "--json").json["id"]
    return Fault(who=world.ann, words=f"card {who}", by=owner)


@tries(
    "ask it to run parler register, which gives it a card; or speak where you are "
    "both: parler send --room ROOM --mention NAME"
)
def no_card_here(world: World) -> Fault:
    other = world.new("olga")
    who = other("whoami", "--json").json["id"]
    assert other("session", "join", world.key).status == 0
    return Fault(who=world.ann, words=f"send hi --to {who}", by=other)


@tries("use the fingerprint or the id instead of the name")
def twins(world: World) -> Fault:
    ids = []
    for number in range(2):
        twin = world.new(f"twin{number}", PARLER_NAME="twin")
        ids.append(twin("whoami", "--json").json["fingerprint"])
        assert twin("register").status == 0
    return Fault(who=world.ann, words="card twin", again=lambda said: f"card {ids[0]}")


@tries("use the beginning of the blob id")
def same_names(world: World) -> Fault:
    blobs = []
    sent = ("send-file", "twice.txt", "--room", world.room)
    for agent in (world.bob, world.ann):
        (agent.folder / "twice.txt").write_text(str(agent.home), encoding="utf-8")
        blobs.append(agent(*sent, "--json").json["blob"])
    words = f"fetch --room {world.room}"
    return Fault(
        who=world.bob,
        words=f"{words} twice.txt",
        again=lambda said: f"{words} {blobs[0][:12]}",
    )


@tries("parler serve {}, run by whoever does such work")
def unserved(world: World) -> Fault:
    return Fault(who=world.ann, words="send --role polish x", by=world.bob)


@tries("parler send --role {} TEXT")
def no_task(world: World) -> Fault:
    assert world.bob("serve", "weeding").status == 0
    return Fault(
        who=world.ann,
        words="send --role weeding ' '",
        fill={"TEXT": "x"},
        corrected=True,
    )


@tries("use done, failed or cancelled; parler task says the others")
def not_final(world: World) -> Fault:
    worker = world.new("petra")
    assert worker("serve", "sweeping").status == 0
    task = world.ann("send", "--role", "sweeping", "x", "--json").json["id"]
    assert worker("claim", "sweeping", task).status == 0
    return Fault(
        who=worker,
        words=f"complete sweeping {task} working",
        fill={"says": "working", "the": "--task", "others": task},
        more=("--room", "svc.sweeping"),
        again=lambda said: f"complete sweeping {task} done",
    )


@tries("parler send-file PATH prints the id of what it sent")
def no_blob(world: World) -> Fault:
    task = world.ann("send", "do it", "--json").json["id"]
    words = f"task done --task {task} --result"
    return Fault(
        who=world.ann,
        words=f"{words} notes.txt",
        fill={"PATH": "notes.txt"},
        again=lambda said: f"{words} {world.file if world.file[:12] in said else ''}",
    )


@tries("parler contacts, or parler trust FINGERPRINT --as {}")
def unknown_contact(world: World) -> Fault:
    who = world.bob("whoami", "--json").json["id"]
    agent = world.new("rosa")
    return Fault(
        who=agent,
        words="session open --for bea",
        meanwhile=lambda: agent("trust", who, "--as", "bea"),
    )


@tries("parler trust {} --as NAME")
def nameless(world: World) -> Fault:
    who = world.new("sven")("whoami", "--json").json["id"]
    return Fault(
        who=world.new("tove"),
        words=f"trust {who}",
        fill={"NAME": "sven"},
        corrected=True,
    )


@tries("all of it: parler trust ABCD-EFGH-IJKL-MNOP")
def partly(world: World) -> Fault:
    known = world.bob("whoami", "--json").json["fingerprint"]
    return Fault(
        who=world.new("wanda"),
        words=f"trust {known[:9]} --as bea",
        fill={"ABCD-EFGH-IJKL-MNOP": known},
        more=("--as", "bea"),
        corrected=True,
    )


@tries("parler reservations")
def not_reserved(world: World) -> Fault:
    agent = world.new("ulla")
    assert agent("reserve", "src/**", "--why", "moving it").status == 0
    return Fault(
        who=agent,
        words="release 'doc/**'",
        again=lambda said: f"release '{'src/**' if 'src/**' in said else ''}'",
    )


@tries("chmod 600 {}")
def readable(world: World) -> Fault:
    agent = world.new("vera v")
    assert agent("rooms").status == 0
    (agent.home / "config.json").chmod(0o644)
    return Fault(who=agent, words="rooms")


@tries("{} --home {}")
def no_key(world: World) -> Fault:
    agent = world.new("willy w")
    agent.home.mkdir()
    (agent.home / "config.json").write_bytes(b"{")
    (agent.home / "config.json").chmod(0o600)
    return Fault(who=agent, words="rooms")


@tries("give {} a path that begins with / or ~/")
def relative(world: World) -> Fault:
    agent = world.new("xenia", PARLER_HOME="$HOME/x")

    def mend() -> None:
        agent.environment["PARLER_HOME"] = "~/x"

    return Fault(who=agent, words="rooms", meanwhile=mend)


def with_secret(agent: Agent) -> Callable[[], object]:
    """What has somebody give the secret of the guarded hub."""
    return lambda: agent.environment.update(PARLER_JOIN_SECRET=SECRET)


@tries(
    "this is the own hub of another home or user: its secret is in <that home>/hub/"
    "local-secret, readable by its user only; {}. For others its user runs: parler "
    "connect --team"
)
def no_secret(world: World) -> Fault:
    agent = world.new("yrsa", hub=world.guarded.url)
    last = "rooms"
    return Fault(
        who=agent,
        words=last,
        meanwhile=with_secret(agent),
        fill={"connect": "whoami", "--team": "--json"},
    )


@tries(
    "{} is not its secret, or no longer: ask whoever runs {} for it, and give it in "
    "PARLER_JOIN_SECRET"
)
def wrong_secret(world: World) -> Fault:
    agent = world.new("zoe", hub=world.guarded.url, PARLER_JOIN_SECRET="x" * 40)
    return Fault(who=agent, words="rooms", meanwhile=with_secret(agent))


@tries("parler trust-hub {}")
def set_up_anew(world: World) -> Fault:
    agent = world.new("alma", hub=world.replaced.url)
    assert agent("rooms").status == 0
    world.replace()
    return Fault(who=agent, words="rooms")


@tries("parler remember --key KEY TEXT replaces what is under a key")
def cannot_forget(world: World) -> Fault:
    return Fault(
        who=world.new("berit", hub=world.plain.url),
        words="forget --private --key k",
        fill={"KEY": "k", "TEXT": "''"},
        more=("--private",),
        corrected=True,
    )


@tries("parler roster shows who is there")
def no_receipts(world: World) -> Fault:
    agent = world.new("dag", hub=world.plain.url)
    world.opened(agent)
    return Fault(who=agent, words="status 1", corrected=True)


def chooser(name: str, words: str, again: str | None = None, **fill: str) -> Row:
    """A row of somebody who knows a hub as `work`."""

    def row(world: World) -> Fault:
        agent = world.new(name)
        assert agent("use", world.plain.url, "--as", "work").status == 0
        last = (lambda said: again) if again else None
        typed = words.format(w=world)
        return Fault(who=agent, words=typed, fill=fill, again=last, corrected=not again)

    return row


ROWS |= {
    "parler use HUB": chooser("edda", "use work --hub {w.hub.url}", HUB="work"),
    "another name, or parler use {}": chooser("finn", "use {w.hub.url} --as work"),
    "one of: {}; or its address: parler use wss://HOST": chooser(
        "gerd", "use wrok", "use work", **{"wss://HOST": "work"}
    ),
    "parler project list": instead("bob", "project remove ..", "project list"),
    "parler reserve 'src/auth/**' --why …": corrected(
        "ann", "reserve /etc/passwd --why x"
    ),
}


@tries("ask whoever owns the room to do it")
def not_the_owner(world: World) -> Fault:
    words = f"session watch --room {world.room}"
    return Fault(who=world.bob, words=words, last=world.ann)


@tries("parler serve NAME, run by whoever does such work")
def no_service(world: World) -> Fault:
    return Fault(
        who=world.ann,
        words="send --service gardening x",
        by=world.bob,
        fill={"NAME": "gardening"},
    )


@tries("parler doctor")
def unreachable(world: World) -> Fault:
    hub = HubProcess(world.folder / "down")
    agent = world.new("agda", hub=hub.url)
    assert agent("rooms").status == 0
    hub.stop()

    def start() -> str:
        world.callback(hub.stop)
        hub.start()
        return "rooms"

    return Fault(who=agent, words="rooms", finds=4, again=lambda said: start())


@tries("ask the owner for the key once more and paste it")
def torn_key(world: World) -> Fault:
    last = f"session join {world.key}"
    return Fault(
        who=world.new("bodil"), words="session join X@Y@Z", again=lambda said: last
    )


@tries(
    "git rm -r --cached that folder, name it in .gitignore, and take it out of the "
    "commits (git commit --amend, or git rebase -i)"
)
def committed_key(world: World) -> Fault:
    agent, repo = world.coder("careless")
    repo.commit("home/config.json", (agent.home / "config.json").read_bytes())

    def amend(said: str) -> str:
        repo.git("commit", "--amend", "--allow-empty", "-m", "without it")
        return "push"

    fill = {"that": "home", "folder": "home"}
    return Fault(who=agent, words="push", fill=fill, again=amend)


def of_projects(name: str, words: str, again: str | None = None) -> Row:
    """A row of somebody who lets a project be asked."""

    def row(world: World) -> Fault:
        agent = world.new(name)
        added = agent("project", "add", "shop", ".", "--agent", "claude-code")
        assert added.status == 0, added
        return Fault(who=agent, words=words, again=lambda said: again or words)

    return row


ROWS |= {
    "parler project remove {}": of_projects(
        "disa", "project add shop /tmp --agent claude-code"
    ),
    "parler project list, or parler project add NAME FOLDER": of_projects(
        "egil", "project log store", "project log shop"
    ),
    "--agent {}": of_projects(
        "frej", "project add x /tmp --agent vim", "project add x /tmp --agent codex"
    ),
    "parler connect {}": corrected("bob", "connect curso"),
    "one of: {}": instead("bob", "connect curser --list", "connect cursor --list"),
}


@tries("parler hub start")
def stopped(world: World) -> Fault:
    agent, port = world.local("gudrun")
    assert agent("connect", "--local", "--port", str(port), "cursor").status == 0
    assert agent("hub", "stop").status == 0
    for log in (agent.home / "hub").glob("hub.log*"):
        log.unlink()
    return Fault(who=agent, words="hub logs")


@tries("ask who runs it; or parler connect --local, for a hub of your own")
def nobodys_hub(world: World) -> Fault:
    agent, port = world.local("grim")  # not at the usual port
    assert agent("connect", "--local", "--port", str(port), "cursor").status == 0
    return Fault(
        who=agent,
        words=f"doctor --hub ws://127.0.0.1:{free_port()}",
        more=("cursor",),
        again=lambda said: "doctor",
    )


@tries("{}, then parler hub start")
def damaged_record(world: World) -> Fault:
    agent, port = world.local("hakon h")
    assert agent("connect", "--local", "--port", str(port), "cursor").status == 0
    assert agent("hub", "stop").status == 0
    hub_paths(agent.home).record.write_bytes(b"{")
    last = f"connect --local --port {port} cursor"  # not at the usual port
    return Fault(who=agent, words="hub status", again=lambda said: last)


@tries("end that program, or: {}")
def other_program(world: World) -> Fault:
    agent, port = world.local("inga")
    listener = socket.create_server(("127.0.0.1", port))
    world.callback(listener.close)
    return Fault(
        who=agent, words=f"connect --local --port {port} cursor", corrected=True
    )


@tries(
    "parler connect --local --port {}; or, if that hub is the one you mean: "
    "parler use {}"
)
def other_hub(world: World) -> Fault:
    agent, _ = world.local("jorunn")
    port = world.guarded.url.rpartition(":")[2]
    return Fault(
        who=agent, words=f"connect --local --port {port} cursor", corrected=True
    )


# What an agent asks its person, and the agents of projects

WAITS = 4
"""The status of a question that nobody has answered yet."""


def of_person(world: World, name: str, *asked: str) -> tuple[Agent, Agent]:
    """A person and an agent of theirs, which has asked that."""
    person = world.new(name)
    assert person("whoami").status == 0
    aide = copy.copy(person)
    aide.environment = person.environment | {
        "PARLER_HOME": str(person.home / "agents" / "aide"),
        "PARLER_NAME": "aide",
    }
    for question in asked:
        choices = ("--choice", "yes", "--choice", "no", "--wait", "0")
        assert aide("ask-user", question, *choices).status == WAITS
    return person, aide


def asking(name: str, question: str) -> Row:
    """A row of an agent whose question is none."""

    def row(world: World) -> Fault:
        _, aide = of_person(world, name)
        last = "ask-user deploy? --wait 0"
        return Fault(
            who=aide,
            words=f"ask-user {question}",
            again=lambda said: last,
            ends=WAITS,
        )

    return row


ROWS |= {
    "say what you want to know": asking("lisa", "' '"),
    "ask for less, and say where the rest can be read": asking("maja", "x" * 2001),
}


@tries("go on with what needs no answer: each comes as a message")
def asked_too_much(world: World) -> Fault:
    person, aide = of_person(world, "nora", "one?", "two?", "three?")

    def answer() -> None:
        shown = person("inbox", "--json").json
        one = next(i for i in shown["items"] if i["kind"] == "question")
        where = ("--room", one["room"], "--question", str(one["seq"]))
        assert person("answer", *where, "yes").status == 0

    words = "ask-user four? --wait 0"
    return Fault(who=aide, words=words, meanwhile=answer, ends=WAITS)


@tries("parler inbox, for what your agents ask you")
def asks_oneself(world: World) -> Fault:
    person, aide = of_person(world, "odd")
    return Fault(
        who=person,
        words="ask-user deploy? --wait 0",
        last=aide,
        ends=WAITS,
    )


@tries("answer with one of the numbers, or --decline")
def no_choice(world: World) -> Fault:
    person, _ = of_person(world, "per", "deploy?")
    return Fault(who=person, words="answer aide 3", again=lambda said: "answer aide 2")


@tries("parler answer WHO ANSWER")
def no_question(world: World) -> Fault:
    person, _ = of_person(world, "rut", "deploy?")
    return Fault(
        who=person,
        words="answer aide yes --room dm.of.both",
        fill={"WHO": "aide", "ANSWER": "yes"},
        corrected=True,
    )


def renaming(name: str, words: str, *how: str, corrected: bool) -> Row:
    """A row of somebody whose session gets no other topic so."""

    def row(world: World) -> Fault:
        agent = world.new(name)
        world.opened(agent, *how)
        assert agent("send", "hello").status == 0
        return Fault(who=agent, words=f"session rename {words}", corrected=corrected)

    return row


ROWS |= {
    'parler session rename "what it is about"': renaming(
        "rena", "' '", "--topic", "carts", corrected=True
    ),
    "parler session rename {}": renaming(
        "rolf", "cart and checkout", "--topic", "carts", corrected=True
    ),
    "parler session open --topic {}": renaming("rune", "carts", corrected=False),
}


@tries("parler project remove {}, and add it anew")
def folder_gone(world: World) -> Fault:
    agent = world.new("siv")
    folder = agent.folder / "shop"
    folder.mkdir()
    add = f"project add shop {folder} --agent claude-code"
    assert agent(*add.split()).status == 0
    folder.rmdir()

    def anew(said: str) -> str:
        folder.mkdir()
        return add

    return Fault(who=agent, words="ask shop 'how so?'", again=anew)


@tries("install one, or name it: {}")
def no_app(world: World) -> Fault:
    agent = world.new("tor", PATH=str(world.folder / "nothing"))
    last = "project add shop . --agent codex"
    return Fault(who=agent, words="project add shop .", again=lambda said: last)


@tries("install it, or parler project add {} FOLDER --agent APP --replace")
def app_gone(world: World) -> Fault:
    agent = world.new("tyra", PATH=str(world.folder / "nothing"))
    added = agent("project", "add", "shop", ".", "--agent", "claude-code")
    assert added.status == 0, added
    return Fault(
        who=agent,
        words="ask shop how",
        fill={"FOLDER": ".", "APP": "codex"},
        corrected=True,
    )


def of_answered(name: str, words: str, *, damage: bool = False, **fill: str) -> Row:
    """A row of somebody whose project a stand-in of an app answers for."""

    def row(world: World) -> Fault:
        fake = FakeClaude(world.folder / f"{name}-app")
        agent = world.new(name, PATH=f"{fake.bin}:/usr/bin:/bin")
        shop = agent.folder / "shop"
        shop.mkdir()
        added = agent("project", "add", "shop", str(shop), "--agent", "claude-code")
        assert added.status == 0, added
        if damage:
            assert agent("ask", "shop", "how").status == 0
            [budget] = agent.home.rglob("budget.json")
            budget.write_bytes(b"{")
        return Fault(who=agent, words=words, fill=fill, corrected=not damage)

    return row


ROWS |= {
    'parler ask PROJECT "how …?"': of_answered("ture", "ask shop ' '", PROJECT="shop"),
    "parler ask {} QUESTION": of_answered(
        "ulf", "ask shop how --follow-up", QUESTION="how"
    ),
    "{}; its counts begin anew": of_answered("vide", "ask shop how", damage=True),
}


@tries("parler project add NAME")
def name_taken(world: World) -> Fault:
    agent = world.new("unn")
    other = str(agent.home.parent / "other")
    Path(other).mkdir()
    taken = agent("project", "add", "unn", other, "--agent", "codex")
    assert taken.status == 0, taken
    return Fault(
        who=agent,
        words="answer",
        fill={"NAME": "mine"},
        more=("--agent", "codex"),
        corrected=True,
    )


ROWS |= {
    "parler peers": of_projects("viggo", "ask shop --to zoe how", "peers"),
}


@tries("parler project remember NAME --forget N")
def noted_too_much(world: World) -> Fault:
    agent = world.new("valdis")
    for words in ("add shop . --agent codex", "remember shop 0"):
        assert agent("project", *words.split()).status == 0
    [path] = agent.home.rglob("state.json")
    state = json.loads(path.read_text(encoding="utf-8"))
    assert state["notes"] == ["0"]
    state["notes"] = [str(number) for number in range(50)]
    path.write_text(json.dumps(state), encoding="utf-8")
    return Fault(
        who=agent,
        words="project remember shop 'one more'",
        fill={"NAME": "shop", "N": "1"},
    )


@tries("name the room: {}")
def same_topics_elsewhere(world: World) -> Fault:
    agent = world.new("vidar")
    rooms = [world.opened(agent, "--topic", "trips")[0] for _ in range(2)]
    return Fault(
        who=agent,
        words="session leave --room trips --yes",
        again=lambda said: f"session leave --room {rooms[0]} --yes",
    )


@tries("--as {}")
def both_are_in(world: World) -> Fault:
    person, aide = of_person(world, "vanja")
    room, key = world.opened(person, "--no-approval")
    assert aide("session", "join", key).status == 0
    words = f"session leave --room {room} --yes"
    return Fault(who=person, words=words, again=lambda said: f"{words} --as vanja")


# Who is whom


@tries("use the whole blob id")
def same_beginning(world: World) -> Fault:
    known: dict[str, str] = {}
    for number in count():
        text = str(number)
        digest = sha256(text.encode()).hexdigest()
        if (other := known.setdefault(digest[:4], text)) != text:
            break
    agent = world.new("wilma")
    blobs = []
    world.opened(agent)
    for one in (text, other):
        (agent.folder / one).write_text(one, encoding="utf-8")
        blobs.append(agent("send-file", one, "--json").json["blob"])
    assert {one[:4] for one in blobs} == {digest[:4]}
    world.opened(agent)
    for blob in blobs:
        task = agent("send", "do it", "--json").json["id"]
        done = agent("task", "done", "--task", task, "--result", blob)
        assert done.status == 0, done
    return Fault(
        who=agent,
        words=f"fetch {digest[:4]} -o got.txt",
        again=lambda said: f"fetch {blobs[0]} -o got.txt",
    )


@tries("if both are one person: parler trust {} --as {}; else --as another name")
def known_name(world: World) -> Fault:
    agent = world.new("ylva")
    known = world.new("first", PARLER_NAME="nick")("whoami", "--json").json["id"]
    assert agent("trust", known, "--as", "nick").status == 0
    other = world.new("second", PARLER_NAME="nick")
    assert other("register").status == 0
    who = other("whoami", "--json").json["fingerprint"]
    return Fault(who=agent, words=f"trust {who}", corrected=True)


@tries(
    "start an agent of hers once; or parler trust ID --as NAME, with the id that her "
    "`parler whoami` shows"
)
def unknown_fingerprint(world: World) -> Fault:
    her = world.new("asta")("whoami", "--json").json
    return Fault(
        who=world.new("astrid"),
        words=f"trust {her['fingerprint']} --as asta",
        fill={"ID": her["id"], "NAME": "asta"},
        corrected=True,
    )


@tries("chmod u+w {}, or add the entry where it comes from")
def read_only(world: World) -> Fault:
    agent = world.new("birk b")
    path = agent.folder / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o444)
    return Fault(who=agent, words="connect cursor")


OTHER = '{"mcpServers": {"parler": {"command": "other"}}}'


def of_cursor(name: str, words: str, text: str = OTHER) -> Row:
    """A row of an app whose file says that, until it is taken out."""

    def row(world: World) -> Fault:
        agent = world.new(name)
        path = agent.folder / ".cursor" / "mcp.json"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")

        def remove() -> None:
            path.write_text("{}", encoding="utf-8")

        return Fault(who=agent, words=words, meanwhile=remove)

    return row


ROWS |= {
    "remove or rename that entry, then the same command again": of_cursor(
        "bror", "connect cursor"
    ),
    "remove or rename that entry, then {}": of_cursor("dagny", "doctor"),
    "mend the file, then {}": of_cursor("einar", "doctor", "{"),
}


@tries("parler doctor --hub {}")
def not_refused(world: World) -> Fault:
    agent = world.new("ebbe")
    return Fault(who=agent, words=f"trust-hub {world.hub.url}", corrected=True)


@tries("parler trust, with the fingerprint that the person's `parler whoami` shows")
def no_such_name(world: World) -> Fault:
    her = world.bob("whoami", "--json").json["fingerprint"]
    return Fault(
        who=world.new("elin"),
        words="trust bobby",
        more=(her, "--as", "bobby"),
        corrected=True,
    )


@tries("unset PARLER_SESSION_KEY")
def no_session_key(world: World) -> Fault:
    agent = world.new("disken", PARLER_SESSION_KEY="X@Y@Z")
    return Fault(who=agent, words="doctor")


@tries("parler config, which says where each setting is from")
def no_name(world: World) -> Fault:
    agent = world.new("nameless", PARLER_NAME="a\tb")

    def name() -> None:
        agent.environment["PARLER_NAME"] = "named"

    return Fault(who=agent, words="rooms", meanwhile=name)


# Sealed sessions, and what is written to a file


@tries("parler session open --sealed makes one that is")
def not_sealed(world: World) -> Fault:
    agent = world.new("selma")
    world.opened(agent)
    return Fault(who=agent, words="session verify")


ROWS |= {
    "name another": instead(
        "ann", "history --export notes.txt", "history --export room.md"
    ),
}

# Steps that no row takes

IN_AN_APP = "done in the app; tests/parler/apps/install/test_health.py has both states"
SOMEBODY = "somebody else does it, who has to be asked"
MACHINE = "changes more of this machine than a test may"
TOOLS = "names tools; tests/parler/mcp_server"
TERMINAL = "only at a terminal; tests/behaviour/test_terminal.py, test_hub_choice.py"
ASKING = "needs an agent that answers; tests/parler/ask"
WAITING = "the same again later, which is when the fault has gone"
LIBRARY = (
    "commands name the secret, by rows above; tests/parler/client/test_connection.py"
)
NO_HOME = "only where the system knows no home, which is of no user that runs tests"
LARGE = "takes more than a test should; tests/parler/handoff/test_bounds.py"
OWN_HUB = "tests/parler/local_hub/test_lifecycle.py, tests/behaviour/test_hub_choice.py"
SYSTEM = "of any call of the system; tests/parler/cli/test_app.py"
LIMIT = "a bound that takes hundreds of entries to reach"

PHONE = "needs a phone and a hub with TLS; tests/ui/test_phone.py"

NOT_TAKEN = {
    "claude mcp remove {} --scope local": IN_AN_APP,
    "claude mcp remove {} --scope project": IN_AN_APP,
    "use /mcp there and enable parler": IN_AN_APP,
    "take the comments out of it": IN_AN_APP,
    "remove disableAllHooks from settings.json": IN_AN_APP,
    "start claude there and accept the question": IN_AN_APP,
    "codex features enable hooks": IN_AN_APP,
    "start codex, which asks, and trust them; /hooks shows them": IN_AN_APP,
    "start gemini there and use /permissions to trust it": IN_AN_APP,
    "mend mcp.allowed and mcp.excluded in settings.json": IN_AN_APP,
    "set hooksConfig.enabled in settings.json to true": IN_AN_APP,
    "switch parler on there": IN_AN_APP,
    "parler connect opencode": IN_AN_APP,
    "close that app, then the same command again": WAITING,
    "ask again when it has been": WAITING,
    "the same command in a minute": WAITING,
    "the same command in a while": WAITING,
    "the same command again, or parler doctor": WAITING,
    "end that one": WAITING,
    "ask who runs the hub to make room on its disk": SOMEBODY,
    "install the version of parler that the hub speaks": SOMEBODY,
    "ask the sender to send it again": SOMEBODY,
    "ask the sender to push it again": SOMEBODY,
    "ask the sender for the blob id over another channel": SOMEBODY,
    "ask the sender for one branch: parler push --base REF BRANCH": SOMEBODY,
    "ask the sender to push again, or {}": SOMEBODY,
    "ask whoever runs {} for its join secret, and {}": SOMEBODY,
    "do without it, or ask who runs the hub to update it": SOMEBODY,
    "use wss://{} if the hub has TLS, or --insecure": SOMEBODY,
    "mend {}, or name {} in NO_PROXY": "tests/parler/client/test_proxy.py",
    "set PARLER_JOIN_SECRET to the secret of this hub": LIBRARY,
    "the secret that was given is another's: ask who runs the hub for its own, and set "
    "PARLER_JOIN_SECRET to that": LIBRARY,
    "ask your user for the key once more": TOOLS,
    "once it is compared: parler trust {}": "tests/behaviour/test_contacts_cli.py",
    "the other agent's `parler whoami` shows both": (
        "of a tool's argument; tests/parler/ops/test_affiliations.py"
    ),
    "use the agent's id: its `parler whoami` shows it": (
        "only a hub that is not ours refuses to search its directory"
    ),
    "set HOME, or PARLER_HOME to an absolute path": NO_HOME,
    "set HOME to your home directory": NO_HOME,
    "parler_recv with wait_secs, once or again": TOOLS,
    "parler session picture{} -o session.svg": TERMINAL,
    "parler inbox, for what agents ask you; else parler project add {} --agent {}": (
        TERMINAL
    ),
    "parler_open_session, or parler_join_session with a key": TOOLS,
    "use {}": TOOLS,
    "your user can do it: parler send-file, parler fetch --out": TOOLS,
    "send it in pieces, or as a file": TOOLS,
    "parler_join_requests": TOOLS,
    "parler_recv since=0": TOOLS,
    "parler_session action=list": TOOLS,
    "your user sees it with `parler inbox`": TOOLS,
    "parler invite --group {}": TOOLS,
    "parler connect --join URL, or to run one here: parler connect --team": TERMINAL,
    "parler connect --join URL, with the one your team told you": TERMINAL,
    "parler connect --join {} in a terminal, which asks for the secret, or the invite "
    "on stdin: parler connect --join -": TERMINAL,
    "parler connect --join {}": TERMINAL,
    "parler connect --hub URL --join-secret SECRET, or --join INVITE": TERMINAL,
    "make room on that disk, then the same command": SYSTEM,
    "the same command where this user may write, or another file": SYSTEM,
    "the same command with the name of a file that is there": SYSTEM,
    "the same command with the name of a file in there": SYSTEM,
    "parler inbox --watch, which rings in the terminal": TERMINAL,
    "the same command in a terminal of your own": TERMINAL,
    "the other agent's `parler whoami` shows its id": TERMINAL,
    "add --to FINGERPRINT, or --headless: parler ask {} …": ASKING,
    "if you trust that one: parler ask {} --to FINGERPRINT": ASKING,
    "add --to FINGERPRINT: parler ask {} …": ASKING,
    "say it in the shell of an agent app that `parler connect` wired": ASKING,
    "name its home: --home {}": ASKING,
    "start the agent app here, then: parler doctor --wake": ASKING,
    "send it in smaller pieces": LARGE,
    "send it in pieces, or compressed": LARGE,
    "shorten it, and send the rest with `parler send -`": LARGE,
    "parler push --base REF, with what the others have": LARGE,
    "parler push --base REF, with fewer commits at a time": LARGE,
    "ask the sender for fewer commits at a time: parler push --base REF": LARGE,
    "git fetch --refetch --no-filter": LARGE,
    "parler apply --drop {}": "tests/parler/handoff/test_incoming.py",
    "parler untrust NAME, of somebody you need no more": LIMIT,
    "parler release": LIMIT,
    "run the workers of their rooms, which finish them": LIMIT,
    "cd somewhere else": "no command starts in a folder that has gone",
    "cd to a folder that is": "no command starts in a folder that has gone",
    "install git": MACHINE,
    "install {}, then parler update": MACHINE,
    "install git 2.31 or newer": MACHINE,
    "uv tool install parler-agents, then parler connect": MACHINE,
    "install parler in an environment of its own: pipx install parler-agents": MACHINE,
    "timedatectl set-ntp true": MACHINE,
    "sudo sntp -sS time.apple.com": MACHINE,
    "w32tm /resync": MACHINE,
    "fuser -v {}": MACHINE,
    "look at it: less {}": MACHINE,
    "ls -ld {}": MACHINE,
    "join a network, or name the address: parler connect --team --address HOST": (
        MACHINE
    ),
    "parler hub start --home {}, or in this home: parler connect --local --port {}": (
        OWN_HUB
    ),
    "start it again as you did (parler hub --db …), or this machine's own in its "
    "place: parler hub start": OWN_HUB,
    "parler hub stop --force": OWN_HUB,
    "parler hub status": OWN_HUB,
    "parler hub stop": OWN_HUB,
    "parler hub stop, then parler hub start": OWN_HUB,
    "parler hub logs": OWN_HUB,
    "parler connect --local": OWN_HUB,
    "parler connect --local --port {}": OWN_HUB,
    "parler connect --hub URL, of a hub that runs elsewhere": OWN_HUB,
    "parler hub stop, or name that one": OWN_HUB,
    "parler session use ROOM, one of parler session list; or parler session join KEY": (
        "a warning, by which nothing fails"
    ),
    "parler register --replace, with everything the card shall say": (
        "tests/parler/ops/test_directory.py"
    ),
    "use the key made at first, or parler session open": (
        "tests/parler/ops/test_plain_hub.py"
    ),
    "name who may with --allow-from ID, or say --allow-any": (
        "tests/behaviour/test_work.py"
    ),
    "end it, or give this one an identity of its own: PARLER_AGENT_SESSION=second "
    "parler …": "tests/behaviour/test_work.py",
    "parler session join KEY, or ask its owner to approve {}": (
        "tests/parler/ops/test_sealing.py"
    ),
    "copy the whole key once more: KEY.SECRET@HUB": (
        "a pasted key that is torn is refused before, by a row above"
    ),
    "the same command with --hub {}": "tests/parler/ops/test_sealing.py",
    "parler invite, with a key of which somebody becomes a member": (
        "another way to the same end; nothing is at fault"
    ),
    "parler session verify, and if all see the same: parler session verify --accept": (
        "only where a hub lied; tests/parler/sealed/test_member.py"
    ),
    "parler devices": PHONE,
    "parler devices remove NAME": PHONE,
    "parler ui --phone": PHONE,
    "parler ui --phone --phone-page URL takes it from elsewhere": PHONE,
    "parler use wss://HUB, then parler ui --phone": PHONE,
    "{}; phones have to be paired again": PHONE,
    "parler session members --room {}": (
        "shows whom to name, as `parler roster --room` does, which a row takes"
    ),
    "your user runs: parler session verify --accept": TOOLS,
    "your user runs: parler session export --with-keys -o FILE": TOOLS,
    "parler --help": "only where `man` is missing; tests/parler/cli/test_app.py",
    "parler ui --port 0 takes any that is free": (
        "it stays until it is ended; tests/parler/ui/test_process.py"
    ),
    "parler whoami": "said on the page alone; tests/parler/ui/test_pages.py",
    "--runner {}": "tests/behaviour/test_work.py",
    "install it, or --runner {}": "tests/behaviour/test_work.py",
    "name an existing program with --runner": "tests/behaviour/test_work.py",
}
"""Why, or which test takes it."""


def test_every_next_step_is_tried_or_named_with_why_not() -> None:
    named, tried = set(next_steps()), set(ROWS)
    assert named == tried | set(NOT_TAKEN)
    assert not tried & set(NOT_TAKEN)
    tests = {
        word for why in NOT_TAKEN.values() for word in re.findall(r"tests/\S+", why)
    }
    assert all((CHECKOUT / one.strip(",;")).exists() for one in tests), tests
