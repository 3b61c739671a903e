"""Letting in and rejecting, from any terminal, for any session our agents own."""

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from parler.cli import _format
from parler.cli._own import (
    As,
    Yes,
    connected_as,
    household_of,
    person_line,
    say_whose,
)
from parler.cli._person import check_agreed, check_no_agent
from parler.cli._run import Options
from parler.cli.contacts import offer_to_remember
from parler.ops.affiliations import introduced
from parler.text.terminal import shown_name

if TYPE_CHECKING:
    from parler.ops.own import OwnKnock
    from parler.ops.person_only import Deciding
    from parler.runtime.own_hubs import OwnHubs


_COMPARE = "Compare the fingerprint: anybody can use a name."

At: TypeAlias = Annotated[
    str | None, typer.Option("--room", metavar="ROOM", help="Only who waits there.")
]


def approve(
    options: Options,
    who: str,
    always: bool,
    room: At = None,
    as_: As = None,
    yes: Yes = False,
) -> None:
    """Let somebody in, and offer to remember whose agent it is."""
    _decide(options, who, room=room, as_=as_, yes=yes, approve=True, always=always)


def reject(
    options: Options, who: str, room: At = None, as_: As = None, yes: Yes = False
) -> None:
    """Reject somebody for good."""
    _decide(options, who, room=room, as_=as_, yes=yes, approve=False)


def _decide(
    options: Options,
    who: str,
    *,
    room: str | None,
    as_: str | None,
    yes: bool,
    approve: bool,
    always: bool = False,
) -> None:
    import asyncio

    from parler.ops import admission

    where = ["--room", room] if room else []
    check_no_agent(_deciding(options, None, [who, *where], approve=approve))
    household = household_of(options, as_)
    knock = asyncio.run(_meant(household, who, room))
    words = [knock.fingerprint, *where]
    check_agreed(_deciding(options, knock, words, approve=approve), yes=yes)

    async def act() -> Any:
        async with connected_as(household, knock.owner_id, knock.hub) as ctx:
            return await admission.decide(
                ctx, knock.room, knock.agent, approve=approve, always=always
            )

    result = asyncio.run(act())
    say_whose(options, household, knock.owner_id)
    options.out.result(result, [_format.decided(result)])
    if approve:
        offer_to_remember(options, result.affiliation)


def _deciding(
    options: Options, knock: "OwnKnock | None", words: list[str], *, approve: bool
) -> "Deciding":
    from parler.ops.person_only import Deciding

    question = ""
    if knock is not None:
        who = introduced(knock.name, knock.role, knock.agent, knock.affiliation)
        is_known = knock.affiliation is not None and knock.affiliation.is_known
        name = shown_name(knock.name) if knock.name else "it"
        room = _format.room_words(knock.room, knock.topic)
        what = "knocks" if knock.requested_at else "does not wait"
        about = [
            who,
            f"{what} at {room} of {shown_name(knock.owner)}.",
        ]
        ask = f"Reject {name} for good?"
        if approve:
            ask = f"Let {name} in?"
            about += [] if is_known else [_COMPARE]
            about.append("Once in, it reads all that was said there.")
        question = "\n".join([*about, ask])
    return Deciding(
        what="let anybody in" if approve else "reject anybody",
        question=question,
        line=person_line(options, "approve" if approve else "reject", *words),
    )


async def _meant(household: "OwnHubs", who: str, room: str | None) -> "OwnKnock":
    """The knock that is meant; by id also somebody who was rejected before."""
    from parler.errors import UsageError
    from parler.identity.identity import active_session
    from parler.identity.signing import fingerprint
    from parler.ops.addressing import as_agent_id
    from parler.ops.own import OwnKnock, own_knock_meant, own_requests, whose_room
    from parler.wire.base import RoomName
    from parler.wire.foreign import foreign

    wanted = RoomName(room) if room else None
    seen = await own_requests(household, wanted, admit=False)
    agent = as_agent_id(who.strip())
    at = room or active_session(household.settings.home)
    if agent is None or at is None or any(k.agent == agent for k in seen.requests):
        try:
            return own_knock_meant(who, seen.requests)
        except UsageError as nobody:
            if seen.unreachable:
                away = ", ".join(one.hub for one in seen.unreachable)
                nobody.message += f"; not reached: {away}"
            raise
    found, _ = await whose_room(household, at, owns=True)
    return OwnKnock(
        room=found.name,
        agent=agent,
        name=foreign(""),
        fingerprint=fingerprint(agent),
        requested_at=0,
        owner=found.owner,
        owner_id=found.owner_id,
        hub=found.hub,
        topic=found.topic,
    )
