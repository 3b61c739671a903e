"""The page as a command: started once, found again, ended, and for a person alone."""

import http.client
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from parler.ops.person_only import by_an_agent
from tests._support.processes import Agent

pytestmark = pytest.mark.skipif(
    by_an_agent({}, os.getpid()), reason="an agent runs this; the page is a person's"
)


class Browser:
    """A browser that keeps a cookie."""

    def __init__(self, url: str) -> None:
        self.origin, _, self.token = url.partition("/#")
        self.host = self.origin.removeprefix("http://")
        self.cookie = ""

    def asks(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """An answer's status and text."""
        connection = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"cookie": self.cookie, "origin": self.origin}
        if body is not None:
            headers["content-type"] = "application/json"
        said = None if body is None else json.dumps(body)
        connection.request(method, path, said, headers)
        answer = connection.getresponse()
        self.cookie = (answer.getheader("set-cookie") or self.cookie).partition(";")[0]
        text = answer.read().decode()
        connection.close()
        return answer.status, text


def test_the_page_is_one_process_for_its_user_and_ends(tmp_path: Path) -> None:
    ann = Agent(tmp_path, "ann", "ws://127.0.0.1:9")
    try:
        refused = ann("ui", "--json", "--home", str(ann.home))  # there is nobody yet
        assert refused.status == 3
        first = Browser(ann("ui", "--print", "--json", "--port", "0").json["url"])
        second = ann("ui", "--print").out.strip()
        assert second.startswith(f"{first.origin}/#")
        assert second != f"{first.origin}/#{first.token}"
        elsewhere = ann("ui", "--print", "--port", "1", "--json")
        assert (elsewhere.status, elsewhere.error["next"]) == (2, "parler ui --stop")

        assert first.asks("GET", "/agents")[0] == 401
        assert first.asks("POST", "/enter", {"token": first.token})[0] == 200
        status, home = first.asks("GET", "/")
        assert (status, "Inbox" in home) == (200, True)
        assert str(ann.home) in first.asks("GET", "/health")[1].replace(
            "~", str(ann.folder)
        )
        assert first.asks("POST", "/do/approve", {})[0] == 403  # no token of the page
        assert Browser(second).asks("POST", "/enter", {"token": first.token})[0] == 401
        for file in (ann.home / "ui").rglob("*"):
            assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
    finally:
        ended = ann("ui", "--stop")
    assert "ended process" in ended.out
    assert ann("ui", "--stop").out == "the page does not run\n"

    ann.environment["CLAUDECODE"] = "1"
    for words in (["ui"], ["ui", "--print"], ["ui", "--stop"], ["ui", "--serve"]):
        refused = ann(*words, "--json")
        assert (refused.status, refused.error["next"]) == (2, "parler ui")
        assert "an agent cannot open the page" in refused.error["message"]
