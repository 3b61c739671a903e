"""The people whose agents one knows: trusting one, once, and forgetting one.

A person is found by what her agents' cards prove. Her name is no proof, so whoever is
trusted was compared by all of a fingerprint, or a person has seen it before agreeing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from parler.errors import UsageError
from parler.identity.contacts import Contact, Contacts
from parler.identity.homes import machine_home
from parler.identity.identity import active_session
from parler.identity.people import People, PersonBehind, Relation
from parler.identity.person import verified_card
from parler.identity.signing import fingerprint
from parler.ops.addressing import (
    MAX_LISTED,
    as_agent_id,
    is_whole_fingerprint,
    look_through,
    looks_like_a_fingerprint,
    matching,
    members_of,
    named,
    pick,
)
from parler.ops.affiliations import people_of
from parler.ops.capability import Capability, Param
from parler.ops.context import OpContext, Result
from parler.ops.machine_context import Here
from parler.text.terminal import look, shown_name
from parler.wire.base import AgentId, RoomName
from parler.wire.foreign import Foreign, exact
from parler.wire.replies import Card
from parler.wire.requests import Discover, Lookup

if TYPE_CHECKING:
    from parler.wire.records import DirectoryEntry

MAX_ALIKE = 20
"""Agents of one name whose cards are looked at."""

_WITH_FINGERPRINT = "with the fingerprint that the person's `parler whoami` shows"


class ContactId(Result):
    """One of the ids of a contact: she has one for each of her machines."""

    id: AgentId
    fingerprint: str


class ShownContact(Result):
    """Somebody one knows."""

    name: str
    ids: list[ContactId]
    since: int


class ContactsResult(Result):
    """Everybody one knows, by name."""

    contacts: list[ShownContact]


class TrustResult(Result):
    """A contact as it is now. `id` was trusted just now, and calls itself `called`."""

    contact: ShownContact
    id: AgentId
    fingerprint: str
    called: Foreign | None = None
    was_known: bool = False


class UntrustResult(Result):
    """Who is no contact any more."""

    contact: ShownContact


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A person who is meant."""

    id: AgentId
    called: Foreign | None
    """By itself, if it says so."""

    by_name: bool = False
    """Nothing was compared: only an agent's name was given."""

    @property
    def fingerprint(self) -> str:
        """To be compared."""
        return fingerprint(self.id)


def contacts(here: Here) -> ContactsResult:
    """Everybody one knows.

    Raises:
        ConfigError: The file is damaged, or other users may read it.
    """
    return ContactsResult(contacts=[_shown(one) for one in Contacts(here.home).all()])


CONTACTS = Capability(
    run=contacts,
    about="Show the people whose agents you know.",
    more="Their agents are shown with a ✓, and may be let in unasked: parler session "
    "open --for NAME.",
    command="contacts",
    no_tool="each agent is shown with whose it is",
)


async def trust(
    ctx: OpContext,
    who: Annotated[
        str,
        Param(
            "A person's fingerprint or id, or an agent of hers.",
            positional=True,
        ),
    ],
    name: Annotated[
        str | None,
        Param("What you call her; else as she calls herself.", "NAME", option="--as"),
    ] = None,
    *,
    agrees: Callable[[Found], bool] | None = None,
) -> TrustResult:
    """Know a person from now on, on all of this user's machine.

    Args:
        who: All of a fingerprint, or an id: of the person, or of an agent that the
            person vouches for. An agent's name, if `agrees`.
        name: An existing contact's adds one more id to it.
        agrees: Asked where only a name was given.

    Raises:
        UsageError: Nobody is meant, or more than one; or the name is somebody else's.
    """
    people = await asyncio.to_thread(people_of, ctx)
    found = await _find(ctx, people, who.strip())
    if found.by_name and (agrees is None or not agrees(found)):
        raise UsageError(
            f"a name proves nothing: {shown_name(who)} is vouched for by "
            f"{shown_name(found.called or '')}",
            next_step=f"once it is compared: parler trust {found.fingerprint}",
        )
    home = machine_home(ctx.identity.home)
    return await asyncio.to_thread(remember, home, found, name, now=ctx.now())


def remember(home: Path, found: Found, name: str | None, *, now: int) -> TrustResult:
    """Know somebody from now on whom a person has compared.

    Args:
        home: The machine home.
        name: How; else as before, or as somebody new calls itself.
        now: In epoch milliseconds.

    Raises:
        UsageError: It is ourselves, or the name looks like that of somebody else.
    """
    people = People.read(home)
    if found.id == people.own:
        raise UsageError(
            "that is yourself: your own agents are known without being trusted"
        )
    known = Contacts(home)
    before = known.find(found.id)
    called = name or (before.name if before else None) or _free(found, people)
    contact = known.trust(found.id, called, now=now)
    return TrustResult(
        contact=_shown(contact),
        id=found.id,
        fingerprint=found.fingerprint,
        called=found.called,
        was_known=before is not None and before.name == contact.name,
    )


TRUST = Capability(
    run=trust,
    about="Know a person's agents from now on.",
    more="Compare the fingerprint before. Ask the person for it: her `parler whoami` "
    "shows it. Anybody can use a name. With the NAME of a contact, the id is one more "
    "of hers: that of another machine, or a new one after she lost her key.",
    command="trust",
    example="parler trust ABCD-EFGH-IJKL-MNOP --as anna",
    no_tool="whom to trust is for a person to decide",
)


def untrust(
    here: Here,
    name: Annotated[str, Param("As `parler contacts` shows it.", positional=True)],
) -> UntrustResult:
    """Know somebody no more.

    Raises:
        UsageError: Nobody is called so.
    """
    gone = Contacts(here.home).untrust(name)
    if gone is None:
        raise UsageError(
            f"you know nobody called {name!r}", next_step="parler contacts"
        )
    return UntrustResult(contact=_shown(gone))


UNTRUST = Capability(
    run=untrust,
    about="Know a person's agents no more.",
    more="Nobody is put out of a room by it.",
    command="untrust",
    example="parler untrust anna",
    no_tool="whom to trust is for a person to decide",
)


def contacts_called(ctx: OpContext, names: Sequence[str]) -> list[Contact]:
    """The contacts of these names.

    Raises:
        UsageError: One of them is nobody's.
        ConfigError: The file is damaged, or other users may read it.
    """
    known = Contacts(machine_home(ctx.identity.home))
    found = []
    for name in names:
        contact = known.named(name)
        if contact is None:
            raise UsageError(
                f"you know nobody called {name!r}",
                next_step="parler contacts, or parler trust FINGERPRINT "
                f"--as {shown_name(name)}",
            )
        found.append(contact)
    return found


def names_among(ctx: OpContext, texts: Sequence[str]) -> list[str]:
    """Those of some texts that are names of contacts."""
    if not texts:
        return []
    known = Contacts(machine_home(ctx.identity.home))
    return [one for one in texts if known.named(one)]


async def _find(ctx: OpContext, people: People, who: str) -> Found:
    """The person who is meant.

    Raises:
        UsageError: Nobody, or more than one.
    """
    if agent := as_agent_id(who):
        entry = (await ctx.client.request(Lookup(id=agent), Card)).entry
        card, sig = (entry.card, entry.sig) if entry else (None, None)
        found = _found(people.behind(agent, card, sig))
        if found is None and entry is None:  # persons seldom have a card themselves
            found = _vouching(people, await _cards(ctx), lambda one: one == agent)
        return found or _itself(agent, entry)
    if not looks_like_a_fingerprint(who):
        return await _by_name(ctx, people, who)
    if not is_whole_fingerprint(who.upper()):
        raise UsageError(
            "a part of a fingerprint can be met by somebody who tries often enough",
            next_step="all of it: parler trust ABCD-EFGH-IJKL-MNOP",
        )
    return _by_fingerprint(people, await _cards(ctx), who.upper())


async def _by_name(ctx: OpContext, people: People, who: str) -> Found:
    active = active_session(ctx.identity.home)
    met = await members_of(ctx, RoomName(active)) if active else []
    meant = matching(who, [*met, *await named(ctx, who)])[:MAX_ALIKE]
    behind: dict[AgentId, PersonBehind | None] = {}
    for one in meant:
        entry = (await ctx.client.request(Lookup(id=one.agent), Card)).entry
        card, sig = (entry.card, entry.sig) if entry else (None, None)
        behind[one.agent] = people.behind(one.agent, card, sig)
    step = f"parler trust, {_WITH_FINGERPRINT}"
    chosen = pick(
        who,
        [
            one
            for one in meant
            if (person := behind[one.agent]) is None
            or person.relation is not Relation.OWN
        ],
        among="is a member of the active session or in the hub's directory",
        next_step=step,
    )
    found = _found(behind[chosen.agent], by_name=True)
    if found is None:
        raise UsageError(f"nobody vouches for {chosen}", next_step=step)
    return found


def _by_fingerprint(
    people: People, entries: "Sequence[DirectoryEntry]", wanted: str
) -> Found:
    for contact in people.contacts:
        for known in contact.ids:
            if fingerprint(known) == wanted:
                return Found(id=known, called=None)
    if found := _vouching(people, entries, lambda one: fingerprint(one) == wanted):
        return found
    for entry in entries:
        if fingerprint(entry.card.id) == wanted:
            person = people.behind(entry.card.id, entry.card, entry.sig)
            return _found(person) or _itself(entry.card.id, entry)
    raise UsageError(
        "no agent at the hub is vouched for by that fingerprint, or has it",
        next_step="start an agent of hers once; or parler trust ID --as NAME, with the "
        "id that her `parler whoami` shows",
    )


def _vouching(
    people: People,
    entries: "Sequence[DirectoryEntry]",
    fits: Callable[[AgentId], bool],
) -> Found | None:
    """The person of such an id, by the card of an agent of hers."""
    for entry in entries:
        behind = people.behind(entry.card.id, entry.card, entry.sig)
        if behind is not None and fits(behind.id):
            return _found(behind)
    return None


def _found(behind: PersonBehind | None, *, by_name: bool = False) -> Found | None:
    if behind is None:
        return None
    called = behind.name if behind.relation is Relation.UNKNOWN else None
    return Found(id=behind.id, called=called, by_name=by_name)


def _itself(agent: AgentId, entry: "DirectoryEntry | None") -> Found:
    """An id that nobody vouches for is a person's own, as far as anybody can tell."""
    signed = entry is not None and verified_card(entry.card, entry.sig, agent)
    return Found(id=agent, called=entry.card.name if entry and signed else None)


def _free(found: Found, people: People) -> str:
    """The name that a person has chosen, if nobody we know looks like it."""
    if not found.called:
        raise UsageError(
            f"what is {found.fingerprint} to be called?",
            # The hub finds nobody by the fingerprint of one without a card.
            next_step=f"parler trust {found.id} --as NAME",
        )
    for contact in people.contacts:
        if look(contact.name) == look(found.called):
            again = shown_name(contact.name)
            raise UsageError(
                f"you know somebody else as {again}, and this one calls itself "
                f"{shown_name(found.called)}",
                next_step=f"if both are one person: parler trust {found.fingerprint} "
                f"--as {again}; else --as another name",
            )
    return exact(found.called)


async def _cards(ctx: OpContext) -> "list[DirectoryEntry]":
    """All of the directory: a person's fingerprint is in no field of a card."""
    cards = await look_through(ctx, Discover(), most=MAX_LISTED)
    return list(cards.found.values())


def _shown(contact: Contact) -> ShownContact:
    ids = [ContactId(id=one, fingerprint=fingerprint(one)) for one in contact.ids]
    return ShownContact(name=contact.name, ids=ids, since=contact.since)
