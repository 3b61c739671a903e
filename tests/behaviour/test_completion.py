"""What a person gets by pressing Tab."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parler.identity.identity import mint_identity
from parler.identity.known_rooms import KnownRooms
from parler.wire.base import RoomName
from tests._support.polling import WAIT
from tests._support.processes import environment

BASH = """
eval "$(parler completion bash)"
IFS=" " read -ra COMP_WORDS <<<"parler $TYPED"
[[ $TYPED == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_parler_completion parler
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "parler completion fish | source; complete -C $argv[1]"
HOSTILE = "flaky, $(touch pwned) `touch pwned` *"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    base = tmp_path / ".parler"
    mint_identity(base, hub_url="ws://127.0.0.1:9", name="ann")
    mint_identity(base / "agents/codex", hub_url="ws://127.0.0.1:9", name="shop")
    rooms = {base: ("room.abc234", HOSTILE), base / "agents/codex": ("room.xyz", "b")}
    for place, (room, topic) in rooms.items():
        known = KnownRooms(place)
        known.remember("ws://127.0.0.1:9", RoomName(room))
        known.note_topics("ws://127.0.0.1:9", {RoomName(room): topic})
    program = tmp_path / "bin/parler"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m parler "$@"\n', "utf-8")
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "follow"),
    [
        ("hub sta", "start stats status"),
        ("--json session req", "requests"),
        ("help ses", "session"),
        ("history ", "room.abc234 room.xyz"),
        ("send --room room.a", "room.abc234"),
        ("rooms --as ", "ann shop"),
        ("use l", "local"),
    ],
)
def test_tab_brings_what_may_follow(typed: str, follow: str, home: Path) -> None:
    assert sorted(completed(typed, home)) == follow.split()


def test_a_room_is_found_by_its_topic_and_nothing_of_it_is_carried_out(
    home: Path,
) -> None:
    assert completed("history Flak", home) == ["room.abc234"]
    assert not (home / "pwned").exists()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
@pytest.mark.parametrize(
    ("typed", "follow"), [("hub sta", "start stats status"), ("history ", "room.abc")]
)
def test_fish_asks_the_same(typed: str, follow: str, home: Path) -> None:
    env = environment(home)
    done = subprocess.run(
        ["fish", "--no-config", "-c", FISH, f"parler {typed}"],
        cwd=home,
        env=env | {"PATH": f"{home / 'bin'}:{env['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
    )
    words = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert all(any(word.startswith(one) for word in words) for one in follow.split())
    assert not (home / "pwned").exists()


def completed(typed: str, home: Path) -> list[str]:
    env = environment(home)
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH],
        cwd=home,
        env=env | {"TYPED": typed, "PATH": f"{home / 'bin'}:{env['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=WAIT,
        check=True,
    )
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines()]
