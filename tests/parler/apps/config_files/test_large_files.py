"""Files of megabytes: what an edit costs grows with the file, and not faster."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from parler.apps.config_files import jsonc, toml_text, yaml_text
from parler.apps.config_files.edits import Add, DropItems, DropKey, FileEdit, Put, apply

PATH = ("servers", "parler")
LIST = ("allowed",)
SMALL = 500
TIMES = 8
JSONC = '  "p{}": {{"trusted": true, /* x */ "list": ["a", "b",],}}, // y\n'
TOML = '[p."/home/ada/{}"] # x\ntrusted = true\nlist = ["a", "b"]\n\n# y\n'
YAML = "p{}:\n  trusted: true # x\n  list: [a, 'b']\n\n# y\n"


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Its cost is that of all that the test process holds."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def cost(syntax: ModuleType, text: str) -> float:
    """The processor time of an edit and of the way back, the better of two."""
    costs = []
    for _ in range(2):
        start = time.process_time()
        after, _ = syntax.put(text, PATH, {"command": "x"})
        after, _ = syntax.put(after, PATH, {"command": "y"})
        syntax.drop(after, PATH)
        costs.append(time.process_time() - start)
    return min(costs)


def test_wiring_costs_a_few_times_what_reading_the_file_does() -> None:
    history = [{"display": f'fix "{number}"', "cost": 0.5} for number in range(40)]
    state = {f"/home/ada/{number}": {"history": history} for number in range(500)}
    text = json.dumps({"projects": state}, indent=2)
    edit = FileEdit(
        role="state",
        path=Path("x.json"),
        changes=(Put(PATH, {"command": "x"}), Put(("theme",), "dark"), Add(LIST, "a")),
        sweeps=(DropKey(PATH, bool), DropItems(LIST, bool)),
    )

    def spent(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    reading = min(spent(lambda: json.loads(text)) for _ in range(3))
    assert spent(lambda: apply(edit, text)) < reading * 100


@pytest.mark.parametrize(
    ("syntax", "piece", "around"),
    [
        (jsonc, JSONC, ("{\n", "}\n")),
        (toml_text, TOML, ("", "")),
        (yaml_text, YAML, ("", "")),
    ],
    ids=["jsonc", "toml", "yaml"],
)
def test_eight_times_the_file_costs_eight_times_as_much(
    syntax: ModuleType, piece: str, around: tuple[str, str]
) -> None:
    def text(count: int) -> str:
        return "".join(piece.format(number) for number in range(count)).join(around)

    small, large = cost(syntax, text(SMALL)), cost(syntax, text(TIMES * SMALL))
    assert large < small * TIMES * 2
