"""Whose agents one meets: one's own, a contact's, or those of somebody unknown.

Nothing a hub says counts here, only what agents and persons have signed.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from parler.errors import ConfigError
from parler.identity.contacts import Contact, Contacts
from parler.identity.person import find_person, verified_vouch
from parler.identity.signing import fingerprint
from parler.wire.base import AgentId
from parler.wire.foreign import Foreign, foreign
from parler.wire.records import AgentCard, DirectoryEntry


class Relation(StrEnum):
    """What a person is to us."""

    OWN = "own"
    """The person of this machine."""

    CONTACT = "contact"
    UNKNOWN = "unknown"


class PersonBehind(msgspec.Struct, frozen=True, kw_only=True):
    """The person that an agent acts for, or that it is."""

    id: AgentId
    name: Foreign
    """What we call a contact; of somebody unknown, what he calls himself."""

    fingerprint: str
    relation: Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The persons that are known on this machine, at one moment."""

    own: AgentId | None
    own_name: str
    contacts: list[Contact]

    @classmethod
    def read(cls, machine_home: Path) -> "People":
        """Those of a machine home; whom a damaged file names is unknown."""
        try:
            person = find_person(machine_home)
        except ConfigError:
            person = None
        try:
            contacts = Contacts(machine_home).all()
        except ConfigError:
            contacts = []
        return cls(
            own=person.agent_id if person else None,
            own_name=person.name if person else "",
            contacts=contacts,
        )

    def behind(
        self, agent: AgentId, card: AgentCard | None, sig: str | None
    ) -> PersonBehind | None:
        """The person behind an agent; None if nobody vouches for it.

        Args:
            card: Its card as the hub handed it out, if there is one, with `sig`.
        """
        if (person := self._known(agent)) is not None:
            return person
        word = verified_vouch(card, sig, agent) if card else None
        if word is None:
            return None
        return self._known(word.id) or _person(word.id, word.name, Relation.UNKNOWN)

    def knows(self, entry: DirectoryEntry) -> bool:
        """Whether a card is of an agent of ours or of a contact, or of one of them."""
        person = self.behind(entry.card.id, entry.card, entry.sig)
        return person is not None and person.relation is not Relation.UNKNOWN

    def _known(self, person: AgentId) -> PersonBehind | None:
        if person == self.own:
            return _person(person, foreign(self.own_name), Relation.OWN)
        for contact in self.contacts:
            if person in contact.ids:
                return _person(person, foreign(contact.name), Relation.CONTACT)
        return None


def _person(person: AgentId, name: Foreign, relation: Relation) -> PersonBehind:
    return PersonBehind(
        id=person, name=name, fingerprint=fingerprint(person), relation=relation
    )
