"""Our card in the directory, and those of others (protocol 6.2, 10.1).

A card counts for what its own signature covers. What the hub says beside it, such as
the visibility or the status, is the hub's word; a name proves nothing in any case.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from parler.errors import (
    NotFound,
    ParlerError,
    RemoteProtocolError,
    UsageError,
    VerificationError,
)
from parler.identity.card_place import PLACE, card_place, told_place
from parler.identity.homes import (
    current_directory,
    is_person_home,
    machine_home,
    process_environment,
    user_home_of,
)
from parler.identity.message_signing import Signature
from parler.identity.people import People
from parler.identity.person import (
    VOUCH,
    ensure_person,
    verified_card,
    verified_vouch,
    vouch,
)
from parler.identity.signing import fingerprint
from parler.ops.addressing import (
    MAX_LISTED,
    as_agent_id,
    look_through,
    named,
    nearest,
    pick,
)
from parler.ops.affiliations import Affiliation, affiliation_of, people_of
from parler.ops.capability import READS, Capability, Hints, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.wire.base import AgentId
from parler.wire.canonical import card_bytes
from parler.wire.codes import PROTOCOL_VERSION
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.limits import DEFAULT_DISCOVER_LIMIT
from parler.wire.records import (
    AgentCard,
    DirectoryEntry,
    Scope,
    Skill,
    Visibility,
)
from parler.wire.replies import Card, Registered
from parler.wire.requests import Discover, Lookup, Register

_NOT_IN_ID = re.compile(r"[^\w]+")
_START_OVER = "parler register --replace, with everything the card shall say"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterParams:
    """What changes on our card; what is not named stays as it is."""

    visibility: Annotated[
        Visibility | None,
        Param("Who finds it; a first card is private unless told.", on_cli=False),
    ] = None
    tags: Annotated[list[str], Param("Tags to add.", "TAG", option="--tag")] = field(
        default_factory=list
    )
    skills: Annotated[
        list[str], Param("Skills to add, by name.", "SKILL", option="--skill")
    ] = field(default_factory=list)
    description: Annotated[
        str | None, Param('What you do; "" removes it.', "TEXT", option="--describe")
    ] = None
    role: Annotated[str | None, Param('In a word; "" removes it.')] = None
    as_person: Annotated[
        bool,
        Param("A public card says whose agent you are, too.", on_tool=False),
    ] = False
    remove_tags: Annotated[
        list[str], Param("Tags to take away.", "TAG", option="--remove-tag")
    ] = field(default_factory=list)
    remove_skills: Annotated[
        list[str],
        Param("Skills to take away, by name or id.", "SKILL", option="--remove-skill"),
    ] = field(default_factory=list)
    replace: Annotated[bool, Param("Forget what it said so far.", on_tool=False)] = (
        False
    )


class RegisterResult(Result):
    """Our card as it stands now. `verified`: the hub checked our signature."""

    card: AgentCard
    visibility: Visibility
    verified: bool
    fingerprint: str
    affiliation: Affiliation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverParams:
    """Whom to look for. All that is named has to fit; parts of words do."""

    query: Annotated[str | None, Param("Part of a name, tag or skill.", words=True)] = (
        None
    )
    tag: Annotated[str | None, Param("With such a tag.", brief="")] = None
    skill: Annotated[str | None, Param("With such a skill.", brief="")] = None
    status: Annotated[str | None, Param("As: idle, working, offline.")] = None
    scope: Annotated[Scope, Param(on_cli=False)] = Scope.HUB
    limit: Annotated[
        int, Param("At most N.", "N", ge=1, le=MAX_LISTED, clamped=True, brief="")
    ] = DEFAULT_DISCOVER_LIMIT


class Listed(DirectoryEntry, kw_only=True):
    """A card with what the hub says of its agent, and what we think of it.

    `verified` and `signature` are what we found ourselves, not what the hub claims.
    """

    fingerprint: str
    signature: Signature
    affiliation: Affiliation | None = None


class DiscoverResult(Result):
    """Cards that were found; `more` if there may be others beyond the limit."""

    agents: list[Listed]
    more: bool = False


async def register(ctx: OpContext, params: RegisterParams) -> RegisterResult:
    """Put our card into the directory, signed, on top of the one that is there.

    Raises:
        UsageError: A tag or skill is empty, or both added and taken away.
        VerificationError: The card that is there is not signed by us, so signing it
            now would vouch for what somebody else wrote.
    """
    return await _register(ctx, params, {})


async def say_on_card(ctx: OpContext, said: Mapping[str, Any]) -> None:
    """Say something besides on our card, or with None no longer; else as it is.

    Raises:
        VerificationError: The card that is there is not signed by us.
        HubError: The hub takes none.
    """
    await _register(ctx, RegisterParams(), said)


async def _register(
    ctx: OpContext, params: RegisterParams, besides: Mapping[str, Any]
) -> RegisterResult:
    _check(params)
    me = ctx.client.agent_id
    old = None if params.replace else await _lookup(ctx, me)
    if old is not None and _judge(old) is not Signature.VALID:
        raise VerificationError(
            "the card the hub has for us is not as we signed it; nothing was changed",
            next_step=_START_OVER,
        )
    card = _changed(old.card if old else AgentCard.of(me, ""), ctx, params)
    visibility = params.visibility or (old.visibility if old else Visibility.PRIVATE)
    told = (
        visibility is Visibility.PRIVATE
        or params.as_person
        # What is not named stays as it is.
        or (old is not None and old.visibility is visibility and _tells(old))
    )
    meta = await asyncio.to_thread(_meta, ctx, old, told=told)
    meta = {k: v for k, v in (meta | dict(besides)).items() if v is not None}
    card = msgspec.structs.replace(card, meta=meta or None)
    sig = ctx.identity.keypair.sign(card_bytes(card))
    registered = await ctx.client.request(
        Register(card=card, visibility=visibility, sig=sig), Registered
    )
    people = await asyncio.to_thread(people_of, ctx)
    return RegisterResult(
        card=card,
        visibility=registered.visibility,
        verified=registered.verified,
        fingerprint=fingerprint(me),
        affiliation=affiliation_of(people, me, card, sig),
    )


async def introduce(ctx: OpContext) -> None:
    """Have a card that says whose agent we are, for whoever decides about a knock.

    One that is there already stays as it is, and what cannot be said is left unsaid.
    """
    home = ctx.identity.home
    if is_person_home(home):
        return
    with suppress(ParlerError):
        me = ctx.client.agent_id
        entry = await _lookup(ctx, me)
        if entry is None or verified_vouch(entry.card, entry.sig, me) is None:
            await register(ctx, RegisterParams())


REGISTER = Capability(
    run=register,
    about="Put your signed card into the directory, or change it.",
    more="What is not named stays as it is, unless --replace starts it over. A first "
    "card is private unless --public is given. An agent's private card also says whose "
    "agent it is, in which app and folder; a public one only with --as-person.",
    command="register",
    example="""\
parler register --public --tag planning --skill decompose --describe "I plan"
parler register --remove-tag planning""",
    tool="parler_register",
    brief="Change your card in the directory.",
    call='{"visibility": "public", "tags": ["planning"]}',
    hints=Hints(repeatable=True, open_world=True),
)


async def discover(ctx: OpContext, params: DiscoverParams) -> DiscoverResult:
    """Search the directory; every card's signature is checked on arrival."""
    check_texts(
        query=params.query, tag=params.tag, skill=params.skill, status=params.status
    )
    frame = Discover(
        scope=params.scope,
        query=params.query,
        tag=params.tag,
        skill=params.skill,
        status=params.status,
    )
    cards = await look_through(ctx, frame, most=min(params.limit, MAX_LISTED))
    people = await asyncio.to_thread(people_of, ctx)
    listed = [_listed(entry, people) for entry in cards.found.values()]
    return DiscoverResult(agents=listed, more=cards.more)


DISCOVER = Capability(
    run=discover,
    about="Look for agents; each card's signature is checked here.",
    more="A good signature proves whose card it is, by its fingerprint. It does not "
    "prove the name: anybody can use any.",
    command="discover",
    example="""\
parler discover --tag planning
parler discover --public --status idle""",
    tool="parler_discover",
    brief="Agents in the hub's directory.",
    call='{"tag": "planning", "status": "idle"}',
    hints=READS,
)


async def card(
    ctx: OpContext,
    who: Annotated[
        str | None,
        Param(
            "Id, fingerprint or unique name; else your own.",
            "AGENT",
            positional=True,
            argument="agent",
        ),
    ] = None,
) -> Listed:
    """One agent's card; our own, if nobody is named.

    Args:
        who: An id, a fingerprint or enough of its beginning, or a name that only one
            card bears.

    Raises:
        UsageError: Nobody is meant, or more than one.
        NotFound: That agent has no card.
    """
    agent = ctx.client.agent_id if who is None else as_agent_id(who.strip())
    if agent is None:
        assert who is not None
        return await _named(ctx, who)
    entry = await _lookup(ctx, agent)
    if entry is None:
        raise NotFound(
            f"{fingerprint(agent)} has no card at {ctx.hub}",
            next_step="parler register, run by that agent",
        )
    return _listed(entry, await asyncio.to_thread(people_of, ctx))


CARD = Capability(
    run=card,
    about="Show an agent's card, and whether that agent signed it.",
    command="card",
    example="""\
parler card planner
parler card""",
    tool="parler_card",
    brief="What an agent says of itself.",
    call='{"agent": "planner"}',
    hints=READS,
)


async def _named(ctx: OpContext, who: str) -> Listed:
    chosen = pick(
        who,
        nearest(who, await named(ctx, who)),
        among="is in the hub's directory",
        next_step="parler discover",
    )
    entry = await _lookup(ctx, chosen.agent)
    if entry is None:
        raise NotFound(f"{who!r} has no card any more at {ctx.hub}")
    return _listed(entry, await asyncio.to_thread(people_of, ctx))


async def _lookup(ctx: OpContext, agent: AgentId) -> DirectoryEntry | None:
    entry = (await ctx.client.request(Lookup(id=agent), Card)).entry
    if entry is not None and entry.card.id != agent:
        raise RemoteProtocolError("the hub answered with somebody else's card")
    return entry


def _judge(entry: DirectoryEntry) -> Signature:
    if entry.sig is None:
        return Signature.UNSIGNED
    genuine = verified_card(entry.card, entry.sig, entry.card.id)
    return Signature.VALID if genuine else Signature.INVALID


def _listed(entry: DirectoryEntry, people: People) -> Listed:
    signature = _judge(entry)
    agent = entry.card.id
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    fields["verified"] = signature is Signature.VALID
    return Listed(
        **fields,
        fingerprint=fingerprint(agent),
        signature=signature,
        affiliation=affiliation_of(people, agent, entry.card, entry.sig),
    )


def _meta(ctx: OpContext, old: DirectoryEntry | None, *, told: bool) -> dict[str, Any]:
    """What a card says besides: with `told`, whose agent we are and where we work."""
    meta = dict((old and old.card.meta) or {})
    for key in (VOUCH, PLACE):
        meta.pop(key, None)
    home = ctx.identity.home
    if not told or is_person_home(home):
        return meta
    env = process_environment()
    place = card_place(home, env, current_directory(), user_home_of(env))
    if place is None and old is not None:
        place = told_place(old.card)
    if place:
        meta[PLACE] = msgspec.to_builtins(place)
    word = old and verified_vouch(old.card, old.sig, ctx.identity.agent_id)
    with suppress(ParlerError):  # what was said before stands, or nothing is said
        person = ensure_person(machine_home(home), hub_url=ctx.identity.hub_url)
        named = person.agent_id, foreign(person.name.strip())
        if not word or (word.id, word.name) != named:
            word = None
            word = vouch(person, ctx.identity.agent_id, now=ctx.now())
    if word:
        meta[VOUCH] = msgspec.to_builtins(word)
    return meta


def _tells(entry: DirectoryEntry) -> bool:
    return bool({VOUCH, PLACE} & (entry.card.meta or {}).keys())


def _changed(card: AgentCard, ctx: OpContext, params: RegisterParams) -> AgentCard:
    return msgspec.structs.replace(
        card,
        name=foreign(ctx.identity.name),
        role=_said(params.role, foreign(ctx.identity.role) or card.role),
        description=_said(params.description, card.description),
        tags=_tags(card.tags or [], params) or None,
        skills=_skills(card.skills or [], params) or None,
        protocol_version=PROTOCOL_VERSION,
    )


def _said(text: str | None, before: Foreign | None) -> Foreign | None:
    return before if text is None else foreign(text.strip() or None)


def _tags(before: list[Foreign], params: RegisterParams) -> list[Foreign]:
    tags = {_folded(tag): tag for tag in before}
    for tag in params.tags:
        tags.setdefault(_folded(tag), foreign(tag.strip()))
    for tag in params.remove_tags:
        tags.pop(_folded(tag), None)
    return list(tags.values())


def _skills(before: list[Skill], params: RegisterParams) -> list[Skill]:
    gone = {_folded(name) for name in params.remove_skills}
    kept = [s for s in before if not gone & {_folded(s.name), _folded(s.id)}]
    known = {_folded(text) for skill in kept for text in (skill.name, skill.id)}
    for name in params.skills:
        if _folded(name) not in known:
            known.add(_folded(name))
            kept.append(Skill(id=foreign(_skill_id(name)), name=foreign(name.strip())))
    return kept


def _skill_id(name: str) -> str:
    return _NOT_IN_ID.sub("-", _folded(name)).strip("-") or name.strip()


def _check(params: RegisterParams) -> None:
    changes = (
        ("tag", params.tags, params.remove_tags),
        ("skill", params.skills, params.remove_skills),
    )
    for what, added, taken in changes:
        for text in (*added, *taken):
            check_texts(**{what: text})
            if not text.strip():
                raise UsageError(f"a {what} is empty")
        both = {_folded(text) for text in added} & {_folded(text) for text in taken}
        if both:
            listed = ", ".join(sorted(both))
            raise UsageError(f"{what} {listed!r} is to be added and taken away")
    check_texts(description=params.description, role=params.role)


def _folded(text: str | Foreign) -> str:
    return exact(text).strip().casefold()
