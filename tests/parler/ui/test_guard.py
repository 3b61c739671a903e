"""Who may ask the page: one Host, one Origin, this user, a cookie, and a token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response

from parler.ui.guard import (
    MAX_POST_BYTES,
    MAX_SESSIONS,
    Guard,
    Scope,
    Sessions,
    session_of,
)

PORT = 7171
ORIGIN = f"http://127.0.0.1:{PORT}"
SECRET = "what only the person may read"


@dataclass(frozen=True, slots=True)
class Got:
    """An answer."""

    status: int
    headers: dict[str, list[str]]
    text: str


async def ask(
    app: Any,
    path: str,
    headers: Sequence[tuple[str, str]],
    *,
    method: str = "GET",
    kind: str = "http",
) -> Got:
    """Ask an application as a browser does."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in headers],
    }
    await app(scope, receive, send)
    if kind != "http":
        return Got(sent[0].get("code", 0), {}, sent[0]["type"])
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode(), []).append(value.decode())
    body = b"".join(one.get("body", b"") for one in sent[1:])
    return Got(sent[0]["status"], found, body.decode())


@dataclass
class Door:
    """A guarded page, and one browser that was let in."""

    ours: bool = True
    sessions: Sessions = field(default_factory=lambda: Sessions(PORT))

    def __post_init__(self) -> None:
        """Let the browser in."""
        self.guard = Guard(
            app=_page, sessions=self.sessions, is_ours=lambda scope: self.ours
        )
        self.cookie = self.let_in()
        session = self.sessions.find(self.cookie.partition("=")[2])
        assert session
        self.token = session.token

    def let_in(self) -> str:
        """The cookie of another browser."""
        answer = Response()
        self.sessions.let_in(answer)
        flags = answer.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*flags}
        return flags[0]

    def get(self, **changed: str | None) -> list[tuple[str, str]]:
        """What the browser sends when it looks."""
        return _with({"host": f"127.0.0.1:{PORT}", "cookie": self.cookie}, changed)

    def post(self, **changed: str | None) -> list[tuple[str, str]]:
        """What it sends when the person decides."""
        headers = {
            "host": f"127.0.0.1:{PORT}",
            "cookie": self.cookie,
            "origin": ORIGIN,
            "content-type": "application/json",
            "content-length": "2",
            "x-parler-token": self.token,
        }
        return _with(headers, changed)


def _with(
    headers: dict[str, str], changed: dict[str, str | None]
) -> list[tuple[str, str]]:
    given = headers | {name.replace("_", "-"): to for name, to in changed.items()}
    return [(name, to) for name, to in given.items() if to is not None]


async def _page(scope: Scope, receive: Any, send: Any) -> None:
    words = SECRET if session_of(scope) else "parler ui"
    await PlainTextResponse(words)(scope, receive, send)


async def test_the_person_looks_and_decides() -> None:
    door = Door()
    assert (await ask(door.guard, "/agents", door.get())).text == SECRET
    # The browser brings the cookies of other servers on this machine, too.
    for other in ('prefs={"x": 1}', "a b=c", "x", "path=1", "parler-7171=planted"):
        given = door.get(cookie=f"{other}; {door.cookie}; {other}")
        assert (await ask(door.guard, "/agents", given)).text == SECRET, other
    got = await ask(door.guard, "/do/approve", door.post(), method="POST")
    assert (got.status, got.text) == (200, SECRET)


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (421, {"host": "evil.example:7171"}),
        (421, {"host": "localhost:7171"}),
        (421, {"host": "127.0.0.1"}),
        (421, {"host": "127.0.0.1:7172"}),
        (421, {"host": None}),
        (403, {"origin": "http://127.0.0.1:7172"}),
        (403, {"origin": "http://localhost:7171"}),
        (403, {"origin": "null"}),
        (403, {"sec_fetch_site": "cross-site"}),
        (403, {"sec_fetch_site": "same-site"}),
        (401, {"cookie": None}),
        (401, {"cookie": "parler-7171=guessed"}),
        (401, {"cookie": "parler-7172={value}"}),
        (401, {"cookie": '=;;\\"\x00'}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_whoever_comes_otherwise_gets_no_word(
    method: str, status: int, changed: dict[str, str | None]
) -> None:
    door = Door()
    value = door.cookie.partition("=")[2]
    changed = {k: v.replace("{value}", value) if v else v for k, v in changed.items()}
    given = (door.get if method == "GET" else door.post)(**changed)
    got = await ask(door.guard, "/do/approve", given, method=method)
    assert got.status == status
    assert SECRET not in got.text


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (403, {"origin": None}),
        (403, {"x_parler_token": None}),
        (403, {"x_parler_token": "guessed"}),
        (403, {"x_parler_token": "gu\xe9ssed"}),
        (415, {"content_type": "text/plain"}),
        (415, {"content_type": None}),
        (413, {"content_length": str(MAX_POST_BYTES + 1)}),
        (413, {"content_length": None}),
        (413, {"transfer_encoding": "chunked"}),
        (413, {"content_length": "-1"}),
    ],
)
async def test_nothing_is_decided_but_from_the_page_itself(
    status: int, changed: dict[str, str | None]
) -> None:
    door = Door()
    got = await ask(door.guard, "/do/approve", door.post(**changed), method="POST")
    assert got.status == status
    assert SECRET not in got.text


async def test_another_user_of_the_machine_gets_nothing_whatever_it_brings() -> None:
    door = Door()
    door.ours = False
    for path in ("/", "/agents", "/static/page.js", "/enter"):
        got = await ask(door.guard, path, door.get())
        assert (got.status, SECRET in got.text) == (403, False)
    door.ours = True
    twice = [*door.get(), ("host", "evil.example")]
    assert (await ask(door.guard, "/agents", twice)).status == 421
    assert (await ask(door.guard, "/", door.get(), method="DELETE")).status == 405
    socket = await ask(door.guard, "/events", door.get(), kind="websocket")
    assert (socket.text, socket.status) == ("websocket.close", 1008)


async def test_without_a_cookie_one_is_told_how_to_get_one_and_nothing_else() -> None:
    door = Door()
    got = await ask(door.guard, "/", door.get(cookie=None))
    assert got.text == "parler ui"


async def test_every_answer_forbids_what_a_page_could_be_made_to_do() -> None:
    door = Door()
    for given in (door.get(), door.get(host="evil.example"), door.get(cookie=None)):
        headers = (await ask(door.guard, "/agents", given)).headers
        [policy] = headers["content-security-policy"]
        rules = dict(one.split(" ", 1) for one in policy.split("; "))
        assert rules["default-src"] == "'none'"
        assert "'" not in rules["script-src"]
        own = f"{ORIGIN}/static/"
        for one in rules["script-src"].split():
            assert one.startswith(own)
            assert one.endswith(".js")
        assert rules["frame-ancestors"] == rules["form-action"] == "'none'"
        assert headers["x-frame-options"] == ["DENY"]
        assert headers["referrer-policy"] == ["no-referrer"]
        assert headers["cache-control"] == ["no-store"]
        assert headers["x-content-type-options"] == ["nosniff"]
        assert "access-control-allow-origin" not in headers


async def test_the_browser_that_came_first_makes_room_for_one_too_many() -> None:
    door = Door()
    for _ in range(MAX_SESSIONS):
        last = door.let_in()
    assert (await ask(door.guard, "/agents", door.get())).status == 401
    assert (await ask(door.guard, "/agents", door.get(cookie=last))).status == 200
