"""The next steps that errors and the doctor name, read from the source.

A step is its words with `{}` for what is put in: `parler recv --room {}`.
"""

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tests._support.processes import CHECKOUT

STEPS = ("next_step", "mend", "step")
"""The parameters that a next step is given to."""

MAKERS = ("aside", "init_command")
"""The functions that make a command to be named elsewhere."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Module:
    """One file of the program."""

    def __init__(
        self, path: Path, taking: dict[str, list[str]], commands: dict[str, set[str]]
    ) -> None:
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self._taking, self._commands = taking, commands

    def commands(self) -> Iterator[tuple[str, set[str]]]:
        """What its functions return that make a command for others."""
        for node in self.tree.body:
            if isinstance(node, _Function) and node.name in MAKERS:
                returned = (n for n in ast.walk(node) if isinstance(n, ast.Return))
                for one in returned:
                    if one.value is not None:
                        yield node.name, self._words(one.value, node)

    def takers(self) -> Iterator[tuple[str, list[str]]]:
        """Its functions and classes that take a next step, and their parameters."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, _Function) and inner.name == "__init__":
                        names = _parameters(inner)[1:]
                        if set(STEPS) & set(names):
                            yield node.name, names
            elif isinstance(node, _Function) and set(STEPS) & set(_parameters(node)):
                yield node.name, _parameters(node)

    def steps(self) -> Iterator[str]:
        """What is given to such a parameter, assigned to such an attribute or listed in
        a table of next steps."""
        for scope, node in _within(self.tree, self.tree):
            match node:
                case ast.Call():
                    for value in self._given(node):
                        yield from self._words(value, scope)
                case ast.Assign(targets=[ast.Attribute(attr="next_step")]):
                    yield from self._words(node.value, scope)
                case ast.Assign(
                    targets=[ast.Name(id="_NEXT" | "_AFTER_OS" | "_SET_CLOCK")]
                ):
                    assert isinstance(node.value, ast.Dict)
                    for value in node.value.values:
                        yield from self._words(value, scope)
                case _:
                    pass

    def _given(self, call: ast.Call) -> Iterator[ast.expr]:
        yield from (one.value for one in call.keywords if one.arg in STEPS)
        name = ast.unparse(call.func).rpartition(".")[2]
        for parameter, value in zip(
            self._taking.get(name, ()), call.args, strict=False
        ):
            if parameter in STEPS:
                yield value

    def _words(self, node: ast.expr, scope: ast.AST) -> set[str]:
        match node:
            case ast.Constant(value=str(text)):
                return {text}
            case ast.JoinedStr():
                texts = {""}
                for part in node.values:
                    more = {"{}"}
                    if isinstance(part, ast.Constant):
                        more = {str(part.value)}
                    elif isinstance(part, ast.FormattedValue):
                        more = self._constants(part.value) or more
                    texts = {one + two for one in texts for two in more}
                return texts
            case ast.BinOp(op=ast.Add()):
                left, right = (self._words(n, scope) for n in (node.left, node.right))
                return {a + b for a in left or {"{}"} for b in right or {"{}"}}
            case ast.IfExp():
                return self._words(node.body, scope) | self._words(node.orelse, scope)
            case ast.BoolOp():
                return {w for one in node.values for w in self._words(one, scope)}
            case ast.Name():
                return self._named(node.id, scope)
            case ast.Call():
                return self._called(node, scope)
            case _:
                return set()

    def _constants(self, node: ast.expr) -> set[str]:
        """What a name for the whole module stands for."""
        return self._named(node.id, self.tree) if isinstance(node, ast.Name) else set()

    def _named(self, name: str, scope: ast.AST) -> set[str]:
        found: set[str] = set()
        for node in ast.walk(scope) if scope is not self.tree else self.tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=known)]) if known == name:
                    found |= self._words(node.value, scope)
                case ast.AugAssign(target=ast.Name(id=known)) if known == name:
                    added = self._words(node.value, scope)
                    found |= {one + two for one in found for two in added}
                case ast.Assign(targets=[ast.Tuple(elts=[*names])]):
                    if isinstance(node.value, ast.Tuple):
                        for one, value in zip(names, node.value.elts, strict=True):
                            if isinstance(one, ast.Name) and one.id == name:
                                found |= self._words(value, scope)
        if isinstance(scope, _Function):
            given = scope.args
            for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True):
                if one.arg == name and value is not None:
                    found |= self._words(value, self.tree)
        if not found and scope is not self.tree:
            return self._named(name, self.tree)
        return found

    def _called(self, call: ast.Call, scope: ast.AST) -> set[str]:
        if isinstance(call.func, ast.Attribute):
            if call.func.attr == "join" and ast.unparse(call.func.value) == "shlex":
                assert isinstance(call.args[0], ast.List)
                return {
                    " ".join(
                        str(one.value) if isinstance(one, ast.Constant) else "{}"
                        for one in call.args[0].elts
                    )
                }
            if call.func.attr == "format":
                return {
                    re.sub(r"\{\w*\}", "{}", one)
                    for one in self._words(call.func.value, scope)
                }
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in self._commands:
            return self._commands[name]
        if isinstance(call.func, ast.Attribute):
            return set()
        found: set[str] = set()
        for function in self._functions.get(ast.unparse(call.func), []):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    found |= self._words(node.value, function)
        return found

    @cached_property
    def _functions(self) -> dict[str, list[_Function]]:
        return {
            node.name: [node]
            for node in ast.walk(self.tree)
            if isinstance(node, _Function)
        }


def _parameters(function: _Function) -> list[str]:
    given = function.args
    return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _within(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield scope, child
        yield from _within(child, child if isinstance(child, _Function) else scope)


def next_steps() -> dict[str, list[str]]:
    """Each next step of the program, and the modules that name it."""
    paths = [
        p for top in ("parler", "hub") for p in sorted((CHECKOUT / top).rglob("*.py"))
    ]
    taking: dict[str, list[str]] = {}
    commands: dict[str, set[str]] = {}
    modules = {path: _Module(path, taking, commands) for path in paths}
    for module in modules.values():
        taking |= dict(module.takers())
        commands |= dict(module.commands())
    found: dict[str, list[str]] = {}
    for path, module in modules.items():
        for step in module.steps():
            found.setdefault(step, []).append(str(path.relative_to(CHECKOUT)))
    return found
