"""Wiring agent apps to a hub, unwiring them, and telling how they are.

What is written where is `parler.apps`; here it is decided for which apps, on which hub,
in which home, and what the user is told.
"""

import asyncio
import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec

from parler.apps.config_files import edits
from parler.apps.config_files.errors import AppError, ChangedMeanwhile
from parler.apps.install.health import Health, State, examine
from parler.apps.install.install import Plan, carry_out, entry_of, plan, plan_removal
from parler.apps.install.manifest import Manifest
from parler.apps.kit.app import AGENTS, App
from parler.apps.kit.config import Wiring
from parler.apps.kit.platform import Machine
from parler.apps.kit.promises import promises_of
from parler.apps.kit.trust import Entry
from parler.apps.registry import all_apps, app_named
from parler.client.client import Client
from parler.errors import ConfigError, HubError, ParlerError, TransportError, UsageError
from parler.identity import identity as identities
from parler.identity.chosen_hub import choose
from parler.identity.homes import CONFIG_FILE, homes_below, machine_home
from parler.identity.join_secrets import FILE_NAME as SECRETS_FILE
from parler.identity.join_secrets import JoinSecrets
from parler.identity.person import ensure_person
from parler.identity.settings import Flags, hub_key, resolve_settings
from parler.ops.capability import Capability
from parler.ops.context import Result
from parler.wire.base import AgentId
from parler.wire.replies import Card
from parler.wire.requests import Lookup
from parler.wire.urls import same_hub

VERIFY_SECS = 180.0
POLL_SECS = 2.0
CHANGED_TIMES = 8
"""How often a file is tried that others keep writing to."""

MAX_IDENTITIES = 256
"""Identities of one app that are looked for."""


class Outcome(StrEnum):
    """What became of one app."""

    WIRED = "wired"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    NOTHING = "nothing to remove"
    PLANNED = "planned"
    FAILED = "failed"


class AppOutcome(Result):
    """What was done to one app, or would be."""

    id: str
    title: str
    outcome: Outcome
    hub: str | None = None
    files: list[str] = msgspec.field(default_factory=list)
    """That were written, or would be."""

    diff: str | None = None
    detail: str | None = None
    next: str | None = None
    """The command that mends it."""

    restart: str | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    snippet: str | None = None
    """What the user can enter by hand where we could not."""


class TeamLine(Result):
    """How teammates come to the hub; the secret is told otherwise."""

    command: str
    url: str
    fingerprint: str | None = None


class ConnectResult(Result):
    """What was done to all of them."""

    ok: bool
    hosts: list[AppOutcome]
    hub: str | None = None
    """The one that was asked for; apps may keep their own."""

    chosen: bool = False
    """It is the one for this user's shell and all wired apps from now on."""

    backups: str | None = None
    team: TeamLine | None = None


class TroubleReport(Result):
    """Something that is wrong, and the command that mends it."""

    what: str
    mend: str | None = None
    note: bool = False


class AppHealth(Result):
    """One app, as it is."""

    id: str
    title: str
    installed: bool
    state: State
    config: str
    hub: str | None = None
    home: str | None = None
    command: str | None = None
    approvals: bool = False
    """Its permission requests are shown in the inbox, too."""

    troubles: list[TroubleReport] = msgspec.field(default_factory=list)


class ListResult(Result):
    """All apps, as they are."""

    ok: bool
    """Nothing that is wired is broken."""

    hosts: list[AppHealth]


class Arrival(Result):
    """Whether an app's agent came to the hub."""

    id: str
    title: str
    hub: str
    arrived: bool
    agent: AgentId | None = None
    detail: str | None = None


class VerifyResult(Result):
    """Whether all of them came."""

    ok: bool
    hosts: list[Arrival]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all of this works with."""

    machine: Machine
    home: Path
    """The home that all agents of this user share."""

    command: tuple[str, ...]
    """The words that start this program."""

    hub: str
    """That is meant: the choice that is made, or was."""

    pinned: bool = False
    """Also for apps that were told another one."""

    choice: str | None = None
    """What is chosen with it, as `chosen_hub.choose` takes it; None: nothing is."""

    hub_name: str | None = None
    source: str = ""

    name: str | None = None
    hooks: bool | None = None
    """None: as they were, else with hooks."""

    reservations: bool | None = None
    approvals: bool | None = None
    secret: str | None = None
    """Of `hub`; it is kept in our own home alone."""

    def hooked(
        self,
        *,
        hooks: bool | None,
        reservations: bool | None,
        approvals: bool | None = None,
    ) -> "Setting":
        """The same with or without hooks."""
        return replace(
            self, hooks=hooks, reservations=reservations, approvals=approvals
        )

    @property
    def manifest(self) -> Manifest:
        """What we wrote where."""
        return Manifest(self.home)

    @property
    def secrets(self) -> JoinSecrets:
        """The join secrets of all hubs."""
        return JoinSecrets(self.home / SECRETS_FILE)


def chosen(
    names: Sequence[str], machine: Machine, *, wired: Iterable[str]
) -> list[App]:
    """The apps that are meant: those named, else those that are here or wired.

    Raises:
        UsageError: One is not known.
    """
    if not names:
        known = set(wired)
        return [
            app for app in all_apps() if app.id in known or app.is_installed(machine)
        ]
    found: list[App] = []
    for name in names:
        app = app_named(name)
        if app is None:
            raise _unknown(name)
        if app not in found:
            found.append(app)
    return found


def wire(apps: Sequence[App], setting: Setting, *, dry: bool = False) -> ConnectResult:
    """Wire apps; one that fails does not keep the others from it.

    Raises:
        ConfigError: Our own home cannot be written, or our notes are damaged.
    """
    if dry:
        outcomes = [_wire(app, setting, alone=len(apps) == 1) for app in apps]
    else:
        with setting.manifest.locked():
            if setting.secret and setting.pinned:
                setting.secrets.remember(setting.hub, setting.secret)
            if setting.choice:
                choose(
                    setting.home,
                    setting.choice,
                    source=setting.source,
                    name=setting.hub_name,
                )
            if setting.approvals:  # its key is what decides
                ensure_person(setting.home, hub_url=setting.hub)
            outcomes = [
                _wire(app, setting, alone=len(apps) == 1, write=True) for app in apps
            ]
    result = _result(outcomes, setting)
    result.chosen = setting.choice is not None and not dry
    return result


def unwire(
    apps: Sequence[App], setting: Setting, *, dry: bool = False
) -> ConnectResult:
    """Take back what was done to apps; raises as `wire`."""
    if dry:
        outcomes = [_unwire(app, setting) for app in apps]
    else:
        with setting.manifest.locked():
            outcomes = [_unwire(app, setting, write=True) for app in apps]
    return _result(outcomes, setting)


Reach = Callable[[str], Awaitable[ParlerError | None]]
"""Why a hub does not answer; None if it does."""


async def examine_all(
    apps: Sequence[App], setting: Setting, *, reach: Reach
) -> ListResult:
    """Tell how apps are; changes nothing, starts nothing.

    Raises:
        ConfigError: Our own notes are damaged.
    """
    reports = []
    for app in apps:
        wiring = _wiring(app, setting, alone=True)
        record = setting.manifest.get(app.id)
        reports.append((examine(app, setting.machine, wiring, record), wiring))
    hubs = {_hub_of(wiring) for health, wiring in reports if _is_wired(health)}
    down = dict(
        zip(hubs, await asyncio.gather(*(reach(hub) for hub in hubs)), strict=True)
    )
    listed = []
    for health, wiring in reports:
        troubles = [
            TroubleReport(what=one.what, mend=one.mend, note=one.is_note)
            for one in health.troubles
        ]
        state = health.state
        hub = _hub_of(wiring) if _is_wired(health) else None
        if hub and (why := down.get(hub)):
            troubles.append(TroubleReport(what=why.message, mend=why.next_step))
            state = State.BROKEN
        entry = health.entry
        listed.append(
            AppHealth(
                id=health.app.id,
                title=health.app.title,
                installed=health.app.is_installed(setting.machine),
                state=state,
                config=str(health.app.config().files(setting.machine, wiring)[0].path),
                hub=hub,
                home=entry.env.get("PARLER_HOME") if entry else None,
                command=entry.command[0] if entry else None,
                approvals=_is_wired(health)
                and setting.manifest.get(health.app.id).approvals
                and _can_ask(health.app, wiring, setting),
                troubles=troubles,
            )
        )
    ok = all(one.state is not State.BROKEN for one in listed)
    return ListResult(ok=ok, hosts=listed)


Dial = Callable[[str], AbstractAsyncContextManager[Client]]
"""Connects to a hub as somebody who is nobody afterwards."""


async def verify(
    apps: Sequence[App],
    setting: Setting,
    *,
    dial: Dial,
    timeout: float = VERIFY_SECS,
    poll_secs: float = POLL_SECS,
    seen: Callable[[Arrival], None] = lambda arrival: None,
) -> VerifyResult:
    """Wait until an agent of each app came to its hub: by id, never by name."""
    wired = {app.id: _wiring(app, setting, alone=True) for app in apps}
    came: dict[str, AgentId] = {}

    def arrival(app: App) -> Arrival:
        there = app.id in came
        late = f"nobody came within {timeout:g} s; {app.config().restart}"
        return Arrival(
            id=app.id,
            title=app.title,
            hub=_hub_of(wired[app.id]),
            arrived=there,
            agent=came.get(app.id),
            detail=None if there else late,
        )

    def report(app: App, agent: AgentId) -> None:
        came[app.id] = agent
        seen(arrival(app))

    with suppress(TimeoutError):
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            for hub in {_hub_of(wiring) for wiring in wired.values()}:
                missing = {
                    app.id: (app, wired[app.id].home)
                    for app in apps
                    if _hub_of(wired[app.id]) == hub
                }
                watch = _Watch(hub=hub, missing=missing, report=report)
                group.create_task(watch.run(dial, poll_secs))
    listed = [arrival(app) for app in apps]
    return VerifyResult(ok=all(one.arrived for one in listed), hosts=listed)


CONNECT = Capability(
    run=wire,
    also=[unwire, examine_all, verify],
    about="Wire agent apps, and choose the hub for them and you.",
    more="Asks once, on a terminal, where conversations live; else it is this "
    "machine. A join secret comes from an invite, from PARLER_JOIN_SECRET, or is asked "
    "for, and tried. It is kept in parler's own home and written nowhere else.",
    command="connect",
    example="""\
parler connect
parler connect claude-code codex --local
parler connect --list
parler connect --remove gemini""",
    no_tool="what is written into an app's settings is for a person to decide",
)


def identities_in(home: Path) -> list[AgentId]:
    """The agents that have their identity in an app's home, one for each project."""
    found = []
    homes = [home, *islice(homes_below(home), MAX_IDENTITIES)]
    for one in homes:
        with suppress(ConfigError):
            if known := identities.find_identity(one):
                found.append(known.agent_id)
    return found


@dataclass(slots=True, kw_only=True)
class _Watch:
    """Looks on one hub for agents of some apps."""

    hub: str
    missing: dict[str, tuple[App, Path]]
    """Who has not come yet: the app and the home of its agents."""

    report: Callable[[App, AgentId], None]
    began: bool = False
    first: dict[AgentId, int | None] = field(default_factory=dict)
    """When the hub had heard of an agent last, as we began to look."""

    async def run(self, dial: Dial, poll_secs: float) -> None:
        """Look until one of each was there; a hub that is away is dialled again."""
        while self.missing:
            with suppress(TransportError, HubError):
                async with dial(self.hub) as client:
                    while self.missing:
                        await self._look(client)
                        await asyncio.sleep(poll_secs)
            await asyncio.sleep(poll_secs)

    async def _look(self, client: Client) -> None:
        for app, home in list(self.missing.values()):
            for agent in identities_in(home):
                if await self._came(client, agent):
                    del self.missing[app.id]
                    self.report(app, agent)
                    break
        self.began = True

    async def _came(self, client: Client, agent: AgentId) -> bool:
        """Whether the hub heard of an agent since we began to look."""
        entry = (await client.request(Lookup(id=agent), Card)).entry
        last = entry.last_seen if entry else None
        # One whose identity was not there when we began was made by its app since.
        self.first.setdefault(agent, None if self.began else last)
        return last is not None and last != self.first[agent]


def _wire(
    app: App, setting: Setting, *, alone: bool, write: bool = False
) -> AppOutcome:
    try:
        old = _entry(app, setting)
        wiring = _wiring(app, setting, alone=alone, old=old)
        make = partial(plan, app, setting.machine, wiring, setting.manifest)
        planned = make()
        if write:
            _take_over_secret(old, setting)
            _prepare_home(wiring, wiring.hub or setting.hub)
            _carry_out(planned, make, setting)
    except ParlerError as error:
        return _failed(app, error, setting, alone=alone)
    needed = planned.needed
    outcome = Outcome.WIRED if needed else Outcome.UNCHANGED
    config = app.config()
    notes = [*config.notes, *(config.hook_notes if wiring.hooks else ())]
    if setting.approvals and not _can_ask(app, wiring, setting):
        notes.append("its permission requests are answered on its own screen alone")
    return AppOutcome(
        id=app.id,
        title=app.title,
        outcome=outcome if write or not needed else Outcome.PLANNED,
        hub=wiring.hub or setting.hub,
        files=[str(change.content.path) for change in needed],
        diff=None if write else _diff(planned),
        restart=config.restart if needed else None,
        notes=[*_own_hub(wiring, setting), *(notes if needed else [])],
    )


def _can_ask(app: App, wiring: Wiring, setting: Setting) -> bool:
    return wiring.hooks and promises_of(app, setting.machine).asks


def _carry_out(planned: Plan, make: Callable[[], Plan], setting: Setting) -> None:
    """Write what is planned, anew where another program wrote in between.

    A running app keeps what it does in the file that has its servers.
    """
    for _ in range(CHANGED_TIMES - 1):
        try:
            carry_out(planned, setting.manifest)
        except ChangedMeanwhile:
            planned = make()
        else:
            return
    carry_out(planned, setting.manifest)


def _unwire(app: App, setting: Setting, *, write: bool = False) -> AppOutcome:
    try:
        bare = _bare_wiring(app, setting)
        wiring = replace(bare, hooks=True, reservations=True, approvals=True)
        make = partial(plan_removal, app, setting.machine, wiring, setting.manifest)
        planned = make()
        if write:
            _carry_out(planned, make, setting)
    except ParlerError as error:
        return _failed(app, error, setting, alone=True, by_hand=False)
    needed = planned.needed
    outcome = Outcome.REMOVED if needed else Outcome.NOTHING
    return AppOutcome(
        id=app.id,
        title=app.title,
        outcome=outcome if write or not needed else Outcome.PLANNED,
        files=[str(change.content.path) for change in needed],
        diff=None if write else _diff(planned),
        restart=app.config().restart if needed else None,
    )


def _failed(
    app: App,
    error: ParlerError,
    setting: Setting,
    *,
    alone: bool,
    by_hand: bool = True,
) -> AppOutcome:
    snippet = None
    if by_hand and isinstance(error, AppError):
        with suppress(ParlerError):
            snippet = _snippet(app, setting, alone=alone)
    return AppOutcome(
        id=app.id,
        title=app.title,
        outcome=Outcome.FAILED,
        detail=error.message,
        next=error.next_step or f"mend that, then parler connect {app.id}",
        snippet=snippet,
    )


def _snippet(app: App, setting: Setting, *, alone: bool) -> str:
    """What stands in the app's file when all is well, to be entered by hand."""
    wiring = _bare_wiring(app, setting, alone=alone)
    edit = next(
        edit for edit in app.config().files(setting.machine, wiring) if edit.server
    )
    own = tuple(change for change in edit.changes if change.path == edit.server)
    return edits.apply(replace(edit, changes=own, sweeps=()), "").text.strip()


def _diff(planned: Plan) -> str:
    return "\n".join(change.diff() for change in planned.needed)


def _result(outcomes: list[AppOutcome], setting: Setting) -> ConnectResult:
    return ConnectResult(
        ok=all(one.outcome is not Outcome.FAILED for one in outcomes),
        hosts=outcomes,
        hub=setting.hub,
        backups=str(setting.manifest.backups),
    )


def _entry(app: App, setting: Setting) -> Entry | None:
    """The entry that is there now; raises `AppError`."""
    entry = entry_of(app, setting.machine, _bare_wiring(app, setting))
    return entry if entry and entry.is_ours else None


def _wiring(
    app: App, setting: Setting, *, alone: bool, old: Entry | None = None
) -> Wiring:
    """What an app is given: its own home and name, unless told otherwise, and a hub of
    its own only where it has another, or cannot know what is chosen here."""
    if old is None:
        with suppress(AppError):
            old = _entry(app, setting)
    wiring = _bare_wiring(app, setting, alone=alone)
    if old is None:
        return wiring
    said = old.env.get("PARLER_HOME")
    # An earlier client's choice: who the agents are must not change.
    home = Path(said) if said and Path(said).is_dir() else wiring.home
    hub = None if setting.pinned else old.env.get("PARLER_HUB")
    if hub and same_hub(hub, setting.hub):
        hub = None
    if machine_home(home) != setting.home:
        hub = hub or setting.hub
    return replace(
        wiring, hub=hub, home=home, name=wiring.name or old.env.get("PARLER_NAME")
    )


def _bare_wiring(app: App, setting: Setting, *, alone: bool = True) -> Wiring:
    record = setting.manifest.get(app.id)
    known = bool(record.files)
    name = setting.name
    if name and not alone:  # several agents of one name could not be told apart
        name = f"{name}-{app.id}"

    def chosen(wanted: bool | None, recorded: bool, default: bool) -> bool:
        if wanted is not None:
            return wanted
        return recorded if known else default

    return Wiring(
        app=app.id,
        command=setting.command,
        home=app.home(setting.home),
        name=name,
        hooks=chosen(setting.hooks, record.hooks, True),
        reservations=chosen(setting.reservations, record.reservations, False),
        approvals=chosen(setting.approvals, record.approvals, False),
        platform=setting.machine.platform,
    )


def _take_over_secret(old: Entry | None, setting: Setting) -> None:
    """Keep a secret that an earlier client wrote into the app's file."""
    hub = old.env.get("PARLER_HUB") if old else None
    secret = old.env.get("PARLER_JOIN_SECRET") if old else None
    if hub and secret and setting.secrets.for_hub(hub) is None:
        setting.secrets.remember(hub, secret)


def _is_wired(health: Health) -> bool:
    return health.entry is not None and health.entry.is_ours


def _hub_of(wiring: Wiring) -> str:
    """The hub that an app's agents use: that they are told, or that of their home."""
    at_home = Flags(home=str(wiring.home))
    return wiring.hub or resolve_settings({}, None, None, at_home).hub


def _own_hub(wiring: Wiring, setting: Setting) -> list[str]:
    if wiring.hub is None or same_hub(wiring.hub, setting.hub):
        return []
    return [
        f"it keeps the hub it was told; for the chosen one: parler use {setting.hub}"
    ]


def told_another(apps: Sequence[App], setting: Setting) -> list[App]:
    """Which of these and of the wired apps are told a hub by name that is another."""
    wired = [app for name in setting.manifest.apps() if (app := app_named(name))]
    found = []
    for app in [*apps, *(one for one in wired if one not in apps)]:
        with suppress(AppError):
            entry = _entry(app, setting)
            hub = entry.env.get("PARLER_HUB") if entry else None
            if hub and not same_hub(hub, setting.hub):
                found.append(app)
    return found


def _prepare_home(wiring: Wiring, hub: str) -> None:
    """Let the app's server, hooks and shell find the same home, and clients that know
    no choice the same hub."""
    if wiring.home.parent.name != AGENTS:
        return  # an earlier client's choice: the user's own home is not ours to change
    identities.ensure_identity(wiring.home, hub_url=hub)
    homes = [wiring.home, *islice(homes_below(wiring.home), MAX_IDENTITIES)]
    for home in homes:
        if not (home / CONFIG_FILE).exists():
            continue
        with suppress(ConfigError):  # whoever uses that identity is told
            saved = identities.load_identity(home)
            if hub_key(saved.hub_url) != hub_key(hub):
                identities.update_identity(home, hub_url=hub)


def _unknown(name: str) -> UsageError:
    names = [word for app in all_apps() for word in (app.id, *app.aliases)]
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    candidates = close or [app.id for app in all_apps()]
    return UsageError(
        f"there is no app {name!r}",
        next_step=f"parler connect {candidates[0]}"
        if len(candidates) == 1
        else f"one of: {', '.join(candidates)}",
    )
