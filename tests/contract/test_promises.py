"""What is promised of an app is what it can do, in sentences as in the table."""

from pathlib import Path

import pytest

from parler.apps.kit.app import App
from parler.apps.kit.hooks import Event
from parler.apps.kit.platform import Machine, Platform
from parler.apps.kit.promises import promises_of, will_be_told
from parler.apps.kit.waker import WakeKind
from parler.apps.registry import all_apps
from tests._support.processes import CHECKOUT

MACHINE = Machine(platform=Platform.LINUX, env={}, home=Path("/home/you"))


@pytest.mark.parametrize("app", all_apps(), ids=lambda app: app.id)
def test_no_model_is_promised_what_its_app_cannot_do(app: App) -> None:
    can = promises_of(app, MACHINE)
    hooks = [str(one) for one in can.hooks]
    said = will_be_told("who knocks", app=app, kind=WakeKind.NEXT, hooks=hooks)
    assert ("as this turn ends" in said) == (WakeKind.TURN in can.told)
    assert ("next prompt" in said) == (Event.PROMPT in can.hooks)
    assert (f"Nothing wakes {app.title}" in said) == (not can.wakes)
    assert app.hooks is not None or not can.hooks
    page = (CHECKOUT / "docs/apps/index.md").read_text(encoding="utf-8")
    [row] = [one for one in page.splitlines() if one.startswith(f"| [{app.title}](")]
    assert (row.split(" | ")[2] == "no") == (not can.wakes)


def test_sentences_of_being_told_are_made_in_one_place() -> None:
    made = CHECKOUT / "parler/apps/kit/promises.py"
    for words in ("as this turn ends", "You will be told", "Nothing wakes"):
        found = [
            path
            for path in (CHECKOUT / "parler").rglob("*.py")
            if words in path.read_text(encoding="utf-8")
        ]
        assert found == [made], words
