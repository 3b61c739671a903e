"""What docs/guides/sealed.md has people type, with real processes and a real hub.

Afterwards the hub's files are searched for all that was said.
"""

from pathlib import Path

import pytest

from tests._support.processes import Agent, running_hub

pytestmark = pytest.mark.sealed

WORDS = ("Zauberwort", "gripsholm", "Rheinsberg", "Wunderpunsch", "Tucholsky", "Kaspar")


def test_a_sealed_session_by_its_commands(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub") as hub:
        ann, bob = (Agent(tmp_path, name, hub.url) for name in ("ann", "bob"))
        opened = ann(
            *("session", "open", "--sealed", "--topic", WORDS[0], "--json"),
            *("--context", f"{WORDS[1]} is the goal"),
        ).json
        key, room = opened["portable"], opened["room"]
        secret = key.partition(".")[2].partition("@")[0]
        assert opened["sealed"]
        assert key == f"{opened['key']}.{secret}@{hub.url}"

        knocked = bob("session", "join", key)
        assert f"parler session join {key}" in knocked.out, "the whole key, again"
        assert "was given your key" in ann("session", "requests").out
        assert ann("approve", "bob", "--yes").status == 0
        joined = bob("session", "join", key).out
        assert "sealed, confirmed by your key" in joined
        assert WORDS[1] in joined

        assert bob("send", f"{WORDS[2]} from bob").status == 0
        assert WORDS[2] in ann("recv").out
        turn = ("handoff", "--for", "bob", "--next", WORDS[4])
        assert ann(*turn, "--room", room).status == 0
        assert "HANDOFF TO YOU" in bob("recv").out
        assert WORDS[2] in bob("history").out
        listed = ann("session", "list", "--json").json
        assert [one["topic"] for one in listed["rooms"]] == [WORDS[0]]

        both = [who("session", "verify", "--json").json for who in (ann, bob)]
        assert both[0]["head"] == both[1]["head"]
        assert both[1]["confirmed"]
        for who in (ann, bob):
            assert who("session", "export", "-o", "room.jsonl").status == 0
        files = [str(one.folder / "room.jsonl") for one in (ann, bob)]
        checked = ann("verify", *files)
        assert (checked.status, "one history" in checked.out) == (0, True)
        text = Path(files[0]).read_text(encoding="utf-8")
        Path(files[0]).write_text(text.replace('"n":2', '"n":7'), encoding="utf-8")
        assert ann("verify", *files).status == 1
        assert ann("verify", key).status == 2

        told = ann("send", "--to", "bob", "to you alone")
        assert "outside of the sealed session" in told.err
        # What would leave the seal is refused, before it is sent.
        (ann.folder / "plan.txt").write_text(WORDS[5], encoding="utf-8")
        for plain in (("send-file", "plan.txt"), ("remember", WORDS[5])):
            assert ann(*plain, "--json").error["code"] == "leaves_seal"

        assert ann("session", "rekey", "--json").json["epoch"] == 2
        assert ann("session", "admin", "add", "bob", "--yes").status == 0
        assert ann("session", "remove", "bob", "--yes").status == 0
        assert ann("send", f"{WORDS[3]} without bob").status == 0
        members = ann("session", "members", "--json").json
        assert [one["owner"] for one in members["members"]] == [True]
        hub.stop()
        kept = b"".join(p.read_bytes() for p in hub.folder.rglob("*") if p.is_file())
    assert b"sealed message: this program" in kept, "what is said in clear is found"
    assert [w for w in (*WORDS, secret) if w.encode() in kept] == []
