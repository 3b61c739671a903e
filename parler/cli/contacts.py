"""The people one knows: ``contacts``, ``trust``, ``untrust``."""

import shlex
import sys
from collections.abc import Iterator

import typer

from parler.cli._command import command, shows
from parler.cli._machine import here_of
from parler.cli._own import person_line
from parler.cli._person import check_no_agent
from parler.cli._run import HERE, Options, Run, carry_out
from parler.cli.render import put_question
from parler.errors import UsageError
from parler.ops import contacts
from parler.ops.affiliations import Affiliation
from parler.ops.contacts import ContactsResult, Found, ShownContact, TrustResult
from parler.ops.person_only import Deciding
from parler.text.terminal import look, shown_name


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    shows(app, contacts.CONTACTS, _contacts, foreign=True)
    command(app, contacts.TRUST)(trust)
    command(app, contacts.UNTRUST)(untrust)


def trust(options: Options, who: str, name: str | None) -> None:
    """Know a person from now on; a name alone is shown first."""
    _not_for_agents("trust", who, *(["--as", name] if name else []))

    async def work(run: Run) -> None:
        asks = sys.stdin is not None and sys.stdin.isatty()
        agrees = _agrees if asks else None
        result = await contacts.trust(run.ctx, who, name, agrees=agrees)
        run.out.result(result, _trusted(result), foreign=True)
        if not result.was_known:
            run.out.undo(person_line(options, "untrust", result.contact.name))

    carry_out(options, work, place=HERE)


def untrust(options: Options, name: str) -> None:
    """Know somebody no more."""
    _not_for_agents("untrust", name)
    result = contacts.untrust(here_of(options), name)
    gone = shown_name(result.contact.name)
    options.out.result(result, [f"{gone} is no contact any more"])
    for one in result.contact.ids:
        again = [one.fingerprint, "--as", result.contact.name]
        options.out.undo(person_line(options, "trust", *again))


def offer_to_remember(options: Options, affiliation: Affiliation | None) -> None:
    """After an agent was let in: whether the unknown person behind it is remembered."""
    person = affiliation.person if affiliation else None
    if person is None or affiliation is None or affiliation.is_known:
        return
    name = shown_name(person.name)
    later = f"parler trust {person.fingerprint}"
    if options.json or options.quiet or not (sys.stdin and sys.stdin.isatty()):
        options.out.note(f"to know {name} from now on: {later}")
        return
    if not put_question(
        f"And remember {name} ({person.fingerprint}), with a ✓ from then on?"
    ):
        return
    found = Found(id=person.id, called=person.name)
    try:
        here = here_of(options)
        result = contacts.remember(here.home, found, None, now=here.now())
    except UsageError as refused:  # the approval stands
        options.out.note(f"{refused.message}: {later} --as NAME")
        return
    options.out.result(result, _trusted(result), foreign=True)


def _agrees(found: Found) -> bool:
    name = shown_name(found.called or "")
    return put_question(f"Did {name} read {found.fingerprint} to you? Then trust it")


def _not_for_agents(*words: str) -> None:
    line = shlex.join(["parler", *words])
    check_no_agent(Deciding(what="decide whom you trust", question="", line=line))


def _contacts(result: ContactsResult) -> Iterator[str]:
    if not result.contacts:
        yield "you know nobody yet: parler trust FINGERPRINT"
    for one in result.contacts:
        yield from _contact(one)


def _contact(one: ShownContact) -> Iterator[str]:
    yield shown_name(one.name)
    for each in one.ids:
        yield f"    {each.fingerprint}"


def _trusted(result: TrustResult) -> Iterator[str]:
    name = shown_name(result.contact.name)
    itself = (
        f", who calls itself {shown_name(result.called)},"
        if result.called and look(result.called) != look(result.contact.name)
        else ""
    )
    done = "is a contact already" if result.was_known else "is a contact now"
    yield f"{name} {result.fingerprint}{itself} {done}"
    if len(result.contact.ids) > 1:
        yield f"{name} has {len(result.contact.ids)} ids: parler contacts"
    if not result.was_known:
        yield f"let this person's agents in unasked: parler session open --for {name}"
