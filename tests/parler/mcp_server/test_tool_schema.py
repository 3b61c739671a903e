"""What is offered: few tools, small, honest, and made of the operations there are."""

import json
from typing import Annotated, Any

import pytest

from parler.errors import UsageError
from parler.mcp_server.tool_call import Host
from parler.mcp_server.tool_schema import (
    MAX_LIST_BYTES,
    arguments,
    read_arguments,
    schema_of,
)
from parler.mcp_server.tools.registry import ALL, BY_NAME, offered
from parler.ops.capability import Capability, Param

HOSTS = [Host(), Host(name="claude-code"), Host(name="copilot-cli", handshake=False)]
DEFAULT = {
    *("parler_open_session", "parler_join_session", "parler_approve_join"),
    *("parler_send", "parler_recv", "parler_handoff", "parler_push", "parler_apply"),
    *("parler_remember", "parler_recall", "parler_discover", "parler_roster"),
    *("parler_peers", "parler_ask"),
}
KNOWN = {
    *("parler_close_session", "parler_delete_room", "parler_join_requests"),
    *("parler_deny_join", "parler_watch_session", "parler_invite", "parler_join"),
    *("parler_serve", "parler_task", "parler_send_file", "parler_fetch"),
    *("parler_rooms", "parler_presence", "parler_attention", "parler_register"),
    *("parler_card", "parler_summary", "parler_answer"),
}
"""Names that people know from before, and those of the peers."""


def size(host: Host) -> int:
    offers = [tool.as_offer() for tool in offered(host, full=False)]
    return len(json.dumps({"tools": offers}, ensure_ascii=False).encode())


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_the_default_tools_fit_the_budget(host: Host) -> None:
    names = [tool.name for tool in offered(host, full=False)]
    assert set(names) - {"parler_seen"} == DEFAULT
    assert ("parler_seen" in names) is (host.channel is not None)
    assert size(host) <= MAX_LIST_BYTES


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
        assert offer["_meta"] == {"anthropic/requiresUserInteraction": True}
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
