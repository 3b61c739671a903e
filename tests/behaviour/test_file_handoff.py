"""Handing over files over the command line, also to those who mean harm."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests._support.forgeries import send_files, send_parts
from tests._support.polling import WAIT
from tests._support.processes import Agent, Done, HubProcess, running_hub

PDF = b"%PDF-1.7\nhello\n"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with running_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def ann(tmp_path: Path, hub: HubProcess) -> Agent:
    return Agent(tmp_path, "ann", hub.url)


@pytest.fixture
def bob(ann: Agent, tmp_path: Path, hub: HubProcess) -> Agent:
    """In the session of ann."""
    opened = ann("session", "open", "--no-approval", "--json").json
    bob = Agent(tmp_path, "bob", hub.url)
    assert bob("session", "join", opened["portable"]).status == 0
    return bob


def put(agent: Agent, name: str, data: bytes = PDF) -> Path:
    path = agent.folder / name
    path.write_bytes(data)
    return path


def announce(ann: Agent, name: str, *, blob: str = "", size: int = -1) -> str:
    """Have ann's file announced under a name of an attacker's choice."""
    sent = ann("send-file", str(put(ann, "real.bin")), "--json").json
    part = {"kind": "com.parler.file", "name": name, "blob": blob or sent["blob"]}
    part |= {"size": len(PDF) if size < 0 else size}
    room = ann("rooms", "--json").json["active"]
    send_parts(ann, room, [part])
    return str(sent["blob"])


def everything(folder: Path) -> set[str]:
    """All paths but those of what was read when, which is no file that came."""
    names = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(name) for name in names if "seen-messages" not in name.parts}


def inbox(agent: Agent) -> list[Path]:
    folder = agent.home / "inbox"
    return [path for path in folder.rglob("*") if path.is_file()]


def error_code(done: Done, status: int = 8) -> str:
    assert (done.status, done.out) == (status, ""), done.err
    return str(done.error["code"])


def test_a_file_sent_is_fetched_by_name_into_the_inbox(ann: Agent, bob: Agent) -> None:
    path = put(ann, "report.pdf")
    sent = ann("send-file", str(path), "--note", "the final one", "--json").json
    assert sent["name"] == "report.pdf"
    assert sent["mediaType"] == "application/pdf"
    assert "the final one 📎 report.pdf" in bob("recv").out

    fetched = bob("fetch", "report.pdf", "--json").json
    assert fetched["path"] == str(bob.home / "inbox" / sent["blob"] / "report.pdf")
    assert fetched["looksLike"] == "application/pdf"
    assert "warning" not in fetched
    assert (fetched["sender"]["name"], fetched["sender"]["signature"]) == (
        "ann",
        "valid",
    )
    kept = Path(fetched["path"])
    assert kept.read_bytes() == PDF
    assert kept.stat().st_mode & 0o777 == 0o600

    again = bob("fetch", sent["blob"][:8])
    assert again.status == 0
    assert "was there already" in again.out
    assert "signature verified" in again.out


def test_the_line_a_peer_pastes_fetches_the_file(ann: Agent, bob: Agent) -> None:
    ann("send-file", str(put(ann, "my report $(touch pwned).pdf")))
    [line] = [line for line in bob("recv").out.splitlines() if "parler fetch" in line]
    pasted = line[line.index("parler fetch") :].replace(
        "parler", f"{sys.executable} -m parler", 1
    )
    done = subprocess.run(
        ["sh", "-c", pasted],
        cwd=bob.folder,
        env=bob.environment,
        capture_output=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (bob.folder / "pwned").exists()
    [kept] = bob.folder.glob("*.pdf")
    assert kept.read_bytes() == PDF


def test_a_file_goes_where_the_user_says_and_over_nothing(
    ann: Agent, bob: Agent
) -> None:
    ann("send-file", str(put(ann, "report.pdf")))
    assert bob("fetch", "report.pdf", "-o", "here.pdf").status == 0
    assert (bob.folder / "here.pdf").read_bytes() == PDF
    precious = put(bob, "precious.txt", b"mine")
    refused = bob("fetch", "report.pdf", "--out", str(precious), "--json")
    assert error_code(refused) == "unsafe_path"
    assert precious.read_bytes() == b"mine"
    (bob.folder / "link").symlink_to(precious)
    assert error_code(bob("fetch", "report.pdf", "-o", "link", "--json"))
    assert precious.read_bytes() == b"mine"
    folder = bob.folder / "folder"
    folder.mkdir()
    assert bob("fetch", "report.pdf", "-o", "folder").status == 0
    assert (folder / "report.pdf").exists()


HOSTILE = {
    "../../../../x": "x",
    "/etc/passwd": "passwd",
    ".git/hooks/post-merge": "post-merge",
    "..\\..\\CLAUDE.md": "CLAUDE.md",
    "CON": "_CON",
    "--help": "help",
    ".bashrc": "bashrc",
    "a\x1b]0;pwned\x07b": "a]0;pwnedb",
    "gpj.\u202eexe": "gpj.exe",
    "x" * 10_240: "x" * 120,
    "..": None,
    "": None,
}


def test_hostile_names_stay_plain_names_in_the_inbox(
    ann: Agent, bob: Agent, tmp_path: Path
) -> None:
    room = ann("rooms", "--json").json["active"]
    files = {name: f"of {name[:20]}".encode() for name in HOSTILE}
    ids = send_files(ann, room, files)
    for name, blob in ids.items():
        before = everything(tmp_path)
        path = Path(bob("fetch", blob[:16], "--json").json["path"])
        assert path == bob.home / "inbox" / blob / (HOSTILE[name] or f"{blob[:12]}.bin")
        assert path.read_bytes() == files[name]
        new = {tmp_path / one for one in everything(tmp_path) - before}
        assert {one for one in new if one.is_file()} == {path}
    plain = {name for name in HOSTILE if name and name not in ("--help", "..")}
    for name in plain:
        assert bob("fetch", name, "--json").json["blob"] == ids[name]


def test_a_name_of_two_senders_is_asked_back(
    ann: Agent, bob: Agent, tmp_path: Path, hub: HubProcess
) -> None:
    ann("send-file", str(put(ann, "notes.txt", b"one")))
    ann("send-file", str(put(ann, "notes.txt", b"two")))
    assert Path(bob("fetch", "notes.txt", "--json").json["path"]).read_bytes() == b"two"
    room = ann("rooms", "--json").json["active"]
    eve = Agent(tmp_path, "eve", hub.url)
    key = ann("invite", "--group", room, "--json").json["portable"]
    assert eve("join", key).status == 0
    eve("send-file", str(put(eve, "notes.txt", b"evil")))
    refused = bob("fetch", "notes.txt", "--json")
    assert error_code(refused, 2) == "usage"
    assert "ann" in refused.error["message"]
    assert "eve" in refused.error["message"]


def test_a_file_swapped_by_the_hub_is_refused(
    ann: Agent, bob: Agent, hub: HubProcess
) -> None:
    blob = ann("send-file", str(put(ann, "report.pdf")), "--json").json["blob"]
    [stored] = hub.folder.rglob(blob)
    for swapped in (PDF[::-1], PDF[:-1], b""):
        stored.write_bytes(swapped)
        refused = bob("fetch", "report.pdf", "--json")
        assert error_code(refused, 7) == "digest_mismatch"
    assert inbox(bob) == []


def test_another_length_than_announced_is_refused(ann: Agent, bob: Agent) -> None:
    announce(ann, "lie.pdf", size=3)
    # Asked for by the liar's name; the blob itself was announced honestly before.
    assert error_code(bob("fetch", "lie.pdf", "--json"), 7) == "verification"
    assert inbox(bob) == []


def test_an_id_that_is_none_is_not_asked_for(ann: Agent, bob: Agent) -> None:
    announce(ann, "trap", blob="../../etc/passwd")
    shown = bob("recv").out
    assert "no valid blob id" in shown
    assert error_code(bob("fetch", "trap", "--json"), 2) == "usage"


def test_a_program_in_disguise_is_pointed_out(ann: Agent, bob: Agent) -> None:
    ann("send-file", str(put(ann, "holiday.jpg", b"\x7fELF\x02\x01\x01")))
    done = bob("fetch", "holiday.jpg")
    assert done.status == 0
    assert "looks like application/x-executable" in done.out
    assert "do not run it" in done.out
    assert not inbox(bob)[0].stat().st_mode & 0o111


def test_one_byte_more_than_a_hub_takes_is_refused_before_anybody_is_bothered(
    ann: Agent, bob: Agent, hub: HubProcess
) -> None:
    path = put(ann, "huge.bin", bytes(25 * 2**20))
    assert ann("send-file", str(path)).status == 0
    assert Path(bob("fetch", "huge.bin", "--json").json["path"]).stat().st_size == (
        25 * 2**20
    )
    hub.stop()
    path.write_bytes(bytes(25 * 2**20 + 1))
    assert error_code(ann("send-file", str(path), "--json")) == "too_many_bytes"
    hub.start()


def test_what_is_no_file_is_not_sent(ann: Agent, bob: Agent) -> None:
    os.mkfifo(ann.folder / "pipe")
    for name in ("nothing", ".", "pipe", "/dev/zero"):
        assert error_code(ann("send-file", name, "--json"), 2) == "usage"


def test_an_empty_file_is_a_file(ann: Agent, bob: Agent) -> None:
    ann("send-file", str(put(ann, "empty", b"")))
    assert bob("fetch", "empty", "--json").json["size"] == 0


def test_a_disk_that_fills_up_leaves_nothing_half(ann: Agent, bob: Agent) -> None:
    ann("send-file", str(put(ann, "report.bin", os.urandom(300_000))))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        refused = bob("fetch", "report.bin", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert error_code(refused, 3) == "os"
    assert inbox(bob) == []
    assert bob("fetch", "report.bin").status == 0


def test_a_stranger_cannot_fetch(
    ann: Agent, bob: Agent, tmp_path: Path, hub: HubProcess
) -> None:
    blob = ann("send-file", str(put(ann, "report.pdf")), "--json").json["blob"]
    eve = Agent(tmp_path, "eve", hub.url)
    assert error_code(eve("fetch", blob, "--json"), 6) in (
        "unknown_blob",
        "not_authorized",
    )


def test_a_bundle_can_be_fetched_as_a_file(ann: Agent, bob: Agent) -> None:
    head = b"# v2 git bundle\n" + b"a" * 40 + b" HEAD\n\n"
    blob = ann("send-file", str(put(ann, "x.bundle", head)), "--json").json["blob"]
    fetched = bob("fetch", blob, "--json").json
    assert fetched["looksLike"] == "application/x-git-bundle"


def test_the_key_of_an_agent_is_not_sent(ann: Agent) -> None:
    key = ann.home / "config.json"
    assert ann("whoami").status == 0
    refused = ann("send-file", str(key), "--to", "bob")
    assert refused.status == 3
    assert "private key" in refused.err
