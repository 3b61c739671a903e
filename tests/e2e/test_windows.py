"""Windows of agent apps in one folder: each is an agent of its own, over restarts.

Real servers, hooks and shells, below processes that are called as the apps are.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parler.identity.identity import mint_identity, set_active_session
from parler.peers.presence import read_live
from parler.wake.waiter import is_armed
from parler.wire.base import RoomName
from tests._support.polling import eventually
from tests._support.processes import Done, HubProcess
from tests._support.windows import (
    CLAUDE,
    CODEX,
    GEMINI,
    AppWindow,
    Desk,
)

pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="programs as Linux names them"
    ),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A real hub, in a process of its own."""
    running = HubProcess(tmp_path_factory.mktemp("hub"))
    yield running
    running.stop()


@pytest.fixture
def desk(tmp_path: Path, hub: HubProcess) -> Desk:
    return Desk(tmp_path, hub.url)


def who(done: Done) -> tuple[str, str]:
    """Name and id."""
    return done.json["name"], done.json["id"]


def works_as(window: AppWindow, name: str) -> None:
    """See its server, which has been called, shown as one agent and no other."""
    window.calls("parler_rooms")

    def shown() -> bool:
        here = read_live(window.desk.folder / ".parler")
        return [one.name for one in here if one.host.pid == window.process.pid] == [
            name
        ]

    eventually(shown, name)


def peers(window: AppWindow) -> dict[str, Any]:
    """The other agents that it sees on this machine, by name."""
    listed = window.shell("peers", "--json").json["peers"]
    return {one["name"]: one for one in listed}


def told(done: Done) -> str:
    """What a hook tells the model."""
    if not done.out:
        return ""
    return str(json.loads(done.out)["hookSpecificOutput"]["additionalContext"])


def test_two_windows_are_two_agents_that_see_address_and_wake_each_other(
    desk: Desk,
) -> None:
    with desk.window(conversation="a") as one, desk.window(conversation="b") as two:
        works_as(one, "shop-claude")
        works_as(two, "shop-claude-2")
        mine, other = (
            who(one.shell("whoami", "--json")),
            who(two.shell("whoami", "--json")),
        )
        assert (mine[0], other[0]) == ("shop-claude", "shop-claude-2")
        assert mine[1] != other[1]
        eventually(lambda: "shop-claude" in peers(two), "peer")
        eventually(lambda: "shop-claude-2" in peers(one), "peer")
        ours, theirs = one.starts_hook("idle"), two.starts_hook("idle")
        reach = lambda: peers(one)["shop-claude-2"]["reach"]  # noqa: E731
        eventually(lambda: reach() == "at-once", "way in")
        assert one.shell("send", "--to", "shop-claude-2", "is it done?").status == 0
        woken = two.ended(theirs)
        assert (woken.status, "is it done?" in woken.err) == (2, True)
        assert told(one.hook("prompt")) == ""
        assert one.shell("reserve", "src/*.py", "--why", "moving").status == 0
        assert "shop-claude" in two.shell("reserve", "src/a.py").out
        assert not one.has_ended(ours), "the window that sent it was not woken"


def test_a_window_that_is_killed_and_opened_again_is_who_it_was(desk: Desk) -> None:
    with desk.window(conversation="b", folder=desk.project) as second:
        # The first comes and goes; the second is held by a window all the while.
        works_as(second, "shop-claude")
        with desk.window(conversation="a") as first:
            before = who(first.shell("whoami", "--json"))
            opened = first.calls("parler_open_session", context="moving the parser")
            assert "KEY: " in opened
            room = first.shell("rooms", "--json").json["rooms"]
            first.kill()
        with desk.window(conversation="c") as again:
            assert who(again.shell("whoami", "--json")) == before
            assert before[0] == "shop-claude-2"
            assert again.shell("rooms", "--json").json["rooms"] == room
        assert who(second.shell("whoami", "--json"))[0] == "shop-claude"


def test_a_conversation_that_is_resumed_gets_its_seat_and_its_mail(desk: Desk) -> None:
    with desk.window(conversation="a") as one:
        with desk.window(conversation="b") as two:
            two.calls("parler_rooms")
            before = who(two.shell("whoami", "--json"))
            sent = two.shell("send", "--to", "shop-claude", "for the first one")
            assert sent.status == 0, sent.err
        sent = one.shell("send", "--to", "shop-claude-2", "for the second one")
        assert sent.status == 0, sent.err
    # Nobody is here; its server is not told what it resumes, the hook is.
    with desk.window(conversation=None) as resumed:
        resumed.conversation = "b"
        assert told(resumed.hook("session-start")) == ""
        works_as(resumed, "shop-claude-2")
        assert who(resumed.shell("whoami", "--json")) == before
        read = resumed.calls("parler_recv", wait_secs=100)
        assert "for the second one" in read
        assert "for the first one" not in read
        with desk.window(conversation="b") as thief:
            assert who(thief.shell("whoami", "--json"))[0] == "shop-claude"
            assert who(resumed.shell("whoami", "--json")) == before
            shown = eventually(lambda: told(thief.hook("prompt")), "mail")
            assert "for the first one" in shown
            assert who(thief.shell("whoami", "--json"))[0] == "shop-claude"


def test_a_window_that_turns_to_another_conversation_speaks_as_that_one(
    desk: Desk,
) -> None:
    with desk.window(conversation="a") as one:
        with desk.window(conversation="b") as two:
            opened = two.calls("parler_open_session", context="only of the second")
            [room] = two.shell("rooms", "--json").json["rooms"]
            assert "KEY: " in opened
        works_as(one, "shop-claude")
        [home] = (desk.app_home(CLAUDE) / "ws").iterdir()
        waiting = one.starts_hook("idle")
        eventually(lambda: is_armed(home), "waiter")
        one.conversation = "b"
        one.hook("session-start", source="resume")
        works_as(one, "shop-claude-2")
        assert one.shell("rooms", "--json").json["rooms"] == [room]
        assert room["name"] in one.calls("parler_recv")
        assert one.ended(waiting).status == 0, "nobody waits for the first's mail"


def test_two_servers_of_one_window_are_one_agent(desk: Desk) -> None:
    with desk.window(conversation="a", servers=2) as one:
        one.calls("parler_rooms")
        assert [path.name for path in (desk.app_home(CLAUDE) / "ws").iterdir()]
        assert not list(desk.app_home(CLAUDE).glob("ws/*/seats"))


def test_what_an_app_does_not_tell_its_server_a_call_tells(desk: Desk) -> None:
    """Codex names the conversation with each call, and to its shell."""
    with desk.window(CODEX, conversation="t1") as one:
        works_as(one, "shop-codex")
        with desk.window(CODEX, conversation="t2") as two:
            works_as(two, "shop-codex-2")
    with desk.window(CODEX, conversation="t2") as again:
        works_as(again, "shop-codex-2")
        assert who(again.shell("whoami", "--json"))[0] == "shop-codex-2"


def test_a_shell_that_no_variable_tells_of_finds_the_window_above_it(
    desk: Desk,
) -> None:
    with desk.window(GEMINI) as one, desk.window(GEMINI) as two:
        for window, name in ((one, "shop-gemini"), (two, "shop-gemini-2")):
            works_as(window, name)
            assert who(window.shell("whoami", "--json"))[0] == name


def test_a_shell_that_went_elsewhere_is_still_that_of_its_window(desk: Desk) -> None:
    elsewhere = desk.folder / "elsewhere"
    (elsewhere / ".git").mkdir(parents=True)
    with desk.window(GEMINI) as one, desk.window(GEMINI) as two:
        works_as(one, "shop-gemini")
        before = who(two.shell("whoami", "--json", cwd=elsewhere))
        assert before[0] == "shop-gemini-2"
        renamed = desk.project.rename(desk.folder / "Store")
        assert who(two.shell("whoami", "--json", cwd=renamed)) == before
        assert who(one.shell("whoami", "--json", cwd=renamed))[0] == "shop-gemini"


def test_an_app_inside_another_ones_shell_is_who_it_is(desk: Desk) -> None:
    inner = desk.folder / "bin" / "codex"
    desk.app_home(CODEX)
    with desk.window(conversation="a") as outer:
        inner.symlink_to(Path(sys.executable).resolve())
        program = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
        words = [sys.executable, "-m", "parler", "whoami", "--json"]
        inside = outer.runs(
            [str(inner), "-I", "-c", program, *words], CODEX_THREAD_ID="t"
        )
        assert who(inside)[0] == "shop-codex"
        assert who(outer.shell("whoami", "--json"))[0] == "shop-claude"


def test_who_was_here_before_is_the_first_seat_under_its_old_name(
    desk: Desk, hub: HubProcess
) -> None:
    with desk.window(conversation="a") as first:
        first.calls("parler_rooms")
        [home] = (desk.app_home(CLAUDE) / "ws").iterdir()
    for path in ("config.json", "place.json"):
        (home / path).unlink()
    old = mint_identity(home, hub_url=hub.url, name="witty-panda-1a2b")
    set_active_session(home, RoomName("an-old-room"))
    for _ in range(2):
        with desk.window(conversation="b") as one, desk.window(conversation="c") as two:
            one.calls("parler_rooms")
            two.calls("parler_rooms")
            name, agent = who(one.shell("whoami", "--json"))
            assert (name, agent) == ("witty-panda-1a2b", old.agent_id)
            assert who(two.shell("whoami", "--json"))[0] == "shop-claude-2"
    assert (home / "active_session").read_text("utf-8").strip() == "an-old-room"
