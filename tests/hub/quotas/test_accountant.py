"""Shares of bytes and disk, each with the attacker that wants more (A7, A10)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from hub.errors import Refusal
from hub.quotas.accountant import OWN_FILES, Accountant, files_wanted
from hub.quotas.disk import FLOOR_BYTES, Disk
from hub.settings import SHARES, Settings, read_settings
from parler.wire.base import AgentId, RoomName
from parler.wire.codes import ErrorCode

EVE, MALLORY, ANN = AgentId("EVE"), AgentId("MALLORY"), AgentId("ANN")
HALL, DEN = RoomName("hall"), RoomName("den")
HERE, THERE = "192.0.2.66", "192.0.2.1"
PLENTY = 100_000


def accountant(*, files: int = PLENTY, **shares: Any) -> Accountant:
    settings = Settings(host="127.0.0.1", port=0, max_blob_dir_bytes=1000)
    changed = dataclasses.replace(settings, max_database_bytes=0, **shares)
    return Accountant(changed, lambda: 0.0, files=files)


def refused(act: Callable[[], object]) -> ErrorCode | None:
    with pytest.raises(Refusal) as caught:
        act()
    return caught.value.code


def test_large_frames_of_one_agent_are_refused_and_others_are_read() -> None:
    quotas = accountant(max_bytes_per_min=100)
    quotas.count_read(EVE, HERE, 100)
    assert refused(lambda: quotas.count_read(EVE, HERE, 1)) is ErrorCode.RATE_LIMITED
    quotas.count_read(ANN, HERE, 100)
    assert quotas.reads_refused == 1


def test_large_frames_of_many_keys_of_one_address_are_refused() -> None:
    quotas = accountant(max_bytes_per_ip_per_min=100)
    quotas.count_read(EVE, HERE, 100)
    assert refused(lambda: quotas.count_read(MALLORY, HERE, 1))
    quotas.count_read(ANN, THERE, 100)


@pytest.mark.parametrize(
    ("share", "other"),
    [
        ("max_stored_bytes_per_day", (ANN, HERE, HALL)),
        ("max_stored_bytes_per_ip_per_day", (EVE, THERE, HALL)),
        ("max_room_stored_bytes_per_day", (EVE, HERE, DEN)),
    ],
)
def test_who_has_stored_its_share_stores_no_more_that_day(
    share: str, other: tuple[AgentId, str, RoomName]
) -> None:
    quotas = accountant(**{share: 100})
    quotas.count_stored(EVE, HERE, HALL, 100)
    again = refused(lambda: quotas.count_stored(EVE, HERE, HALL, 1))
    assert again is ErrorCode.STORAGE_FULL
    quotas.count_stored(*other, 100)
    assert quotas.storage_refused == 1


@pytest.mark.parametrize(
    ("share", "held"),
    [
        ("max_agent_blob_bytes", {"of_agent": 90, "of_room": 0}),
        ("max_room_blob_bytes", {"of_agent": 0, "of_room": 90}),
    ],
)
def test_an_upload_beyond_a_share_is_refused(share: str, held: dict[str, int]) -> None:
    quotas = accountant(**{share: 100})
    quotas.check_blobs(stored=90, size=10, **held)
    assert refused(lambda: quotas.check_blobs(stored=90, size=11, **held))


def test_the_last_of_the_files_budget_is_for_those_who_have_few() -> None:
    quotas = accountant(max_agent_blob_bytes=900)
    nearly = {"stored": 890, "of_room": 0}
    assert refused(lambda: quotas.check_blobs(of_agent=800, size=10, **nearly))
    quotas.check_blobs(of_agent=0, size=10, **nearly)


def test_uploads_of_many_keys_of_one_address_are_bounded() -> None:
    quotas = accountant(max_uploaded_bytes_per_ip_per_day=100)
    quotas.count_upload(HERE, 100)
    assert refused(lambda: quotas.count_upload(HERE, 1))
    quotas.count_upload(THERE, 100)


def test_the_last_of_the_database_is_for_those_who_stored_little() -> None:
    disk = Disk(1000)
    disk.used = 870
    disk.admit(10 * FLOOR_BYTES, shared=True)
    disk.used = 880
    assert refused(lambda: disk.admit(10 * FLOOR_BYTES, shared=True))
    disk.admit(FLOOR_BYTES, shared=True)
    disk.admit(10 * FLOOR_BYTES, shared=False)
    disk.used = 970
    assert refused(lambda: disk.admit(0, shared=True)) is ErrorCode.STORAGE_FULL


@pytest.mark.parametrize("files", [64, 256, 1024, 1536, 4096])
def test_files_are_kept_back_for_the_hub_itself(files: int) -> None:
    quotas = accountant(files=files)
    most = quotas.sockets.total + quotas.backlog + quotas.downloads._value
    assert most + min(OWN_FILES, files - 16) <= max(files, OWN_FILES + 18)
    assert quotas.connections.total <= quotas.sockets.total


def test_with_the_files_it_wants_a_hub_has_all_its_connections() -> None:
    quotas = accountant(files=files_wanted(1024))
    assert quotas.connections.total == 1024


def read(*flags: str) -> Settings:
    return read_settings(flags, {})


@pytest.mark.parametrize(
    "flags",
    [("--public",), ("--addr", "0.0.0.0:7070", "--join-secret", "s" * 32)],
)
def test_shares_are_on_where_others_than_this_machine_come(
    flags: tuple[str, ...],
) -> None:
    settings = read(*flags)
    assert {name: getattr(settings, name) for name in SHARES} == SHARES


def test_on_a_hub_of_this_machine_shares_are_off_unless_a_flag_sets_them() -> None:
    assert not any(getattr(read(), name) for name in SHARES)
    assert read("--max-connections-per-ip", "7").max_connections_per_ip == 7
    assert read("--public", "--max-bytes-per-min", "0").max_bytes_per_min == 0
