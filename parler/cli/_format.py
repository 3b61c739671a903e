"""How results read: the lines that `render` prints for people. Pure functions."""

import shlex
from collections.abc import Iterator
from datetime import tzinfo

from parler.identity.signing import fingerprint
from parler.ops.admission import DecisionResult, Knock, RequestsResult
from parler.ops.invites import InviteResult, InvitesResult
from parler.ops.message_view import ShownMessage
from parler.ops.rooms import Member, RoomsResult, RosterResult
from parler.ops.session import ONLY_THIS_USER, JoinResult, OpenResult
from parler.text.terminal import shell_word, shown_name, visible
from parler.text.transcript import Transcript, newest_handoff, shown_state, shown_time


def opened(result: OpenResult, zone: tzinfo | None = None) -> Iterator[str]:
    """A session and how to hand it over."""
    gate = (
        "whoever redeems it waits for your approval"
        if result.gated
        else "whoever redeems it is in at once"
    )
    yield f"session  {visible(result.room)} (active)"
    yield f"key      {visible(result.key)} — {gate}"
    yield f"portable {visible(result.portable)}"
    yield f"expires  {shown_time(result.expires_at, zone)}"
    yield ""
    yield "The other agent runs:"
    yield f"  {join_command(result.portable)}"
    if result.for_this_user:
        yield ONLY_THIS_USER
    if result.gated:
        yield "Then you run:"
        yield "  parler session requests"
        yield "  parler session approve NAME-OR-FINGERPRINT"


def join_command(portable: str) -> str:
    """The line a joiner pastes."""
    return f"parler session join {shlex.quote(visible(portable))}"


def pending(result: JoinResult, again: str) -> Iterator[str]:
    """Waiting at the door."""
    yield (
        f"waiting for the owner of {visible(result.room)} to approve you; nothing can "
        "be read before that"
    )
    if result.key_gone:
        room = shlex.quote(visible(result.room))
        yield "the key opens nothing any more; the owner can still approve you"
        yield f"once in:    parler recv --room {room}"
        return
    yield f"ask again:  {again}"
    yield f"or wait:    {again} --wait 600"


def joined(result: JoinResult, transcript: Transcript) -> Iterator[str]:
    """The backlog of a session, with the newest handoff to us in front."""
    room = visible(result.room)
    pairs = [(message, message.signature) for message in result.messages]
    handoff = newest_handoff(pairs, transcript.reader)
    banner = transcript.banner(*handoff) if handoff else None
    if banner:
        yield banner
    yield f"— joined {room}: {len(result.messages) + result.omitted} messages —"
    for index, message in enumerate(result.messages):
        yield from transcript.lines(message, message.signature)
        if index == 0 and result.omitted:
            first = result.messages[0].seq
            yield (
                f"— {result.omitted} messages left out; "
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


def requests(result: RequestsResult, zone: tzinfo | None = None) -> Iterator[str]:
    """Who waits, and how to decide."""
    for one in result.admitted:
        yield f"let in, as you decided beforehand: {_who(one)}"
    if not result.requests:
        yield f"nobody is waiting at {visible(result.room)}"
        return
    yield f"waiting at {visible(result.room)}:"
    for one in result.requests:
        yield f"  {_who(one)}  since {shown_time(one.requested_at, zone)}"
        yield f"    {one.agent}"
    short = result.requests[0].fingerprint
    yield f"let in:  parler session approve {short}"
    yield f"reject:  parler session reject {short}"


def knocked(one: Knock) -> str:
    """A knock, with what to do about it."""
    return f"{_who(one)} is knocking: parler session approve {one.fingerprint}"


def admitted(one: Knock) -> str:
    """Somebody let in beforehand."""
    return f"{_who(one)} was let in, as you decided beforehand"


def decided(result: DecisionResult) -> str:
    """What was decided."""
    who = f"{shown_name(result.name)} " if result.name else ""
    done = "is in" if result.approved else "is rejected and cannot ask again"
    return f"{who}{result.fingerprint} {done} ({visible(result.room)})"


def invited(result: InviteResult, zone: tzinfo | None = None) -> Iterator[str]:
    """A key and how to hand it over."""
    yield f"key      {visible(result.code)} opens {result.kind} {visible(result.room)}"
    yield f"portable {visible(result.portable)}"
    yield f"expires  {shown_time(result.expires_at, zone)}"
    yield ""
    yield "The other agent runs:"
    yield f"  parler join {shlex.quote(visible(result.portable))}"


def invites(result: InvitesResult, zone: tzinfo | None = None) -> Iterator[str]:
    """Live keys."""
    if not result.invites:
        yield f"no live keys to {visible(result.room)}"
    for one in result.invites:
        gate = "approval" if one.require_approval else "open"
        yield (
            f"{visible(one.code)}  {gate}  used {one.uses} of {one.max_uses}  "
            f"until {shown_time(one.expires_at, zone)}"
        )


def rooms(result: RoomsResult) -> Iterator[str]:
    """Our rooms; the active session is starred."""
    if not result.rooms and not result.elsewhere:
        yield "no rooms yet: parler session open, or parler session join KEY"
    for one in result.rooms:
        star = "*" if one.name == result.active else " "
        yield (
            f"{star} {visible(one.name)}  [{one.kind}]  {one.members} member(s)  "
            f"({one.unread} unread)"
        )
    for hub, count in result.elsewhere.items():
        what = "1 room is" if count == 1 else f"{count} rooms are"
        yield f"{what} on {visible(hub)}: parler rooms --hub {shell_word(hub)}"


def roster(result: RosterResult) -> Iterator[str]:
    """The members of a room."""
    for one in result.entries:
        yield _member(one)


def _member(one: Member) -> str:
    role = f" ({shown_name(one.role)})" if one.role else ""
    state, activity = shown_state(one)
    line = f"{shown_name(one.name)}{role}  {one.fingerprint}  [{state}]"
    if one.seen is not None:
        line += f"  seen {one.seen}"
    if one.waits_as is not None:
        line += f"  waits to be admitted as {visible(one.waits_as)}"
    return f"{line}{activity}\n    {one.id}"


def _who(one: Knock) -> str:
    role = f" ({shown_name(one.role)})" if one.role else ""
    return f"{shown_name(one.name)}{role}  {fingerprint(one.agent)}"
