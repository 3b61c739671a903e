"""Rooms, their members and their keys."""

from typing import Annotated

import typer

from parler.cli._arguments import MaxUses, Room, Ttl, Wait, only_one, pasted_key
from parler.cli._command import command, group
from parler.cli._run import HERE, Options, Place, Run, carry_out, in_room
from parler.text.terminal import shown_name, visible

members = group("The members of a room of yours.")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "invite", example="parler invite --group backend --require-approval")(
        invite
    )
    command(app, "invites", example="parler invites")(invites)
    command(app, "revoke", example="parler revoke KEY")(revoke)
    command(app, "join", example="parler join KEY@HUB")(join)
    command(app, "rooms", example="parler rooms")(rooms)
    command(app, "roster", example="parler roster")(roster)
    command(app, "delete-room", example="parler delete-room --room room.abc234")(
        delete_room
    )
    command(members, "remove", example="parler members remove ABCD-EFGH-IJKL-MNOP")(
        remove
    )
    app.add_typer(members, name="members")


def invite(
    options: Options,
    group_: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="A channel.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAME", help="A service.")
    ] = None,
    require_approval: Annotated[
        bool,
        typer.Option("--require-approval", help="Whoever redeems it waits for you."),
    ] = False,
    ttl: Ttl = None,
    max_uses: MaxUses = None,
) -> None:
    """Make a key to a channel, a service, or to a direct room with one agent."""
    from parler.cli import _format
    from parler.ops import invites as operations
    from parler.wire.records import RoomKind

    only_one(group=group_, service=service)
    kind = RoomKind.CHANNEL if group_ else RoomKind.DM
    params = operations.InviteParams(
        kind=RoomKind.SERVICE if service else kind,
        name=group_ or service,
        max_uses=max_uses,
        require_approval=require_approval,
        **({} if ttl is None else {"ttl_secs": ttl}),
    )

    async def work(run: Run) -> None:
        result = await operations.invite(run.ctx, params)
        run.out.result(result, _format.invited(result))

    carry_out(options, work, place=Place(room=group_, in_session=bool(group_)))


def invites(options: Options, room: Room = None) -> None:
    """List the live keys to a room of yours."""
    from parler.cli import _format
    from parler.ops import invites as operations

    async def work(run: Run) -> None:
        result = await operations.invites(run.ctx, run.ctx.room(room))
        run.out.result(result, _format.invites(result))

    carry_out(options, work, place=in_room(room))


def revoke(
    options: Options,
    key: Annotated[str, typer.Argument(metavar="KEY", help="KEY or KEY@HUB.")],
) -> None:
    """Make a key worthless; who is in stays in."""
    from parler.ops import invites as operations

    parsed = pasted_key(key)

    async def work(run: Run) -> None:
        result = await operations.revoke(run.ctx, parsed.code)
        run.out.result(result, [f"{visible(result.code)} opens nothing any more"])

    carry_out(options, work, place=Place(key_hub=parsed.hub))


def join(
    options: Options,
    key: Annotated[str, typer.Argument(metavar="KEY", help="KEY, KEY@HUB or a link.")],
    wait: Wait = 0,
) -> None:
    """Redeem the key of any room; it becomes the active session."""
    from parler.cli._joining import join as redeem

    redeem(options, key, wait=wait, again="parler join")


def rooms(options: Options) -> None:
    """List the rooms you are in; the active session is starred."""
    from parler.cli import _format
    from parler.ops.rooms import rooms as operation

    async def work(run: Run) -> None:
        result = await operation(run.ctx)
        run.out.result(result, map(run.out.quoted, _format.rooms(result)))

    carry_out(options, work, place=HERE)


def roster(options: Options, room: Room = None) -> None:
    """List the members of a room and how they are doing."""
    from parler.cli import _format
    from parler.ops.rooms import roster as operation

    async def work(run: Run) -> None:
        result = await operation(run.ctx, run.ctx.room(room))
        run.out.result(result, map(run.out.quoted, _format.roster(result)))

    carry_out(options, work, place=in_room(room))


def remove(
    options: Options,
    who: Annotated[
        str,
        typer.Argument(metavar="AGENT", help="An id, a fingerprint, or a unique name."),
    ],
    room: Room = None,
) -> None:
    """Put a member out of a room of yours; it has to knock to come back."""
    from parler.ops.rooms import remove_member

    async def work(run: Run) -> None:
        result = await remove_member(run.ctx, run.ctx.room(room), who)
        name = f"{shown_name(result.name)} {result.fingerprint}"
        run.out.result(result, [f"{name} is out of {visible(result.room)}"])

    carry_out(options, work, place=in_room(room))


def delete_room(
    options: Options,
    room: Annotated[
        str, typer.Option("--room", metavar="ROOM", help="Which; never guessed.")
    ],
) -> None:
    """Delete a room of yours with all that is in it."""
    from parler.ops.rooms import delete_room as operation

    async def work(run: Run) -> None:
        result = await operation(run.ctx, run.ctx.room(room))
        run.out.result(result, [f"{visible(result.room)} is gone"])

    carry_out(options, work, place=in_room(room))
