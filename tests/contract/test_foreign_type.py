"""Text that others wrote cannot be put between words of ours: mypy holds it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import parler

ROOM = Path(parler.__file__).parent

SHOWING = """\
from parler.text.terminal import word
from parler.wire.foreign import Foreign

def shown(name: Foreign, maybe: Foreign | None, lines: list[str]) -> list[str]:
    lines.append(f"from {word(name)}")
    return lines
"""
MISTAKES = (
    'lines.append(f"from {name}")',
    'lines.append(f"from {maybe}")',
    'lines.append("from {}".format(name))',
    'lines.append("from %s" % name)',
    'lines.append("from " + name)',
    'lines.append(", ".join([name]))',
    "lines.append(name)",
    "lines += [name]",
    "lines.append(str(name))",
    "lines.append(repr(maybe))",
    'lines.append(f"from {name!r}")',
)

PLAIN = {
    *("Challenge.nonce", "Challenge.version", "Welcome.features", "Error.code"),
    *("Event.event", "Event.change", "BlobIncoming.media_type"),
    *("StoredMessage.reply_to", "ServiceTarget.service", "DirectoryEntry.sig"),
    *("AgentCard.meta", "AgentCard.protocol_version", "Fact.text", "Fact.key"),
}
"""Texts of the wire that are checked against what we know, or that we write."""


def test_the_type_checker_refuses_every_way_to_show_foreign_text_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOM.parent)
    start = len(SHOWING.splitlines())
    body = "".join(f"    {line}\n" for line in MISTAKES)
    text = SHOWING.replace("    return lines\n", body + "    return lines\n")
    snippet = tmp_path / "snippet.py"
    snippet.write_text(text, encoding="utf-8")
    run = subprocess.run(  # a program and arguments of ours
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), str(snippet)],
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    out = run.stdout
    assert run.returncode == 1, run.stderr
    wrong = [line for line in out.splitlines() if " error: " in line]
    refused = {int(line.split(":")[1]) for line in wrong}
    assert refused == set(range(start, start + len(MISTAKES))), out


def texts(module: str) -> Iterator[str]:
    """The fields of a module's structs that are plain text, as `Class.field`."""
    tree = ast.parse((ROOM / "wire" / module).read_text(encoding="utf-8"))
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field in (node for node in kind.body if isinstance(node, ast.AnnAssign)):
            names = {
                node.id
                for node in ast.walk(field.annotation)
                if isinstance(node, ast.Name)
            }
            if "str" in names and isinstance(field.target, ast.Name):
                yield f"{kind.name}.{field.target.id}"


def test_what_a_hub_may_write_freely_is_foreign() -> None:
    assert {*texts("replies.py"), *texts("records.py")} == PLAIN


@pytest.mark.parametrize("room", ["cli", "mcp_server"])
def test_where_results_are_made_nothing_gets_at_the_exact_text(room: str) -> None:
    for path in (ROOM / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert "exact" not in used, path
