"""What was decided in the home of an identity of long ago, brought to where all look.

The identity stays in its folder, with its rooms and with a hub that was made there.
What the agents of all apps go by, too, is in the machine home. Each file is taken over
by itself: what was interrupted goes on at the next start, and then there is nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from parler.errors import UsageError
from parler.identity import chosen_hub, contacts, join_secrets, senders
from parler.identity.homes import person_homes
from parler.machine import files
from parler.wire.limits import MAX_HELLO_NAME_BYTES

_LOCK = "taking-over"
_MOVED = (chosen_hub.FILE_NAME, "projects.json", "asks", "connect.json")
"""Where the machine home has its own, that stands."""


def take_over(machine: Path) -> None:
    """Bring what all agents share to the machine home; the person may live elsewhere.

    Raises:
        ConfigError: A file is damaged, or a folder not writable.
    """
    for legacy in person_homes(machine)[1:]:
        if not any(_left(legacy, machine)):
            continue
        with files.locked(machine / _LOCK):
            for name in _left(legacy, machine):
                if name in _MERGED:
                    _MERGED[name](legacy, machine)
                    (legacy / name).unlink()
                else:
                    _move(legacy / name, machine / name)


def _left(legacy: Path, machine: Path) -> Iterator[str]:
    """What is to be taken over yet."""
    for name in _MOVED:
        if (legacy / name).exists() and not (machine / name).exists():
            yield name
    yield from (name for name in _MERGED if (legacy / name).exists())


def _move(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError as error:
        raise files.Unwritable(f"{old} cannot be moved to {new}: {error}") from None


def _merge_contacts(legacy: Path, machine: Path) -> None:
    known = contacts.Contacts(machine)
    for contact in contacts.Contacts(legacy).all():
        same = next(filter(None, map(known.find, contact.ids)), None)
        # One name in two homes says nothing of whether it is one person.
        name = same.name if same else _free_name(known, contact.name)
        for person in contact.ids:
            if known.find(person) is None:
                with suppress(UsageError):  # as many as there may be
                    known.trust(person, name, now=contact.since)


def _free_name(known: contacts.Contacts, name: str) -> str:
    """That name, or it with the first number that nobody has."""
    short = name.encode()[: MAX_HELLO_NAME_BYTES - 5].decode(errors="ignore")
    numbered = (f"{short} {number}" for number in count(2))
    return next(one for one in chain([name], numbered) if known.named(one) is None)


def _merge_senders(legacy: Path, machine: Path) -> None:
    known, old = senders.Senders(machine), senders.Senders(legacy).read()
    decided = {*known.read().accepted, *known.read().declined}
    for decide, agents in ((known.accept, old.accepted), (known.decline, old.declined)):
        for agent in agents:
            if agent not in decided:
                decide(agent)
    if old.strangers:
        known.let_strangers_through(True)


def _merge_secrets(legacy: Path, machine: Path) -> None:
    old, known = (
        join_secrets.JoinSecrets(home / join_secrets.FILE_NAME)
        for home in (legacy, machine)
    )
    for url in old.urls():
        secret = old.for_hub(url)
        if secret and known.for_hub(url) is None:
            known.remember(url, secret)


_MERGED: dict[str, Callable[[Path, Path], None]] = {
    contacts.FILE_NAME: _merge_contacts,
    senders.FILE_NAME: _merge_senders,
    join_secrets.FILE_NAME: _merge_secrets,
}
