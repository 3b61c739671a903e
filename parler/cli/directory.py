"""The directory, ``register``, ``discover``, ``card``, and tokens for HTTP."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._arguments import Room, between
from parler.cli._command import command
from parler.cli._run import HERE, Options, Run, carry_out, in_room
from parler.cli.session import app as session
from parler.errors import UsageError
from parler.text.terminal import paragraph, shown_name, visible
from parler.wire.limits import MAX_TTL_SECS

if TYPE_CHECKING:
    from parler.ops.directory import DiscoverResult, Listed, RegisterResult
    from parler.ops.tokens import TokenResult, WatchResult
    from parler.wire.records import AgentCard

_REGISTER = """\
parler register --public --tag planning --skill decompose --describe "I plan"
parler register --remove-tag planning"""
_DISCOVER = """\
parler discover --tag planning
parler discover --public --status idle"""
_CARD = """\
parler card planner
parler card"""

_TokenTtl = Annotated[
    int | None,
    typer.Option(
        "--ttl",
        metavar="SECS",
        help="How long the token works.",
        parser=between(1, MAX_TTL_SECS),
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "register", example=_REGISTER)(register)
    command(app, "discover", example=_DISCOVER)(discover)
    command(app, "card", example=_CARD)(card)
    command(app, "token", example="parler token --ttl 600")(token)
    command(session, "watch", example="parler session watch --ttl 600")(watch)


def register(
    options: Options,
    public: Annotated[
        bool, typer.Option("--public", help="Anybody at the hub finds it.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Not for the public directory.")
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Add a tag; repeatable."),
    ] = None,
    skill: Annotated[
        list[str] | None,
        typer.Option("--skill", metavar="SKILL", help="Add a skill; repeatable."),
    ] = None,
    describe: Annotated[
        str | None,
        typer.Option("--describe", metavar="TEXT", help='What you do; "" removes it.'),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option("--role", metavar="ROLE", help='In a word; "" removes it.'),
    ] = None,
    remove_tag: Annotated[
        list[str] | None,
        typer.Option("--remove-tag", metavar="TAG", help="Take a tag away."),
    ] = None,
    remove_skill: Annotated[
        list[str] | None,
        typer.Option("--remove-skill", metavar="SKILL", help="Take a skill away."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget what it said so far.")
    ] = False,
) -> None:
    """Put your signed card into the directory, or change the one that is there.

    What is not named stays as it is, unless --replace starts it over. A first card is
    private unless --public is given.
    """
    from parler.ops import directory
    from parler.wire.records import Visibility

    if public and private:
        raise UsageError("--public and --private exclude each other")
    chosen = Visibility.PUBLIC if public else Visibility.PRIVATE
    params = directory.RegisterParams(
        visibility=chosen if public or private else None,
        tags=tag or [],
        remove_tags=remove_tag or [],
        skills=skill or [],
        remove_skills=remove_skill or [],
        description=describe,
        role=role,
        replace=replace,
    )

    async def work(run: Run) -> None:
        result = await directory.register(run.ctx, params)
        run.out.result(result, map(run.out.quoted, _registered(result)))

    carry_out(options, work, place=HERE)


def discover(
    options: Options,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Part of a name, tag or skill."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Only public cards.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option("--tag", metavar="TAG", help="With such a tag.")
    ] = None,
    skill: Annotated[
        str | None, typer.Option("--skill", metavar="SKILL", help="With such a skill.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="As: idle, working, offline."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="At most N.",
            parser=between(1, 1000),
        ),
    ] = None,
) -> None:
    """Look for agents; each card's signature is checked here.

    A good signature proves whose card it is, by its fingerprint. It does not prove
    the name: anybody can use any.
    """
    from parler.ops import directory
    from parler.wire.records import Scope

    params = directory.DiscoverParams(
        query=" ".join(query or []) or None,
        tag=tag,
        skill=skill,
        status=status,
        scope=Scope.PUBLIC if public else Scope.HUB,
        **({} if limit is None else {"limit": limit}),
    )

    async def work(run: Run) -> None:
        result = await directory.discover(run.ctx, params)
        run.out.result(result, map(run.out.quoted, _found(result)))

    carry_out(options, work, place=HERE)


def card(
    options: Options,
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="AGENT", help="Id, fingerprint or unique name; else your own."
        ),
    ] = None,
) -> None:
    """Show an agent's card, and whether it is signed by that agent."""
    from parler.ops import directory

    async def work(run: Run) -> None:
        result = await directory.card(run.ctx, who)
        run.out.result(result, map(run.out.quoted, _card(result)))

    carry_out(options, work, place=HERE)


def token(options: Options, ttl: _TokenTtl = None) -> None:
    """Make a token that reads the hub's whole directory over HTTP.

    Whoever has it reads every card until it expires.
    """
    from parler.ops import tokens

    async def work(run: Run) -> None:
        result = await tokens.directory_token(
            run.ctx, **({} if ttl is None else {"ttl_secs": ttl})
        )
        run.out.result(result, _token(result))

    carry_out(options, work, place=HERE)


def watch(options: Options, room: Room = None, ttl: _TokenTtl = None) -> None:
    """Make a token that reads a session of yours over HTTP, and says nothing in it.

    Whoever has it reads along until it expires; only the owner can make one.
    """
    from parler.ops import tokens

    async def work(run: Run) -> None:
        result = await tokens.watch_token(
            run.ctx,
            run.ctx.room(room),
            **({} if ttl is None else {"ttl_secs": ttl}),
        )
        run.out.result(result, _watched(result))

    carry_out(options, work, place=in_room(room))


def _registered(result: "RegisterResult") -> Iterator[str]:
    proof = "signed" if result.verified else "the hub did not verify the signature"
    yield f"your card is {result.visibility}, {proof}"
    yield from _about(result.card, result.fingerprint)


def _found(result: "DiscoverResult") -> Iterator[str]:
    if not result.agents:
        yield "nobody found"
    for one in result.agents:
        described = one.card
        role = f" ({shown_name(described.role)})" if described.role else ""
        attention = f", {one.attention}" if one.attention else ""
        tags = "".join(f" #{visible(tag)}" for tag in described.tags or [])
        yield (
            f"{_mark(one)}{shown_name(described.name)}{role}  {one.fingerprint}  "
            f"[{one.visibility}]  {visible(one.status)}{attention}{tags}"
        )
    if result.more:
        yield f"— {len(result.agents)} shown; there may be more: --limit N —"


def _card(result: "Listed") -> Iterator[str]:
    from parler.identity.message_signing import Signature
    from parler.text.transcript import shown_time

    yield {
        Signature.VALID: "verified: signed by this fingerprint (a name proves nothing)",
        Signature.UNSIGNED: "UNVERIFIED: the card is not signed",
        Signature.INVALID: "UNVERIFIED: the signature is not by this agent",
    }[result.signature]
    yield from _about(result.card, result.fingerprint)
    attention = f", {result.attention}" if result.attention else ""
    activity = f" — {visible(result.activity)}" if result.activity else ""
    yield f"status       {visible(result.status)}{attention}{activity}"
    yield f"listed       {result.visibility} at {visible(result.hub)}"
    yield f"last seen    {shown_time(result.last_seen, None)}"


def _about(described: "AgentCard", fingerprint: str) -> Iterator[str]:
    role = f" ({shown_name(described.role)})" if described.role else ""
    yield f"name         {shown_name(described.name)}{role}"
    yield f"fingerprint  {fingerprint}"
    yield f"id           {described.id}"
    if described.description:
        yield f"about        {paragraph(described.description)}"
    if described.tags:
        yield f"tags         {', '.join(map(visible, described.tags))}"
    for skill in described.skills or []:
        more = f": {paragraph(skill.description)}" if skill.description else ""
        yield f"skill        {visible(skill.name)}{more}"


def _mark(one: "Listed") -> str:
    from parler.identity.message_signing import Signature

    return "✓ " if one.signature is Signature.VALID else "✗ UNVERIFIED "


def _token(result: "TokenResult") -> Iterator[str]:
    from parler.text.transcript import shown_time

    yield f"token    {visible(result.token)}"
    yield f"expires  {shown_time(result.expires_at, None)}"
    yield f"reads    {visible(result.url)} (Authorization: Bearer TOKEN)"


def _watched(result: "WatchResult") -> Iterator[str]:
    from parler.text.transcript import shown_time

    yield f"watch    {visible(result.token)} — reads {visible(result.room)}"
    yield f"expires  {shown_time(result.expires_at, None)}"
    yield f"reads    {visible(result.url)} (Authorization: Bearer TOKEN)"
    if result.viewer:
        yield f"viewer   {visible(result.viewer)}"
