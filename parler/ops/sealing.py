"""Sealed rooms for operations: keys, the door, members, and what a person checks."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from parler.errors import HubError, ParlerError, UsageError
from parler.identity.homes import process_environment, truthy
from parler.identity.identity import active_session
from parler.identity.person import verified_card
from parler.identity.signing import fingerprint
from parler.machine.files import new_file
from parler.ops.addressing import Candidate, pick
from parler.ops.capability import READS, SESSION, Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.directory import say_on_card
from parler.ops.machine_context import Here
from parler.sealed.sealing import SealedRooms
from parler.wire.base import AgentId, Code, RoomName
from parler.wire.foreign import Foreign, foreign
from parler.wire.replies import Card, RosterList
from parler.wire.requests import Lookup, Roster

if TYPE_CHECKING:
    from parler.sealed.changes import Change
    from parler.sealed.crypto import Secret
    from parler.sealed.rooms import SealedRoom

SEALED_META = "com.parler.sealed"
KNOCK_META = "com.parler.knock"
POLL_SECS = 0.5
_WHO = Param("An id, a fingerprint, or a unique name.", "AGENT", positional=True)


def is_sealed(ctx: OpContext, room: RoomName) -> bool:
    """Whether a room is sealed, as far as this machine knows."""
    return ctx.client.sealing is not None and ctx.client.sealing.covers(room)


def sealed_rooms(ctx: OpContext) -> SealedRooms:
    """What keeps the sealed rooms of this identity.

    Raises:
        UsageError: The client was made without it.
    """
    if not isinstance(ctx.client.sealing, SealedRooms):
        raise UsageError("this client knows nothing of sealed sessions")
    return ctx.client.sealing


def sealed_room(ctx: OpContext, room: RoomName) -> "SealedRoom":
    """A sealed room.

    Raises:
        UsageError: It is not sealed.
    """
    if not is_sealed(ctx, room):
        raise UsageError(
            f"{room} is not sealed: its hub reads it, and keeps its members",
            next_step="parler session open --sealed makes one that is",
        )
    return sealed_rooms(ctx).room(ctx.client, room)


async def begins_sealed(ctx: OpContext, room: RoomName) -> bool:
    """Whether a room is sealed, as it shows to whoever comes in."""
    sealing = ctx.client.sealing
    return isinstance(sealing, SealedRooms) and await sealing.begins_sealed(
        ctx.client, room
    )


def note_plain(ctx: OpContext, room: RoomName) -> None:
    """Know a room as one that its hub reads, whatever is posted there."""
    if isinstance(ctx.client.sealing, SealedRooms):
        ctx.client.sealing.note_plain(room)


def rooms_of_key(ctx: OpContext, code: Code) -> "list[SealedRoom]":
    """The sealed rooms to which a key was made, so far as we know of it."""
    if not isinstance(ctx.client.sealing, SealedRooms):
        return []
    rooms = ctx.client.sealing.all(ctx.client)
    return [one for one in rooms if one.has_key(code)]


def leaves_seal(ctx: OpContext) -> str | None:
    """What to say before something goes elsewhere than into the active session.

    None if that is not sealed.
    """
    room = active_session(ctx.identity.home)
    if room is None or not is_sealed(ctx, room):
        return None
    return f"this goes outside of the sealed session {room}: the hub can read it"


def portable(ctx: OpContext, code: str, secret: str | None) -> str:
    """A key to be handed to others."""
    return ctx.portable(code if secret is None else f"{code}.{secret}")


# The door.


async def knock_with(ctx: OpContext, secret: str, code: Code) -> "Secret":
    """Say on our card that we were given a key, and return its secret.

    Nothing is said if this agent is to have no card: the owner compares then.

    Raises:
        UsageError: It is mistyped.
    """
    from parler.sealed.formats import Refused
    from parler.sealed.invites import prove_knock, read_secret

    try:
        read = read_secret(secret)
    except Refused:
        raise UsageError(
            "the secret half of that key, behind the dot, is mistyped",
            next_step="copy the whole key once more: KEY.SECRET@HUB",
        ) from None
    if not truthy(process_environment().get("PARLER_NO_REGISTER")):
        proof = prove_knock(read, agent=ctx.identity.agent_id, code=code)
        with suppress(ParlerError):  # without it the owner compares
            await say_on_card(ctx, {SEALED_META: 1, KNOCK_META: [proof]})
    return read


async def come_in(ctx: OpContext, room: RoomName, *, wait_secs: float) -> bool:
    """Wait for the keys of a room that we are in; returns whether they are there.

    Raises:
        OtherRoom: It is not the room that our key was made for.
    """
    sealed = sealed_room(ctx, room)
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_secs
    while not await sealed.arrive():
        if clock() >= deadline:
            return False
        await asyncio.sleep(POLL_SECS)
    if not truthy(process_environment().get("PARLER_NO_REGISTER")):
        with suppress(ParlerError):
            await say_on_card(ctx, {KNOCK_META: None})
    return True


async def given_keys(
    ctx: OpContext, room: RoomName, agents: Sequence[AgentId]
) -> dict[AgentId, Code | None]:
    """With which key of ours each of them came; None: with a code only.

    Whose program cannot read sealed rooms, or says nothing of it, is left out.
    """
    sealed = sealed_room(ctx, room)
    await sealed.arrive()
    found: dict[AgentId, Code | None] = {}
    for agent, meta in zip(
        agents, await asyncio.gather(*(_meta(ctx, one) for one in agents)), strict=True
    ):
        if meta.get(SEALED_META) is None:
            continue
        proofs = meta.get(KNOCK_META)
        listed = proofs if isinstance(proofs, list) else []
        texts = [one for one in listed if isinstance(one, str)]
        found[agent] = sealed.invited_with(texts, agent)
    return found


async def _meta(ctx: OpContext, agent: AgentId) -> dict[str, Any]:
    try:
        entry = (await ctx.client.request(Lookup(id=agent), Card)).entry
    except HubError:
        return {}
    if entry is None or not verified_card(entry.card, entry.sig, agent):
        return {}
    return entry.card.meta or {}


async def let_in(
    ctx: OpContext,
    room: RoomName,
    agent: AgentId,
    resolve: Callable[[], Awaitable[object]],
) -> None:
    """Let somebody into a room: at its hub and, if it is sealed, with its keys.

    Args:
        resolve: Answers the knock at the hub.

    Raises:
        NotReading: We are no admin, or a person has to verify the room first.
    """
    if not is_sealed(ctx, room):
        await resolve()
        return
    from parler.sealed.changes import Admit

    code = (await given_keys(ctx, room, [agent])).get(agent)
    await sealed_room(ctx, room).admit(Admit(agent=agent, code=code), resolve)


# Its members.


class SealedMember(Result):
    """A member, by the admins' signed word."""

    id: AgentId
    fingerprint: str
    name: Foreign
    admin: bool
    owner: bool
    since: int
    """The first epoch it may read; 1 is everything."""

    confirmed: bool
    """It has said something under the current state."""


class Occupant(Result):
    """Somebody in the room at the hub who is no member, and reads nothing."""

    id: AgentId
    fingerprint: str
    name: Foreign


class SealedMembersResult(Result):
    """Who can read a sealed room."""

    room: RoomName
    epoch: int
    state: int
    members: list[SealedMember]
    occupants: list[Occupant]
    alarms: list[str]


async def sealed_members(
    ctx: OpContext, room: Annotated[RoomName, SESSION]
) -> SealedMembersResult:
    """Who can read a sealed room, and who is only in it at the hub.

    Raises:
        UsageError: It is not sealed, or we have no keys of it.
    """
    sealed = await _reading(ctx, room)
    entries = (await ctx.client.request(Roster(room=room), RosterList)).entries
    current, owner, said = sealed.standing()
    names = {entry.id: entry.name for entry in entries}
    ids = {member.id for member in current.members}
    return SealedMembersResult(
        room=room,
        epoch=current.epoch,
        state=current.s,
        members=[
            SealedMember(
                id=one.id,
                fingerprint=fingerprint(one.id),
                name=said.get(one.id, names.get(one.id, foreign(""))),
                admin=one.admin,
                owner=one.id == owner,
                since=one.since,
                confirmed=one.id in sealed.confirmed(),
            )
            for one in current.members
        ],
        occupants=[
            Occupant(id=one.id, fingerprint=fingerprint(one.id), name=one.name)
            for one in entries
            if one.id not in ids
        ],
        alarms=sealed.alarms(),
    )


MEMBERS = Capability(
    run=sealed_members,
    about="Show who can read a sealed session.",
    more="That is its admins' signed word. Who is only in the room at the hub reads "
    "nothing, and is shown apart.",
    command="session members",
    example="parler session members",
    hints=READS,
    no_tool="parler_session action=members",
)


class ChangeResult(Result):
    """What is so now in a sealed room."""

    room: RoomName
    epoch: int
    state: int
    agent: AgentId | None = None
    name: Foreign | None = None
    fingerprint: str | None = None


async def rekey(ctx: OpContext, room: Annotated[RoomName, SESSION]) -> ChangeResult:
    """Make a new key for the same members.

    Raises:
        UsageError: It is not sealed, or we are no admin.
    """
    from parler.sealed.changes import Rekey

    return await _changed(ctx, room, Rekey())


REKEY = Capability(
    run=rekey,
    about="Make a new key of a sealed session, for the same members.",
    more="After a leak, together with removing what leaked: what was said before stays "
    "readable with the key that was used then.",
    command="session rekey",
    no_tool="who may read is for a person to decide",
)


async def add_admin(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    who: Annotated[str, _WHO],
) -> ChangeResult:
    """Let a member of a sealed room admit and remove others.

    Raises:
        UsageError: It is not sealed, we are no admin, or no member is meant.
    """
    return await _set_admin(ctx, room, who, admin=True)


ADMIN_ADD = Capability(
    run=add_admin,
    about="Let a member of a sealed session admit and remove others.",
    more="A second admin is how a session outlives a lost key.",
    command="session admin add",
    example="parler session admin add ABCD-EFGH-IJKL-MNOP",
    no_tool="who may let others in is for a person to decide",
)


async def remove_admin(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    who: Annotated[str, _WHO],
) -> ChangeResult:
    """Have an admin of a sealed room be a plain member again.

    Raises:
        UsageError: It is not sealed, we are no admin, or no member is meant.
    """
    return await _set_admin(ctx, room, who, admin=False)


ADMIN_REMOVE = Capability(
    run=remove_admin,
    about="Have an admin of a sealed session be a plain member again.",
    command="session admin remove",
    example="parler session admin remove ABCD-EFGH-IJKL-MNOP",
    no_tool="who may let others in is for a person to decide",
)


async def _set_admin(
    ctx: OpContext, room: RoomName, who: str, *, admin: bool
) -> ChangeResult:
    from parler.sealed.changes import SetAdmin

    chosen = await member_meant(ctx, room, who)
    made = await _changed(ctx, room, SetAdmin(agent=chosen.agent, admin=admin))
    made.agent, made.name = chosen.agent, chosen.name
    made.fingerprint = fingerprint(chosen.agent)
    return made


async def remove_from_sealed(ctx: OpContext, room: RoomName, who: str) -> Candidate:
    """Lock a member out of a sealed room: what is said from now on it cannot read.

    Raises:
        UsageError: No member is meant, or we are no admin.
    """
    from parler.sealed.changes import Remove

    chosen = await member_meant(ctx, room, who)
    await _changed(ctx, room, Remove(agent=chosen.agent))
    return chosen


async def member_meant(ctx: OpContext, room: RoomName, who: str) -> Candidate:
    """The one member of a sealed room who is meant.

    Raises:
        UsageError: None is, or more than one.
    """
    found = await sealed_members(ctx, room)
    people = [Candidate(agent=one.id, name=one.name) for one in found.members]
    return pick(
        who,
        people,
        among=f"is a member of {room!r}",
        next_step=f"parler session members --room {room}",
    )


async def _changed(ctx: OpContext, room: RoomName, change: "Change") -> ChangeResult:
    from parler.sealed.changes import Rekey, plan
    from parler.sealed.formats import Refused

    sealed = await _reading(ctx, room)
    try:
        await sealed.change(change)
    except Refused as refused:
        raise UsageError(
            f"that cannot be in {room}: {refused.verdict.value}",
            next_step=f"parler session members --room {room}",
        ) from None
    current, _, _ = sealed.standing()
    if not isinstance(change, Rekey) and plan(change, current) is not None:
        raise UsageError(f"others changed {room} at the same time; try again")
    return ChangeResult(room=room, epoch=current.epoch, state=current.s)


async def _reading(ctx: OpContext, room: RoomName) -> "SealedRoom":
    sealed = sealed_room(ctx, room)
    if not await sealed.arrive():
        raise UsageError(
            f"you are in {room}, and its owner has not given you the keys yet",
            next_step=f"parler session join KEY, or ask its owner to approve "
            f"{fingerprint(ctx.identity.agent_id)}",
        )
    await sealed.sync()
    return sealed


# What a person checks.


class VerifyResult(Result):
    """Where we are in a sealed room, to be compared with another member."""

    room: RoomName
    position: int | None
    """How many entries we have read; None if we do not know where we are."""

    head: str | None
    """Four groups of it (80 bits)."""

    owner: AgentId | None
    owner_fingerprint: str | None
    confirmed: bool
    """A key vouched for it, or a person did."""

    alarms: list[str]
    accepted: bool = False
    ours: bool = False
    """We made it."""


async def verify_room(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    *,
    accept: Annotated[
        bool, Param("You have compared: go on in spite of the alarms.")
    ] = False,
) -> VerifyResult:
    """Show what two members compare by voice; with `accept` a person vouches for it.

    Raises:
        UsageError: It is not sealed, or a model would vouch for it.
    """
    if accept and ctx.for_model():
        raise UsageError(
            "whether the heads are the same is for a person to say",
            next_step="your user runs: parler session verify --accept",
        )
    sealed = await _reading(ctx, room)
    if accept:
        sealed.accept()
    place, owner = sealed.place(), sealed.standing()[1]
    return VerifyResult(
        room=room,
        position=None if place is None else place[0],
        head=None if place is None else _groups(place[1]),
        owner=owner,
        owner_fingerprint=None if owner is None else fingerprint(owner),
        confirmed=sealed.is_confirmed(),
        alarms=sealed.alarms(),
        accepted=accept,
        ours=owner == ctx.identity.agent_id,
    )


VERIFY_ROOM = Capability(
    run=verify_room,
    about="Show what members of a sealed session compare, and its alarms.",
    more="If the same number has the same four groups with two members, their hub has "
    "shown both the same. Compare them by voice, or in another channel.",
    command="session verify",
    example="parler session verify",
    no_tool="what is compared is for persons",
)


def _groups(head: bytes) -> str:
    text = base64.b32encode(head[:10]).decode()
    return "-".join(text[at : at + 4] for at in range(0, 16, 4))


class ExportResult(Result):
    """A sealed room as a file."""

    room: RoomName
    file: str
    entries: int
    with_keys: bool = False


async def export_room(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    *,
    output: Annotated[str, Param("A new file.", "FILE", option="--output -o")],
    with_keys: Annotated[
        bool, Param("Add its keys: whoever has the file reads all of it.")
    ] = False,
) -> ExportResult:
    """Write a sealed room with all signatures into a file that anybody can check.

    Raises:
        UsageError: It cannot be written, or a model would hand out the keys.
    """
    if with_keys and ctx.for_model():
        raise UsageError(
            "whoever has that file reads all of it, so it is for a person to make",
            next_step="your user runs: parler session export --with-keys -o FILE",
        )
    from parler.sealed.export import NotAligned

    sealed = await _reading(ctx, room)
    try:
        lines = sealed.exported(ctx.identity.keypair, ctx.hub, with_keys=with_keys)
    except NotAligned as error:
        raise UsageError(str(error)) from None
    with new_file(Path(output)) as file:
        file.writelines(lines)
    entries = len(lines) - 2 - with_keys
    return ExportResult(room=room, file=output, entries=entries, with_keys=with_keys)


EXPORT = Capability(
    run=export_room,
    about="Write a sealed session into a file that anybody can check.",
    more="parler verify FILE checks it without a hub, an account or a key. Without "
    "--with-keys nobody reads in it what was said.",
    command="session export",
    example="parler session export -o room.jsonl",
    no_tool="a file for others is for a person to make",
)


class Contradicted(Result):
    """A contradiction in a file, with the entries that show it."""

    kind: str
    agent: AgentId
    fingerprint: str
    first: int
    second: int | None = None


class CheckedFile(Result):
    """A file that was checked."""

    file: str
    room: RoomName
    hub: str
    entries: int
    opened: int
    verdicts: dict[str, int]
    contradictions: list[Contradicted]


class VerifyFilesResult(Result):
    """One or two exports of a room, and where they part."""

    files: list[CheckedFile]
    fork: int | None = None
    """The first entry that they do not share; None if one continues the other."""

    witnesses: list[Contradicted] = msgspec.field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing contradicts."""
        return self.fork is None and not any(f.contradictions for f in self.files)


class Unreadable(UsageError):
    """A file that is no export."""

    code = "unreadable"


def verify_files(
    here: Here,
    file: Annotated[str, Param("An export.", "FILE", positional=True)],
    other: Annotated[
        str | None,
        Param("Another one of the same room.", "OTHER", positional=True, optional=True),
    ] = None,
) -> VerifyFilesResult:
    """Check exports of a sealed room: authors, order, completeness, and forks.

    Raises:
        Unreadable: One of them is none, or they are of two rooms.
    """
    from parler.sealed.export import check, compare
    from parler.sealed.formats import Refused

    del here
    names = [file] if other is None else [file, other]
    read = []
    for name in names:
        try:
            with Path(name).open("rb") as lines:
                read.append(check(lines))
        except OSError as error:
            raise Unreadable(f"cannot read {name}: {error.strerror}") from None
        except Refused as refused:
            raise Unreadable(
                f"{name} is no export of a sealed session: {refused.verdict.value}"
            ) from None
    files = [
        CheckedFile(
            file=name,
            room=one.head.hub_room,
            hub=one.head.hub,
            entries=len(one.digests),
            opened=one.texts,
            verdicts={str(k.value): n for k, n in one.verdicts.items()},
            contradictions=list(map(_found, one.contradictions)),
        )
        for name, one in zip(names, read, strict=True)
    ]
    fork = None
    if len(read) == 2:
        try:
            fork = compare(*read)
        except Refused:
            raise Unreadable("these two are of different sessions") from None
    return VerifyFilesResult(
        files=files,
        fork=None if fork is None else fork.k,
        witnesses=[] if fork is None else list(map(_found, fork.witnesses)),
    )


VERIFY_FILES = Capability(
    run=verify_files,
    about="Check exports of a sealed session, offline.",
    more="Authors, order and completeness; of two files also where they part, and "
    "whose signed messages contradict. The exit status is 0 if all is good, 1 if "
    "something contradicts, 2 if a file cannot be read. That nothing came after the "
    "end of a file, and when the hub says that it was, it cannot show.",
    command="verify",
    example="parler verify room.jsonl",
    no_tool="a file is checked by a person",
)


def _found(one: Any) -> Contradicted:
    return Contradicted(
        kind=one.kind,
        agent=one.agent,
        fingerprint=fingerprint(one.agent),
        first=one.first,
        second=one.second,
    )
