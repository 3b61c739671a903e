"""Every capability is declared once, and is on every face or says why not."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from parler.cli import app, hub
from parler.mcp_server.tools.registry import ALL
from parler.ops.context import Result
from parler.ops.machine_context import Here
from tests._support.capabilities import declared, modules


def carried_out() -> set[Any]:
    """Every operation that some capability carries out."""
    return {
        function for one in declared().values() for function in (one.run, *one.also)
    }


def operations() -> Iterator[Any]:
    """Every function of ops that asks or does something, and has a result to show."""
    for module in modules():
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == module.__name__
            if own and inspect.isfunction(value) and not name.startswith("_"):
                signature = inspect.signature(value)
                given = {one.annotation for one in signature.parameters.values()}
                result = signature.return_annotation
                shown = inspect.isclass(result) and issubclass(result, Result)
                if shown and (inspect.iscoroutinefunction(value) or Here in given):
                    yield value


@pytest.mark.parametrize("where", declared())
def test_a_capability_is_on_each_face_or_says_why_not(where: str) -> None:
    one = declared()[where]
    assert bool(one.tool) != bool(one.no_tool)
    assert bool(one.command) != bool(one.no_command)
    assert where.startswith(f"{one.run.__module__}.") or not one.params


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_a_tool_is_of_a_declared_capability(tool: Any) -> None:
    assert tool.capability in declared().values() or tool.capability.no_command


def test_every_declared_tool_is_offered_once() -> None:
    named = [one.tool for one in declared().values() if one.tool]
    assert len(named) == len(set(named))
    assert set(named) <= {tool.name for tool in ALL}


def test_every_operation_belongs_to_a_capability() -> None:
    """So that nothing can be done that is declared nowhere."""
    assert not set(operations()) - carried_out()


ELSEWHERE = {"hub", "mcp", "ui", "completion"}
"""Commands that hand over to another program, which explains itself, or to a shell."""


def commands(group: Any, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_every_command_is_of_a_declared_capability() -> None:
    named = [one.command for one in declared().values() if one.command]
    assert len(named) == len(set(named))
    tree = typer.main.get_command(app.tree())
    own_hub = typer.main.get_command(hub.app)
    there = {*commands(tree), *commands(own_hub, "hub ")}
    assert there - ELSEWHERE == set(named)
