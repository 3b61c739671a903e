"""Permission requests of real apps, answered by the person in another terminal."""

import json
import re
from typing import Any

import pytest

from tests._support.polling import eventually
from tests.agents._kit.clis import Claude
from tests.agents._kit.sandbox import Peer, Sandbox
from tests.agents._kit.screen import Screen
from tests.agents._kit.wired import wire

pytestmark = pytest.mark.agents

COMMAND = "touch made; echo one > other"


@pytest.mark.parametrize("where", ["permit", "refuse", "screen"])
def test_a_command_of_claude_code_is_decided_where_the_person_is(
    box: Sandbox, where: str
) -> None:
    machine, _ = wire(box, [Claude])
    machine.connect("--approvals", "claude-code")
    assert "its permission requests are in your inbox" in machine.connect("--list")
    person = Peer(box, {}, box.home)
    agent = Peer(box, {"CLAUDECODE": "1"}, box.project)

    def asked() -> list[dict[str, Any]]:
        found = json.loads(person("inbox", "--json").out)
        waiting: list[dict[str, Any]] = found.get("permissions", [])
        return waiting

    given = {"command": COMMAND, "description": "d"}
    box.model.script({"call": "Bash", "with": given}, {"say": "all done"})
    with Screen(box, ["claude", "begin"], rows=40) as terminal:
        [one] = eventually(asked, "the request")
        assert one["tool"] == "Bash"
        assert json.loads(one["input"]) == given
        assert f"command: {COMMAND}" in person("inbox").out
        terminal.until("Do you want to proceed")
        assert agent("permit", one["id"], "--yes").status != 0
        assert not (box.project / "made").exists()
        if where == "screen":
            terminal.press("Enter")
        elif where == "permit":
            done = person("permit", one["id"], "--yes")
            assert "permitted, this once" in done.out, done.err
        else:
            done = person("refuse", one["id"])
            assert "is refused" in done.out, done.err
            told = eventually(
                lambda: [r for a in box.model.asked for r in a.results], "the answer"
            )
            assert re.search("your user refused this", str(told))
        terminal.until("all done")
        eventually(lambda: not asked(), "an empty inbox")
    assert (box.project / "made").exists() is (where != "refuse")
