"""Rooms, their members and their keys."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from parler.cli import _format
from parler.cli._arguments import only_one, pasted_key
from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, group, shows
from parler.cli._joining import join as redeem
from parler.cli._run import Options, Place
from parler.ops import invites, rooms, session
from parler.ops.invites import RevokeResult
from parler.ops.rooms import DeleteResult, RemoveResult
from parler.text.terminal import shown_name, visible
from parler.wire.records import RoomKind

members = group("The members of a room of yours.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, invites.INVITE)(invite)
    shows(app, invites.INVITES, _format.invites, quoted=False)
    command(app, invites.REVOKE)(revoke)
    command(app, session.JOIN)(join)
    shows(app, rooms.ROOMS, _format.rooms)
    shows(app, rooms.ROSTER, _format.roster)
    shows(app, rooms.DELETE, _deleted, quoted=False)
    shows(members, rooms.REMOVE, _removed, quoted=False)
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
    yield f"{visible(result.code)} opens nothing any more"


def join(options: Options, key: str, wait_secs: float) -> None:
    """Redeem the key of any room."""
    redeem(options, key, wait=wait_secs, again="parler join")


def _deleted(result: DeleteResult) -> str:
    return f"{visible(result.room)} is gone"


def _removed(result: RemoveResult) -> str:
    name = f"{shown_name(result.name)} {result.fingerprint}"
    return f"{name} is out of {visible(result.room)}"
