"""``parler session`` for sealed rooms: who reads, new keys, comparing, exports."""

from collections.abc import Iterator
from typing import Annotated

import typer

from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, group
from parler.cli._own import As, Yes, in_its_name, person_line
from parler.cli._run import Options
from parler.cli.rooms import remove
from parler.ops import rooms, sealing
from parler.ops.capability import Capability
from parler.ops.own import OwnRoom
from parler.ops.person_only import Deciding
from parler.ops.sealing import (
    ChangeResult,
    CheckedFile,
    Contradicted,
    ExportResult,
    SealedMembersResult,
    VerifyFilesResult,
    VerifyResult,
)
from parler.text.terminal import counted, shown_name, visible, word

admins = group(
    "Let a member of a sealed session admit and remove others, or no longer."
)


CONTRADICTED = 1
"""The exit status of what was checked and is not all good."""


def add_to(root: typer.Typer) -> None:
    """Add the command of this module that is in no group."""
    command(root, sealing.VERIFY_FILES)(verify_files)


def add_to_session(session: typer.Typer) -> None:
    """Add the commands about a session."""
    session.add_typer(admins, name="admin")
    command(session, sealing.MEMBERS)(members)
    command(session, rooms.REMOVE_FROM_SESSION)(remove)
    command(session, sealing.REKEY)(rekey)
    command(session, sealing.VERIFY_ROOM)(verify)
    command(session, sealing.EXPORT)(export)
    command(admins, sealing.ADMIN_ADD)(add_admin)
    command(admins, sealing.ADMIN_REMOVE)(remove_admin)


def members(options: Options, room: str | None, as_: As = None) -> None:
    """Show who can read a sealed session of ours."""
    given = {"room": room}
    in_its_name(
        options, sealing.MEMBERS, given, _members, as_=as_, anyone=True, foreign=True
    )


def rekey(options: Options, room: str | None, as_: As = None) -> None:
    """Make a new key for the same members."""

    def told(result: ChangeResult) -> Iterator[str]:
        yield f"{word(result.room)} has a new key, number {result.epoch}"

    in_its_name(options, sealing.REKEY, {"room": room}, told, as_=as_, owns=True)


def add_admin(
    options: Options, room: str | None, who: str, as_: As = None, yes: Yes = False
) -> None:
    """Let a member admit and remove others, once a person has said so."""
    _set_admin(options, sealing.ADMIN_ADD, room, who, as_=as_, yes=yes, verb="add")


def remove_admin(
    options: Options, room: str | None, who: str, as_: As = None, yes: Yes = False
) -> None:
    """Have an admin be a plain member again, once a person has said so."""
    _set_admin(
        options, sealing.ADMIN_REMOVE, room, who, as_=as_, yes=yes, verb="remove"
    )


def _set_admin(
    options: Options,
    capability: Capability,
    room: str | None,
    who: str,
    *,
    as_: str | None,
    yes: bool,
    verb: str,
) -> None:
    role = "an admin" if verb == "add" else "no admin any more"

    def told(result: ChangeResult) -> Iterator[str]:
        name = shown_name(result.name or "")
        yield f"{name} {result.fingerprint} is {role} of {word(result.room)}"

    def decides(found: OwnRoom) -> Deciding:
        return Deciding(
            what="change who may let others into a session",
            question=f"{word(found.name)} of {shown_name(found.owner)}\n"
            f"Is {word(who)} {role} there?",
            line=person_line(
                options, f"session admin {verb}", who, "--room", found.name
            ),
        )

    given = {"room": room, "who": who}
    in_its_name(
        options, capability, given, told, as_=as_, owns=True, decides=decides, yes=yes
    )


def verify(
    options: Options, room: str | None, accept: bool = False, as_: As = None
) -> None:
    """Show what two members compare."""
    given = {"room": room, "accept": accept}
    in_its_name(options, sealing.VERIFY_ROOM, given, _verified, as_=as_, anyone=True)


def export(
    options: Options,
    room: str | None,
    output: str,
    with_keys: bool = False,
    as_: As = None,
) -> None:
    """Write a sealed session into a file."""

    def told(result: ExportResult) -> Iterator[str]:
        entries = counted(result.entries, "entry", "entries")
        yield f"{visible(result.file)}: {entries} of {word(result.room)}"
        if result.with_keys:
            yield "whoever has that file reads all of it"
        else:
            yield "nobody reads in it what was said: it has no keys"
        yield f"check it:  parler verify {visible(result.file)}"

    given = {"room": room, "output": output, "with_keys": with_keys}
    in_its_name(options, sealing.EXPORT, given, told, as_=as_, anyone=True)


def verify_files(
    options: Options,
    file: str,
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another one of it.")
    ] = None,
) -> None:
    """Check exports; the exit status says whether something contradicts."""
    found: list[VerifyFilesResult] = []

    def told(result: VerifyFilesResult) -> Iterator[str]:
        found.append(result)
        for one in result.files:
            yield from _checked(one)
        if result.fork is not None:
            yield f"they part at entry {result.fork}: their hub showed two histories"
            yield from map(_contradiction, result.witnesses)
        elif len(result.files) > 1:
            yield "one goes on where the other ends: they are of one history"

    given = {"file": file, "other": other}
    carry_out_declared(options, sealing.VERIFY_FILES, given, told, foreign=True)
    if not all(one.is_sound for one in found):
        raise typer.Exit(CONTRADICTED)


def _members(result: SealedMembersResult) -> Iterator[str]:
    room = word(result.room)
    many = counted(len(result.members), "member")
    yield f"🔒 {room}: {many}, key {result.epoch}, state {result.state}"
    for one in result.members:
        role = "owner" if one.owner else "admin" if one.admin else "member"
        since = "" if one.since == 1 else f", reads from key {one.since} on"
        seen = "" if one.confirmed else ", has not spoken since the last change"
        yield f"  {shown_name(one.name)} {one.fingerprint} {role}{since}{seen}"
    if result.occupants:
        yield "in the room at the hub, and no members: they read nothing"
        for other in result.occupants:
            yield f"  {shown_name(other.name)} {other.fingerprint}"
    yield from _alarms(result.alarms)


def _verified(result: VerifyResult) -> Iterator[str]:
    yield f"🔒 {word(result.room)}, opened by {result.owner_fingerprint or 'nobody'}"
    if result.head is None:
        yield "where we are in its history is not known yet"
    else:
        yield f"entry {result.position}: {result.head}"
        yield "compare both with another member, by voice or in another channel"
    if result.confirmed:
        yield (
            "noted: you have compared"
            if result.accepted
            else "confirmed: you made it"
            if result.ours
            else "confirmed: it is the room that its key was made for"
        )
    else:
        yield "NOT confirmed: once you have compared, parler session verify --accept"
    yield from _alarms(result.alarms)


def _alarms(alarms: list[str]) -> Iterator[str]:
    for one in alarms:
        yield f"⚠ {one}"
    if alarms:
        yield "nobody is let in until a person has run parler session verify --accept"


def _checked(one: CheckedFile) -> Iterator[str]:
    entries = counted(one.entries, "entry", "entries")
    opened = f", {one.opened} opened" if one.opened else ""
    yield f"{visible(one.file)}: {word(one.room)} at {visible(one.hub)}"
    good = "nothing contradicts" if not one.contradictions else "CONTRADICTIONS"
    yield f"  {entries}{opened}: {good}"
    yield from map(_contradiction, one.contradictions)


def _contradiction(one: Contradicted) -> str:
    second = "" if one.second is None else f" and {one.second}"
    return f"  ⚠ {one.kind}: entry {one.first}{second}, signed by {one.fingerprint}"
