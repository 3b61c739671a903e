"""What waits for the person: ``inbox``, and the glance that `parler` alone shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command
from parler.cli._format import let_in, short_topic
from parler.cli._own import (
    As,
    Yes,
    agents_meant,
    household_of,
    person_line,
    say_away,
)
from parler.cli._person import check_agreed, check_no_agent
from parler.cli._run import Options, settings_of
from parler.cli._when import when
from parler.ops import inbox, permissions, requests
from parler.ops.affiliations import belongs
from parler.ops.inbox import Item, Kind
from parler.ops.permissions import PermissionRequest
from parler.ops.questions import numbered
from parler.text.terminal import (
    clipped,
    sentence,
    shell_word,
    shown_name,
    visible,
    word,
)
from parler.text.transcript import mark_of
from parler.text.untrusted import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from parler.errors import ParlerError
    from parler.identity.own_agents import OwnAgent
    from parler.ops.capability import Capability
    from parler.ops.inbox import GlanceResult, Waiting
    from parler.ops.machine_context import Here
    from parler.ops.own import Away, Own, OwnRoom
    from parler.ops.peers import Peer
    from parler.runtime.own_hubs import OwnHubs

BELL = "\a"
_INDENT = "    "
_MAX_ROOMS = 12
_MAX_ITEMS = 10
_LOOK_SECS = 1.0
"""How often it is looked what apps of this machine ask: nothing tells."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, inbox.INBOX)(show_inbox)
    command(app, requests.ACCEPT)(accept)
    command(app, requests.DECLINE)(decline)
    command(app, permissions.PERMIT)(permit)
    command(app, permissions.REFUSE)(refuse)


def show_inbox(
    options: Options,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Stay, and ring when somebody knocks or asks."),
    ] = False,
    notify: Annotated[
        bool,
        typer.Option("--notify", help="As --watch, with the desktop's notifications."),
    ] = False,
    as_: As = None,
) -> None:
    """Show what waits, once or as it comes."""
    import asyncio

    from parler.cli._machine import here_of
    from parler.errors import HubError, TransportError
    from parler.ops.inbox import InboxResult

    here = here_of(options)
    if watch or notify:
        from parler.machine.desktop import notifier

        ring = notifier(here.environment) if notify else None
        asyncio.run(_watch(options, as_, ring))
        return
    household = household_of(options, as_, mints=False)
    try:
        result = asyncio.run(inbox.inbox(household, here))
    except (TransportError, HubError) as error:
        # What apps of this machine ask needs no hub.
        result = InboxResult(
            items=[],
            permissions=permissions.permissions(here),
            unreachable=_all_away(household, error),
        )
        if not result.permissions:
            raise
    say_away(options, result.unreachable)
    lines = [options.out.clipped(let_in(one)) for one in result.admitted]
    lines += _permissions(options, result.permissions)
    lines += _items(options, result.items)
    if not (result.items or result.permissions):
        lines.append("nothing waits for you")
    options.out.result(result, lines, foreign=True)


def permit(options: Options, which: str, yes: Yes = False) -> None:
    """Permit a request, when it was shown in full."""
    from parler.cli._machine import here_of
    from parler.ops.person_only import Deciding

    line = person_line(options, "permit", which)
    what = "permit what an agent asks for"
    check_no_agent(Deciding(what=what, question="", line=line))
    here = here_of(options)
    one = permissions.permission_meant(here, which)
    shown = [_asks(one, here.now()), *quote("\n".join(permissions.input_lines(one)))]
    question = "\n".join([*shown, "Permit this, once?"])
    check_agreed(Deciding(what=what, question=question, line=line), yes=yes)
    _decided_permission(options, permissions.permit(here, one.id))


def refuse(options: Options, which: str) -> None:
    """Refuse a request."""
    from parler.cli._machine import here_of

    _decided_permission(options, permissions.refuse(here_of(options), which))


def _decided_permission(options: Options, result: permissions.PermissionResult) -> None:
    verb = "permitted, this once" if result.permitted else "refused"
    options.out.result(result, [f"{word(result.tool)} is {verb}"])


def _permissions(options: Options, found: list[PermissionRequest]) -> Iterator[str]:
    from parler.runtime.bootstrap import now

    for one in found:
        yield from _permission(options, one, now())


def _permission(options: Options, one: PermissionRequest, now: int) -> Iterator[str]:
    yield _asks(one, now)
    shown, more = permissions.folded(permissions.input_lines(one))
    if shown:
        yield from (f"{_INDENT}{line}" for line in quote("\n".join(shown)))
    if more:
        yield f"{_INDENT}and {more}: permit shows all, and asks"
    yield _INDENT + person_line(options, "permit", one.id)
    yield _INDENT + person_line(options, "refuse", one.id)


def _asks(one: PermissionRequest, now: int) -> str:
    left = permissions.minutes_left(one, now)
    return f"{one.title} in {sentence(one.folder)} asks to use {word(one.tool)}  {left}"


def accept(options: Options, who: str | None = None, strangers: bool = False) -> None:
    """Let somebody's direct messages through."""
    _decide(options, requests.ACCEPT, who, strangers=strangers)


def decline(options: Options, who: str | None = None, strangers: bool = False) -> None:
    """Drop somebody's direct messages."""
    _decide(options, requests.DECLINE, who, strangers=strangers)


def _decide(
    options: Options, capability: "Capability", who: str | None, *, strangers: bool
) -> None:
    import asyncio

    from parler.identity.homes import machine_home
    from parler.identity.senders import Senders
    from parler.ops.person_only import Deciding

    words = ["--strangers"] if strangers else [who] if who else []
    deciding = Deciding(
        what=f"{capability.command} messages of strangers",
        question="",
        line=person_line(options, capability.command, *words),
    )
    check_no_agent(deciding)
    household = household_of(options, mints=False)
    senders = Senders(machine_home(household.settings.base_home))
    decided = capability.run(household, senders, who, strangers=strangers)
    result = asyncio.run(decided)
    options.out.result(result, [_decided(result)])
    words = [result.fingerprint] if result.fingerprint else ["--strangers"]
    verb = "decline" if result.accepted else "accept"
    options.out.undo(person_line(options, verb, *words))


def _decided(result: requests.SenderResult) -> str:
    if result.agent is None:
        come = "come unasked" if result.accepted else "are requests again"
        return f"direct messages of strangers {come}"
    who = f"{shown_name(result.name or '')} {result.fingerprint}".strip()
    if result.accepted:
        return f"{who} may write to you and your agents"
    return f"nothing of {who} is shown to you and your agents any more"


def glance(options: Options) -> None:
    """Show what waits, who is here, the rooms and the hub."""
    import asyncio

    from parler.cli._machine import here_of
    from parler.errors import HubError, TransportError
    from parler.ops.inbox import GlanceResult
    from parler.ops.peers import PeersParams, peers

    here = here_of(options)
    if not _agents_here(options):
        empty = GlanceResult(items=[], agents=[], rooms=[])
        options.out.result(empty, _nothing_yet(here.home))
        return
    household = household_of(options, starts_hub=False, mints=False)
    hubs = list(dict.fromkeys(hub for _, _, hub in household.places()))
    try:
        result = asyncio.run(inbox.glance(household, here))
    except (TransportError, HubError) as error:
        # Without a hub there still are the agents of this machine.
        result = GlanceResult(
            items=[],
            agents=asyncio.run(peers(here, PeersParams())).peers,
            rooms=[],
            unreachable=_all_away(household, error),
            permissions=permissions.permissions(here),
        )
    lines = _glance(options, result, hubs, here.home)
    options.out.result(result, lines, foreign=True)


def _all_away(household: "OwnHubs", error: "ParlerError") -> "list[Away]":
    from parler.ops.own import Away

    hubs = dict.fromkeys(hub for _, _, hub in household.places())
    return [Away(hub=one, reason=error.message) for one in hubs]


def _agents_here(options: Options) -> "list[OwnAgent]":
    from parler.identity.homes import machine_home
    from parler.identity.own_agents import own_agents

    return own_agents(machine_home(settings_of(options).base_home))


def _nothing_yet(home: "Path") -> Iterator[str]:
    from parler.identity.chosen_hub import read_choice

    if any((home / "agents").glob("*")):
        yield "Parler is wired, and no agent has used it yet."
        yield "Next: start your agent app, and tell it to open a Parler session."
        return
    if read_choice(home).hub:
        yield "The hub is chosen, and no agent has used it yet."
        yield "Next: parler connect APP"
    else:
        yield "Parler is not set up here yet."
        yield "Next: parler connect"
    yield "To see a message arrive without an agent app, paste these:"
    # Below this home, so that both go to the hub that is used here.
    bob = _from_home(home / "agents/bob")
    yield "  parler serve hi"
    yield f"  PARLER_HOME={bob} PARLER_NAME=bob parler send --service hi HEY"
    yield "  parler recv --room svc.hi"
    yield "All commands: parler --help"


def _from_home(folder: Path) -> str:
    """A folder as a shell word, from the user's home if it is below that."""
    if folder.is_relative_to(user := Path.home()):
        return f"~/{shell_word(str(folder.relative_to(user)), None)}"
    return shell_word(str(folder), None)


def _glance(
    options: Options, result: "GlanceResult", hubs: list[str], home: "Path"
) -> Iterator[str]:
    for one in result.admitted:
        yield options.out.clipped(let_in(one))
    if result.items or result.permissions:
        yield "Waiting for you"
        for line in _permissions(options, result.permissions):
            yield f"  {line}"
        for line in _items(options, result.items[:_MAX_ITEMS]):
            yield f"  {line}"
        if len(result.items) > _MAX_ITEMS:
            yield f"  and {len(result.items) - _MAX_ITEMS} more: parler inbox"
    elif result.unreachable:
        yield "What waits for you cannot be seen: not every hub was reached."
    else:
        yield "Nothing waits for you."
    yield "Agents"
    for peer in result.agents:
        yield from _fitting(options, _peer(peer))
    if not result.agents:
        yield "  none runs here now"
    yield from _rooms(options, result)
    yield "Hub"
    yield from _hubs(result, hubs, home)


def _rooms(options: Options, result: "GlanceResult") -> Iterator[str]:
    if not result.rooms and result.unreachable:
        return
    yield "Rooms"
    # A room that several of ours are in is one room.
    places: dict[tuple[str, str], list[OwnRoom]] = {}
    for room in result.rooms:
        places.setdefault((room.hub, room.name), []).append(room)
    rooms = sorted(
        places.values(),
        key=lambda seats: (
            not any(one.active for one in seats),
            not any(one.unread for one in seats),
        ),
    )
    for seats in rooms[:_MAX_ROOMS]:
        yield from _fitting(options, [_room(seats)])
    if len(rooms) > _MAX_ROOMS:
        yield f"  and {len(rooms) - _MAX_ROOMS} more: parler rooms"
    if not rooms:
        yield "  none yet: parler session open"


def _hubs(result: "GlanceResult", hubs: list[str], home: "Path") -> Iterator[str]:
    from parler.local_hub import find_own_hub

    away = {one.hub: one.reason for one in result.unreachable}
    for hub in hubs:
        whose = "  this machine's" if find_own_hub([home], hub) else ""
        state = "not reached: parler doctor" if hub in away else "running"
        yield f"  {visible(hub)}{whose}  {state}"
    if not hubs:
        yield "  none chosen yet: parler connect"


def _fitting(options: Options, lines: "list[str] | Iterator[str]") -> Iterator[str]:
    for line in lines:
        yield options.out.clipped(f"  {line}")


def _peer(peer: "Peer") -> Iterator[str]:
    from parler.apps.registry import app_named

    app = app_named(peer.app) if peer.app else None
    words = [shown_name(peer.name)]
    words += [app.title if app else word(peer.app)] if peer.app else []
    if peer.summary and not peer.said_by_itself:
        words.append(sentence(peer.summary))
    elif where := peer.project or peer.folder:
        words.append(f"in {sentence(where)}")
    yield "  ".join(words) + ("  ← you" if peer.me else "")
    if peer.summary and peer.said_by_itself:
        yield f"{_INDENT}{sentence(peer.summary)}"


def _room(seats: "list[OwnRoom]") -> str:
    room = seats[0]
    star = "*" if any(one.active for one in seats) else " "
    topic = next((one.topic for one in seats if one.topic), None)
    name = short_topic(topic) if topic else word(room.name)
    if room.peer and len(seats) == 1:
        name = f"direct with {shown_name(room.peer)}"
    elif room.peer:
        name = "direct"
    owners = ", ".join(shown_name(one.owner) for one in seats)
    missed = max(one.unread for one in seats)
    # What is too long for a row is cut at its end.
    unread = f"{missed} unread  " if missed else ""
    return f"{star} {unread}{name}  {owners}  {room.members} in it"


def _items(options: Options, items: list[Item]) -> Iterator[str]:
    for one in items:
        yield from _item(options, one)


def _item(options: Options, one: Item) -> Iterator[str]:
    role = f" ({shown_name(one.role)})" if one.role else ""
    who = f"{shown_name(one.name or '')}{role}  {one.fingerprint or ''}"
    what = {
        Kind.KNOCK: "knocks",
        Kind.REQUEST: "wants to write",
        Kind.QUESTION: "asks",
        Kind.MAIL: "wrote",
    }[one.kind]
    yield options.out.clipped(f"{who}  {what}  {when(one.since)}")
    if one.affiliation and one.agent:
        yield options.out.clipped(_INDENT + belongs(one.affiliation, one.agent))
    if one.kind is Kind.KNOCK:
        room = short_topic(one.topic) if one.topic else word(one.room)
        yield options.out.clipped(f"{_INDENT}at {room} of {shown_name(one.owner)}")
        yield _INDENT + person_line(options, "approve", one.fingerprint or "")
        return
    more = f" (and {one.count - 1} more)" if one.count > 1 else ""
    mark = mark_of(one.signature) if one.signature else ""
    whom = "you" if one.owner_id == _me(options) else shown_name(one.owner)
    said = f"to {whom}{more}: {mark}{clipped(one.text or '')}"
    yield options.out.clipped(_INDENT + said)
    if one.kind is Kind.REQUEST:
        yield _INDENT + person_line(options, "accept", one.fingerprint or "")
        yield _INDENT + person_line(options, "decline", one.fingerprint or "")
        return
    if one.asks_person:
        if one.choices:
            yield options.out.clipped(_INDENT + numbered(one.choices))
        yield (
            _INDENT + person_line(options, "answer", one.fingerprint or "") + " ANSWER"
        )
        return
    if one.owner_id == _me(options):  # to read it is to be done with it
        yield _INDENT + person_line(options, "recv", "--room", one.room)
    else:
        yield _INDENT + person_line(options, "history", one.room, "--as", one.owner)


def _me(options: Options) -> str | None:
    """Who types here."""
    from parler.identity.identity import find_identity

    me = find_identity(settings_of(options).home)
    return me.agent_id if me else None


async def _watch(
    options: Options, as_: str | None, ring: "Callable[[str, str], None] | None"
) -> None:
    import asyncio
    from functools import partial

    from parler.cli._machine import here_of

    here = here_of(options)
    household = household_of(options, as_, mints=False)
    settings = household.settings
    screen = _Screen(options, ring)
    options.out.note("watching what waits for you; Ctrl-C ends it")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(screen.permissions(here))
        await household.stay(
            lambda own: inbox.watch(own, here, screen),
            screen.trouble,
            partial(agents_meant, options, settings, as_, mints=False),
        )


class _Screen:
    """A terminal that rings, or a program that reads stdout."""

    def __init__(
        self, options: Options, ring: "Callable[[str, str], None] | None"
    ) -> None:
        self._options = options
        self._ring = ring
        self._shown: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        self._told: dict[str, str] = {}

    def heard(self, own: "Own", note: object) -> None:
        """Nothing is shown before it is put up."""

    def put(self, own: "Own", rooms: "list[OwnRoom]", waiting: "Waiting") -> None:
        """Show what is new at one place."""
        out = self._options.out
        out.still_there()
        self._told.pop(own.ctx.hub, None)
        place = (str(own.agent.home), own.ctx.hub)
        before = self._shown.get(place, set())
        self._shown[place] = {one.key for one in waiting.items}
        for knock in waiting.admitted:
            out.note(let_in(knock))
        for one in waiting.items:
            if one.key in before:
                continue
            out.result(one, _item(self._options, one), foreign=True)
            out.ring()
            if self._ring is not None:
                self._ring(*_headline(one))

    async def permissions(self, here: "Here") -> None:
        """Show what apps of this machine ask, as it comes, until cancelled."""
        import asyncio

        shown: set[str] = set()
        while True:
            waiting = await asyncio.to_thread(permissions.permissions, here)
            for one in waiting:
                if one.id not in shown:
                    lines = _permission(self._options, one, here.now())
                    self._options.out.result(one, lines, foreign=True)
                    self._options.out.ring()
                    if self._ring is not None:
                        self._ring("Parler: a permission", _asks(one, here.now()))
            shown = {one.id for one in waiting}
            self._options.out.still_there()
            await asyncio.sleep(_LOOK_SECS)

    def trouble(self, hub: str, error: "ParlerError") -> None:
        """Say once why a hub is not watched."""
        self._options.out.still_there()
        if self._told.get(hub) != error.message:
            self._told[hub] = error.message
            self._options.out.note(f"not watched is {hub}: {error.message}")


def _headline(one: Item) -> tuple[str, str]:
    who = f"{shown_name(one.name or '')} {one.fingerprint or ''}"
    if one.kind is Kind.KNOCK:
        where = short_topic(one.topic) if one.topic else word(one.room)
        return "Parler: a knock", f"{who} asks to be let into {where}"
    what = {Kind.QUESTION: "a question", Kind.REQUEST: "a stranger's message"}
    head = f"Parler: {what.get(one.kind, 'a message')}"
    return head, f"{who}: {clipped(one.text or '')}"
