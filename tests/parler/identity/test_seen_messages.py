"""Which messages are copies: the same place again, another place, another process."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from parler.identity import seen_messages as module
from parler.identity.seen_messages import (
    RECORD_BYTES,
    SeenMessages,
    Sighting,
    Standing,
)
from parler.wire.base import AgentId, RoomName

TOKEN, OTHER_TOKEN = "0123456789ab", "ba9876543210"
URL, OTHER_URL = "wss://hub.example", "wss://other.example"
NEW, SAME, ELSEWHERE = Standing.NEW, Standing.SAME, Standing.ELSEWHERE


@pytest.fixture
def seen(tmp_path: Path) -> SeenMessages:
    return SeenMessages(tmp_path / "seen")


def sighting(uid: str = "u1", room: str = "den", seq: int = 1) -> Sighting:
    return Sighting(AgentId("ann"), uid, RoomName(room), seq)


def note(
    seen: SeenMessages, *several: Sighting, token: str = TOKEN, url: str = URL
) -> list[Standing]:
    return seen.note(several, token=token, url=url)


def test_the_same_place_again_is_a_re_read(seen: SeenMessages) -> None:
    assert note(seen, sighting()) == [NEW]
    assert note(seen, sighting(), sighting("u2", seq=2)) == [SAME, NEW]


def test_another_place_is_a_replay_on_this_hub_and_on_another(
    seen: SeenMessages,
) -> None:
    note(seen, sighting(), sighting("d", "dm.a"))
    assert note(seen, sighting(seq=2)) == [ELSEWHERE]
    assert note(seen, sighting(), token=OTHER_TOKEN, url=OTHER_URL) == [ELSEWHERE]
    assert note(seen, sighting("d", "dm.b")) == [ELSEWHERE]
    assert note(seen, sighting()) == [SAME]


def test_a_copy_in_the_same_batch_is_a_replay(seen: SeenMessages) -> None:
    assert note(seen, sighting(), sighting(seq=2)) == [NEW, ELSEWHERE]


def test_a_hub_by_another_address_or_name_is_the_same_hub(seen: SeenMessages) -> None:
    note(seen, sighting())
    assert note(seen, sighting(), url=OTHER_URL) == [SAME]
    assert note(seen, sighting(), token=OTHER_TOKEN, url="hub.example/ws") == [SAME]


def test_this_machines_hub_on_another_port_is_the_same_hub_by_its_token(
    seen: SeenMessages,
) -> None:
    note(seen, sighting(), url="ws://127.0.0.1:7070")
    assert note(seen, sighting(), token=OTHER_TOKEN, url="localhost:7070") == [SAME]
    for elsewhere in ("ws://localhost:7171", "ws://127.0.0.1:7070/other", URL):
        assert note(seen, sighting(), url=elsewhere) == [SAME]
        assert note(seen, sighting(), token=OTHER_TOKEN, url=elsewhere) == [ELSEWHERE]


def test_a_bind_address_that_many_hubs_share_makes_them_no_hub(
    seen: SeenMessages,
) -> None:
    shared = hashlib.sha256(b"parler://127.0.0.1:7070").hexdigest()[:12]
    note(seen, sighting(), token=shared, url="ws://10.0.0.1:7070")
    assert note(seen, sighting(), token=shared, url="ws://10.0.0.1:7070") == [SAME]
    assert note(seen, sighting(), token=shared, url="ws://10.0.0.2:7070") == [ELSEWHERE]


def test_what_names_this_hub_beats_a_copy_that_was_met_first(
    seen: SeenMessages,
) -> None:
    """Eve strips the hub's name and posts the copy at her own hub, before Bob reads."""
    copy, original = sighting(), sighting()._replace(named=True)
    assert note(seen, copy, token=OTHER_TOKEN, url=OTHER_URL) == [NEW]
    assert note(seen, original) == [NEW]
    assert note(seen, original) == [SAME]
    assert note(seen, copy, token=OTHER_TOKEN, url=OTHER_URL) == [ELSEWHERE]
    assert note(seen, copy._replace(seq=2)) == [ELSEWHERE]
    assert note(seen, original, original._replace(seq=2)) == [SAME, ELSEWHERE]


def test_authors_choose_their_ids_and_do_not_meet(seen: SeenMessages) -> None:
    note(seen, sighting())
    eve = Sighting(AgentId("eve"), "u1", RoomName("den"), 2)
    odd = Sighting(AgentId("eve"), "\ud800" * 10**5, RoomName("\ud800"), 2**64 - 1)
    assert note(seen, eve, odd) == [NEW, NEW]


def test_another_process_knows_it_at_once_and_after_a_restart(tmp_path: Path) -> None:
    one, two = (SeenMessages(tmp_path / "seen") for _ in range(2))
    assert note(one, sighting()) == [NEW]
    assert note(two, sighting(seq=2)) == [ELSEWHERE]
    assert note(two, sighting("u2", seq=3)) == [NEW]
    assert note(one, sighting("u2", seq=4)) == [ELSEWHERE]
    assert note(SeenMessages(tmp_path / "seen"), sighting(seq=9)) == [ELSEWHERE]


def test_what_another_process_adds_is_read_from_where_we_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (SeenMessages(tmp_path / "seen") for _ in range(2))
    note(one, *(sighting(f"old{number}", seq=number) for number in range(100)))
    assert note(two, sighting("old7", seq=7)) == [SAME]
    note(one, sighting("new", seq=200))
    taken: list[int] = []
    records = module._records

    def counting(data: bytes) -> dict[bytes, bytes]:
        taken.append(len(data) // RECORD_BYTES)
        return records(data)

    monkeypatch.setattr(module, "_records", counting)
    assert note(two, sighting("new", seq=201)) == [ELSEWHERE]
    assert taken == [1]


def test_a_file_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Even where the new one has the number and the length of the old one."""
    one, two = (SeenMessages(tmp_path / "seen") for _ in range(2))
    note(one, sighting("u1"), sighting("u2", seq=2))
    assert note(two, sighting("u1")) == [SAME]
    [file] = files_of(tmp_path / "seen")
    other = SeenMessages(tmp_path / "other")
    note(other, *(sighting(f"v{number}", seq=number) for number in range(5)))
    [replacement] = files_of(tmp_path / "other")
    for size in (2, 5):
        file.write_bytes(replacement.read_bytes()[: size * RECORD_BYTES])
        os.utime(file, ns=(size, size))
        assert note(two, sighting(f"v{size - 1}", seq=9)) == [ELSEWHERE]
        assert note(two, sighting("v0", seq=9)) == [ELSEWHERE]


async def test_threads_of_one_process_share_it(seen: SeenMessages) -> None:
    several = [sighting(f"u{number}", seq=number) for number in range(20)]

    def all_of_them() -> list[Standing]:
        return [standing for one in several for standing in note(seen, one)]

    async with asyncio.TaskGroup() as group:
        found = [group.create_task(asyncio.to_thread(all_of_them)) for _ in range(4)]
    results = [standing for task in found for standing in task.result()]
    assert (results.count(NEW), results.count(SAME)) == (20, 60)


def files_of(seen: Path) -> list[Path]:
    return sorted(seen.glob("*.seen"))


def test_it_is_bounded_and_forgets_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 10)
    seen = SeenMessages(tmp_path / "seen")
    for number in range(100):
        assert note(seen, sighting(f"u{number}", seq=number)) == [NEW]
        [file] = files_of(tmp_path / "seen")
        assert file.stat().st_size <= 20 * RECORD_BYTES
        assert len(seen._open[file.name].places) <= 20
    fresh = SeenMessages(tmp_path / "seen")
    assert note(fresh, sighting("u99", seq=1)) == [ELSEWHERE]
    assert note(fresh, sighting("u95", seq=1)) == [ELSEWHERE]
    assert note(fresh, sighting("u0", seq=1)) == [NEW]


def test_a_room_pushes_out_no_other_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEEN", 10)
    seen = SeenMessages(tmp_path / "seen")
    note(seen, sighting())
    for number in range(100):
        note(seen, sighting(f"u{number}", "loud", number))
    assert note(SeenMessages(tmp_path / "seen"), sighting(seq=2)) == [ELSEWHERE]


def test_rooms_are_bounded_on_disk_and_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROOMS", 5)
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    seen = SeenMessages(tmp_path / "seen")
    for number in range(20):
        note(seen, sighting(room=f"room-{number}"))
        for age, file in enumerate(sorted(files_of(tmp_path / "seen"), key=_written)):
            os.utime(file, ns=(age, age))
    assert len(files_of(tmp_path / "seen")) == 5
    assert len(seen._open) == 3
    assert note(seen, sighting(room="room-19", seq=2)) == [ELSEWHERE]


def test_a_hostile_hubs_room_names_fill_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes up a room for each message; locks and all count."""
    monkeypatch.setattr(module, "MAX_ROOMS", 5)
    seen = SeenMessages(tmp_path / "seen")
    for number in range(50):
        assert note(seen, sighting(room=f"made-up-{number}")) == [NEW]
    assert len(list((tmp_path / "seen").iterdir())) == 5 + 1  # one lock
    assert note(seen, sighting(room="made-up-49", seq=2)) == [ELSEWHERE]


def test_a_file_that_goes_while_others_are_looked_at_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROOMS", 2)
    seen = SeenMessages(tmp_path / "seen")
    for number in range(2):
        note(seen, sighting(room=f"room-{number}"))
    (tmp_path / "seen" / f"gone{module._SUFFIX}").symlink_to(tmp_path / "nowhere")
    note(seen, sighting(room="den"))
    assert note(SeenMessages(tmp_path / "seen"), sighting(seq=2)) == [ELSEWHERE]


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_half_a_record_does_no_harm(tmp_path: Path) -> None:
    note(SeenMessages(tmp_path / "seen"), sighting())
    [file] = files_of(tmp_path / "seen")
    with file.open("ab") as open_file:
        open_file.write(b"half")
    seen = SeenMessages(tmp_path / "seen")
    assert note(seen, sighting(seq=2), sighting("u2")) == [ELSEWHERE, NEW]
    assert file.stat().st_size == 2 * RECORD_BYTES
    assert note(SeenMessages(tmp_path / "seen"), sighting("u2", seq=5)) == [ELSEWHERE]


def test_a_home_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("in the way", encoding="utf-8")
    seen = SeenMessages(tmp_path / "seen")
    assert note(seen, sighting()) == [NEW]
    assert note(seen, sighting(), sighting(seq=2)) == [SAME, ELSEWHERE]


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_only_its_user_may_read_it(seen: SeenMessages, tmp_path: Path) -> None:
    note(seen, sighting())
    [file] = files_of(tmp_path / "seen")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
