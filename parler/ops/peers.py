"""Who else is here: the agents of this machine, of this repository, of the hub.

What is shown of a peer is true now: an agent whose app has ended is not here, and each
says how a message would reach it at this moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from parler.errors import HubError, HubRefused
from parler.identity.identity import active_session
from parler.identity.signing import fingerprint
from parler.machine.processes import Process, machine, uptime_ms
from parler.ops.affiliations import Affiliation
from parler.ops.capability import READS, SETS, Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.directory import DiscoverParams, discover
from parler.ops.machine_context import Here
from parler.ops.rooms import roster
from parler.peers.presence import Kind, LiveRecord, amend, read_live
from parler.peers.reservations import Reservation, Reservations, epoch_ms
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.records import OFFLINE
from parler.wire.urls import same_hub

MAX_HUB_PEERS = 200


class Scope(StrEnum):
    """Where to look."""

    REPO = "repo"
    DIRECTORY = "directory"
    MACHINE = "machine"
    HUB = "hub"


class Reach(StrEnum):
    """When a peer would take a message that is sent now."""

    AT_ONCE = "at-once"
    TURN_END = "turn-end"
    """When the turn that it is at, or begins next, is over."""

    NEXT_TURN = "next-turn"
    WHEN_IT_LOOKS = "when-it-looks"
    NOT_NOW = "not-now"
    """Its app runs, and nothing takes messages for it."""


_REACH = {
    "push": Reach.AT_ONCE,
    "turn": Reach.TURN_END,
    "next": Reach.NEXT_TURN,
}
WAKES = frozenset({*_REACH, "none"})

REACHED = {
    Reach.AT_ONCE: "takes a message at once",
    Reach.TURN_END: "takes a message when its turn is over",
    Reach.NEXT_TURN: "takes a message at its next turn",
    Reach.WHEN_IT_LOOKS: "takes a message when it looks",
    Reach.NOT_NOW: "takes no messages now",
}
"""The same in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeersParams:
    """Where to look for peers."""

    scope: Annotated[
        Scope, Param("repo, directory, machine or hub.", "WHERE", brief="")
    ] = Scope.MACHINE
    query: Annotated[
        str | None,
        Param(
            "Only with this in name, tags, skills or work.",
            "WORDS",
            brief="Part of a name, tag or skill.",
        ),
    ] = None


class Held(Result):
    """Files that a peer asked the others to leave alone."""

    glob: str
    project: str
    why: str
    minutes: int
    id: str


class Peer(Result):
    """An agent that is here now."""

    agent: AgentId
    fingerprint: str
    name: Foreign
    reach: Reach
    app: str | None = None
    role: Foreign | None = None
    kind: Kind = Kind.SESSION
    on_this_machine: bool = False
    project: str | None = None
    branch: str | None = None
    folder: str | None = None
    summary: Foreign | None = None
    said_by_itself: bool = False
    """The summary is its own; else it is derived from what git tells."""

    changed: list[str] = msgspec.field(default_factory=list)
    wake: str | None = None
    last_taken: int | None = None
    room: RoomName | None = None
    hub: str | None = None
    other_hub: bool = False
    """It is not on our hub: a message from here would not find it."""

    serves: list[str] = msgspec.field(default_factory=list)
    status: Foreign | None = None
    reserved: list[Held] = msgspec.field(default_factory=list)
    me: bool = False
    affiliation: Affiliation | None = None
    """Of those that are elsewhere."""


class PeersResult(Result):
    """Who is here."""

    scope: Scope
    peers: list[Peer]
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryParams:
    """What to show the others."""

    text: Annotated[
        str, Param("What you work on; none: derived from git again.", words=True)
    ] = ""


class SummaryResult(Result):
    """What the others see now."""

    summary: str | None
    derived: bool
    shown: bool
    """Whether there is a live session of ours that shows it."""


async def peers(
    here: Here, params: PeersParams, *, ctx: OpContext | None = None
) -> PeersResult:
    """Who is here, and how each is reached; ourselves marked.

    Args:
        ctx: Needed for the hub's agents; else says whose hub ours is.

    Raises:
        HubError: The hub refused.
    """
    own = here.own_record()
    hub = ctx.hub if ctx else own.hub if own else None
    reserved = _by_host(Reservations(here.home).all())
    local = [
        _peer(record, own=own, hub=hub, reserved=reserved.get(_host(record), []))
        for record in _within(here, params.scope, read_live(here.home))
    ]
    local = [one for one in local if _is_wanted(one, params.query)]
    if params.scope is not Scope.HUB or ctx is None:
        return PeersResult(scope=params.scope, peers=local)
    there, note = await _of_hub(ctx, params.query)
    known = {peer.agent for peer in local}
    others = [peer for peer in there if peer.agent not in known]
    return PeersResult(scope=params.scope, peers=[*local, *others], note=note)


PEERS = Capability(
    run=peers,
    about="Show the agents that are here, and how to reach each.",
    more="Those of this machine need no hub. Whoever is not running any more is not "
    "shown.",
    command="peers",
    example="""\
parler peers
parler peers --scope repo
parler peers --scope hub --query webhooks""",
    tool="parler_peers",
    brief="Agents that are here, what each does, and whether it is reached at once.",
    call='{"scope": "repo"}',
    hints=READS,
    common=True,
)


def set_summary(here: Here, params: SummaryParams) -> SummaryResult:
    """Say what we work on, for the others on this machine.

    Raises:
        ConfigError: It cannot be written.
    """
    own = here.own_record()
    if own is None:
        return SummaryResult(summary=None, derived=True, shown=False)
    said = " ".join(params.text.split()) or None
    changed = amend(here.home, own, said=said)
    return SummaryResult(
        summary=changed.summary if changed else None,
        derived=said is None,
        shown=changed is not None,
    )


SUMMARY = Capability(
    run=set_summary,
    about="Tell the other agents of this machine what you work on.",
    command="summary",
    example='parler summary "building the dashboard data layer"',
    tool="parler_summary",
    call='{"text": "building the dashboard"}',
    hints=SETS,
)


def reach_of(record: LiveRecord) -> Reach:
    """How a message would reach a live session now."""
    if record.hub is None:
        return Reach.NOT_NOW
    if not record.helper.runs:
        # Hooks of the app may still show what came before; nothing new comes in.
        return Reach.NOT_NOW
    return _REACH.get(record.wake, Reach.WHEN_IT_LOOKS)


def _within(
    here: Here, scope: Scope, records: Iterable[LiveRecord]
) -> list[LiveRecord]:
    place = here.workspace
    match scope:
        case Scope.DIRECTORY:
            return [one for one in records if _below(Path(one.folder), place.folder)]
        case Scope.REPO:
            return [
                one
                for one in records
                if (place.repository and one.repository == place.repository)
                or one.folder == str(place.folder)
            ]
        case _:
            return list(records)


def _below(folder: Path, top: Path) -> bool:
    return folder == top or top in folder.parents


def _peer(
    record: LiveRecord,
    *,
    own: LiveRecord | None,
    hub: str | None,
    reserved: list[Held],
) -> Peer:
    elsewhere = bool(hub and record.hub and not same_hub(hub, record.hub))
    return Peer(
        agent=record.agent,
        fingerprint=fingerprint(record.agent),
        name=foreign(record.name),
        reach=reach_of(record),
        app=record.app,
        role=foreign(record.role),
        kind=record.kind,
        on_this_machine=True,
        project=record.project,
        branch=record.branch,
        folder=record.folder,
        summary=foreign(record.summary),
        said_by_itself=record.said is not None,
        changed=record.changed,
        wake=record.wake,
        last_taken=record.last_taken,
        room=record.room,
        hub=record.hub,
        other_hub=elsewhere,
        serves=record.serves,
        reserved=reserved,
        me=own is not None and record.key == own.key,
    )


def _is_wanted(one: Peer, query: str | None) -> bool:
    theirs = filter(None, (exact(one.name), exact(one.role), exact(one.summary)))
    words = " ".join([*theirs, one.app or "", one.project or ""])
    return (query or "").casefold() in words.casefold()


def _host(record: LiveRecord) -> Process:
    return Process(record.host.pid, record.host.started)


def _by_host(held: Iterable[Reservation]) -> Mapping[Process | None, list[Held]]:
    found: dict[Process | None, list[Held]] = {}
    for one in held:
        if one.machine != machine():
            continue  # its process ids are not ours
        found.setdefault(one.host, []).append(shown_reservation(one))
    return found


def shown_reservation(one: Reservation) -> Held:
    """A reservation as it is shown with its holder."""
    left = max(0, one.left_ms(uptime_ms(), epoch_ms()))
    return Held(
        id=one.id,
        glob=one.glob,
        project=one.project,
        why=one.why,
        minutes=max(1, round(left / 60_000)),
    )


def with_wake(activity: str, wake: str) -> str:
    """What a hub is told of an agent, and how it is reached: its members read both."""
    return f"{activity} · wake: {wake}"


def told(activity: Foreign | None) -> tuple[Foreign | None, Reach]:
    """What an agent said it does, and how it said that it is reached."""
    words, _, wake = (exact(activity) or "").rpartition("wake: ")
    if wake not in WAKES:
        return activity, Reach.WHEN_IT_LOOKS
    return foreign(words.removesuffix(" · ") or None), _REACH.get(
        wake, Reach.WHEN_IT_LOOKS
    )


async def _of_hub(ctx: OpContext, query: str | None) -> tuple[list[Peer], str | None]:
    """Agents that the hub says are connected: of our session, and of the directory."""
    found: dict[AgentId, Peer] = {}
    room = active_session(ctx.identity.home)
    if room:
        try:
            entries = (await roster(ctx, RoomName(room))).entries
        except HubRefused:
            entries = []  # it lives on another hub, or we are in it no more
        for one in entries:
            if one.status != OFFLINE:
                words, reach = told(one.activity)
                found[one.id] = Peer(
                    agent=one.id,
                    fingerprint=one.fingerprint,
                    name=one.name,
                    role=one.role,
                    reach=reach,
                    status=one.status,
                    summary=words,
                    said_by_itself=bool(words),
                    room=RoomName(room),
                    hub=ctx.hub,
                    affiliation=one.affiliation,
                )
        found = {id_: one for id_, one in found.items() if _is_wanted(one, query)}
    note = None
    try:
        listed = await discover(ctx, DiscoverParams(limit=MAX_HUB_PEERS, query=query))
    except HubError as refused:
        return list(found.values()), f"the hub lists nobody: {refused.message}"
    for entry in listed.agents:
        if entry.status == OFFLINE or entry.card.id in found:
            continue
        words, reach = told(entry.activity)
        found[entry.card.id] = Peer(
            agent=entry.card.id,
            fingerprint=entry.fingerprint,
            name=entry.card.name,
            role=entry.card.role,
            reach=reach,
            status=entry.status,
            summary=words,
            said_by_itself=bool(words),
            hub=ctx.hub,
            affiliation=entry.affiliation,
        )
    if listed.more:
        note = f"the hub has more than the {MAX_HUB_PEERS} agents looked through"
    me = ctx.client.agent_id
    return [peer for agent, peer in found.items() if agent != me], note
