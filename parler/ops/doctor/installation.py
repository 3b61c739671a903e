"""Examining this installation: is it whole, and does its hub answer?

Changes nothing: nothing is minted, redeemed, started or remembered, but a hub that was
refused, for whoever means to trust it. Signing in is all that others may notice.
"""

import importlib.util
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from parler import local_hub
from parler._version import __version__
from parler.client.client import Client
from parler.errors import (
    ConfigError,
    ConnectFailed,
    HandoffError,
    IdentityError,
    ParlerError,
    TransportError,
)
from parler.handoff.git import Git
from parler.identity import join_secrets
from parler.identity.homes import machine_home
from parler.identity.identity import (
    Identity,
    active_session,
    find_identity,
    init_command,
)
from parler.identity.settings import Settings, dialled
from parler.identity.signing import fingerprint, verify
from parler.local_hub.port_owner import port_owner_of, refuse
from parler.local_hub.probe import Answer, ask
from parler.ops.capability import Capability
from parler.ops.context import Result
from parler.ops.doctor.wake import probe_wake
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.joinkey import InvalidJoinKey, parse_join_key
from parler.wire.replies import Pong, RoomList
from parler.wire.requests import Ping, Rooms
from parler.wire.urls import is_loopback

MAX_SKEW_SECS = 30.0
"""How far the clocks of hub and client may be apart before times look wrong."""

_NEEDED = ("msgspec", "pynacl", "websockets", "click", "typer", "mcp", "psutil")
_HUB_NEEDS = ("sqlalchemy", "starlette", "uvicorn")
_SELF = "parler doctor"
_ASK = "ask who runs it; or parler connect --local, for a hub of your own"
_REINSTALL = "install parler in an environment of its own: pipx install parler-agents"
_SET_CLOCK = {
    "linux": "timedatectl set-ntp true",
    "darwin": "sudo sntp -sS time.apple.com",
    "win32": "w32tm /resync",
}

Dial = Callable[[Identity], AbstractAsyncContextManager[Client]]


class Finding(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It works, and there is something to mend or to know."""
    BROKEN = "broken"


class Check(Result):
    """One thing that was looked at."""

    name: str
    finding: Finding
    detail: str
    code: str | None = None
    status: int = 0
    """The exit status, if it is broken."""
    next: str | None = None
    """The command that mends it."""


MoreChecks = Callable[[], Awaitable[Iterable[Check]]]
"""Looks at something this module knows nothing of, such as agent apps."""


class DoctorResult(Result):
    """All that was looked at; `ok` if nothing is broken."""

    ok: bool
    checks: list[Check]


def exit_status(result: DoctorResult) -> int:
    """That of the first broken thing."""
    return next((check.status for check in result.checks if check.status), 0)


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name=name, finding=Finding.OK, detail=detail)


def warn(name: str, detail: str, step: str | None = None) -> Check:
    """It works, but."""
    return Check(name=name, finding=Finding.WARN, detail=detail, next=step)


def broken(name: str, error: ParlerError, *, step: str | None = None) -> Check:
    """It does not work, as an error says."""
    step = step or error.next_step
    if isinstance(error, TransportError) and (step or _SELF).startswith(_SELF):
        step = _ASK
    return Check(
        name=name,
        finding=Finding.BROKEN,
        detail=error.message,
        code=error.code,
        status=error.exit_status,
        next=step,
    )


async def examine(
    settings: Settings, *, hub: str, dial: Dial, more: Iterable[MoreChecks] = ()
) -> DoctorResult:
    """Look at everything; what is broken is a finding, never an exception.

    Args:
        hub: The hub that is meant.
        dial: Signs in there; must neither start a hub nor remember anything.
        more: Further things to look at.
    """
    checks = [check async for check in _all(settings, hub, dial, more)]
    sick = any(check.finding is Finding.BROKEN for check in checks)
    return DoctorResult(ok=not sick, checks=checks)


DOCTOR = Capability(
    run=examine,
    also=[probe_wake],
    about="Examine this installation and its hub; changes nothing.",
    more="The exit status is 0, or that of the first thing that is broken.",
    command="doctor",
    no_tool="an app that does not work has no tools",
)


async def _all(
    settings: Settings, hub: str, dial: Dial, more: Iterable[MoreChecks]
) -> AsyncIterator[Check]:
    yield _versions()
    yield _packages()
    yield _dependencies()
    yield await _git(settings)
    for look in (_home, _secrets, _session_key):
        if check := look(settings):
            yield check
    identity = None
    try:
        identity = find_identity(settings.home)
        yield _identity(identity, settings.home)
    except ConfigError as error:
        yield broken("identity", error)
    local, reachable = await _local_hub(settings, hub)
    if local is not None:
        yield local
    if reachable:
        for check in await _hub(identity, hub, dial):
            yield check
    for ask_more in more:
        try:
            for check in await ask_more():
                yield check
        except ParlerError as error:
            yield broken("apps", error)


# ----------------------------------------------------------------- this installation


def _versions() -> Check:
    python = ".".join(map(str, sys.version_info[:3]))
    detail = f"parler {__version__}, protocol {PROTOCOL_VERSION}, Python {python}"
    return ok("version", f"{detail} at {sys.executable}")


def _packages() -> Check:
    # Other distributions use the same import names (design 3).
    ours = Path(__file__).parents[3]
    found = {}
    for name in ("parler", "hub"):
        spec = importlib.util.find_spec(name)
        found[name] = Path(spec.origin).parents[1] if spec and spec.origin else None
    strangers = [name for name, where in found.items() if where != ours]
    if not strangers:
        return ok("packages", f"both are from {ours}")
    where = {name: found[name] or "nowhere" for name in strangers}
    told = ", ".join(f"{name} from {place}" for name, place in where.items())
    return broken(
        "packages",
        ConfigError(f"not of this installation in {ours}: {told}"),
        step=_REINSTALL,
    )


def _dependencies() -> Check:
    versions, missing = [], []
    for name in (*_NEEDED, *_HUB_NEEDS):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        absent = ConfigError(f"not installed: {', '.join(missing)}")
        return broken("dependencies", absent, step=_REINSTALL)
    return ok("dependencies", ", ".join(versions))


async def _git(settings: Settings) -> Check:
    try:
        said = await Git(folder=Path(sys.executable).parent).text("--version")
    except HandoffError as error:
        return warn(
            "git", f"code cannot be handed over: {error.message}", "install git"
        )
    return ok("git", said.removeprefix("git version "))


# ------------------------------------------------------------------------ this agent


def _home(settings: Settings) -> Check | None:
    home = settings.home
    there = next((path for path in (home, *home.parents) if path.exists()), home)
    if os.access(there, os.W_OK | os.X_OK):
        return None
    return broken(
        "home",
        ConfigError(f"nothing can be written to {home}"),
        step=f"ls -ld {shlex.quote(str(there))}",
    )


def _secrets(settings: Settings) -> Check | None:
    path = machine_home(settings.base_home) / join_secrets.FILE_NAME
    try:
        join_secrets.JoinSecrets(path).for_hub(settings.hub)
    except ConfigError as error:
        return broken("secrets", error)
    return None


def _session_key(settings: Settings) -> Check | None:
    if settings.session_key is None:
        return None
    try:
        parse_join_key(settings.session_key)
    except InvalidJoinKey:
        wrong = ConfigError("PARLER_SESSION_KEY is no session key")
        return broken("session key", wrong, step="unset PARLER_SESSION_KEY")
    return ok("session key", "PARLER_SESSION_KEY has the form of a key; not redeemed")


def _identity(identity: Identity | None, home: Path) -> Check:
    if identity is None:
        return ok("identity", f"none in {home} yet; the first command makes one")
    probe = b"parler doctor"
    if not verify(identity.agent_id, probe, identity.keypair.sign(probe)):
        return broken(
            "identity",
            IdentityError("its key does not sign"),
            step=init_command(home, force=True),
        )
    mark = fingerprint(identity.agent_id)
    return ok("identity", f"{identity.name} {mark} in {home}")


# --------------------------------------------------------------------------- the hub


async def _local_hub(settings: Settings, hub: str) -> tuple[Check | None, bool]:
    """This machine's own hub, and whether it makes sense to dial the one meant.

    None for the check where there is no such hub.
    """
    name = "local hub"
    try:
        place = local_hub.hub_paths(settings.base_home)
        seen = local_hub.look(place)
        meant = local_hub.starts_by_itself(settings, hub)
        if seen.state is not local_hub.State.STOPPED:
            check = _running(seen, hub, meant=meant)
            return check, check.finding is not Finding.BROKEN
        if not meant:
            return None, True
        owner = await port_owner_of(hub)
        if owner and not local_hub.stands_in(owner, settings.base_home, hub):
            return broken(name, refuse(hub, owner)), False
    except ParlerError as error:
        return broken(name, error), False
    if owner:
        return ok(name, f"another hub of yours is at {hub}"), True
    if place.stopped.exists():
        return warn(name, "it was stopped", "parler hub start"), False
    return ok(name, "does not run; it starts when it is needed"), False


def _running(seen: local_hub.Seen, hub: str, *, meant: bool) -> Check:
    name = "local hub"
    if seen.state is not local_hub.State.RUNNING:
        return warn(
            name, f"it is {seen.state} (process {seen.pid})", "parler hub status"
        )
    if meant and not seen.is_at(hub):
        elsewhere = ConnectFailed(hub, f"the local hub runs at {seen.url} instead")
        return broken(name, elsewhere, step="parler hub stop")
    told = f"runs at {seen.url} (process {seen.pid}, parler {seen.version})"
    if seen.version != __version__:
        again = "parler hub stop, then parler hub start"
        return warn(name, f"{told}, which is not this version", again)
    return ok(name, told)


async def _hub(identity: Identity | None, hub: str, dial: Dial) -> list[Check]:
    if identity is not None:
        checks = await _sign_in(identity, hub, dial)
        if checks[0].finding is Finding.BROKEN:
            return checks
        return checks + _clock((await _asked(hub))[1])
    why, answer = await _asked(hub)
    if why is not None or answer is None:
        return [broken("hub", ConnectFailed(hub, why or "nothing listens there"))]
    there = f"{hub} is there ({answer.mode} hub {answer.name!r}); nobody signed in yet"
    return [ok("hub", there), *_clock(answer)]


async def unreachable(settings: Settings, hub: str) -> ParlerError | None:
    """Why a hub that an app is wired to does not answer; None if it does, or if it is
    this machine's own, which starts when it is needed."""
    why, _ = await _asked(hub)
    if why is None:
        return None
    try:
        if local_hub.starts_by_itself(settings, hub):
            place = local_hub.hub_paths(settings.base_home)
            if not await port_owner_of(hub):
                return _stopped(hub) if place.stopped.exists() else None
        elif is_loopback(urlsplit(dialled(hub)).hostname or ""):
            return ConnectFailed(hub, why, next_step="parler connect --local")
    except ParlerError as error:
        return error
    return ConnectFailed(hub, why, next_step=_ASK)


def _stopped(hub: str) -> ConnectFailed:
    return ConnectFailed(hub, "it was stopped", next_step="parler hub start")


async def _asked(hub: str) -> tuple[str | None, Answer | None]:
    """Why a hub does not answer, or its answer. Nobody signs in for that."""
    try:
        answer = await ask(hub)
    except ParlerError as error:
        return error.message, None
    except TimeoutError:
        return "it does not answer in time", None
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__, None
    if answer is None:
        return "nothing listens there", None
    return (None, answer) if answer.is_hub else ("that is no hub", None)


async def _sign_in(identity: Identity, hub: str, dial: Dial) -> list[Check]:
    checks = []
    try:
        async with dial(identity) as client:
            await client.request(Ping(), Pong)
            offers = ", ".join(sorted(client.features)) or "no extensions"
            checks.append(ok("hub", f"{hub} took our proof and offers {offers}"))
            listed = await client.request(Rooms(), RoomList)
    except ParlerError as error:
        return [broken("hub", error), *checks]
    active = active_session(identity.home)
    if active:
        there = active in {room.name for room in listed.rooms}
        checks.append(_active(active, there=there))
    return checks


def _clock(answer: Answer | None) -> list[Check]:
    skew = answer.skew_secs if answer else None
    if skew is None:
        return []
    if abs(skew) <= MAX_SKEW_SECS:
        return [ok("clock", f"within {max(abs(skew), 1):.0f} s of the hub's")]
    ahead = "behind" if skew > 0 else "ahead of"
    told = f"this machine's clock is {abs(skew):.0f} s {ahead} the hub's"
    return [warn("clock", told, _SET_CLOCK.get(sys.platform))]


def _active(room: str, *, there: bool) -> Check:
    if there:
        return ok("session", f"{room} is active")
    return warn(
        "session",
        f"we are not in the active session {room} on this hub",
        "parler session use ROOM, one of parler session list; or parler session join "
        "KEY",
    )
