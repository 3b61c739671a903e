"""The people one has compared once, and what one calls each of them.

One small file in the machine home, shared by all agents of this user. A contact is one
or several person ids, one for each machine of hers; the name is our user's choice and
never what somebody calls himself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from parler.errors import ConfigError, UsageError
from parler.identity.settings import clean_label
from parler.identity.signing import is_agent_id
from parler.machine.files import aside, locked, read_private, write_private
from parler.wire.base import AgentId, Millis
from parler.wire.foreign import sentence

FILE_NAME = "contacts.json"
MAX_CONTACTS = 1000
MAX_IDS = 10
"""Of one contact."""


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody one knows."""

    name: str
    ids: list[AgentId]
    since: Millis = 0
    """When the first id was trusted."""


class _File(msgspec.Struct, frozen=True):
    contacts: list[Contact] = []


class Contacts:
    """The contacts of one machine home; processes share the file."""

    def __init__(self, machine_home: Path) -> None:
        """Use the file in `machine_home`; nothing is read or written yet."""
        self.path = machine_home / FILE_NAME

    def all(self) -> list[Contact]:
        """Everybody one knows, by name.

        Raises:
            ConfigError: The file is damaged, or other users may read it.
        """
        return sorted(self._read(), key=lambda one: one.name.casefold())

    def find(self, person: AgentId) -> Contact | None:
        """Whose id that is; raises as `all`."""
        return next((one for one in self._read() if person in one.ids), None)

    def named(self, name: str) -> Contact | None:
        """The contact of that name; raises as `all`."""
        return _named(self._read(), name)

    def trust(self, person: AgentId, name: str, *, now: int) -> Contact:
        """Know a person under a name from now on.

        A name that is a contact's already gets the id added. An id that belonged to
        another contact is that one's no more.

        Args:
            now: In epoch milliseconds.

        Raises:
            UsageError: The text is no id, or there are too many.
            ConfigError: The name is not acceptable, or the file not writable.
        """
        name = clean_label(name, what="name")
        if not is_agent_id(person):
            raise UsageError(f"{sentence(person)} is not the id of a person")
        with self._changing() as known:
            others = [_without(one, person) for one in known]
            old = _named(others, name)
            ids = [*(old.ids if old else []), person]
            if len(ids) > MAX_IDS or (old is None and len(known) >= MAX_CONTACTS):
                raise UsageError(
                    f"{MAX_CONTACTS} contacts with {MAX_IDS} ids each are the most",
                    next_step="parler untrust NAME, of somebody you need no more",
                )
            contact = Contact(
                name=old.name if old else name, ids=ids, since=old.since if old else now
            )
            known[:] = [one for one in others if one is not old and one.ids]
            known.append(contact)
        return contact

    def untrust(self, name: str) -> Contact | None:
        """Forget a contact with all its ids; None if there is none of that name.

        Raises:
            ConfigError: The file is damaged or not writable.
        """
        with self._changing() as known:
            gone = _named(known, name)
            known[:] = [one for one in known if one is not gone]
        return gone

    def _read(self) -> list[Contact]:
        try:
            return msgspec.json.decode(read_private(self.path), type=_File).contacts
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(
                f"{self.path} is damaged: {error}",
                next_step=f"{aside(self.path)}; whom you knew has to be trusted again",
            ) from None

    @contextmanager
    def _changing(self) -> Iterator[list[Contact]]:
        with locked(self.path):
            known = self._read()
            yield known
            write_private(self.path, msgspec.json.encode(_File(known)))


def _named(contacts: list[Contact], name: str) -> Contact | None:
    wanted = name.strip().casefold()
    return next((one for one in contacts if one.name.casefold() == wanted), None)


def _without(contact: Contact, person: AgentId) -> Contact:
    if person not in contact.ids:
        return contact
    left = [one for one in contact.ids if one != person]
    return msgspec.structs.replace(contact, ids=left)
