"""Where the agents one meets belong: app, folder, and the person behind each.

The app and the folder are what an agent says of itself, in a card that it signed. The
person is proven by her own signature; her name is not, unless she is a contact.
"""

import asyncio
from collections.abc import Iterable

from parler.apps.registry import app_named
from parler.errors import HubError
from parler.identity.card_place import told_place
from parler.identity.homes import machine_home
from parler.identity.people import People, PersonBehind, Relation
from parler.identity.person import verified_card
from parler.identity.signing import fingerprint
from parler.ops.context import OpContext, Result
from parler.text.terminal import shown_name
from parler.wire.base import AgentId
from parler.wire.foreign import Foreign, exact
from parler.wire.records import AgentCard, DirectoryEntry
from parler.wire.replies import Card
from parler.wire.requests import Lookup

MAX_LOOKED_UP = 20
"""Cards asked for to show a list; each is a request of its own."""


class Affiliation(Result):
    """What an agent's card tells, as far as it is proven. `app` is an id."""

    app: Foreign | None = None
    folder: Foreign | None = None
    person: PersonBehind | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is an agent of ours or of a contact."""
        person = self.person
        return person is not None and person.relation is not Relation.UNKNOWN


def affiliation_of(
    people: People, agent: AgentId, card: AgentCard | None, sig: str | None
) -> Affiliation | None:
    """What is known of an agent by its card; None if that is nothing."""
    behind = people.behind(agent, card, sig)
    told = card and verified_card(card, sig, agent) and told_place(card)
    if not behind and not told:
        return None
    return Affiliation(
        app=told.app if told else None,
        folder=told.folder if told else None,
        person=behind,
    )


async def affiliations(
    ctx: OpContext, agents: Iterable[AgentId], *, at_most: int = MAX_LOOKED_UP
) -> dict[AgentId, Affiliation]:
    """What is known of some agents now: their cards are asked for.

    Args:
        at_most: Of more agents, the cards of the first ones only.
    """
    wanted = list(dict.fromkeys(agents))
    people = await asyncio.to_thread(people_of, ctx)
    cards = await asyncio.gather(*(_card_of(ctx, one) for one in wanted[:at_most]))
    found = dict(zip(wanted, cards, strict=False))
    known: dict[AgentId, Affiliation] = {}
    for agent in wanted:
        entry = found.get(agent)
        card, sig = (entry.card, entry.sig) if entry else (None, None)
        if affiliation := affiliation_of(people, agent, card, sig):
            known[agent] = affiliation
    return known


def people_of(ctx: OpContext) -> People:
    """The persons that are known on this machine."""
    return People.read(machine_home(ctx.identity.home))


def belongs(affiliation: Affiliation, agent: AgentId) -> str:
    """Whose agent it is, and where it works, in words that nobody can forge.

    ✓ is for contacts alone; names and folders are strangers' words.
    """
    what = _what(affiliation)
    person = affiliation.person
    if person is None:
        return f"says it is {what}"
    if person.relation is Relation.OWN:
        return "you" if person.id == agent else f"your {what.removeprefix('an ')}"
    name = shown_name(person.name)
    if person.relation is Relation.CONTACT:
        if person.id == agent:
            return f"{name} ✓"
        return f"{name}'s {what.removeprefix('an ')} ✓"
    return f"{what}, says it is {name}'s ({person.fingerprint})"


def introduced(
    name: str | Foreign,
    role: str | Foreign | None,
    agent: AgentId,
    affiliation: Affiliation | None,
) -> str:
    """An agent in one line: what it is to us, its name and its fingerprint."""
    called = shown_name(name) + (f" ({shown_name(role)})" if role else "")
    called = f"{called} {fingerprint(agent)}" if name else fingerprint(agent)
    if affiliation is None:
        return called
    if affiliation.is_known:
        return f"{belongs(affiliation, agent)} — {called}"
    return f"{called} — {belongs(affiliation, agent)}"


def _what(affiliation: Affiliation) -> str:
    app = app_named(exact(affiliation.app)) if affiliation.app else None
    what = app.title if app else shown_name(affiliation.app or "an agent")
    folder = f" in {shown_name(affiliation.folder)}" if affiliation.folder else ""
    return what + folder


async def _card_of(ctx: OpContext, agent: AgentId) -> DirectoryEntry | None:
    try:
        return (await ctx.client.request(Lookup(id=agent), Card)).entry
    except HubError:
        return None  # it is shown without
