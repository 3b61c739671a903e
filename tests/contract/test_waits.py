"""Tests wait by the bounds of `tests/_support/polling.py`, on a busy machine too."""

import ast
from collections.abc import Iterator

import pytest

from tests.contract.test_architecture import modules

WAITING = ("communicate", "join", "timeout", "urlopen", "wait", "wait_for")
OF_PROCESSES = ("check_call", "check_output", "run")


def short_waits(tree: ast.AST) -> Iterator[int]:
    """The lines that wait for a number of seconds of their own.

    Under a second it is a pause in a loop, or a test about nothing coming.
    """
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        named = {word.arg: word.value for word in node.keywords}
        bound = named.get("timeout") if node.func.attr in OF_PROCESSES else None
        if node.func.attr in WAITING:
            bound = named.get("timeout", node.args[-1] if node.args else None)
        other = ast.unparse(node.func.value) == "pytest.mark" or "sleep" in named
        number = bound.value if isinstance(bound, ast.Constant) else None
        if isinstance(number, int | float) and number >= 1 and not other:
            yield node.lineno


def test_waits_have_the_bound_that_all_have() -> None:
    found = [
        f"{module.name}:{line}"
        for module in modules("tests")
        for line in short_waits(module.tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "asyncio.timeout(5)",
        "asyncio.wait_for(pong, 5)",
        "process.wait(10.0)",
        "subprocess.run(command, timeout=20, check=True)",
    ],
)
def test_other_bounds_are_noticed(text: str) -> None:
    assert list(short_waits(ast.parse(text))) == [1]
