"""What is offered: few tools, small, honest, and made of the operations there are."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import pytest

from parler.apps.gemini.config import policy
from parler.apps.kit.offered import OFFERED_TOOLS
from parler.errors import UsageError
from parler.mcp_server.tool_call import Host
from parler.mcp_server.tool_schema import (
    MAX_LIST_BYTES,
    arguments,
    read_arguments,
    schema_of,
)
from parler.mcp_server.tools.registry import ALL, BY_NAME
from parler.ops.capability import Capability, Param
from tests._support.mcp_hosts import environment, serving

HOSTS = [Host(), Host(name="claude-code"), Host(name="copilot-cli", handshake=False)]
DEFAULT = {
    *("parler_open_session", "parler_join_session", "parler_approve_join"),
    *("parler_session", "parler_send", "parler_recv", "parler_handoff"),
    *("parler_push", "parler_apply", "parler_remember", "parler_recall"),
    *("parler_peers", "parler_ask", "parler_ask_user"),
}
MAX_TOOLS = 14
KNOWN = {
    *("parler_discover", "parler_roster", "parler_seen"),
    *("parler_close_session", "parler_delete_room", "parler_join_requests"),
    *("parler_deny_join", "parler_watch_session", "parler_invite", "parler_join"),
    *("parler_serve", "parler_task", "parler_send_file", "parler_fetch"),
    *("parler_rooms", "parler_presence", "parler_attention", "parler_register"),
    *("parler_card", "parler_summary", "parler_answer"),
}
"""Names that people know from before, and those of the peers."""


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
async def test_the_default_tools_fit_the_budget(host: Host, tmp_path: Path) -> None:
    env = environment(tmp_path, "ws://127.0.0.1:9", "ann")
    async with serving(env, tmp_path, name=host.name, modern=not host.handshake) as app:
        await app.shakes_hands()
        listed = await app.result(app.asks("tools/list"))
    names = [tool["name"] for tool in listed["tools"]]
    assert set(names) == DEFAULT == OFFERED_TOOLS
    assert set(re.findall(r'"(parler_\w+)"', policy())) <= set(names)
    assert len(names) <= MAX_TOOLS
    assert len(json.dumps(listed, ensure_ascii=False).encode()) <= MAX_LIST_BYTES
    recv = next(one for one in listed["tools"] if one["name"] == "parler_recv")
    shown = "seen" in recv["inputSchema"]["properties"]
    assert shown is (host.channel is not None)  # who has none reads nothing of it


PLAUSIBLE: dict[str, list[dict[str, Any]]] = {
    "parler_session": [
        {},
        {"action": "list"},
        {"action": "members"},
        {"action": "members", "room": "flaky login"},
        {"action": "use", "room": "room.abc234"},
        {"action": "leave"},
        {"action": "leave", "room": "room.abc234"},
    ],
    "parler_push": [{}, {"file": "report.pdf"}, {"file": "a.png", "to": "webdev"}],
    "parler_apply": [{"blob": "3f9a1c"}, {"blob": "3f9a1c", "room": "room.abc234"}],
    "parler_peers": [{}, {"scope": "hub"}, {"scope": "hub", "query": "billing"}],
    "parler_ask_user": [
        {"question": "Deploy?"},
        {"question": "Deploy?", "choices": "yes, no"},
        {"question": "Deploy?", "choices": ["yes", "no"], "wait_secs": "120"},
    ],
    "parler_rooms": [{}],
    "parler_close_session": [{}, {"room": "room.abc234"}],
    "parler_send_file": [{"path": "report.pdf"}],
}
"""What a model may write that wants to list, look at, use or leave a session, or to
send a file: by the default tools, and by those with a name for each."""

MISTAKEN: list[tuple[str, dict[str, Any], str]] = [
    ("parler_session", {"action": "close"}, "leave, list, members, use"),
    ("parler_session", {"session": "api"}, "action, room"),
    ("parler_peers", {"scope": "everybody"}, "directory, hub, machine, repo"),
    ("parler_task", {"status": "finished"}, "done"),
    ("parler_discover", {"scope": "all"}, "hub, public"),
    ("parler_ask_user", {"question": "x", "options": ["a"]}, "choices"),
]


def test_what_a_model_writes_for_sessions_and_files_is_understood() -> None:
    for tool, calls in PLAUSIBLE.items():
        for call in calls:
            read_arguments(BY_NAME[tool], call)


@pytest.mark.parametrize(("tool", "call", "names"), MISTAKEN)
def test_a_wrong_call_is_told_what_there_is_to_choose(
    tool: str, call: dict[str, Any], names: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_arguments(BY_NAME[tool], call)
    assert names in f"{refused.value} {refused.value.next_step}"


def test_all_names_people_know_are_there() -> None:
    assert {tool.name for tool in ALL} >= DEFAULT | KNOWN
    assert len(BY_NAME) == len(ALL)


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_a_tool_is_short_and_has_an_example(tool: Any) -> None:
    offer = tool.as_offer()
    assert len(offer["description"]) <= 200
    assert "{" in offer["description"]
    schema = offer["inputSchema"]
    assert schema["type"] == "object"
    for name, one in schema["properties"].items():
        assert one.get("type") in {"string", "integer", "boolean", "array"}, name
        assert "anyOf" not in one
    example = json.loads(_json_in(offer["description"]))
    read_arguments(tool, example)


def _json_in(text: str) -> str:
    return text[text.index("{") : text.rindex("}") + 1]


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_hints_say_what_hosts_decide_by(tool: Any) -> None:
    hints = tool.as_offer()["annotations"]
    assert "readOnlyHint" in hints
    assert "openWorldHint" in hints
    assert hints["readOnlyHint"] or "destructiveHint" in hints


def test_tools_that_let_in_or_destroy_say_so() -> None:
    for name in ("parler_approve_join", "parler_deny_join", "parler_delete_room"):
        offer = BY_NAME[name].as_offer()
        assert offer["annotations"]["destructiveHint"]
        # Whom to let in is asked by a form of ours: a person decides once.
        interacts = {"anthropic/requiresUserInteraction": True}
        wanted = {} if name == "parler_approve_join" else interacts
        assert offer.get("_meta", {}) == wanted
    for name in ("parler_push", "parler_send_file", "parler_ask"):
        assert BY_NAME[name].as_offer()["annotations"]["openWorldHint"]


def test_what_models_often_write_is_understood() -> None:
    given = {
        "context": "x",
        "preapprove": "a, b",
        "ttl_secs": "60",
        "approval": "false",
    }
    args = read_arguments(BY_NAME["parler_open_session"], given | {"topic": None})
    assert args.preapprove == ["a", "b"]
    assert args.ttl_secs == 60
    assert args.approval is False


@pytest.mark.parametrize(
    ("tool", "given", "field", "value"),
    [
        ("parler_join_session", {"key": "K", "backlog": "full"}, "backlog", "full"),
        ("parler_roster", {"room": "r", "detail": True}, "detail", True),
        ("parler_discover", {"detail": "true"}, "detail", True),
        ("parler_remember", {"text": "x", "embedding": [0.5]}, "embedding", [0.5]),
        ("parler_recall", {"query": "x", "embedding": [1]}, "embedding", [1.0]),
        ("parler_card", {"id": "planner"}, "agent", "planner"),
        ("parler_fetch", {"id": "ab12", "name": "a.pdf"}, "what", "ab12"),
        ("parler_fetch", {"name": "a.pdf"}, "what", "a.pdf"),
    ],
)
def test_what_people_know_from_elsewhere_is_taken_and_costs_no_list(
    tool: str, given: dict[str, Any], field: str, value: object
) -> None:
    assert getattr(read_arguments(BY_NAME[tool], given), field) == value
    offered_ = BY_NAME[tool].as_offer()["inputSchema"]["properties"]
    assert not {"backlog", "detail", "embedding", "id", "name"} & set(offered_)
    with pytest.raises(UsageError, match="no argument") as refused:
        read_arguments(BY_NAME[tool], given | {"other": 1})
    assert not {"backlog", "detail", "embedding"} & set(
        (refused.value.next_step or "").replace(",", "").split()
    )


def test_an_argument_may_have_a_name_that_python_has_taken() -> None:
    def pick(*, whom: Annotated[str | None, Param("Who.", name="for_")] = None) -> None:
        pass

    args = arguments(Capability(run=pick, about="", tool="pick"), {})
    assert schema_of(args)["properties"] == {
        "for": {"type": "string", "description": "Who."}
    }


@pytest.mark.parametrize(
    ("tool", "name"), [("parler_recv", "limit"), ("parler_recv", "since")]
)
def test_a_bound_holds_for_what_may_be_left_out(tool: str, name: str) -> None:
    assert "minimum" in BY_NAME[tool].as_offer()["inputSchema"]["properties"][name]
    assert getattr(read_arguments(BY_NAME[tool], {}), name) is None
    with pytest.raises(UsageError, match=name):
        read_arguments(BY_NAME[tool], {name: -1})


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="no argument 'x'"):
        read_arguments(BY_NAME["parler_rooms"], {"x": 1})
