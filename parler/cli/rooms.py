"""Rooms, their members and their keys."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from parler.cli import _format
from parler.cli._arguments import only_one, pasted_key
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import alone, command, group, shows
from parler.cli._joining import Active, Once, Passive, Runner, at_work
from parler.cli._joining import join as redeem
from parler.cli._own import (
    As,
    Yes,
    in_its_name,
    person_line,
    show_rooms_of,
)
from parler.cli._run import Options, Place
from parler.ops import invites, own, rooms, session
from parler.ops.invites import RevokeResult
from parler.ops.own import OwnRoom
from parler.ops.person_only import Deciding
from parler.ops.rooms import DeleteResult, RemoveResult
from parler.text.terminal import counted, shown_name, word
from parler.wire.records import RoomKind

members = group("Put a member out of a room of yours; roster lists them.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, invites.INVITE)(invite)
    shows(app, invites.INVITES, _format.invites)
    command(app, invites.REVOKE)(revoke)
    command(app, session.JOIN)(join)
    command(app, own.ROOMS)(show_rooms)
    command(app, rooms.ROSTER)(roster)
    command(app, rooms.DELETE)(delete)
    command(members, rooms.REMOVE)(remove)
    alone(members, lambda options: roster(options, None))
    app.add_typer(members, name="members")


def invite(
    options: Options,
    group_: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="A channel.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="A service.")
    ] = None,
    **given: Any,
) -> None:
    """Make a key, and show it."""
    only_one(group=group_, service=service)
    kind = RoomKind.CHANNEL if group_ else RoomKind.DM
    given |= {
        "kind": RoomKind.SERVICE if service else kind,
        "name": group_ or service,
    }
    place = Place(room=group_, in_session=bool(group_))
    carry_out_declared(options, invites.INVITE, given, _format.invited, place=place)


def revoke(options: Options, key: str) -> None:
    """Make a key worthless, on the hub it names."""
    parsed = pasted_key(key)
    place = Place(key_hub=parsed.hub)
    given = {"key": parsed.code}
    carry_out_declared(options, invites.REVOKE, given, _revoked, place=place)


def _revoked(result: RevokeResult) -> Iterator[str]:
    yield f"{word(result.code)} opens nothing any more"


def join(
    options: Options,
    key: str,
    wait_secs: float,
    active: Active = False,
    runner: Runner = None,
    passive: Passive = False,
    once: Once = False,
) -> None:
    """Redeem the key of any room."""
    work = at_work(active=active, runner=runner, passive=passive, once=once)
    redeem(options, key, wait=wait_secs, again="parler join", work=work)


def show_rooms(options: Options, as_: As = None) -> None:
    """List the rooms of all our identities."""
    show_rooms_of(options, as_, own.own_rooms)


def roster(options: Options, room: str | None, as_: As = None) -> None:
    """List the members of a room of ours."""
    in_its_name(
        options,
        rooms.ROSTER,
        {"room": room},
        _format.roster,
        as_=as_,
        anyone=True,
        foreign=True,
    )


def delete(options: Options, room: str, as_: As = None, yes: Yes = False) -> None:
    """Delete a room of ours, once a person has said so."""

    def decides(found: OwnRoom) -> Deciding:
        name = _format.room_words(found.name, found.topic)
        return Deciding(
            what="delete a room",
            question=f"{name} of {shown_name(found.owner)}\n"
            "Delete it with all that was said there by "
            f"{counted(found.members, 'member')}?",
            line=person_line(options, "delete-room", "--room", found.name),
        )

    in_its_name(
        options,
        rooms.DELETE,
        {"room": room},
        lambda result: [_deleted(result)],
        as_=as_,
        owns=True,
        decides=decides,
        yes=yes,
    )


def remove(
    options: Options, room: str | None, who: str, as_: As = None, yes: Yes = False
) -> None:
    """Put a member out of a room of ours, once a person has said so."""
    given = {"room": room, "who": who}

    def decides(found: OwnRoom) -> Deciding:
        name = _format.room_words(found.name, found.topic)
        return Deciding(
            what="put a member out of a room",
            question=f"{name} of {shown_name(found.owner)}\n"
            f"Put {word(who)} out, to read nothing more until let in again?",
            line=person_line(options, "members remove", who, "--room", found.name),
        )

    in_its_name(
        options,
        rooms.REMOVE,
        given,
        lambda result: [_removed(result)],
        as_=as_,
        owns=True,
        decides=decides,
        yes=yes,
    )


def _deleted(result: DeleteResult) -> str:
    return f"{word(result.room)} is gone"


def _removed(result: RemoveResult) -> str:
    name = f"{shown_name(result.name)} {result.fingerprint}"
    return f"{name} is out of {word(result.room)}"
