"""Every test that is said to show what an attacker of a sealed room gets is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests/sealed/attackers.md"


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/\S+)::(\w+)`", TABLE.read_text(encoding="utf-8"))
    assert len(named) > 40
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path, _ in named}
    gone = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(
            rf"^(async )?(def |class )?{name}\b", texts[path], re.MULTILINE
        )
    ]
    assert gone == []
