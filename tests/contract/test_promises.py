"""The tests that docs/security.md names as holding its promises are there."""

import ast
import re

from tests._support.processes import CHECKOUT

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_holds_a_promise_exists() -> None:
    page = (CHECKOUT / "docs" / "security.md").read_text(encoding="utf-8")
    named = _NAMED.findall(page)
    assert named
    assert page.count("::") == len(named), "a test is named in another form"
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (CHECKOUT / path).is_file() or name not in _tests_in(path)
    ]
    assert missing == []


def _tests_in(path: str) -> set[str]:
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}
