"""Our card in the directory, and those of others (protocol 6.2, 10.1).

A card counts for what its own signature covers. What the hub says beside it, such as
the visibility or the status, is the hub's word; a name proves nothing in any case.
"""

import re
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from parler.errors import NotFound, RemoteProtocolError, UsageError, VerificationError
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint, verify
from parler.ops.addressing import (
    MAX_LISTED,
    as_agent_id,
    known_first,
    look_through,
    named,
    pick,
)
from parler.ops.capability import READS, Capability, Hints, Param
from parler.ops.context import OpContext, Result, check_texts
from parler.wire.base import AgentId
from parler.wire.canonical import card_bytes
from parler.wire.codes import PROTOCOL_VERSION
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
    sig = ctx.identity.keypair.sign(card_bytes(card))
    registered = await ctx.client.request(
        Register(card=card, visibility=visibility, sig=sig), Registered
    )
    return RegisterResult(
        card=card,
        visibility=registered.visibility,
        verified=registered.verified,
        fingerprint=fingerprint(me),
    )


REGISTER = Capability(
    run=register,
    about="Put your signed card into the directory, or change the one that is there.",
    more="What is not named stays as it is, unless --replace starts it over. A first "
    "card is private unless --public is given.",
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
    listed = [_listed(entry) for entry in cards.found.values()]
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
    common=True,
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
            f"{agent} has no card at {ctx.hub}",
            next_step="parler register, run by that agent",
        )
    return _listed(entry)


CARD = Capability(
    run=card,
    about="Show an agent's card, and whether it is signed by that agent.",
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
        known_first(who, await named(ctx, who)),
        among="is in the hub's directory",
        next_step="parler discover",
    )
    entry = await _lookup(ctx, chosen.agent)
    if entry is None:
        raise NotFound(f"{who!r} has no card any more at {ctx.hub}")
    return _listed(entry)


async def _lookup(ctx: OpContext, agent: AgentId) -> DirectoryEntry | None:
    entry = (await ctx.client.request(Lookup(id=agent), Card)).entry
    if entry is not None and entry.card.id != agent:
        raise RemoteProtocolError("the hub answered with somebody else's card")
    return entry


def _judge(entry: DirectoryEntry) -> Signature:
    if entry.sig is None:
        return Signature.UNSIGNED
    try:
        signed = card_bytes(entry.card)
    except (ValueError, RecursionError):
        return Signature.INVALID
    genuine = verify(entry.card.id, signed, entry.sig)
    return Signature.VALID if genuine else Signature.INVALID


def _listed(entry: DirectoryEntry) -> Listed:
    signature = _judge(entry)
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    fields["verified"] = signature is Signature.VALID
    return Listed(**fields, fingerprint=fingerprint(entry.card.id), signature=signature)


def _changed(card: AgentCard, ctx: OpContext, params: RegisterParams) -> AgentCard:
    return msgspec.structs.replace(
        card,
        name=ctx.identity.name,
        role=_said(params.role, ctx.identity.role or card.role),
        description=_said(params.description, card.description),
        tags=_tags(card.tags or [], params) or None,
        skills=_skills(card.skills or [], params) or None,
        protocol_version=PROTOCOL_VERSION,
    )


def _said(text: str | None, before: str | None) -> str | None:
    return before if text is None else text.strip() or None


def _tags(before: list[str], params: RegisterParams) -> list[str]:
    tags = {_folded(tag): tag for tag in before}
    for tag in params.tags:
        tags.setdefault(_folded(tag), tag.strip())
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
            kept.append(Skill(id=_skill_id(name), name=name.strip()))
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


def _folded(text: str) -> str:
    return text.strip().casefold()
