"""What an agent is told in each app, and when: one source for models, people and docs.

The sentences that the product says of being told, woken or asked, and the table in
docs/apps/index.md, are made of what an app declares and of what is here.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from parler.apps.kit.app import App
from parler.apps.kit.config import Wiring
from parler.apps.kit.hooks import Event
from parler.apps.kit.platform import Machine
from parler.apps.kit.trust import SAFE_TOOLS
from parler.apps.kit.waker import WakeKind

TOLD_BY = {
    Event.STOP: "as this turn ends",
    Event.PROMPT: "with your user's next prompt",
}
"""When a model is told by a hook of its app, to that model."""

ALWAYS = "with your next parler call"


WHEN = {
    WakeKind.PUSH: "at once, also when it is idle",
    WakeKind.TURN: "when its turn ends",
    WakeKind.NEXT: "with its next prompt or tool call",
    WakeKind.NONE: "never",
}
"""When a message reaches an agent, to its user."""

_HOOK = re.compile(rf"\bhook ({'|'.join(Event)}) --app\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """What an app can do for its agent, at its best."""

    files: tuple[Path, ...]
    """What `parler connect` changes."""

    hooks: tuple[Event, ...]
    """When it runs ours."""

    told: tuple[WakeKind, ...]
    """When a message is shown, the soonest first."""

    has_rules: bool
    """Which tools run unasked is written into its files."""

    works: bool
    """It does tasks and answers without a screen."""

    @property
    def asks(self) -> bool:
        """Whether its permission requests can be answered elsewhere."""
        return Event.PERMISSION in self.hooks

    @property
    def wakes(self) -> bool:
        """Whether a message starts a turn of an idle agent."""
        return WakeKind.PUSH in self.told


def promises_of(app: App, machine: Machine) -> Promises:
    """What an app can promise on such a machine, by what it declares and is given."""
    wiring = Wiring(
        app=app.id,
        command=("parler",),
        home=app.home(machine.home / ".parler"),
        reservations=True,
        approvals=True,
    )
    files = app.config().files(machine, wiring)
    written = repr(files)
    runs = set(_HOOK.findall(written))
    hooks = tuple(event for event in Event if event.value in runs)
    told = [WakeKind.PUSH] if app.can_wake else []
    told += [WakeKind.TURN] if Event.STOP in hooks else []
    return Promises(
        files=tuple(edit.path for edit in files),
        hooks=hooks,
        told=(*told, WakeKind.NEXT),
        has_rules=any(tool in written for tool in SAFE_TOOLS),
        works=app.headless is not None,
    )


def will_be_told(
    what: str, *, app: App | None, kind: WakeKind, hooks: Collection[str]
) -> str:
    """What a model may rely on, in this app, as it is wired now.

    Args:
        what: What it would be told, such as "who knocks".
        kind: How a message reaches it at this moment.
        hooks: Those of ours that the app has run.
    """
    if kind is WakeKind.PUSH:
        return f"You will be told {what}."
    cannot = app is not None and not app.can_wake
    whom = (
        f"{app.title} while it is idle" if app and cannot else "you while you are idle"
    )
    times = [said for hook, said in TOLD_BY.items() if hook in hooks]
    return (
        f"Nothing wakes {whom}: you are told {what} "
        f"{' or '.join([*times, ALWAYS])}. "
        "To wait for it: parler_recv with wait_secs."
    )
