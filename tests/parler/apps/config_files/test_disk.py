"""Files of other programs: replaced whole or not at all, as their owner has them."""

import os
from pathlib import Path

import pytest

from parler.apps.config_files import disk
from parler.apps.config_files.errors import ChangedMeanwhile, FileRefused


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    real = dotfiles / "settings.json"
    real.write_bytes(b"{}")
    link = tmp_path / "a" / "settings.json"
    link.parent.mkdir()
    link.symlink_to("../dotfiles/settings.json")
    second = tmp_path / "second.json"
    second.symlink_to(link)

    disk.replace(disk.read(second), b"new")

    assert real.read_bytes() == b"new"
    assert link.is_symlink()
    assert second.is_symlink()
    assert link.readlink() == Path("../dotfiles/settings.json")
    assert sorted(path.name for path in dotfiles.iterdir()) == ["settings.json"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o755])
def test_the_mode_stays_what_it_was(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    disk.replace(disk.read(path), b"new")
    assert path.stat().st_mode & 0o777 == mode


def test_a_new_file_is_for_its_owner_alone_and_its_folders_are_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a" / "b" / "file"
    content = disk.read(path)
    made = disk.missing_folders(content)
    before = os.umask(0)
    try:
        disk.replace(content, b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert made == [tmp_path / "a", tmp_path / "a" / "b"]
    assert {folder.stat().st_mode & 0o777 for folder in made} == {0o755}


def test_a_link_to_a_file_that_is_not_there_yet_is_filled(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    disk.replace(disk.read(link), b"new")
    assert link.is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize(
    "kind", ["read-only", "hard link", "dangling", "loop", "folder"]
)
def test_what_its_owner_guards_is_refused_and_left(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere" / "file")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.write_bytes(b"old")
        if kind == "read-only":
            path.chmod(0o444)
        else:
            os.link(path, tmp_path / "other")
    with pytest.raises(FileRefused):
        disk.replace(disk.read(path), b"new")
    assert not [one for one in tmp_path.iterdir() if one.name.endswith(".tmp")]
    if kind in ("read-only", "hard link"):
        assert path.read_bytes() == b"old"


def test_a_pipe_in_place_of_the_file_does_not_hang_us(tmp_path: Path) -> None:
    path = tmp_path / "file"
    os.mkfifo(path)
    with pytest.raises(FileRefused):
        disk.read(path)


@pytest.mark.parametrize("how", ["rewritten", "removed", "came", "relinked"])
def test_a_file_that_changed_meanwhile_is_left(tmp_path: Path, how: str) -> None:
    path = tmp_path / "file"
    if how != "came":
        path.write_bytes(b"old")
    content = disk.read(path)
    if how == "removed":
        path.unlink()
    elif how == "relinked":
        path.rename(tmp_path / "moved")
        path.symlink_to(tmp_path / "moved")
    else:
        path.write_bytes(b"theirs")
    with pytest.raises((ChangedMeanwhile, FileRefused)):
        disk.replace(content, b"ours")
    assert b"ours" not in [
        one.read_bytes() for one in tmp_path.iterdir() if one.is_file()
    ]
    assert not [one for one in tmp_path.iterdir() if one.name.endswith(".tmp")]


def test_the_change_is_noticed_although_it_came_while_we_wrote(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    content = disk.read(path)

    def token(size: int) -> str:
        path.write_bytes(b"theirs")  # the app saves between our check and our rename
        return "0" * size

    with pytest.raises(ChangedMeanwhile):
        disk.replace(content, b"ours", token=token)
    assert path.read_bytes() == b"theirs"


def test_the_lock_of_the_app_is_taken_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    lock = tmp_path / "file.lock"
    disk.replace(disk.read(path), b"new", keep_lock=True)
    assert not lock.exists()

    lock.mkdir()
    os.utime(lock, (1, 1))  # left behind by an app that crashed
    disk.replace(disk.read(path), b"newer", keep_lock=True)
    assert path.read_bytes() == b"newer"
    assert lock.exists()


def test_a_mark_in_front_of_the_text_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbf{}")
    content = disk.read(path)
    assert content.text == "{}"
    assert content.encoded("[]") == b"\xef\xbb\xbf[]"


def test_what_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("{}".encode("utf-16"))
    with pytest.raises(FileRefused, match="UTF-8"):
        _ = disk.read(path).text


def test_a_backup_is_made_once_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    first = disk.keep_backup(disk.read(path), tmp_path / "kept", "app.file")
    again = disk.keep_backup(disk.read(path), tmp_path / "kept", "app.file")
    assert first is not None
    assert first == again
    assert first.read_bytes() == b"old"
    assert first.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_run_left_beside_a_file_goes_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    left = tmp_path / ".a.json.0123456789abcdef.tmp"
    others = [
        tmp_path / ".a.json.mine.tmp",
        tmp_path / ".b.json.0123456789abcdef.tmp",
        tmp_path / ".a.json.fedcba9876543210.tmp",
    ]
    for one in (left, *others):
        one.write_bytes(b"x")
    for one in (left, *others[:2]):
        os.utime(one, (0, 0))
    disk.replace(disk.read(path), b"new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
