"""Examining this installation: is it whole, and does its hub answer?

Changes nothing but what any connection notes about its hub.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path

from parler._version import __version__
from parler.client import Client
from parler.config import Settings
from parler.errors import ConfigError, IdentityError, NotAuthenticated, ParlerError
from parler.identity import Identity, active_session, find_identity
from parler.ops.context import Result
from parler.signing import fingerprint, verify
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.replies import Pong, RoomList
from parler.wire.requests import Ping, Rooms

Dial = Callable[[Identity], AbstractAsyncContextManager[Client]]


class Finding(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
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


class DoctorResult(Result):
    """All that was looked at; `ok` if nothing is broken."""

    ok: bool
    checks: list[Check]


def exit_status(result: DoctorResult) -> int:
    """That of the first broken thing."""
    return next((check.status for check in result.checks if check.status), 0)


async def examine(settings: Settings, *, hub: str, dial: Dial) -> DoctorResult:
    """Look at everything; what is broken is a finding, never an exception."""
    checks = [_versions(), _packages(), _git()]
    identity = None
    try:
        identity = find_identity(settings.home)
        checks.append(_identity(identity, settings.home))
    except ConfigError as error:
        checks.append(_broken("identity", error))
    if identity is None:
        checks.append(
            Check(
                name="hub",
                finding=Finding.NOTE,
                detail=f"{hub} was not asked: there is nobody to sign in as",
            )
        )
    else:
        checks += await _hub(identity, hub, dial)
    broken = any(check.finding is Finding.BROKEN for check in checks)
    return DoctorResult(ok=not broken, checks=checks)


def _versions() -> Check:
    python = ".".join(map(str, sys.version_info[:3]))
    detail = f"parler {__version__}, protocol {PROTOCOL_VERSION}, Python {python}"
    return Check(name="version", finding=Finding.OK, detail=detail)


def _packages() -> Check:
    # Other distributions use the same import names (design 3).
    ours = Path(__file__).parents[2]
    found = {}
    for name in ("parler", "hub"):
        spec = importlib.util.find_spec(name)
        found[name] = Path(spec.origin).parents[1] if spec and spec.origin else None
    strangers = [name for name, where in found.items() if where != ours]
    if not strangers:
        return Check(name="packages", finding=Finding.OK, detail=f"both from {ours}")
    return Check(
        name="packages",
        finding=Finding.BROKEN,
        detail=f"{' and '.join(strangers)} is not of this installation",
        code=ConfigError.code,
        status=ConfigError.exit_status,
        next="install parler in an environment of its own: pipx install parler-agents",
    )


def _git() -> Check:
    git = shutil.which("git")
    if git:
        return Check(name="git", finding=Finding.OK, detail=git)
    return Check(
        name="git",
        finding=Finding.NOTE,
        detail="not found: code cannot be handed over",
        next="install git",
    )


def _identity(identity: Identity | None, home: Path) -> Check:
    if identity is None:
        return Check(
            name="identity",
            finding=Finding.NOTE,
            detail=f"none in {home} yet; the first command makes one",
        )
    probe = b"parler doctor"
    if not verify(identity.agent_id, probe, identity.keypair.sign(probe)):
        return Check(
            name="identity",
            finding=Finding.BROKEN,
            detail="its key does not sign",
            code=IdentityError.code,
            status=IdentityError.exit_status,
            next="parler init --force",
        )
    mark = fingerprint(identity.agent_id)
    return Check(
        name="identity", finding=Finding.OK, detail=f"{identity.name} {mark} in {home}"
    )


async def _hub(identity: Identity, hub: str, dial: Dial) -> list[Check]:
    checks = []
    try:
        async with dial(identity) as client:
            await client.request(Ping(), Pong)
            offers = ", ".join(sorted(client.features)) or "no extensions"
            detail = f"{hub} took our proof and offers {offers}"
            checks.append(Check(name="hub", finding=Finding.OK, detail=detail))
            listed = await client.request(Rooms(), RoomList)
    except ParlerError as error:
        return [*checks, _broken("hub", error)]
    active = active_session(identity.home)
    if active:
        there = active in {room.name for room in listed.rooms}
        checks.append(_active(active, there=there))
    return checks


def _active(room: str, *, there: bool) -> Check:
    if there:
        return Check(name="session", finding=Finding.OK, detail=f"{room} is active")
    return Check(
        name="session",
        finding=Finding.NOTE,
        detail=f"we are not in the active session {room} on this hub",
        next="parler session join KEY, or parler rooms",
    )


def _broken(name: str, error: ParlerError) -> Check:
    step = error.next_step
    if step is None and isinstance(error, NotAuthenticated):
        step = "parler whoami"
    if step and step.startswith("parler doctor"):
        step = "parler hub, if it is yours; else ask who runs it"
    return Check(
        name=name,
        finding=Finding.BROKEN,
        detail=error.message,
        code=error.code,
        status=error.exit_status,
        next=step,
    )
