"""Agents call `parler` at every turn: what each way in may import is agreed."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click
import pytest
import typer

from parler.cli import app
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT

SERVER = {"hub", "uvicorn", "starlette", "sqlalchemy", "sqlite3", "uvloop"}
ELSEWHERE = SERVER | {"httpx", "pydantic", "rich", "zeroconf", "segno", "tree_sitter"}
ELSEWHERE |= {"yaml"}
NETWORK = {"asyncio", "ssl", "websockets"}
KEYS = {"msgspec", "nacl"}
TREE = {"click", "typer"}
COMMANDS = {f"parler.cli.{name}" for name in app.AREAS}

PROGRAM = """
import sys, json, os
sys.path[:0] = ['.']
before = set(sys.modules)
from parler.__main__ import main
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
status = main()
os.write(kept, json.dumps(sorted(set(sys.modules) - before)).encode())
"""


def imported_by_statements(statements: str) -> set[str]:
    """What statements import."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys, json; sys.path[:0] = ['.']\n"
            f"{statements}\nprint(json.dumps(sorted(sys.modules)))",
        ],
        cwd=CHECKOUT,
        capture_output=True,
        timeout=WAIT,
        check=True,
    )
    return set(json.loads(done.stdout))


def imported_by(arguments: Sequence[str], home: str) -> set[str]:
    """What a command line imports, with no hub to be reached."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=CHECKOUT,
        env={"PARLER_HOME": home, "HOME": home, "PARLER_HUB": "ws://127.0.0.1:9"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=WAIT,
        check=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--version"], ELSEWHERE | NETWORK | KEYS | TREE | COMMANDS | {"mcp"}),
        (
            ["send", "--room", "room.den", "hi"],
            ELSEWHERE | {"mcp"} | COMMANDS - {"parler.cli.messages"},
        ),
        (
            ["recv", "--room", "room.den"],
            ELSEWHERE | {"mcp"} | COMMANDS - {"parler.cli.messages"},
        ),
        (["hook", "prompt", "--app", "codex"], ELSEWHERE | NETWORK | KEYS | TREE),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_needs(
    arguments: list[str], absent: set[str], tmp_path: object
) -> None:
    ours = imported_by(arguments, str(tmp_path))
    assert not absent & ours


def test_hardly_anything_is_imported_before_an_interrupt_just_ends_a_command() -> None:
    taken = imported_by_statements(
        "before = set(sys.modules)\nimport parler.__main__\n"
        "sys.modules = {one: None for one in set(sys.modules) - before}"
    )
    ours = {"__main__", "_version", "machine", "machine.interrupts"}
    allowed = {"parler", "atexit", "gc", *(f"parler.{one}" for one in ours)}
    assert taken <= allowed | {"importlib", "importlib._bootstrap", "warnings"} | {
        "importlib._bootstrap_external",
        "_warnings",
    }


COLLECTED = """
import gc, sys
sys.path[:0] = ['.']
gc.set_debug(gc.DEBUG_STATS)
from parler.__main__ import main
sys.exit(main())
"""
COLLECTION = re.compile(
    r"collecting generation (\d)\.\.\.\n.*each generation: (\d+) (\d+) (\d+)"
)


def test_a_command_that_is_nearly_over_is_not_searched_for_garbage(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED, "send", "--room", "room.den", "hi"],
        cwd=CHECKOUT,
        env={"PARLER_HOME": str(tmp_path), "PARLER_HUB": "ws://127.0.0.1:9"},
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert "nothing listens there" in done.stderr
    walked = [
        sum(map(int, sizes[: int(generation) + 1]))
        for generation, *sizes in COLLECTION.findall(done.stderr)
    ]
    assert walked  # at the end, at least
    assert max(walked) < 10_000


LIST_TOOLS = """
from parler.mcp_server.tool_call import Host
from parler.mcp_server.tools.registry import offered
[tool.as_offer() for tool in offered(Host(name='codex'), full=True)]
"""


@pytest.mark.parametrize(
    ("statements", "absent"),
    [
        (
            "import parler.mcp_server.main",
            SERVER | KEYS | TREE | {"mcp", "pydantic", "websockets"},
        ),
        (LIST_TOOLS, SERVER | TREE | {"parler.cli"}),
    ],
    ids=["starting", "listing-tools"],
)
def test_the_mcp_server_imports_nothing_of_a_hub_nor_the_command_tree(
    statements: str, absent: set[str]
) -> None:
    assert not absent & imported_by_statements(statements)


IMPORT_RUNTIME = """
import importlib, pkgutil
sys.modules['mcp'] = sys.modules['mcp_types'] = None  # they cannot be imported now
import parler.runtime
for found in pkgutil.iter_modules(parler.runtime.__path__, 'parler.runtime.'):
    importlib.import_module(found.name)
"""


def test_what_keeps_an_agent_connected_works_without_mcp() -> None:
    ours = imported_by_statements(IMPORT_RUNTIME)
    assert {"parler.runtime.delivery", "parler.runtime.receipt"} <= ours
    assert "parler.mcp_server" not in ours


def test_every_command_is_where_the_table_says() -> None:
    root = typer.main.get_command(app.tree())
    assert list(getattr(root, "commands", {})) == list(app.COMMANDS)


@cache
def whole_tree() -> click.Command:
    return typer.main.get_command(app.tree())


@pytest.mark.parametrize("word", sorted(app.COMMANDS))
def test_a_small_tree_has_its_command_as_the_whole_one_has_it(word: str) -> None:
    small, whole = typer.main.get_command(app.tree(word)), whole_tree()
    context = typer.Context(whole)
    commands = [getattr(tree, "commands", {})[word] for tree in (small, whole)]
    infos = [command.to_info_dict(context) for command in commands]
    assert infos[0] == infos[1]
