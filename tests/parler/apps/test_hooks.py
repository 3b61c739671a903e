"""What each app's hooks are answered, word for word."""

import pytest

from parler.apps.kit.hooks import Event
from parler.apps.registry import all_apps, hooks_of

T = "text"


def claude_like(name: str) -> dict[str, object]:
    return {"hookSpecificOutput": {"hookEventName": name, "additionalContext": T}}


DENIED = {
    "hookSpecificOutput": {
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": T,
    }
}
BLOCKED = {"decision": "block", "reason": T}
ANSWERS = {
    "claude-code": (
        claude_like("SessionStart"),
        claude_like("UserPromptSubmit"),
        BLOCKED,
        DENIED,
    ),
    "codex": (
        claude_like("SessionStart"),
        claude_like("UserPromptSubmit"),
        BLOCKED,
        DENIED,
    ),
    "gemini": (
        claude_like("SessionStart"),
        claude_like("BeforeAgent"),
        {"decision": "deny", "reason": T},
        {"decision": "deny", "reason": T},
    ),
    "cursor": (
        {"additional_context": T},
        None,
        {"followup_message": T},
        {"permission": "deny", "user_message": T, "agent_message": T},
    ),
    "copilot": (
        {"additionalContext": T},
        None,
        BLOCKED,
        {"permissionDecision": "deny", "permissionDecisionReason": T},
    ),
}


@pytest.mark.parametrize("app", ANSWERS)
def test_each_app_is_answered_in_its_own_words(app: str) -> None:
    hooks = hooks_of(app)
    assert hooks is not None
    start, prompt, block, deny = ANSWERS[app]
    assert hooks.context(Event.SESSION_START, T) == start
    assert hooks.context(Event.PROMPT, T) == prompt
    assert hooks.context(Event.STOP, T) is None
    assert hooks.block(T) == block
    assert hooks.deny(T) == deny
    # Headless, the app would wait for the hook.
    terminal, headless = ({"CLAUDE_CODE_ENTRYPOINT": how} for how in ("cli", "sdk-cli"))
    assert hooks.wakes_by_exit(terminal) is (app == "claude-code")
    assert not hooks.wakes_by_exit(headless)


def test_each_app_with_hooks_has_its_answers_above() -> None:
    assert {app.id for app in all_apps() if app.hooks} == set(ANSWERS)


def test_unknown_app_gets_no_answer() -> None:
    assert hooks_of("zed") is None
    assert hooks_of("notepad") is None


def test_turn_that_was_aborted_is_not_continued_in_cursor() -> None:
    cursor = hooks_of("cursor")
    assert cursor is not None
    assert cursor.may_continue({"status": "completed"})
    assert cursor.may_continue({})
    assert not cursor.may_continue({"status": "aborted"})
    assert cursor.continued({"loop_count": 3}) == 3
    assert cursor.continued({"loop_count": "3"}) is None
