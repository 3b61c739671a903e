"""Every hook of an app waits for `parler hook`: what it may import is agreed."""

import json
import subprocess
import sys

from tests._support.polling import WAIT
from tests._support.processes import CHECKOUT

HEAVY = {
    *("asyncio", "click", "dataclasses", "httpx", "inspect", "logging", "mcp"),
    *(
        "cryptography",
        "msgspec",
        "nacl",
        "psutil",
        "secrets",
        "socket",
        "sqlite3",
        "ssl",
    ),
    *("subprocess", "threading", "typer", "unicodedata", "websockets"),
    *(
        "parler.cli",
        "parler.client.client",
        "parler.sealed",
        "parler.identity.settings",
        "parler.identity.identity",
        "hub",
    ),
}


def imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = ['.']\n{code}"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
        timeout=WAIT,
    )
    return set(json.loads(done.stdout))


def test_hook_imports_nothing_slow() -> None:
    ours = imported_by("import parler.wake.hook") - imported_by("pass")
    assert HEAVY & ours == set()


def test_looking_who_waits_needs_no_event_loop() -> None:
    ours = imported_by("import parler.wake.waiter") - imported_by("pass")
    assert {"asyncio", "msgspec", "psutil", "typer"} & ours == set()
