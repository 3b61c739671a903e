"""Keeping received files: whole or not at all, never over another."""

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parler.errors import UnsafePath
from parler.handoff import inbox
from parler.handoff.inbox import keep, keep_as
from parler.wire.base import Digest

DATA = b"some bytes"
SHA = Digest(hashlib.sha256(DATA).hexdigest())


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full after so many bytes of a file."""
    resource = pytest.importorskip("resource", reason="POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_is_kept_for_us_alone_under_its_blob(tmp_path: Path) -> None:
    kept = keep(tmp_path, SHA, DATA, name="../../report.pdf")
    assert kept.path == tmp_path / "inbox" / SHA / "report.pdf"
    assert kept.path.read_bytes() == DATA
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert kept.path.parent.stat().st_mode & 0o777 == 0o700
    assert not kept.already
    assert names(tmp_path) == ["report.pdf"]


def test_the_same_file_again_is_found_again(tmp_path: Path) -> None:
    first = keep(tmp_path, SHA, DATA, name="a")
    again = keep(tmp_path, SHA, DATA, name="a")
    assert (again.path, again.already) == (first.path, True)


@pytest.mark.parametrize("other", [b"other bytes", b"same bytes", b""])
def test_another_file_of_that_name_is_left_alone(tmp_path: Path, other: bytes) -> None:
    first = keep(tmp_path, SHA, DATA, name="a")
    first.path.write_bytes(other)
    with pytest.raises(UnsafePath, match="left alone"):
        keep(tmp_path, SHA, DATA, name="a")
    assert first.path.read_bytes() == other


def test_a_name_of_which_nothing_is_left_becomes_one_of_ours(tmp_path: Path) -> None:
    assert keep(tmp_path, SHA, DATA, name="..").path.name == f"{SHA[:12]}.bin"


@pytest.mark.parametrize("to_file", [True, False])
def test_a_planted_link_is_not_followed(tmp_path: Path, to_file: bool) -> None:
    precious = tmp_path / "precious"
    if to_file:
        precious.write_text("mine", encoding="utf-8")
    folder = tmp_path / "home" / "inbox" / SHA
    folder.mkdir(parents=True)
    (folder / "a").symlink_to(precious)
    with pytest.raises(UnsafePath):
        keep(tmp_path / "home", SHA, DATA, name="a")
    assert precious.exists() == to_file
    with pytest.raises(UnsafePath):
        keep_as(folder / "a", DATA, name="x", fallback="f")
    assert precious.exists() == to_file


@pytest.mark.parametrize("which", ["inbox", f"inbox/{SHA}"])
def test_an_inbox_that_leads_elsewhere_is_refused(tmp_path: Path, which: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "home" / which
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UnsafePath, match="link"):
        keep(tmp_path / "home", SHA, DATA, name="a")
    assert names(elsewhere) == []


def test_a_planted_temporary_file_is_not_written_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="utf-8")
    folder = tmp_path / "inbox" / SHA
    folder.mkdir(parents=True)
    (folder / ".parler-x.part").symlink_to(precious)
    with pytest.raises(FileExistsError):
        keep(tmp_path, SHA, DATA, name="a", token=lambda count: "x")
    assert precious.read_text("utf-8") == "mine"


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    with files_of_at_most(4096), pytest.raises(OSError, match="large"):
        keep(tmp_path, SHA, bytes(8192), name="a")
    assert names(tmp_path) == []
    assert keep(tmp_path, SHA, DATA, name="a").path.read_bytes() == DATA


def test_a_folder_without_permission_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        keep_as(tmp_path / "a", DATA, name="x", fallback="f")
    tmp_path.chmod(0o700)
    assert names(tmp_path) == []


def test_the_user_may_name_a_file_or_a_folder(tmp_path: Path) -> None:
    assert keep_as(tmp_path / "b", DATA, name="x", fallback="f").path.name == "b"
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = keep_as(folder, DATA, name="../.git/config", fallback="f")
    assert kept.path == folder / "config"
    (tmp_path / "b").write_bytes(b"changed")
    with pytest.raises(UnsafePath):
        keep_as(tmp_path / "b", DATA, name="x", fallback="f")
    with pytest.raises(FileNotFoundError):
        keep_as(tmp_path / "no" / "b", DATA, name="x", fallback="f")


def test_without_hard_links_the_name_is_claimed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError("this file system has none")

    monkeypatch.setattr(inbox.os, "link", no_links)
    kept = keep(tmp_path, SHA, DATA, name="a")
    assert (kept.path.read_bytes(), names(tmp_path)) == (DATA, ["a"])
