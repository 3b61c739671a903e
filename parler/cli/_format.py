"""How results read: the lines that `render` prints for people. Pure functions."""

import shlex
from collections.abc import Callable, Iterator
from datetime import tzinfo

from parler.cli._when import when
from parler.identity.people import Relation
from parler.ops.admission import DecisionResult, Knock
from parler.ops.affiliations import belongs, introduced
from parler.ops.invites import InviteResult, InvitesResult
from parler.ops.message_view import ShownMessage
from parler.ops.own import OwnKnock, OwnRequestsResult, OwnRoom, OwnRoomsResult
from parler.ops.rooms import Member, RosterResult
from parler.ops.session import ONLY_THIS_USER, JoinResult, OpenResult
from parler.text.terminal import (
    clipped,
    counted,
    quoted,
    sentence,
    shell_word,
    shown_name,
    visible,
    word,
)
from parler.text.transcript import Transcript, newest_handoff, shown_state
from parler.text.untrusted import quote
from parler.wire.base import RoomName
from parler.wire.foreign import Foreign
from parler.wire.records import DirectoryEntry, RoomKind, RosterEntry

MAX_TOPIC_CHARS = 36

_KINDS = {RoomKind.DM: "direct", RoomKind.SERVICE: "service"}

WHILE_SEEN = "while an agent app of yours runs, or parler inbox --watch"
"""When those who may walk in are let in: a client of the owner has to see them."""


SEALED = (
    "🔒 sealed  only its members read it; whoever runs the hub cannot. Pass on the "
    "whole key: what is behind its dot is told to no hub"
)
PLAIN = "plain    its members read it, and whoever runs the hub can"


def opened(result: OpenResult, zone: tzinfo | None = None) -> Iterator[str]:
    """A session and how to hand it over."""
    gate = (
        "whoever redeems it waits for your approval"
        if result.gated
        else "whoever redeems it is in at once"
    )
    yield f"session  {word(result.room)} (active)"
    yield f"key      {word(result.key)} — {gate}"
    if result.gated:
        walk_in = ["your own agents", *map(shown_name, result.welcome)]
        yield f"unasked  {' and those of '.join(walk_in)}"
        for one in result.approved:
            yield f"         {word(one)}"
        yield f"         are let in {WHILE_SEEN}"
    whole = "whole   " if result.sealed else "KEY@HUB "
    yield f"{whole} {visible(result.portable)}"
    yield f"expires  {when(result.expires_at, zone)}"
    yield SEALED if result.sealed else PLAIN
    yield ""
    yield "The other agent runs:"
    yield f"  {join_command(result.portable)}"
    if result.gated:
        yield "Then you run:"
        yield "  parler session requests"
        yield "  parler approve NAME-OR-FINGERPRINT"
    if result.for_this_user:
        yield ""
        yield ONLY_THIS_USER


def join_command(portable: str) -> str:
    """The line a joiner pastes."""
    return f"parler session join {shlex.quote(visible(portable))}"


def pending(result: JoinResult, again: str) -> Iterator[str]:
    """Waiting at the door."""
    yield (
        f"waiting for the owner of {word(result.room)} to approve you; nothing can "
        "be read before that"
    )
    if result.key_gone:
        room = shell_word(result.room)
        yield "the key opens nothing any more; the owner can still approve you"
        yield f"once in:    parler recv --room {room}"
        return
    yield f"ask again:  {again}"
    yield f"or wait:    {again} --wait 600"


def joined(result: JoinResult, transcript: Transcript) -> Iterator[str]:
    """The backlog of a session, with the newest handoff to us in front."""
    room = word(result.room)
    pairs = [(message, message.signature) for message in result.messages]
    handoff = newest_handoff(pairs, transcript.reader)
    banner = transcript.banner(*handoff) if handoff else None
    if banner:
        yield banner
    count = len(result.messages) + result.omitted
    if result.sealed and not result.has_keys:
        yield f"— in {room}: its owner has not given you the keys yet —"
        yield f"once it has: parler recv --room {shell_word(result.room)}"
        return
    yield f"— joined {room}: {counted(count, 'message')} —"
    if result.sealed:
        yield (
            "🔒 sealed, confirmed by your key: its hub cannot read this"
            if result.confirmed
            else "🔒 sealed, NOT confirmed: you came with the code only. Compare with "
            "another member what parler session verify shows, then add --accept"
        )
    if (digest := result.digest) is not None:
        who = shown_name(digest.name) if digest.name else "a former member"
        yield f"digest of {who} {digest.fingerprint}, not signed:"
        yield from quote(digest.text)
    for index, message in enumerate(result.messages):
        yield from transcript.lines(message, message.signature)
        if index == 0 and result.omitted:
            first = result.messages[0].seq
            yield (
                f"— {counted(result.omitted, 'message')} left out; "
                f"parler recv --since {first} shows them —"
            )
    yield "— end of the backlog; parler recv --watch follows, parler send TEXT speaks —"


def news(
    messages: list[ShownMessage], transcript: Transcript, *, banners: bool
) -> Iterator[str]:
    """Messages in order; handoffs to us are announced before them."""
    if banners:
        for message in messages:
            banner = transcript.banner(message, message.signature)
            if banner:
                yield banner
    for message in messages:
        yield from transcript.lines(message, message.signature)


def requests(
    result: OwnRequestsResult,
    line: Callable[..., str],
    zone: tzinfo | None = None,
) -> Iterator[str]:
    """Who waits, and how to decide."""
    for one in result.admitted:
        yield let_in(one)
    if not result.requests:
        where = f" at {word(result.room)}" if result.room else ""
        yield f"nobody is waiting{where}"
        return
    at: tuple[str, str] | None = None
    for one in sorted(result.requests, key=lambda one: (one.owner, one.room)):
        if at != (at := (one.owner, one.room)):
            room = room_words(one.room, one.topic)
            yield f"waiting at {room} of {shown_name(one.owner)}:"
        yield f"  {_who(one)}  since {when(one.requested_at, zone)}{_key_of(one)}"
    short = result.requests[0].fingerprint
    yield f"let in:  {line('approve', short)}"
    yield f"reject:  {line('reject', short)}"
    for one in result.requests:
        person = one.affiliation.person if one.affiliation else None
        if person is not None and person.relation is Relation.UNKNOWN:
            yield f"know {shown_name(person.name)} from then on:"
            yield f"         {line('trust', person.fingerprint)}"
            break


def _key_of(one: Knock) -> str:
    """At a sealed session: whether it was given the key."""
    if one.given_key is None:
        return ""
    if one.given_key:
        return "  was given your key"
    return "  came with the code only: compare the fingerprint"


def knocked(one: Knock) -> str:
    """A knock, with what to do about it."""
    return f"{_who(one)}{_key_of(one)} is knocking: parler approve {one.fingerprint}"


def admitted(one: Knock) -> str:
    """Somebody let in beforehand."""
    return f"{_who(one)} was let in, as you decided beforehand"


def let_in(one: OwnKnock) -> str:
    """Somebody let in at a room of ours, as had been decided."""
    room = room_words(one.room, one.topic)
    return f"let in at {room}, as you decided beforehand: {_who(one)}"


def decided(result: DecisionResult) -> str:
    """What was decided."""
    who = introduced(result.name, None, result.agent, result.affiliation)
    done = "is in" if result.approved else "is rejected and cannot ask again"
    return f"{who} {done} ({word(result.room)})"


def invited(result: InviteResult, zone: tzinfo | None = None) -> Iterator[str]:
    """A key and how to hand it over."""
    yield f"key      {word(result.code)} opens {result.kind} {word(result.room)}"
    whole = "whole   " if result.sealed else "KEY@HUB "
    yield f"{whole} {visible(result.portable)}"
    yield f"expires  {when(result.expires_at, zone)}"
    yield SEALED if result.sealed else PLAIN
    yield ""
    yield "The other agent runs:"
    yield f"  parler session join {shlex.quote(visible(result.portable))}"


def invites(result: InvitesResult, zone: tzinfo | None = None) -> Iterator[str]:
    """Live keys."""
    if not result.invites:
        yield f"no live keys to {word(result.room)}"
    for one in result.invites:
        gate = "approval" if one.require_approval else "open"
        yield (
            f"{word(one.code)}  {gate}  used {one.uses} of {one.max_uses}  "
            f"until {when(one.expires_at, zone)}"
        )


def rooms(result: OwnRoomsResult, *, alone: bool = False) -> Iterator[str]:
    """All rooms, by whose they are; the session of each is starred.

    Args:
        alone: There is only one whose they could be.
    """
    if not result.rooms:
        yield "no rooms yet: parler session open, or parler session join KEY"
    owners = dict.fromkeys((one.owner_id, one.owner, one.hub) for one in result.rooms)
    several = len({hub for _, _, hub in owners}) > 1
    for owner_id, owner, hub in owners:
        if not alone:
            yield f"{shown_name(owner)}{f' on {word(hub)}' if several else ''}:"
        for one in result.rooms:
            if (one.owner_id, one.hub) == (owner_id, hub):
                yield _room(one)


def _room(one: OwnRoom) -> str:
    about = f"{short_topic(one.topic)}  " if one.topic else ""
    if one.peer:
        about = f"with {shown_name(one.peer)}  "
    kind = "" if one.kind is RoomKind.CHANNEL else f"[{_KINDS[one.kind]}]  "
    return (
        f"{'*' if one.active else ' '} {word(one.name)}  {about}"
        f"{kind}{one.members} in it  ({one.unread} unread)"
    )


def short_topic(topic: Foreign) -> str:
    """A topic in quotes that leaves room beside it on 80 columns."""
    return quoted(clipped(topic, MAX_TOPIC_CHARS + 1))


def room_words(name: RoomName, topic: Foreign | None) -> str:
    """A room as people know it: by what it is about."""
    return f"{short_topic(topic)} ({word(name)})" if topic else word(name)


def roster(result: RosterResult) -> Iterator[str]:
    """The members of a room."""
    for one in result.entries:
        yield from _member(one)


def _member(one: Member) -> Iterator[str]:
    role = f" ({shown_name(one.role)})" if one.role else ""
    state, activity, reach = doing(one)
    whose = f"  {belongs(one.affiliation, one.id)}" if one.affiliation else ""
    yield f"{shown_name(one.name)}{role}  {one.fingerprint}  [{state}]{whose}"
    if activity:
        yield f"    {activity}"
    if one.waits_as is not None:
        yield f"    waits to be admitted as {word(one.waits_as)}"
    read = f"has read up to [{one.seen}]" if one.seen else ""
    if facts := [words for words in (reach, read) if words]:
        yield f"    {', '.join(facts)}"


def doing(one: RosterEntry | DirectoryEntry) -> tuple[str, str, str]:
    """How an agent is, what it does, and how it is reached as far as it said so."""
    from parler.ops.peers import REACHED, told

    state, activity = shown_state(one)
    if not activity:
        return state, "", ""
    words, reach = told(one.activity)
    said = sentence(words) if words else ""
    return state, said, "" if words == one.activity else REACHED[reach]


def _who(one: Knock | OwnKnock) -> str:
    return introduced(one.name, one.role, one.agent, one.affiliation)
