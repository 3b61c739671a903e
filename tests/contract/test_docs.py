"""What the documentation says of the program: complete, current, and no dead links."""

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import msgspec
import pytest

from parler.client.protocol import FEATURE_OF
from parler.wire.codes import MEANINGS, ErrorCode, Feature
from parler.wire.replies import AnyReply
from parler.wire.requests import AnyRequest
from tests._support.polling import WAIT

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
    *(ROOT / "examples" / "README.md", ROOT / "bench" / "README.md"),
    ROOT / "llms.txt",
]
CITED = re.compile(r"protocol (\d+(?:\.\d+)?)")
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
OURS = "https://github.com/parler-agents/parler/blob/main/"


def rows_of(name: str) -> list[str]:
    """The rows of the page's tables that begin with a name."""
    heads = re.compile(rf"\|[^|]*`{re.escape(name)}[` ][^|]*\|")
    return [line for line in PROTOCOL.splitlines() if heads.match(line)]


def section(number: str) -> str:
    return PROTOCOL.split(f"\n### {number} ", 1)[1].split("\n### ", 1)[0]


def tag_of(struct: type[msgspec.Struct]) -> str:
    tag = struct.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)} - {"rid"}


def test_every_paragraph_that_is_cited_is_there() -> None:
    there = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)\.? ", PROTOCOL, re.MULTILINE))
    there |= set(re.findall(r"^- \*\*(13\.\d+)\*\*", PROTOCOL, re.MULTILINE))
    for folder in ("parler", "hub", "tests", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            cited = set(CITED.findall(path.read_text(encoding="utf-8")))
            assert cited <= there, path


@pytest.mark.parametrize("struct", get_args(AnyRequest), ids=tag_of)
def test_every_request_is_described_with_all_its_fields(
    struct: type[msgspec.Struct],
) -> None:
    rows = rows_of(tag_of(struct)) or [section("14.4"), section("14.9")]
    words = set(re.findall(r"\w+", " ".join(rows)))
    assert {tag_of(struct), *fields_of(struct)} <= words


EVERY_HUB_SERVES = {
    *("claim", "complete", "delete_room", "discover", "get_blob", "hello", "invite"),
    *("join_requests", "lookup", "mint_directory_token", "mint_watch", "ping"),
    *("presence", "pull", "put_blob", "queue", "recall", "redeem", "register"),
    *("remember", "resolve_join", "rooms", "roster", "send", "serve"),
    *("set_attention", "subscribe"),
}
"""The protocol that others implement as well; it does not grow."""


def test_an_op_that_other_hubs_do_not_serve_is_behind_an_advertised_feature() -> None:
    beyond = {tag_of(one) for one in get_args(AnyRequest)} - EVERY_HUB_SERVES
    assert {tag_of(one) for one in FEATURE_OF} == beyond


@pytest.mark.parametrize("struct", get_args(AnyReply), ids=tag_of)
def test_every_reply_is_described_with_all_its_fields(
    struct: type[msgspec.Struct],
) -> None:
    numbers = (
        "3.3",
        "3.5",
        "14.3",
        "14.4",
        "14.5",
        "14.9",
        "14.10",
        "14.11",
        "14.12",
        "14.13",
    )
    parts = [section(number) for number in numbers]
    words = set(re.findall(r"\w+", " ".join(parts)))
    assert {tag_of(struct), *fields_of(struct)} <= words


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_described_as_it_is_used(code: ErrorCode) -> None:
    [row] = [row for row in rows_of(code) if row in section("3.3")]
    _, _, _, status, again, _ = (cell.strip() for cell in row.split("|"))
    meaning = MEANINGS[code]
    assert (int(status), again == "yes") == (meaning.http_status, meaning.retryable)


def test_every_feature_is_described() -> None:
    assert {f"`{feature}`" for feature in Feature} <= set(
        re.findall(r"`[\w-]+`", section("14.1"))
    )


NO_RESULT = ("hub", "mcp", "completion", "project serve")
"""Commands that print none: they stay until they are ended, or print a script."""


def test_the_reference_tells_what_each_command_prints_with_json() -> None:
    for page in ("cli", "hub"):
        text = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
        text, _, _ = text.partition("# The data of a hub")
        for section in text.split("\n## `parler ")[1:]:
            name, _, _ = section.partition("`")
            if name not in NO_RESULT:
                assert "\nWith `--json`:\n\n    {" in section, name


def test_the_reference_pages_say_what_the_program_says() -> None:
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "scripts" / "_reference.py", "--check"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_name_every_variable_and_file_that_the_code_names() -> None:
    places = runpy.run_path(str(ROOT / "scripts" / "_places.py"))
    listed = [places[group] for group in ("SETTINGS", "SERVER", "TOLD", "OTHERS")]
    told = {one.name for group in listed for one in group}
    named, files = set(), set()
    for path in [*(ROOT / "parler").rglob("*.py"), *(ROOT / "hub").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'"(_?PARLER_[A-Z_]+[A-Z])"', text))
        files |= set(re.findall(r'^(?:FILE_NAME|\w+_FILE) = "(.+)"', text, re.M))
    assert named - {"PARLER_HANDOFF"} == {one for one in told if "PARLER_" in one}
    kept = [*places["MACHINE"], *places["IDENTITY"], *places["WINDOW"]]
    known = {one.path.rpartition("/")[2].rstrip("*") for one in kept}
    # The first is an app's, and no command opens a sealed room yet.
    assert files - {"cline_mcp_settings.json", "sealed.sqlite"} <= known


def test_every_symptom_that_a_page_quotes_is_said_by_the_program() -> None:
    sources = (
        path for room in ("parler", "hub") for path in (ROOT / room).rglob("*.py")
    )
    said = "".join(path.read_text(encoding="utf-8") for path in sources)
    said = re.sub(r'"\s*f?"', "", said)  # a text may be written in several pieces
    quoted = {
        piece.strip()
        for page in (ROOT / "docs" / "trouble.md", *(ROOT / "docs/apps").glob("*.md"))
        for table in page.read_text(encoding="utf-8").split("| You see |")[1:]
        for row in re.findall(r"^\| (.+?) \|", table.partition("\n\n")[0], re.M)
        for words in re.findall(r"`([^`]+)`", row)
        for piece in words.split("…")
    }
    assert len(quoted) > 15
    others = {
        "parler: command not found",
        "1 MCP server",
    }  # a shell and an app say that
    assert not {piece for piece in quoted - others if piece not in said}


def test_the_drawings_are_as_they_are_drawn_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = runpy.run_path(str(ROOT / "scripts" / "_drawings.py"))
    for path, drawn in script["drawings"]():
        assert path.read_text(encoding="utf-8") == drawn, "./scripts/picture drawings"
        names = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(drawn)}
        assert {"title", "desc", "text"} <= names


def targets(path: Path) -> Iterator[Path]:
    """The files of this repository that a text points to."""
    for found in LINK.finditer(path.read_text(encoding="utf-8")):
        link = (found[1] or found[2]).partition("#")[0]
        if link.startswith(OURS):
            yield ROOT / link.removeprefix(OURS)
        elif link and not link.startswith(("http:", "https:", "mailto:")):
            yield path.parent / link


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(path: Path) -> None:
    assert [target for target in targets(path) if not target.exists()] == []


def test_the_readme_is_short_and_begins_with_the_set_up() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert text.index("./scripts/demo") < text.index("./scripts/install.sh")
