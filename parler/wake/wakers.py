"""The best way to the model of the app above us, and how good it is.

For each app that offers a way in, a waker that is found at run time: what is there
depends on how the user started the app. Where there is none, the app's hooks and the
results of our tools carry what waits.
"""

from collections.abc import Mapping
from pathlib import Path

from parler.apps.kit.app import App
from parler.apps.kit.waker import WakeContext, WakeKind, Waker
from parler.identity.places import read_place
from parler.wake.spool import Spool, hooks_seen, session_of_hooks
from parler.wake.waiter import is_armed


async def find_waker(
    app: App, *, env: Mapping[str, str], thread_id: str | None, home: Path
) -> Waker | None:
    """The best way into the session above this process; None if there is none now.

    Args:
        thread_id: What the app calls the conversation, if it told us.
        home: The identity's home.
    """
    if app.find_waker is None:
        return None
    spool = Spool(home)
    context = WakeContext(
        env=env,
        thread_id=thread_id,
        is_armed=lambda: is_armed(home),
        urgent_waits=lambda: any(item.urgent for item in spool.waiting()),
        hook_session=lambda: _conversation_in(home),
    )
    return await app.find_waker()(context)


def wake_kind(home: Path, waker: Waker | None) -> WakeKind:
    """How the session of a home hears of messages, given the waker that was found."""
    if waker is not None:
        return waker.kind
    if is_armed(home):
        return WakeKind.PUSH
    return WakeKind.TURN if "stop" in hooks_seen(home) else WakeKind.NEXT


def _conversation_in(home: Path) -> str | None:
    """The conversation of the window that has a seat; not that of one before it."""
    place = read_place(home)
    if place is not None and place.holder is not None:
        return place.conversation
    return session_of_hooks(home)
