"""What a model is told to do next, it can do: with the tools that it is offered."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from parler.mcp_server.next_steps import for_model
from parler.mcp_server.tools.registry import ALL

OPS = Path(__file__).parents[3] / "parler" / "ops"
OFFERED = {
    one.capability.command
    for one in ALL
    if one.capability.common and one.capability.command
}

STEPS = {
    "parler peers": "parler_peers",
    "parler rooms": "parler_session",
    "parler recv --all --room dm.x": "parler_recv since=0 room=dm.x",
    "parler session open, or parler session join KEY": "parler_open_session, or "
    "parler_join_session key=KEY",
    "parler session join KEY@H --wait 600": "parler_join_session key=KEY@H "
    "wait_secs=600",
    "parler roster shows who is there": "parler_session action=members shows who is "
    "there",
    "parler roster --room room.x": "parler_session action=members room=room.x",
    "parler remember TEXT, or parler remember -": "parler_remember text=TEXT",
    "add --to FINGERPRINT, or --headless: parler ask shop …": "add to=FINGERPRINT, or "
    "headless: parler_ask project=shop question=…",
    "parler fetch 3f9a1c": "parler_apply blob=3f9a1c",
    "parler send-file PATH prints the id": "parler_push file=PATH prints the id",
    "ask the sender for `parler push` without --base": "ask the sender for "
    "`parler_push` without base",
    # What no tool does, or only a person, stays a command.
    "parler doctor": "parler doctor",
    "parler inbox": "parler inbox",
    "parler apply --drop 12ab": "parler apply --drop 12ab",
    "its `parler whoami` shows it": "its `parler whoami` shows it",
    "parler forget --key KEY": "parler forget --key KEY",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_command_is_the_tool_that_does_the_same(step: str) -> None:
    assert for_model(step, full=False) == STEPS[step]


def test_with_all_tools_all_of_them_are_named() -> None:
    assert for_model("parler forget --key KEY", full=True) == "parler_forget key=KEY"
    assert for_model("parler roster", full=True) == "parler_roster"


def steps() -> Iterator[str]:
    """Every next step that an operation names, with … for what differs."""
    for path in OPS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "next_step":
                match node.value:
                    case ast.Constant(value=str(text)):
                        yield text
                    case ast.JoinedStr(values=values):
                        yield "".join(
                            str(one.value) if isinstance(one, ast.Constant) else "…"
                            for one in values
                        )


def test_no_next_step_sends_a_model_to_a_shell_for_what_a_tool_does() -> None:
    found = list(steps())
    assert len(found) > 50
    for step in found:
        told = for_model(step, full=False)
        for command in re.findall(r"\bparler ([a-z-]+(?: [a-z-]+)?)", told):
            assert command not in OFFERED or "--" in told, (step, told)
        assert "parler_" not in step
