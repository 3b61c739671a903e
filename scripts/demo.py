"""Plays the main job on this machine: two agents share one conversation from one key.

Real `parler` processes, each agent with a home of its own, against a real hub with a
database. Every step is checked; the exit status is 0 only if every promise held.
Nothing stays behind.
"""

import contextlib
import itertools
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import _handmade
from _stage import (
    COMMAND_SECONDS,
    PARLER,
    Agent,
    BrokenPromise,
    Json,
    Running,
    Stage,
    Stops,
    ended,
    in_background,
    texts,
)

WHOLE_DEMO_SECONDS = 150
RECAP = "The cart service is split off. Open: old clients still call /v1/cart."
WHILE_WAITING = "A note for members only: the release is on Thursday."
PROMISED = "I keep /v1/cart alive for one more release."
FORGED = "I remove /v1/cart from production right now."
SUMMARY = "API is done, tests are green"
NEXT = "move the cart page to /v2/cart"
PAGE = "cart.txt"
REVIEW = "review please"
WORK = "Review the branch cart-page"
ANSWER = "Reviewed, looks good"
ENDS = ("done", "failed", "cancelled")
# Keeps the task as it came, and leaves the other worker time to want it as well.
RUNNER = f"cat >>task.json; sleep 1; echo {ANSWER}"
LINES_EACH = 5
KILL_AFTER = 4  # acknowledged lines
NO_HUB = 4  # exit status: the hub cannot be reached, or was lost


@dataclass(slots=True, kw_only=True)
class Story:
    """The cast, and what the steps tell each other."""

    stage: Stage
    alice: Agent
    bob: Agent
    mallory: Agent
    room: str = ""
    key: str = ""
    portable: str = ""


def play(stage: Stage) -> None:
    """All nine steps."""
    story = Story(
        stage=stage,
        alice=Agent(stage=stage, name="alice"),
        bob=Agent(stage=stage, name="bob", role="webdev"),
        mallory=Agent(stage=stage, name="mallory"),
    )
    stage.title(
        "A hub starts on a free loopback port; each agent gets a key of its own"
    )
    stage.tell("hub", f"$ parler hub --addr 127.0.0.1:0 --db {stage.database.name}")
    stage.start_hub()
    for agent in (story.alice, story.bob, story.mallory):
        role = ("--role", agent.role) if agent.role else ()
        agent.do("init", "--name", agent.name, *role, "--hub", stage.url)
    for step in (
        open_session,
        knock,
        approve,
        talk_through_a_crash,
        reject,
        hand_off,
        notice_forgery,
        hand_over_a_commit,
        share_work,
    ):
        step(story)
    stage.check(stage.end_hub(signal.SIGTERM) == 0, "the hub ends in good order")


def open_session(story: Story) -> None:
    stage, alice = story.stage, story.alice
    stage.title("1. alice opens a session with a recap; a key comes back")
    opened = alice.do("session", "open", "--topic", "cart split", "--context", RECAP)
    story.room, story.key = opened["room"], opened["key"]
    story.portable = opened["portable"]
    stage.check(len(story.key) == 8, f"the key is {story.key}", otherwise=opened)
    key, _, hub = story.portable.partition("@")
    whole = key == story.key and urlsplit(stage.url).netloc in hub
    stage.check(whole, f"with its hub it is {story.portable}", otherwise=opened)
    stage.check(opened["gated"] is True, "whoever redeems it has to be approved")
    lasts = opened["expiresAt"] / 1000 - time.time()
    stage.check(lasts > 0, f"it is good for {lasts / 3600:.0f} h")


def knock(story: Story) -> None:
    stage, alice, bob = story.stage, story.alice, story.bob
    stage.title("2. bob redeems the key: he is told to wait, and can read nothing")
    asked = bob.do("session", "join", story.portable)
    stage.check(asked["state"] == "pending", "bob is told to wait", otherwise=asked)
    stage.check(not asked["messages"], "and was given no message", otherwise=asked)
    refused(story, bob)

    def alice_writes() -> None:
        alice.do("send", WHILE_WAITING)

    _handmade.try_everything(
        stage.url, bob.config, room=story.room, meanwhile=alice_writes
    )
    stage.check(True, "a hand-made client with his key gets nothing but not_member")


def refused(story: Story, agent: Agent) -> None:
    """Somebody outside tries the commands that read and write."""
    for arguments in (
        ("recv", "--room", story.room, "--all"),
        ("recv", "--room", story.room),
        ("roster", "--room", story.room),
        ("send", "--room", story.room, "let me in"),
    ):
        outcome = agent.attempt(*arguments)
        no = outcome.status == 6 and outcome.error_code() == "not_member"
        leaked = RECAP in outcome.out or WHILE_WAITING in outcome.out
        kept_out = f"parler {arguments[0]}: refused, not_member"
        story.stage.check(no and not leaked, kept_out, otherwise=outcome)


def approve(story: Story) -> None:
    stage, alice, bob = story.stage, story.alice, story.bob
    stage.title(
        "3. alice sees who knocks and approves; bob lands with the whole context"
    )
    join = ("session", "join", story.portable, "--wait", "30", "--json")
    waiting = bob.start(*join)
    knocks = alice.do("session", "requests")["requests"]
    stage.check(len(knocks) == 1, "one agent knocks", otherwise=knocks)
    who = knocks[0]
    seen = f"{who['name']} ({who['role']}), fingerprint {who['fingerprint']}"
    stage.check((who["name"], who["role"]) == ("bob", "webdev"), f"it is {seen}")
    own = bob.do("whoami")
    same = own["fingerprint"] == who["fingerprint"]
    stage.check(same, "which is the fingerprint bob himself sees", otherwise=own)
    alice.do("session", "approve", who["fingerprint"], "--yes")
    landed = ended(waiting, join)
    stage.check(landed.status == 0, "bob's wait is over", otherwise=landed)
    joined = landed.json()
    stage.check(joined["state"] == "joined", "bob is in", otherwise=joined)
    context = "\n".join(map(texts, joined["messages"]))
    whole = RECAP in context and WHILE_WAITING in context
    stage.check(whole, "with the recap and all that was said since", otherwise=context)
    valid = all(m["signature"] == "valid" for m in joined["messages"])
    stage.check(valid, "every line of it is signed by its author", otherwise=joined)
    bob.take(joined["messages"])


@dataclass(slots=True, kw_only=True)
class Talk:
    """Two agents talk at the same time, each as fast as the hub confirms."""

    acknowledged: dict[str, Json] = field(default_factory=dict)  # by text
    said_after_crash: set[str] = field(default_factory=set)
    unanswered: int = 0
    crashed: bool = False
    news: threading.Condition = field(default_factory=threading.Condition)
    hub_is_up: threading.Event = field(default_factory=threading.Event)

    def speak(self, agent: Agent) -> None:
        """Say all lines; what is not confirmed is said again in other words."""
        for number in range(1, LINES_EACH + 1):
            for again in itertools.count():
                text = f"{agent.name}, line {number}" + f" (try {again + 1})" * (
                    again > 0
                )
                if self.say(agent, text):
                    break

    def say(self, agent: Agent, text: str) -> bool:
        """One line; whether the hub confirmed it."""
        if not self.hub_is_up.wait(COMMAND_SECONDS):
            raise BrokenPromise("the hub did not come back")
        crashed = self.crashed
        outcome = agent.attempt("send", text, tell=False)
        if outcome.status not in (0, NO_HUB):
            raise BrokenPromise(f"{agent.name} cannot send: {outcome}")
        with self.news:
            if outcome.status == 0:
                self.acknowledged[text] = outcome.json()
                if crashed:
                    self.said_after_crash.add(agent.name)
            else:
                self.unanswered += 1
            self.news.notify_all()
        return outcome.status == 0

    def wait_for_lines(self, count: int) -> None:
        with self.news:
            if not self.news.wait_for(
                lambda: len(self.acknowledged) >= count, COMMAND_SECONDS
            ):
                raise BrokenPromise("the conversation does not get anywhere")


def talk_through_a_crash(story: Story) -> None:
    stage, alice, bob = story.stage, story.alice, story.bob
    stage.title("4. They talk; the hub is killed in the middle and started again")
    bob.do("send", PROMISED)
    heard = alice.news()
    stage.check(texts(heard[-1]) == PROMISED, "alice hears bob", otherwise=heard)
    stage.check(not alice.news(), "asked again, recv shows nothing old")
    talk = Talk()
    talk.hub_is_up.set()
    both = [in_background(partial(talk.speak, who)) for who in (alice, bob)]
    stage.tell("both", f"$ parler send …   ({LINES_EACH} lines each, at the same time)")
    talk.wait_for_lines(KILL_AFTER // 2)
    bob.news()
    talk.wait_for_lines(KILL_AFTER)
    talk.hub_is_up.clear()
    stage.end_hub(signal.SIGKILL)
    before = len(talk.acknowledged)
    stage.tell("hub", f"is killed with SIGKILL after {before} confirmed lines")
    stage.restart_hub()
    talk.crashed = True
    talk.hub_is_up.set()
    stage.tell("hub", "starts again, same port, same database")
    for finished in both:
        finished()
    carried_on = talk.said_after_crash == {"alice", "bob"}
    stage.check(carried_on, "both carry on without a new join", otherwise=talk)
    compare(story, talk)


def compare(story: Story, talk: Talk) -> None:
    """The whole conversation against what was confirmed and what was read."""
    stage, alice, bob = story.stage, story.alice, story.bob
    stored = alice.everything()
    by_id = [message["id"] for message in stored]
    by_text = [texts(message) for message in stored]
    lost = [
        text
        for text, sent in talk.acknowledged.items()
        if (text, sent["seq"]) not in [(texts(m), m["seq"]) for m in stored]
    ]
    confirmed = len(talk.acknowledged)
    stage.check(not lost, f"all {confirmed} confirmed lines are there", otherwise=lost)
    once = len(set(by_id)) == len(by_id) and len(set(by_text)) == len(by_text)
    stage.check(once, "and none is there twice", otherwise=by_text)
    everything = [message["seq"] for message in stored]
    stage.check(everything == sorted(everything), "all in order", otherwise=everything)
    for agent in (bob, alice):
        agent.news()
        others = [m["seq"] for m in stored if m["from"]["name"] != agent.name]
        promise = f"{agent.name}'s recv missed no line of the other and repeated none"
        stage.check(agent.read == others, promise, otherwise=agent.read)


def reject(story: Story) -> None:
    stage, alice, mallory = story.stage, story.alice, story.mallory
    stage.title("5. mallory redeems the same key and is rejected")
    asked = mallory.do("session", "join", story.portable)
    stage.check(asked["state"] == "pending", "mallory is told to wait", otherwise=asked)
    knocks = alice.do("session", "requests")["requests"]
    stage.check([k["name"] for k in knocks] == ["mallory"], "alice sees mallory knock")
    alice.do("session", "reject", "mallory", "--yes")
    again = mallory.attempt("session", "join", story.portable)
    no = again.status == 6 and again.error_code() == "invalid_invite"
    stage.check(no, "mallory cannot ask again", otherwise=again)
    refused(story, mallory)

    def alice_writes() -> None:
        alice.do("send", "Only bob and alice read this.")

    _handmade.try_everything(
        stage.url, mallory.config, room=story.room, meanwhile=alice_writes
    )
    stage.check(True, "a hand-made client with that key gets nothing but not_member")
    _handmade.try_again(stage.url, mallory.config, key=story.key)
    stage.check(True, "and the key stays shut for it")
    knocks = alice.do("session", "requests")["requests"]
    stage.check(not knocks, "alice is not asked twice", otherwise=knocks)


def hand_off(story: Story) -> None:
    stage, alice, bob = story.stage, story.alice, story.bob
    stage.title("6. alice hands the turn to the role webdev; bob waits in recv --watch")
    watching = Running(bob.start("recv", "--watch"))
    alice.do("send", "Are you there?")
    watching.wait_for("Are you there?")
    stage.check(True, "bob's watch shows each message as it comes")
    began = time.monotonic()
    alice.do("handoff", "--for", "webdev", "--summary", SUMMARY, "--next", NEXT)
    shown = watching.wait_for("HANDOFF TO YOU", SUMMARY, NEXT)
    took = time.monotonic() - began
    stage.check(True, f"after {took:.1f} s bob is shown:")
    banner = shown[shown.index("HANDOFF TO YOU") :].strip().splitlines()
    for line in banner[:6]:
        print(f"          | {line}")
    watching.process.send_signal(signal.SIGINT)
    status = watching.process.wait(COMMAND_SECONDS)
    stage.check(status in (0, 130), "Ctrl-C ends the watch", otherwise=status)
    stage.check(not bob.news(), "what the watch has shown counts as read")


def notice_forgery(story: Story) -> None:
    stage, alice = story.stage, story.alice
    stage.title("7. Somebody edits a message of bob's in the hub's database file")
    stage.check(stage.end_hub(signal.SIGTERM) == 0, "the hub stops in good order")
    stage.tell("someone", f"“{PROMISED}” becomes “{FORGED}”")
    changed = stage.edit_database(PROMISED, FORGED)
    stage.check(changed == 1, "one stored message is changed", otherwise=changed)
    stage.restart_hub()
    marks = {texts(m): m["signature"] for m in alice.everything()}
    forged = marks.pop(FORGED, None)
    stage.check(forged == "invalid", "alice's client sees: signature invalid")
    honest = set(marks.values()) == {"valid"}
    stage.check(honest, f"and the other {len(marks)} are valid", otherwise=marks)
    watch = ("recv", "--all")
    shown = ended(alice.start(*watch), watch).out
    marked = [line for line in shown.splitlines() if "UNVERIFIED" in line]
    only = len(marked) == 1 and FORGED in marked[0]
    stage.check(only, "and shows it so:", otherwise=shown)
    print(f"          | {marked[0].strip()}")


def hand_over_a_commit(story: Story) -> None:
    stage, alice, bob = story.stage, story.alice, story.bob
    stage.title("8. bob pushes a commit; alice applies it, and nothing of hers changes")
    ours, theirs = stage.folder / "alice-repo", stage.folder / "bob-repo"
    ours.mkdir()
    stage.git(ours, "init", "--quiet", "--initial-branch=main")
    commit(stage, ours, "GET /v1/cart\n", "The cart page")
    stage.git(stage.folder, "clone", "--quiet", str(ours), str(theirs))
    tip = commit(stage, theirs, "GET /v2/cart\n", "Move the cart page to /v2/cart")
    stage.tell("bob", "$ git clone …; edits; git commit")
    (ours / PAGE).write_text("GET /v1/cart\n# alice is editing\n", encoding="utf-8")
    (ours / "notes.txt").write_text("not tracked\n", encoding="utf-8")
    alice.place, bob.place = ours, theirs

    pushed = bob.do("push", "--base", "origin/main", "--note", REVIEW)
    stage.check(pushed["tip"] == tip, f"bob sends {tip[:12]}", otherwise=pushed)
    shown = ended(alice.start("recv"), ("recv",)).out
    command = re.search(r"parler apply (\S+)", shown)
    blob = command[1] if command else ""
    told = "📦" in shown and all(t in shown for t in (REVIEW, tip[:12]))
    is_it = len(blob) >= 8 and pushed["blob"].startswith(blob)
    stage.check(told and is_it, "alice is shown:", otherwise=shown)
    for line in shown.strip().splitlines():
        print(f"          | {line.strip()}")

    before = hers(stage, ours)
    applied = alice.do("apply", blob)
    after = hers(stage, ours)
    sender = (applied["sender"]["name"], applied["sender"]["signature"])
    stage.check(sender == ("bob", "valid"), "it is bob's, signed", otherwise=applied)
    came = [line for line in after["branches"] if line not in before["branches"]]
    ref, _, there = came[0].partition(" ") if len(came) == 1 else ("", "", "")
    exact = ref.startswith("refs/parler/") and there == tip
    stage.check(exact, f"{ref} is bob's exact commit", otherwise=came)
    page = stage.git(ours, "show", f"{ref}:{PAGE}")
    stage.check(page == "GET /v2/cart", "with what bob wrote", otherwise=page)
    after["branches"] = [line for line in after["branches"] if line not in came]
    for part in before:
        same = before[part] == after[part]
        stage.check(same, f"alice's {part}: untouched", otherwise=(before, after))
    alice.place = bob.place = None


def commit(stage: Stage, repository: Path, text: str, subject: str) -> str:
    """Commit a file; returns the id of the commit."""
    (repository / PAGE).write_text(text, encoding="utf-8")
    stage.git(repository, "add", PAGE)
    stage.git(repository, "commit", "--quiet", "-m", subject)
    return stage.git(repository, "rev-parse", "HEAD")


def hers(stage: Stage, repository: Path) -> dict[str, list[str]]:
    """What git says of all that an import must not touch."""
    asked = {
        "work tree": ("status", "--porcelain=v2", "--untracked-files=all"),
        "uncommitted edits": ("diff", "HEAD"),
        "index": ("ls-files", "--stage"),
        "HEAD": ("symbolic-ref", "HEAD"),
        "branches": ("for-each-ref", "--format=%(refname) %(objectname)"),
    }
    return {
        part: stage.git(repository, *question).splitlines()
        for part, question in asked.items()
    }


def share_work(story: Story) -> None:
    stage, alice = story.stage, story.alice
    stage.title("9. Two workers of one role; alice has one task: exactly one takes it")
    workers = [Agent(stage=stage, name=name) for name in ("carol", "dave")]
    for agent in workers:
        agent.do("init", "--name", agent.name, "--hub", stage.url)
    arguments = ("supervise", "--role", "review", "--runner", RUNNER, "--once")
    running = [Running(agent.start(*arguments, "--json")) for agent in workers]
    wait_until_free(workers)
    stage.check(True, "both are free for work")
    task = alice.do("send", "--role", "review", WORK)

    won = first_to_end(running)
    winner, loser = workers[won], workers[1 - won]
    idle = running[1 - won]
    status = running[won].ended()
    stage.check(status == 0, f"{winner.name} takes it", otherwise=running[won].said)
    given = (winner.home / "task.json").read_text(encoding="utf-8")
    once = given.count(WORK) == 1
    stage.check(once, "and its program was given it once", otherwise=given)

    said = alice.do("recv", "--room", task["room"])["messages"]
    ends = [
        (message["from"]["name"], part["status"], part["task"], message["signature"])
        for message in said
        for part in message["parts"]
        if part["kind"] == "com.parler.task" and part["status"] in ENDS
    ]
    done = ends == [(winner.name, "done", task["id"], "valid")]
    stage.check(done, "alice gets one signed receipt: done", otherwise=said)
    answers = [message["from"]["name"] for message in said if ANSWER in texts(message)]
    stage.check(answers == [winner.name], f"and reads “{ANSWER}”", otherwise=said)

    stage.check(idle.process.poll() is None, f"{loser.name} still waits for work")
    idle.process.send_signal(signal.SIGINT)
    status = idle.ended()
    stage.check(status in (0, 130), "Ctrl-C ends it", otherwise=(status, idle.said))
    began = f"working on {task['id']}" in idle.said
    nothing = not began and not (loser.home / "task.json").exists()
    stage.check(nothing, f"and {loser.name} was given nothing", otherwise=idle.said)


def wait_until_free(workers: list[Agent]) -> None:
    """Wait until every worker is one the hub would give a task."""
    names = {agent.name for agent in workers}
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        roster = workers[0].attempt("roster", "--room", "svc.review", tell=False)
        entries = roster.json()["entries"] if roster.status == 0 else []
        free = {e["name"] for e in entries if e.get("status") in ("idle", "waiting")}
        if free == names:
            return
        if time.monotonic() > deadline:
            raise BrokenPromise(f"the workers do not come: {roster}")


def first_to_end(running: list[Running]) -> int:
    """Wait until one of them ends; returns which."""
    deadline = time.monotonic() + COMMAND_SECONDS
    while time.monotonic() < deadline:
        for number, one in enumerate(running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(0.05)
                return number
    said = "\n".join(one.said for one in running)
    raise BrokenPromise(f"nobody takes the task; this came:\n{said}")


def main() -> int:
    """Play, tell how it went, and clear away in any case."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if not PARLER.exists():
        print("demo: start it with ./scripts/demo", file=sys.stderr)
        return 2
    began = time.monotonic()
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    stops = Stops(_stop, *ends)
    signal.alarm(WHOLE_DEMO_SECONDS)
    name = f"parler-demo-{secrets.token_hex(6)}"
    stage = Stage(stops=stops, folder=Path(tempfile.gettempdir(), name))
    try:
        stage.folder.mkdir(mode=0o700)
        play(stage)
    except (BrokenPromise, _handmade.Leak) as broken:
        print(f"        ✗ {broken}", flush=True)
        print("\nA promise was broken.", flush=True)
        return 1
    finally:
        stage.clear()
    took = time.monotonic() - began
    print(f"\nEvery promise held: {stage.checks} checks in {took:.0f} s.")
    return 0


def _stop(number: int) -> NoReturn:
    if number == signal.SIGALRM:
        raise BrokenPromise(f"the demo takes longer than {WHOLE_DEMO_SECONDS} s")
    print("\ndemo: stopped; clearing away", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
