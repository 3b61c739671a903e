"""The person whose agents these are, and its word for each of them.

The person is the ordinary identity in the machine home. It vouches for an agent in the
agent's own card: the person signs which agent it means, the agent signs the card, so
both have said it. Who is trusted because of that is not decided here (`contacts`).
"""

from pathlib import Path
from typing import Any

import msgspec

from parler.errors import ConfigError
from parler.identity.homes import person_home
from parler.identity.identity import Identity, ensure_identity, find_identity
from parler.identity.settings import clean_label
from parler.identity.signing import verify
from parler.wire.base import AgentId, Millis
from parler.wire.canonical import card_bytes, vouch_bytes
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.records import AgentCard

VOUCH = "com.parler.person"
"""Where the vouch stands in a card's `meta`."""


class Vouch(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word that an agent is its own."""

    id: AgentId
    """The person's."""

    name: Foreign
    """What the person calls itself; anybody can use any name."""

    since: Millis
    sig: str
    """The person's, over `vouch_bytes`."""


def find_person(machine_home: Path) -> Identity | None:
    """The person of a machine home, None before it was needed.

    Raises:
        IdentityError: It is damaged, or other users may read it.
        ConfigError: It cannot be read.
    """
    return find_identity(person_home(machine_home))


def ensure_person(machine_home: Path, *, hub_url: str) -> Identity:
    """The person of a machine home, made on first need and named after the user.

    Raises:
        IdentityError: The one that exists is damaged, or readable by others.
        ConfigError: The home is not writable.
    """
    person, _ = ensure_identity(person_home(machine_home), hub_url=hub_url)
    return person


def vouch(person: Identity, agent: AgentId, *, now: int) -> Vouch:
    """The person's word for an agent.

    Args:
        now: Since when it is given, in epoch milliseconds.

    Raises:
        ConfigError: The agent is the person itself, or the person's name is one that
            nobody would believe.
    """
    if person.agent_id == agent:
        raise ConfigError("a person does not vouch for itself")
    name = clean_label(person.name, what="name")
    signed = vouch_bytes(agent=agent, person=person.agent_id, name=name, since=now)
    sig = person.keypair.sign(signed)
    return Vouch(id=person.agent_id, name=foreign(name), since=now, sig=sig)


def verified_card(card: AgentCard, sig: str | None, agent: AgentId) -> bool:
    """Whether a card is that agent's, as the agent signed it."""
    if card.id != agent or sig is None:
        return False
    try:
        return verify(agent, card_bytes(card), sig)
    except (ValueError, RecursionError):
        return False


def verified_vouch(card: AgentCard, sig: str | None, agent: AgentId) -> Vouch | None:
    """Who vouches for an agent in its card, if both of them said so.

    Args:
        sig: The agent's signature over the card, as the hub handed it out.
        agent: Whose card it should be: a hub may hand out anything.
    """
    if not verified_card(card, sig, agent):
        return None
    said = _read((card.meta or {}).get(VOUCH))
    if said is None or said.id == agent:
        return None
    name = exact(said.name)
    signed = vouch_bytes(agent=agent, person=said.id, name=name, since=said.since)
    return said if verify(said.id, signed, said.sig) else None


def _read(value: Any) -> Vouch | None:
    try:
        said = msgspec.convert(value, Vouch)
        clean = clean_label(exact(said.name), what="name") == said.name
    except (msgspec.ValidationError, ConfigError):
        return None
    return said if clean else None
