"""Looks for inputs that break a target, for a bounded time, guided by coverage.

What it finds is thrown away unless PARLER_TEST_KEEP_CORPUS is set; then inputs that
reach what none in the corpus does are added to it. An input that breaks a target
is printed, and belongs into the corpus with its mending.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import msgspec
import pytest

from parler.wire import parts, replies, requests
from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT
from tests.fuzz.targets import TARGETS
from tests.fuzz.test_corpus import CORPUS, MAX_BYTES

pytestmark = pytest.mark.fuzz

Step: TypeAlias = tuple[str, int, int]
TraceFunction: TypeAlias = Callable[[FrameType, str, Any], Any]

PACKAGES = CHECKOUT / ".env-fuzz"
FUZZ_SECS = int(os.environ.get("PARLER_TEST_FUZZ_SECS", "8"))
MAX_INPUT = 2048
_SPELLINGS = [
    *("{}", "[]", "null", "true", "1e308", "1e309", "-0", "9223372036854775808"),
    *('{"kind":"', '"parts":[', '"target":{"kind":"room"', "\\ud800", "\\u0000"),
    *("/join/", "parler://", "@ws://", "ABCDEFGH", "\nh\np\n", "h\ns", "\n"),
    *("\nhost:", "\norigin:", "\nauthorization:", "\nsec-fetch-site:", "\nx-"),
    *("cross-site", "same-origin", "navigate", "document", "forwarded-proto:", "null"),
    *("127.0.0.1", "localhost", "[::1]", "team.example", "https://", "viewer.example"),
    *("[::ffff:7f00:1]", "2130706433", "0x7f.1", "%eth0", ":443", "/64", "evil", ", "),
]


def words() -> Iterator[str]:
    """Names of the protocol; the decoder's own comparisons cannot be seen."""
    for module, tag in ((requests, "op"), (replies, "type"), (parts, "kind")):
        for struct in vars(module).values():
            if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
                continue
            config = struct.__struct_config__
            if isinstance(config.tag, str):
                yield f'"{tag}":"{config.tag}"'
            for field in msgspec.structs.fields(struct):
                yield f'"{field.encode_name}":'
    yield from _SPELLINGS


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "words"
    lines = sorted({json.dumps(word).replace("\\n", "\\x0a") for word in words()})
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fuzz(name: str, *arguments: str | Path, cwd: Path) -> str:
    """Run libFuzzer, which must break nothing; returns what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.decoder_target", name, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": f"{PACKAGES}{os.pathsep}{CHECKOUT}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=FUZZ_SECS + WAIT,
        check=False,
    )
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    broken = {path.name: path.read_bytes() for path in cwd.glob("*-*")}
    assert (done.returncode, broken) == (0, {}), said[-8000:]
    return said


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_it(name: str, tmp_path: Path, dictionary: Path) -> None:
    found = tmp_path / "found"
    found.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    said = fuzz(
        name,
        found,
        CORPUS / name,
        f"-dict={dictionary}",
        f"-max_total_time={FUZZ_SECS}",
        f"-max_len={MAX_INPUT}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        cwd=work,
    )
    assert "DONE" in said, said[-2000:]
    if os.environ.get("PARLER_TEST_KEEP_CORPUS"):
        keep(name, found)


def keep(name: str, found: Path) -> None:
    """Add the inputs that reach more than those before them, the shortest first."""
    reached: set[Step] = set()
    for path in (CORPUS / name).iterdir():
        reached |= steps(name, path.read_bytes())
    for data in sorted((path.read_bytes() for path in found.iterdir()), key=len):
        new = steps(name, data) - reached
        if new and len(data) <= MAX_BYTES:
            reached |= new
            (CORPUS / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def steps(name: str, data: bytes) -> set[Step]:
    """From which line of our code to which other an input goes."""
    gone: set[Step] = set()

    def enter(frame: FrameType, event: str, _: object) -> TraceFunction | None:
        if not frame.f_code.co_filename.startswith(str(CHECKOUT)):
            return None
        before = 0

        def go(frame: FrameType, event: str, _: object) -> TraceFunction:
            nonlocal before
            gone.add((frame.f_code.co_filename, before, frame.f_lineno))
            before = frame.f_lineno
            return go

        return go

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        TARGETS[name](data)
    finally:
        sys.settrace(before)
    return gone
