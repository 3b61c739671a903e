"""The directory, ``register``, ``discover``, ``card``, and tokens for HTTP."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from parler.cli._carry_out import carry_out_declared
from parler.cli._command import command, shows
from parler.cli._format import doing
from parler.cli._run import Options
from parler.cli._when import when
from parler.errors import UsageError
from parler.identity.message_signing import Signature
from parler.ops import directory, tokens
from parler.ops.affiliations import Affiliation, belongs
from parler.ops.directory import DiscoverResult, Listed, RegisterResult
from parler.ops.tokens import TokenResult
from parler.text.terminal import paragraph, shown_name, visible, word
from parler.text.transcript import shown_state
from parler.wire.records import AgentCard, Scope, Visibility


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, directory.REGISTER)(register)
    command(app, directory.DISCOVER)(discover)
    shows(app, directory.CARD, _card, foreign=True)
    shows(app, tokens.TOKEN, _token)


def register(
    options: Options,
    public: Annotated[
        bool, typer.Option("--public", help="Anybody at the hub finds it.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Not for the public directory.")
    ] = False,
    **given: Any,
) -> None:
    """Change our card, and show it."""
    if public and private:
        raise UsageError("--public and --private exclude each other")
    chosen = Visibility.PUBLIC if public else Visibility.PRIVATE
    given["visibility"] = chosen if public or private else None
    carry_out_declared(options, directory.REGISTER, given, _registered, foreign=True)


def discover(
    options: Options,
    public: Annotated[
        bool, typer.Option("--public", help="Only public cards.")
    ] = False,
    **given: Any,
) -> None:
    """Look for agents, and show their cards."""
    given["scope"] = Scope.PUBLIC if public else Scope.HUB
    carry_out_declared(options, directory.DISCOVER, given, _found, foreign=True)


def _registered(result: RegisterResult) -> Iterator[str]:
    proof = "signed" if result.verified else "the hub did not verify the signature"
    yield f"your card is {result.visibility}, {proof}"
    yield from _about(result.card, result.fingerprint, result.affiliation)


def _found(result: DiscoverResult) -> Iterator[str]:
    if not result.agents:
        yield "nobody found"
    for one in result.agents:
        described = one.card
        role = f" ({shown_name(described.role)})" if described.role else ""
        state, _ = shown_state(one)
        tags = "".join(f" #{word(tag)}" for tag in described.tags or [])
        yield (
            f"{_mark(one)}{shown_name(described.name)}{role}  {one.fingerprint}  "
            f"[{one.visibility}]  {state}{tags}"
        )
        if one.affiliation:
            yield f"    {belongs(one.affiliation, described.id)}"
    if result.more:
        yield f"— {len(result.agents)} shown; there may be more: --limit N —"


def _card(result: Listed) -> Iterator[str]:
    yield {
        Signature.VALID: "verified: signed by this fingerprint (a name proves nothing)",
        Signature.UNSIGNED: "UNVERIFIED: the card is not signed",
        Signature.INVALID: "UNVERIFIED: the signature is not by this agent",
    }[result.signature]
    yield from _about(result.card, result.fingerprint, result.affiliation)
    state, activity, reach = doing(result)
    yield f"status       {', '.join(filter(None, (state, activity, reach)))}"
    yield f"listed       {result.visibility} at {word(result.hub)}"
    yield f"last seen    {when(result.last_seen)}"


def _about(
    described: AgentCard, fingerprint: str, affiliation: Affiliation | None
) -> Iterator[str]:
    role = f" ({shown_name(described.role)})" if described.role else ""
    yield f"name         {shown_name(described.name)}{role}"
    yield f"fingerprint  {fingerprint}"
    yield f"id           {word(described.id)}"
    if affiliation:
        yield f"whose        {belongs(affiliation, described.id)}"
    if affiliation and (person := affiliation.person):
        yield f"person       {person.fingerprint}"
    if described.description:
        yield f"about        {paragraph(described.description)}"
    if described.tags:
        yield f"tags         {', '.join(map(word, described.tags))}"
    for skill in described.skills or []:
        more = f": {paragraph(skill.description)}" if skill.description else ""
        yield f"skill        {word(skill.name)}{more}"


def _mark(one: Listed) -> str:
    return "" if one.signature is Signature.VALID else "✗ UNVERIFIED "


def _token(result: TokenResult) -> Iterator[str]:
    yield f"token    {visible(result.token)}"
    yield f"expires  {when(result.expires_at)}"
    yield f"reads    {visible(result.url)} (Authorization: Bearer TOKEN)"
