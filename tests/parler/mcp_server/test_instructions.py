"""What a model is told of itself: no app promises what it cannot keep."""

import pytest

from parler.apps.kit.app import App
from parler.apps.kit.promises import will_be_told
from parler.apps.kit.waker import WakeKind
from parler.apps.registry import all_apps


@pytest.mark.parametrize("app", [None, *all_apps()], ids=lambda app: app and app.id)
def test_only_who_is_woken_is_promised_to_be_told(app: App | None) -> None:
    def said(kind: WakeKind, *hooks: str) -> str:
        return will_be_told("who knocks", app=app, kind=kind, hooks=hooks)

    assert said(WakeKind.PUSH) == "You will be told who knocks."
    unwired = said(WakeKind.NONE)
    whom = app.title if app and not app.can_wake else "you"
    assert unwired.startswith(f"Nothing wakes {whom} while ")
    assert "told who knocks with your next parler call." in unwired
    wired = said(WakeKind.TURN, "session-start", "prompt", "stop")
    assert "as this turn ends or with your user's next prompt or with" in wired


def test_what_can_be_woken_is_known() -> None:
    woken = {app.id for app in all_apps() if app.can_wake}
    assert woken == {"claude-code", "codex", "opencode"}
