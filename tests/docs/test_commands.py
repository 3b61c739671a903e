"""Every command of README and pages is carried out, or is named with why it is not.

One story with real processes: a hub, agents with homes of their own, a real git
repository. What stands in a page is what is run; only what differs from machine to
machine is replaced, and each replacement is named.
"""

import ast
import os
import re
import runpy
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests._support import warm
from tests._support.gitrepo import Repo
from tests._support.processes import (
    CHECKOUT,
    WAIT,
    Agent,
    Done,
    HubProcess,
    Running,
)
from tests.docs._pages import PAGES, blocks, inline, understand
from tests.parler.ask._fakes import FakeClaude

HUB = "ws://127.0.0.1:7070"
FINGERPRINT = "UKRY-MYJP-4R5L-B3GX"


_SEALED = "./scripts/test --sealed; test_commands.py"
NOT_RUN = {
    "./scripts/demo": "./scripts/test --docs; test_demo.py",
    "./scripts/test": "it is what runs this",
    "./scripts/test --only-lint": "it is what runs this",
    "git clone https://github.com/parler-agents/parler && cd parler": "the network",
    "parler update": "./scripts/test --ship",
    "./scripts/install.sh": "./scripts/test --ship, in a clean root file system",
    ".venv/bin/python -m bench.hub send --short": "tests/bench",
    ".venv/bin/python -m bench.hub fanout --short": "tests/bench",
    ".venv/bin/python -m bench.mcp --rounds 1": "takes too long for a test",
    ".venv/bin/python -m bench all --short": "tests/bench",
    "parler hub install-service": "changes this machine; test_local_hub_service.py",
    "parler hub uninstall-service": "changes this machine; test_local_hub_service.py",
    "parler connect --team": "opens a port to the network; ./scripts/test --lan",
    "parler connect --team --address wss://hub.example.org": "./scripts/test --lan",
    "parler connect --join ws://192.168.1.5:7070": "at a terminal; test_connect.py",
    "parler connect --join -": "test_connect.py",
    'eval "$(parler completion bash)"': "tests/behaviour/test_completion.py",
    "parler completion fish > ~/.config/fish/completions/parler.fish": "writes into "
    "fish's own folder; tests/behaviour/test_completion.py",
    'parler session open --sealed --topic "cart split" '
    '--context "what was decided so far"': _SEALED,
    "parler session join KEY.SECRET@HUB --wait 300": _SEALED,
    "parler session verify": _SEALED,
    "parler session members": _SEALED,
    "parler session export -o room.jsonl": _SEALED,
    "parler verify room.jsonl": _SEALED,
    "parler ui --phone": "at a terminal, with a phone; tests/ui/test_phone.py",
    "parler devices": "tests/ui/test_phone.py",
    "parler devices remove iPhone": "tests/ui/test_phone.py",
    "parler init --name alice": "as bob's, which is run",
    "parler connect": "asks at a terminal; tests/behaviour/test_hub_choice.py",
    "parler doctor --wake": "needs an app that runs; tests/agents/test_apps.py",
    "parler use team": "looks at the network; tests/behaviour/test_hub_choice.py",
    "parler project allow stagent --from dashboard --write": "only at a terminal",
    "parler project allow stagent --from AGENT-ID --name bob": "only at a terminal",
    "parler project allow stagent --from AGENT-ID": "only at a terminal",
    "parler project deny stagent --from local": "only at a terminal",
    "parler approve anna": "tests/behaviour/test_terminal.py",
    "parler inbox --watch": "it stays; tests/behaviour/test_terminal.py",
    "parler ui": "opens a browser; tests/behaviour/test_ui.py",
    "parler accept ABCD-EFGH-IJKL-MNOP": "tests/behaviour/test_terminal.py",
    "parler permit ABCD-EFGH-IJKL-MNOP": "tests/agents/test_permissions.py",
    "parler refuse ABCD-EFGH-IJKL-MNOP": "tests/agents/test_permissions.py",
    "parler connect --approvals claude-code": "tests/agents/test_permissions.py",
    "parler decline ABCD-EFGH-IJKL-MNOP": "tests/behaviour/test_terminal.py",
    'parler summary "building the dashboard data layer"': "in an agent; test_peers.py",
    "parler project serve stagent": "tests/parler/ask/test_over_hub.py",
    "parler answer shop-claude": "tests/behaviour/test_terminal.py",
    "parler answer shop-claude 2": "tests/behaviour/test_terminal.py",
    'parler answer shop-claude --decline "ask me on Monday"': "tests/parler/ops/"
    "test_questions.py",
    "hub.example.org {": "configuration of Caddy; ./scripts/test --ship",
    "reverse_proxy 127.0.0.1:7070": "configuration of Caddy; ./scripts/test --ship",
    "}": "configuration of Caddy; ./scripts/test --ship",
    "export PARLER_DOMAIN=hub.example.org": "needs a container engine",
    "docker compose up -d": "needs a container engine",
    "docker compose exec hub cat /data/join-secret": "needs a container engine",
    "PARLER_INSECURE=1 PARLER_HUB=ws://host.docker.internal:7070 "
    "parler rooms": "needs a container engine",
    "./smoke https://hub.example.org": "./scripts/test --ship, with another address",
    "./smoke http://127.0.0.1:7070": "./scripts/test --ship, with another address",
    "export PARLER_HUB_DB=/var/lib/parler/hub.sqlite "
    "LITESTREAM_REPLICA_URL=s3://bucket/parler": "needs Litestream",
    "litestream replicate -config litestream.yml": "needs Litestream",
    "litestream restore -config litestream.yml $PARLER_HUB_DB": "needs Litestream",
    "parler hub check --db $PARLER_HUB_DB && parler hub --db $PARLER_HUB_DB": "both "
    "are run with other names",
    "parler hub … --metrics-addr 127.0.0.1:9100": "./scripts/test --ship",
    "prometheus --config.file prometheus.yml": "./scripts/test --ship",
    "install -m 0644 parler-hub.service /etc/systemd/system/": "needs systemd",
    "systemctl enable --now parler-hub": "needs systemd",
    "cat /var/lib/parler/join-secret": "needs systemd",
    "mv hub.sqlite hub.sqlite.newer": "tests/e2e/test_upgrade.py",
    "rm -f hub.sqlite-wal hub.sqlite-shm": "tests/e2e/test_upgrade.py",
    "cp hub.sqlite.schema-N.bak hub.sqlite": "tests/e2e/test_upgrade.py",
}
NOT_COMMANDS = ('{"from": ', '{"kind": ')
"""How the lines of blocks begin that show something else."""


def documented() -> set[str]:
    return {
        line
        for page in PAGES
        for line in blocks(page)
        if line and not line.startswith(NOT_COMMANDS)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(CHECKOUT)))
def test_the_program_understands_every_command_of_a_page(page: Path) -> None:
    for line in [*blocks(page), *inline(page)]:
        if line.startswith("parler ") and "&&" not in line:
            understand(line)


def sets(line: str) -> None:
    """Note that a line of the pages is done as it stands there."""
    assert line in documented(), line
    assert line not in NOT_RUN, line


class Reader:
    """Somebody who types what the pages say."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.folder = agent.folder

    def words(self, line: str, instead: dict[str, str]) -> tuple[list[str], bytes]:
        """The arguments of a documented command, and what comes on its stdin."""
        sets(line)
        for shown, real in instead.items():
            assert shown in line
            line = line.replace(shown, real)
        line, _, name = line.partition(" < ")
        stdin = (self.folder / name).read_bytes() if name else b""
        program, *words = shlex.split(line)
        assert program == "parler"
        home = str(self.agent.environment["HOME"])
        return [w.replace("~", home, 1) if w[:1] == "~" else w for w in words], stdin

    def __call__(self, line: str, *more: str, status: int = 0, **instead: str) -> Done:
        """Type it, to its end."""
        arguments, stdin = self.words(line, _spelled(instead))
        done = warm.run(
            [sys.executable, "-m", "parler", *arguments, *more],
            cwd=self.folder,
            env=self.agent.environment,
            stdin=stdin,
            timeout=WAIT,
        )
        text = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert text.status == status, (line, text)
        return text

    @contextmanager
    def staying(self, line: str, *more: str, **instead: str) -> Iterator[Running]:
        """Type it, and leave it running for a while."""
        arguments, _ = self.words(line, _spelled(instead))
        command = [sys.executable, "-m", "parler", *arguments, *more]
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        with (
            Path(os.devnull).open("rb") as nothing,
            os.fdopen(out, "rb") as stdout,
            os.fdopen(err, "rb") as stderr,
        ):
            process: Any = warm.start(
                command,
                cwd=self.folder,
                env=self.agent.environment,
                stdin=nothing.fileno(),
                stdout=out_end,
                stderr=err_end,
            )
            for end in (out_end, err_end):
                os.close(end)
            process.stdout, process.stderr = stdout, stderr
            try:
                yield Running(process)
            finally:
                process.kill()
                process.wait(WAIT)


SPELLINGS = {
    "hub": HUB,
    "key": "KEY@HUB",
    "fingerprint": "FINGERPRINT",
    "sample": FINGERPRINT,
    "blob": "BLOB",
    "folder": "DIR",
}


def _spelled(instead: dict[str, str]) -> dict[str, str]:
    return {SPELLINGS.get(key, key): value for key, value in instead.items()}


class World:
    """A hub and the people of the pages."""

    def __init__(self, folder: Path, hub: HubProcess) -> None:
        self.folder, self.hub = folder, hub
        self.claude = FakeClaude(folder / "fake")
        path = f"{self.claude.bin}{os.pathsep}{os.environ['PATH']}"
        self._more = {"PATH": path, "PARLER_HUB_ADDR": "127.0.0.1:0"}

    def reader(self, name: str, **variables: str) -> Reader:
        known = {**self._more, **variables}
        agent = Agent(self.folder, name, self.hub.url, **known)
        return Reader(agent)

    def newcomer(self, name: str) -> Reader:
        """Somebody whose name only `init` will tell."""
        reader = self.reader(name)
        del reader.agent.environment["PARLER_NAME"]
        return reader


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    hub = HubProcess(tmp_path / "hub")
    try:
        yield World(tmp_path, hub)
    finally:
        hub.stop()


def fingerprint_of(reader: Reader) -> str:
    return str(reader.agent("whoami", "--json").json["fingerprint"])


def meet(world: World, alice: Reader, bob: Reader) -> None:
    """README and docs/start.md: open, knock, approve."""
    opened = alice(
        f"parler session open --hub {HUB} "
        '--topic "cart split" --context "what bob has to know"',
        "--json",
        hub=world.hub.url,
    ).json
    bob("parler init --name bob --role webdev", "--hub", world.hub.url)
    with bob.staying(
        "parler session join KEY@HUB --wait 300", key=opened["portable"]
    ) as waiting:
        waiting.until("\n", waiting.stderr)  # says that it waits
        assert "bob" in alice("parler session requests").out
        assert "bob" in alice("parler inbox").out
        assert "bob" in alice("parler").out
        who = fingerprint_of(bob)
        alice("parler approve FINGERPRINT", "--yes", fingerprint=who)
        assert "what bob has to know" in waiting.until("what bob has to know")
        assert waiting.process.wait(WAIT) == 0


def talk(alice: Reader, bob: Reader) -> None:
    """README and docs/guides/handover.md."""
    with bob.staying("parler recv --watch") as watching:
        alice('parler send "the tests are green"')
        watching.until("the tests are green")
        alice(
            "parler handoff --for webdev "
            '--summary "API is done" --next "move the cart page"'
        )
        watching.until("HANDOFF TO YOU")
        alice(
            "parler handoff --for webdev "
            '--summary "API is done" --next "move the cart page to /v2/cart"'
        )
        watching.until("/v2/cart")
        assert "/v2/cart" in alice('parler history "cart split" -n 20').out
        alice('parler history "cart split" --export cart.jsonl')
        assert "/v2/cart" in (alice.folder / "cart.jsonl").read_text(encoding="utf-8")
        (alice.folder / "notes.txt").write_text("from a file\n", encoding="utf-8")
        alice("parler send - < notes.txt")
        watching.until("from a file")


def hand_over(alice: Reader, bob: Reader, folder: Path) -> None:
    """docs/guides/code.md."""
    origin = Repo.init(folder / "origin")
    origin.commit("one.txt", "1\n", "first")
    mine, theirs = origin.clone(folder / "mine"), origin.clone(folder / "theirs")
    tip = mine.commit("two.txt", "2\n", "second")
    alice.folder, bob.folder = mine.folder, theirs.folder
    pushed = alice(
        'parler push --base origin/main --note "review please"', "--json"
    ).json
    bob("parler apply BLOB", blob=pushed["blob"])
    assert tip in theirs.refs().values()
    (mine.folder / "report.pdf").write_bytes(b"%PDF-1.7\n")
    alice("parler send-file ./report.pdf")
    assert "report.pdf" in bob("parler fetch report.pdf").out


def reopen(world: World, alice: Reader, bob: Reader) -> None:
    """docs/start.md and docs/guides/handover.md: other ways to open, reject, leave."""
    (alice.folder / "recap.md").write_text("the recap\n", encoding="utf-8")
    opened = alice(
        'parler session open --topic "cart split" --context-file recap.md', "--json"
    ).json
    mallory = world.reader("mallory")
    knock = ("session", "join", opened["portable"])
    for reader in (mallory, bob):
        assert reader.agent(*knock).status == 0
    alice("parler reject mallory", "--yes")
    alice(f"parler approve {FINGERPRINT}", "--yes", sample=fingerprint_of(bob))
    assert "the recap" in bob.agent("recv", "--all", "--room", opened["room"]).out
    assert mallory.agent(*knock).status == 6
    bob("parler session leave", "--room", opened["room"])
    again = f'parler session open --hub {HUB} --context "what the other has to know"'
    alice(again, hub=world.hub.url)


def work(world: World, alice: Reader, bob: Reader) -> None:
    """docs/guides/workers.md; `cat` stands in for agents."""
    room = alice.agent("invite", "--group", "team", "--json").json
    assert bob.agent("join", room["portable"]).status == 0
    runner = {"claude": "cat", "sample": fingerprint_of(alice)}
    line = f"parler work --room team --runner claude --allow-from {FINGERPRINT}"
    with bob.staying(line, "--once", **runner) as worker:
        alice.agent("handoff", "--room", "team", "--for", "bob", "--next", "do it")
        assert worker.process.wait(WAIT) == 0
    line = "parler supervise --role review --runner 'my-review-script'"
    with bob.staying(line, "--once", **{"my-review-script": "cat"}) as worker:
        roster = ("roster", "--room", "svc.review", "--json")
        while bob.agent(*roster).status:
            assert worker.process.poll() is None
        task = alice('parler send --role review "review PR #42"', "--json").json
        assert worker.process.wait(WAIT) == 0
    assert "review PR #42" in alice.agent("recv", "--room", task["room"]).out
    bob("parler serve review")
    asked = alice('parler send --service review "review PR #42"', "--json").json
    bob('parler task done --note "looks good"', "--task", asked["id"])


def look_around(world: World, alice: Reader, bob: Reader) -> None:
    """docs/peers-and-ask.md."""
    alice("parler peers")
    alice("parler peers --scope repo")
    for scope in ("directory", "hub"):
        alice("parler peers --scope directory|hub", **{"directory|hub": scope})
    # A direct message needs somebody with a card, or a room of the two.
    bob.agent("register")
    sent = alice('parler send --to bob "are you importing Session?"', "--json").json
    status = {"42": str(sent["seq"]), "dm.abc123": sent["room"]}
    assert "bob" in alice("parler status 42 --room dm.abc123", **status).out


def ask(world: World) -> None:
    """docs/peers-and-ask.md, with a program that answers as Claude Code does."""
    carol = world.reader("carol")
    Repo.init(carol.folder / "dashboard")
    shop = Repo.init(carol.folder / "code" / "stagent")
    shop.commit("CLAUDE.md", "Answer shortly.\n")
    carol.folder = carol.folder / "dashboard"
    carol("parler project discover")
    carol('parler project add stagent ~/code/stagent --describe "the webhook service"')
    question = 'parler ask stagent "how do you retry webhooks?"'
    assert "answer 0" in carol(question).out
    follow = 'parler ask stagent --follow-up "and the dead letters?"'
    assert "answer 1" in carol(follow).out
    assert "answered" in carol("parler project log stagent").out
    line = 'parler reserve "src/auth/**" --for 30m --why "moving to sessions"'
    carol(line)
    carol("parler reservations")
    carol('parler release "src/auth/**"')


def run_a_hub(world: World) -> None:
    """docs/hub.md and README: by hand, with and without a secret."""
    operator = world.reader("operator")
    with operator.staying("parler hub --db hub.sqlite") as hub:
        hub.until("up ·")
        operator("parler hub backup DIR --db hub.sqlite", folder="copy")
    operator("parler hub stats --db hub.sqlite --json")
    operator("parler hub check --db hub.sqlite --deep")
    operator("parler hub restore DIR --db hub.sqlite", "--force", folder="copy")
    line = "parler hub --addr 127.0.0.1:7070 --db hub.sqlite"
    with operator.staying(line, **{":7070": ":0"}) as hub:
        hub.until("up ·")
    line = (
        "parler hub --addr 127.0.0.1:7070 --db hub.sqlite "
        "--url ws://host.docker.internal:7070"
    )
    with operator.staying(line, **{"127.0.0.1:7070": "127.0.0.1:0"}) as hub:
        hub.until("up ·")
    for line in (
        "parler hub --addr 0.0.0.0:7070 --db hub.sqlite --join-secret-file secret",
        "parler hub --addr 0.0.0.0:7070 --db hub.sqlite --public",
    ):
        with operator.staying(line, **{"0.0.0.0:7070": "0.0.0.0:0"}) as hub:
            hub.until("up ·")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_the_local_hub(world: World) -> None:
    """docs/local-and-team.md; another port, since somebody may have that one."""
    user = world.reader("user")
    for name in ("PARLER_HUB", "PARLER_NAME", "PARLER_HUB_ADDR"):
        user.agent.environment.pop(name)
    (user.folder / ".cursor").mkdir()
    port = str(free_port())
    user("parler connect --local", "--port", port)
    try:
        user("parler connect --list")
        assert "running" in user("parler hub status", "--json").out
        with user.staying("parler hub logs -f") as logs:
            logs.until("\n")
        user("parler doctor", "--hub", f"ws://127.0.0.1:{port}")
        there = {"wss://hub.example.org": world.hub.url}
        user("parler use wss://hub.example.org --as work", **there)
        user("parler use local")
        user("parler use work")
        assert "* work" in user("parler hubs").out
        assert world.hub.url in user("parler config").out
        user("parler use local")
        wire_apps(user)
        user("parler hub stop")
        user("parler hub start")
    finally:
        user.agent("hub", "stop")
    user("parler connect --remove")


def wire_apps(user: Reader) -> None:
    """docs/apps: each app by its name."""
    assert "mcp_servers" in user("parler connect codex --print").out
    for line in (
        "parler connect claude-code",
        "parler connect codex",
        "parler connect gemini",
        "parler connect opencode",
        "parler connect copilot",
        "parler connect cursor",
        "parler connect zed",
        "parler connect --remove codex",
    ):
        user(line)


def write_a_program(world: World, alice: Reader) -> None:
    """docs/library.md."""
    bot = world.newcomer("bot")
    key = alice.agent("session", "open", "--no-approval", "--json").json["portable"]
    sets("export PARLER_HOME=~/.parler/agents/echo-bot")
    home = bot.agent.environment["HOME"]
    bot.agent.environment["PARLER_HOME"] = f"{home}/.parler/agents/echo-bot"
    bot("parler init --name echo-bot")
    bot("parler session join KEY@HUB", key=key)


def test_two_agents_do_what_the_pages_say(world: World, tmp_path: Path) -> None:
    alice, bob = world.reader("alice"), world.newcomer("bob")
    sets("export PARLER_HOME=~/.parler-bob")
    bob.agent.environment["PARLER_HOME"] = f"{bob.folder}/.parler-bob"
    meet(world, alice, bob)
    talk(alice, bob)
    hand_over(alice, bob, tmp_path)
    reopen(world, alice, bob)
    work(world, alice, bob)
    knows_all_files_below(tmp_path)


def test_others_do_what_the_pages_say(world: World, tmp_path: Path) -> None:
    alice, bob = world.reader("alice"), world.reader("bob")
    look_around(world, alice, bob)
    ask(world)
    write_a_program(world, alice)
    run_a_hub(world)
    run_the_local_hub(world)
    knows_all_files_below(tmp_path)


def knows_all_files_below(folder: Path) -> None:
    """docs/reference/files.md tells of each file that is in a home now."""
    places = runpy.run_path(str(CHECKOUT / "scripts" / "_places.py"))
    kept = [*places["MACHINE"], *places["IDENTITY"], *places["WINDOW"]]
    names = [one.path for one in kept if one.path not in ("agents/*", "answerers/*")]
    names += ["*.lock", "*.bak"]
    found = [
        re.sub(r"(?:agents|ws|seats|answerers)/[^/]+/", "", file)
        for home in folder.rglob(".parler*")
        for file in (
            path.relative_to(home).as_posix()
            for path in home.rglob("*")
            if path.is_file()
        )
    ]
    assert "config.json" in found
    unknown = [
        file for file in found if not any(fnmatchcase(file, name) for name in names)
    ]
    assert not unknown


def typed_here() -> set[str]:
    """Every text in this file, those with names of this module in them as well."""
    found = set()
    source = Path(__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str() as text):
                found.add(text)
            case ast.JoinedStr(values=parts):
                found.add("".join(map(_spelled_out, parts)))
    return found


def _spelled_out(part: ast.expr) -> str:
    match part:
        case ast.Constant(value=str() as text):
            return text
        case ast.FormattedValue(value=ast.Name(id=name)):
            return str(globals().get(name))
    return "…"


def test_no_command_of_a_page_is_left_out() -> None:
    assert not documented() - typed_here()
    assert set(NOT_RUN) <= documented()
