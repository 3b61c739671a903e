"""How our own files are written: whole, private, in turn."""

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parler.errors import ConfigError, IdentityError
from parler.machine import files
from tests._support.polling import WAIT

ANY_TEXT = st.text(st.characters(), max_size=20)  # lone surrogates too
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file modes")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def not_root() -> Iterator[None]:
    """Permissions do not bind root: take another user's rights for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_written_file_is_0600_in_0700_folders_under_any_umask(
    tmp_path: Path, umask: int
) -> None:
    path = tmp_path / "secret"
    before = os.umask(umask)
    try:
        files.write_private(path, b"one")
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600
    deep = tmp_path / "a" / "b" / "file"
    files.write_private(deep, b"two")
    assert mode_of(tmp_path / "a") == mode_of(tmp_path / "a" / "b") == 0o700


@posix
def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    files.write_private(tmp_path / "file", b"")
    assert mode_of(tmp_path) == 0o755


def test_writing_replaces_the_content_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_private(path, b"a long old content")
    files.write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_rewriting_a_too_open_file_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    files.write_private(path, b"new")
    assert mode_of(path) == 0o600


@posix
def test_link_planted_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".file.guessed.tmp").symlink_to(victim)
    names = iter(["guessed", "fresh"])
    files.write_private(home / "file", b"secret", token=lambda _size: next(names))
    assert victim.read_bytes() == b"untouched"
    assert (home / "file").read_bytes() == b"secret"
    assert not (home / "file").is_symlink()


@posix
def test_every_temporary_name_taken_is_an_error_and_not_an_overwrite(
    tmp_path: Path,
) -> None:
    taken = tmp_path / ".file.guessed.tmp"
    taken.write_bytes(b"untouched")
    with pytest.raises(files.Unwritable):
        files.write_private(tmp_path / "file", b"x", token=lambda _size: "guessed")
    assert taken.read_bytes() == b"untouched"


@posix
def test_link_in_place_of_the_file_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "file").symlink_to(victim)
    files.write_private(tmp_path / "file", b"secret")
    assert victim.read_bytes() == b"untouched"


@posix
def test_read_only_directory_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    path = tmp_path / "file"
    with not_root(), pytest.raises(ConfigError, match="cannot write") as caught:
        files.write_private(path, b"x")
    tmp_path.chmod(0o700)
    assert str(tmp_path) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_home_below_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot write"):
        files.write_private(tmp_path / "home" / "config.json", b"x")
    with (
        pytest.raises(ConfigError, match="cannot write"),
        files.locked(tmp_path / "home" / "config.json"),
    ):
        pass
    with pytest.raises(ConfigError, match="cannot read"):
        files.read_private(tmp_path / "home" / "config.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_failed_write_keeps_the_old_content_and_removes_its_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write_private(path, b"old")
    full = os.open("/dev/full", os.O_WRONLY)
    really_open = os.open

    def open_on_full_disk(name: str | Path, flags: int, mode: int = 0o777) -> int:
        descriptor = really_open(name, flags, mode)
        if str(name).endswith(".tmp"):
            os.dup2(full, descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", open_on_full_disk)
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    with pytest.raises(files.Unwritable, match="cannot write"):
        files.write_private(path, b"x" * 100)
    monkeypatch.undo()
    os.close(full)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_secret_that_others_can_reach_is_refused_with_the_cure(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "my file"
    path.write_bytes(b"seed")
    path.chmod(mode)
    with pytest.raises(IdentityError) as caught:
        files.read_private(path)
    assert caught.value.next_step == f"chmod 600 '{path}'"
    assert "seed" not in str(caught.value)
    assert files.read_bounded(path) == b"seed"


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_secret_of_ours_alone_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"seed")
    path.chmod(mode)
    assert files.read_private(path) == b"seed"


def test_missing_file_is_told_from_an_unreadable_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_private(tmp_path / "file")
    with pytest.raises(ConfigError):
        files.read_private(tmp_path)


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_private(path, b"x" * 11)
    with pytest.raises(ConfigError, match="larger than 10 bytes"):
        files.read_private(path, limit=10)
    assert len(files.read_private(path, limit=11)) == 11


@posix
def test_fifo_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        files.read_private(tmp_path / "file")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_value_error(data: bytes) -> None:
    try:
        value = files.json_object(data)
    except ValueError:
        return
    assert isinstance(value, dict)


def test_error_about_a_text_does_not_carry_the_text() -> None:
    with pytest.raises(ValueError, match="not a JSON text") as caught:
        files.json_object(b'{"seed": "SUSECRET')
    assert "SUSECRET" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_deep_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a JSON text"):
        files.json_object(b'{"a":' * 100_000)


@given(st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers() | st.none(), max_size=5))
def test_what_we_keep_is_read_back(value: dict[str, object]) -> None:
    assert files.json_object(files.json_bytes(value)) == value


@posix
def test_copies_are_numbered_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"first")
    path.chmod(0o644)
    one = files.keep_copy(path)
    path.write_bytes(b"second")
    two = files.keep_copy(path)
    assert [one.name, two.name] == ["config.json.1.bak", "config.json.2.bak"]
    assert [one.read_bytes(), two.read_bytes()] == [b"first", b"second"]
    assert mode_of(one) == 0o600
    assert path.exists()


def test_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "counter"
    files.write_private(path, b"0")

    def count_up() -> None:
        for _ in range(20):
            with files.locked(path):
                files.write_private(path, b"%d" % (int(path.read_bytes()) + 1))

    threads = [threading.Thread(target=count_up) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert path.read_bytes() == b"60"


def test_waiting_for_the_lock_is_bounded(tmp_path: Path) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    path = tmp_path / "file"
    with (
        files.locked(path),
        pytest.raises(files.Unwritable, match="another process has held"),
        files.locked(path, wait_secs=3, now=lambda: clock[0], sleep=sleep),
    ):
        pass
    assert 3 <= clock[0] < 4


@posix
@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EPERM, errno.ENOLCK])
def test_a_lock_that_the_system_refuses_is_held_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(files.Unwritable, match=f"cannot lock .*{os.strerror(refusal)}"),
        files.locked(tmp_path / "file"),
    ):
        pass


def test_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(KeyError), files.locked(path):
        raise KeyError
    with files.locked(path, wait_secs=0):
        pass


@posix
def test_link_planted_as_lock_file_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "file.lock").symlink_to(victim)
    with pytest.raises(files.Unwritable), files.locked(tmp_path / "file"):
        pass
    assert not victim.exists()
