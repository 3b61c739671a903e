"""The file that says which hub runs, its log of bounded size, and whom it is for."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from hub.admin import mdns
from hub.admin.lock_file import LockFile
from hub.app import Hub, build_app
from hub.errors import CannotStart
from hub.http.addresses import is_near
from hub.settings import LOCAL_DATABASE, Settings, local_folder, read_settings
from tests._support.polling import WAIT

NOISY = """
import logging, sys
from pathlib import Path
from hub.admin.logs import BoundedOutput
handler = BoundedOutput(Path(sys.argv[1]), max_bytes=1000)
log = logging.getLogger("hub.noise")
log.addHandler(handler)
log.setLevel("INFO")
for number in range(200):
    log.info("line %d says \\udcff", number)
print("stdout goes there too", flush=True)
"""


def test_a_second_hub_is_refused_and_a_third_may_follow(tmp_path: Path) -> None:
    path = tmp_path / "hub" / "running"
    with LockFile(path) as first:
        first.say(url="ws://127.0.0.1:1")
        with pytest.raises(CannotStart, match="another hub runs here"):
            LockFile(path, patience=0.0)
        words = json.loads(path.read_text(encoding="utf-8"))
        assert words == {"pid": os.getpid(), "url": "ws://127.0.0.1:1"}
        first.say(lan=["192.168.1.5"] * 100)
        first.say(lan=[])
        assert json.loads(path.read_text(encoding="utf-8"))["lan"] == []
    assert path.read_bytes() == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("left by one that crashed" * 100, encoding="utf-8")
    with LockFile(path):
        assert json.loads(path.read_text(encoding="utf-8")) == {"pid": os.getpid()}


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "running").symlink_to(victim)
    with pytest.raises(CannotStart):
        LockFile(tmp_path / "running")
    assert victim.read_text(encoding="utf-8") == "precious"


def test_a_log_never_grows_beyond_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "hub.log"
    command = [sys.executable, "-c", NOISY, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    kept = sorted(one.name for one in tmp_path.iterdir())
    assert kept == ["hub.log", "hub.log.1"]
    assert max(one.stat().st_size for one in tmp_path.iterdir()) <= 1000 + 30
    text = path.read_text(encoding="utf-8")
    assert "line 199 says" in text
    assert text.endswith("stdout goes there too\n")


@pytest.mark.parametrize(
    ("home", "folder"),
    [
        ("/home/ann/.parler", "/home/ann/.parler/hub"),
        ("/home/ann/.parler/agents/codex", "/home/ann/.parler/hub"),
    ],
)
def test_all_homes_of_a_machine_have_one_local_hub(home: str, folder: str) -> None:
    variables = {"PARLER_HOME": home}
    assert local_folder(variables) == Path(folder)
    settings = read_settings(["--local"], variables)
    assert settings.db == Path(folder) / LOCAL_DATABASE
    assert settings.running_file == Path(folder) / "running"


# ---------------------------------------------------------------------- for whom it is


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("192.168.1.5", True),
        ("10.1.2.3", True),
        ("169.254.3.4", True),
        ("100.100.1.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("::ffff:192.168.1.5", True),
        ("::ffff:8.8.8.8", False),
        ("8.8.8.8", False),
        ("2001:4860:4860::8888", False),
        ("nonsense", False),
    ],
)
def test_near_is_this_machine_and_private_networks(address: str, *, near: bool) -> None:
    assert is_near((address, 1)) is near


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_hub_for_its_network_turns_others_away(kind: str) -> None:
    settings = Settings(host="127.0.0.1", port=0, lan_only=True)
    app = build_app(Hub(settings))
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asked = {"type": kind, "method": "GET", "path": "/ws", "headers": []}
    await app({**asked, "client": ("8.8.8.8", 1)}, receive, send)
    assert sent[0]["type"].endswith("http.response.start")
    assert sent[0]["status"] == 403
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]
    await app(asked, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [403, 403]


def test_a_hub_on_the_loopback_announces_no_address() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        assert mdns.lan_addresses(host) == []
    assert mdns.lan_addresses("192.168.1.5") == ["192.168.1.5"]


def test_a_fingerprint_stays_and_is_no_hash_of_the_secret(tmp_path: Path) -> None:
    one, two = (
        Settings(host="h", port=1, db=tmp_path / "hub.sqlite", join_secret=secret)
        for secret in ("a", "b")
    )
    assert mdns.fingerprint(one) == mdns.fingerprint(two)
    other = Settings(host="h", port=1, db=tmp_path / "other.sqlite", join_secret="a")
    assert mdns.fingerprint(other) != mdns.fingerprint(one)
    assert mdns.fingerprint(Settings(host="h", port=1))
