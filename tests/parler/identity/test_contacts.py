"""The people one has compared once."""

from pathlib import Path

import msgspec
import pytest

from parler.errors import ConfigError, UsageError
from parler.identity import contacts as module
from parler.identity.contacts import FILE_NAME, Contact, Contacts
from parler.identity.senders import MAX_SENDERS, Decisions, Senders
from parler.identity.signing import Keypair
from parler.machine.files import write_private
from parler.wire.limits import MAX_HELLO_NAME_BYTES

LAPTOP, DESK, OTHER = (Keypair(bytes([n]) * 32).agent_id for n in (1, 2, 3))


def test_a_contact_has_one_name_and_an_id_for_each_of_its_machines(
    tmp_path: Path,
) -> None:
    known = Contacts(tmp_path)
    assert known.find(LAPTOP) is None
    known.trust(LAPTOP, "Anna", now=5)
    known.trust(DESK, "anna", now=9)
    known.trust(DESK, " ANNA ", now=9)
    anna = Contacts(tmp_path).find(DESK)
    assert anna is not None
    assert (anna.name, anna.ids, anna.since) == ("Anna", [LAPTOP, DESK], 5)
    assert known.named("aNNa") == anna == known.find(LAPTOP)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_id_is_one_contacts_and_goes_with_it(tmp_path: Path) -> None:
    known = Contacts(tmp_path)
    known.trust(LAPTOP, "anna", now=5)
    known.trust(DESK, "anna", now=5)
    known.trust(DESK, "bob", now=6)
    assert [(one.name, one.ids) for one in known.all()] == [
        ("anna", [LAPTOP]),
        ("bob", [DESK]),
    ]
    known.trust(LAPTOP, "Bob", now=7)
    assert [(one.name, one.ids) for one in known.all()] == [("bob", [DESK, LAPTOP])]
    gone = known.untrust("BOB")
    assert gone is not None
    assert known.all() == []
    assert known.untrust("bob") is None


def test_what_is_no_person_or_no_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Contacts(tmp_path)
    for name in ("a\nb", "", "\x1b[1m"):
        with pytest.raises(ConfigError):
            known.trust(LAPTOP, name, now=5)
    with pytest.raises(UsageError):
        known.trust(LAPTOP[:-1] + "7", "anna", now=5)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "MAX_CONTACTS", 1)
    monkeypatch.setattr(module, "MAX_IDS", 1)
    known.trust(LAPTOP, "anna", now=5)
    for name in ("anna", "bob"):
        with pytest.raises(UsageError, match="most"):
            known.trust(DESK, name, now=5)
    assert [one.ids for one in known.all()] == [[LAPTOP]]


def test_a_damaged_or_open_file_is_not_taken_for_knowing_nobody(tmp_path: Path) -> None:
    known = Contacts(tmp_path)
    known.trust(OTHER, "anna", now=5)
    (tmp_path / FILE_NAME).chmod(0o644)
    with pytest.raises(ConfigError):
        known.find(OTHER)
    (tmp_path / FILE_NAME).chmod(0o600)
    (tmp_path / FILE_NAME).write_bytes(b'{"contacts": 7}')
    with pytest.raises(ConfigError, match="damaged"):
        known.trust(OTHER, "bob", now=5)
    assert (tmp_path / FILE_NAME).read_bytes() == b'{"contacts": 7}'


def test_the_most_that_is_kept_can_be_read_again(tmp_path: Path) -> None:
    ids = [OTHER] * module.MAX_IDS
    most = [
        Contact(name="\u00e4" * (MAX_HELLO_NAME_BYTES // 2), ids=ids, since=2**50)
        for _ in range(module.MAX_CONTACTS)
    ]
    write_private(tmp_path / FILE_NAME, msgspec.json.encode({"contacts": most}))
    assert len(Contacts(tmp_path).all()) == module.MAX_CONTACTS

    decided = Decisions(
        accepted=[OTHER] * MAX_SENDERS, declined=[OTHER] * MAX_SENDERS, strangers=True
    )
    senders = Senders(tmp_path)
    write_private(senders.path, msgspec.json.encode(decided))
    assert senders.read() == decided
