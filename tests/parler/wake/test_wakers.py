"""How a session hears of messages, from what its hooks have left in the home."""

from pathlib import Path

from parler.apps.claude_code import APPS
from parler.apps.kit.waker import WakeKind
from parler.apps.registry import app_named
from parler.machine.files import locked
from parler.wake.spool import Item, Spool, note_hook
from parler.wake.waiter import WAITERS_FOLDER
from parler.wake.wakers import find_waker, wake_kind

(CLAUDE_CODE,) = APPS


async def test_hooks_that_ran_tell_how_an_agent_hears(home: Path) -> None:
    for name in ("claude-code", "gemini", "windsurf"):
        app = app_named(name)
        assert app is not None
        assert await find_waker(app, env={}, thread_id=None, home=home) is None
    assert wake_kind(home, None) is WakeKind.NEXT
    note_hook(home, "stop")
    assert wake_kind(home, None) is WakeKind.TURN
    with locked(home / WAITERS_FOLDER / "1"):
        assert wake_kind(home, None) is WakeKind.PUSH
    assert wake_kind(home, None) is WakeKind.TURN


async def test_waiting_hook_is_confirmed_by_what_it_took(home: Path) -> None:
    box = Spool(home)
    with locked(home / WAITERS_FOLDER / "1"):
        waker = await find_waker(CLAUDE_CODE, env={}, thread_id=None, home=home)
        assert waker is not None
        box.offer([Item("room", 1, "hello", True)])
        with box.take():
            pass
        assert await waker.wake("hello")
