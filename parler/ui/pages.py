"""The views of the page, and what it is told to do: each is an operation of `ops`.

Here a request becomes parameters, and a result a template. Who may ask was decided by
`guard` before; what is shown comes from `desk`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from parler._version import __version__
from parler.errors import NotMember, ParlerError, UsageError
from parler.identity.message_signing import Signature
from parler.ops.doctor.installation import DoctorResult
from parler.ops.inbox import Item, Kind
from parler.ops.message_view import ShownMessage, shown_all
from parler.ops.messages import history
from parler.ops.picture import link_to, picture
from parler.ui import acts, tools, words
from parler.ui.desk import Desk, Reader, Spot
from parler.ui.guard import Sessions, session_of
from parler.ui.pieces import whole_text
from parler.wire.base import RoomName
from parler.wire.urls import same_hub

PAGE_MESSAGES = 60
"""Messages loaded at once; more come when one scrolls up."""

MAX_EVENT_MESSAGES = 100
"""Messages put into one event; the next follows at once."""

MAX_PAGE_BYTES = 2 * 2**20
"""Of the messages loaded at once, about; the oldest are left for the next time."""

POLL_SECS = 1.0
"""How often a shown room is asked what came: a hub pushes nothing to its author."""

BEAT_SECS = 15.0
"""How often a reader hears something, so that it notices when we are gone."""

LOOK_AGAIN_SECS = 10.0
"""How often members are asked for where nothing tells that they changed."""

ASK_SECS = 5.0
"""For what a hub is asked in between; what else changed does not wait longer."""

REST_SECS = 0.1
"""Between two looks for one reader: news come in crowds."""

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATUS = {UsageError: HTTPStatus.BAD_REQUEST, NotMember: HTTPStatus.NOT_FOUND}

Answer = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Pages:
    """The views over one desk."""

    desk: Desk
    sessions: Sessions
    doctor: Callable[[], Awaitable[DoctorResult]]
    take_token: Callable[[str], bool]
    ending: asyncio.Event
    """Set when this process is about to end."""

    templates: Any

    def app(self) -> Starlette:
        """All there is to be asked."""
        gets: dict[str, Answer] = {
            "/": self._view(self.home),
            "/room": self._view(self.room),
            "/picture": self._view(self.picture),
            "/agents": self._view(self.agents),
            "/health": self._view(self.health),
            "/room/first": self.first_of,
            "/room/found": self.found,
            "/room/file": self.file,
            "/room/form/{form}": self.form,
            "/messages": self.messages,
            "/message": self.message,
            "/health/checks": self.checks,
            "/events": self.events,
            "/static/{name}": self.static,
        }
        routes = [
            Route(path, _told(answer), methods=["GET"]) for path, answer in gets.items()
        ]
        posts: dict[str, Answer] = {"/enter": self.enter, "/do/{act}": self.act}
        routes += [
            Route(path, _told(answer), methods=["POST"])
            for path, answer in posts.items()
        ]
        return Starlette(routes=routes)

    # Coming in

    async def enter(self, request: Request) -> Response:
        """Exchange a token for a cookie, once."""
        token = acts.text(await _body(request), "token")
        if not await asyncio.to_thread(self.take_token, token):
            return PlainTextResponse(
                "this link was used, or is too old\n", HTTPStatus.UNAUTHORIZED
            )
        answer = JSONResponse({})
        self.sessions.let_in(answer)
        return answer

    async def static(self, request: Request) -> Response:
        """A style sheet, a script or the icon."""
        found = _static().get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("there is no such file\n", HTTPStatus.NOT_FOUND)
        kind = _TYPES[request.path_params["name"].rpartition(".")[2]]
        return Response(found, media_type=kind)

    # Views

    async def home(self, request: Request) -> Response:
        """What waits, who is here, the rooms."""
        if session_of(request.scope) is None:
            page = self.templates.get_template("enter.html").render()
            return HTMLResponse(page, HTTPStatus.UNAUTHORIZED)
        return self._page(request, "home.html", **self._home())

    def _home(self, here: Spot | None = None) -> dict[str, Any]:
        desk = self.desk
        return {
            "items": desk.items,
            "permissions": desk.permissions,
            "rooms": desk.rooms,
            "peers": desk.peers,
            "person": desk.person_id,
            "complete": desk.complete,
            "away": desk.away,
            "here": here,
        }

    async def room(self, request: Request) -> Response:
        """A transcript: its end, and what comes; or what was said around a message."""
        spot = _spot(request.query_params)
        part = "seq" in request.query_params
        before = None
        if part:
            before = acts.number(request.query_params, "seq") + PAGE_MESSAGES // 2
        shown, members, remover = await asyncio.gather(
            self._tail(spot, before),
            self.desk.members(spot),
            tools.may_remove(self.desk, spot),
        )
        room = self.desk.room(spot)
        shown |= {"part": part, "members": members, "remover": remover}
        given = self._home((room.hub, spot[1])) | shown
        given |= {"items": self._knocks(spot), "permissions": []}
        return self._page(request, "room.html", room=room, **given)

    def _knocks(self, spot: Spot) -> list[Item]:
        return [
            one
            for one in self.desk.items
            if one.kind is Kind.KNOCK
            and one.room == spot[1]
            and same_hub(one.hub, spot[0])
        ]

    async def form(self, request: Request) -> Response:
        """What is filled in to do something with a room."""
        name = request.path_params["form"]
        given = await tools.form(self.desk, name, request.query_params)
        return self._piece(f"_{name}.html", **given)

    async def found(self, request: Request) -> Response:
        """What a search in a room comes to."""
        found = await tools.search(self.desk, request.query_params)
        return self._piece("_found.html", **found)

    async def first_of(self, request: Request) -> Response:
        """Where in the room a day begins."""
        seq = await tools.first_of(self.desk, request.query_params)
        return JSONResponse({"seq": seq})

    async def file(self, request: Request) -> Response:
        """All of a room, to be kept."""
        name, media, pieces = await tools.file_of(self.desk, request.query_params)
        kept = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(pieces, media_type=media, headers=kept)

    async def picture(self, request: Request) -> Response:
        """A room as a picture; a row leads to its message."""
        spot = _spot(request.query_params)
        room = self.desk.room(spot)
        found = await picture(self.desk.whose(spot).ctx, spot[1], link=link_to(*spot))
        svg = Markup(found.svg)  # noqa: S704 - made of text that was escaped
        return self._page(request, "picture.html", room=room, spot=spot, svg=svg)

    async def messages(self, request: Request) -> Response:
        """What was said before a message, as a piece of the transcript."""
        spot = _spot(request.query_params)
        before = acts.number(request.query_params, "before")
        return self._piece("_messages.html", **await self._tail(spot, before))

    async def message(self, request: Request) -> Response:
        """All of a long message, as text."""
        asked = request.query_params
        spot, seq = _spot(asked), acts.number(asked, "seq")
        ctx = self.desk.whose(spot).ctx
        batch = await ctx.client.pull(spot[1], since=seq - 1, limit=1)
        for found in shown_all(batch.messages):
            if found.seq == seq:
                return PlainTextResponse(whole_text(found))
        raise UsageError("there is no such message")

    async def agents(self, request: Request) -> Response:
        """Who is here, and who is a member of our rooms."""
        return self._page(request, "agents.html", **await self._agents())

    async def _agents(self) -> dict[str, Any]:
        return {
            "peers": self.desk.peers,
            "members": await acts.members_elsewhere(self.desk),
            "person": self.desk.person_id,
        }

    async def health(self, request: Request) -> Response:
        """Where the results of the doctor will stand."""
        return self._page(
            request, "health.html", homes=self.desk.agents, away=self.desk.away
        )

    async def checks(self, request: Request) -> Response:
        """What the doctor says now."""
        return self._piece("_checks.html", result=await self.doctor())

    # Live

    async def events(self, request: Request) -> Response:
        """All that changes on a page, for as long as it is open."""
        view = request.query_params.get("view")
        spot = _spot(request.query_params) if view == "room" else None
        reader = self.desk.reading(spot)
        opened = reader.__enter__()  # before anything is sent: there may be too many
        last = acts.number(request.query_params, "since") if spot else 0
        session = session_of(request.scope)
        assert session is not None
        who = json.dumps({"token": session.token, "version": __version__})

        async def stream() -> AsyncIterator[str]:
            try:
                yield f"event: session\ndata: {who}\n\n"
                async for event, data in self._news(opened, view or "", last):
                    yield f"event: {event}\ndata: {json.dumps(data)}\n\n"
            finally:
                reader.__exit__(None, None, None)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def _news(
        self, reader: Reader, view: str, last: int
    ) -> AsyncIterator[tuple[str, Any]]:
        """What is new for one reader, until it goes or we end."""
        sent: dict[str, Any] = {}
        clock = asyncio.get_running_loop().time
        beat = looked = asked = clock()
        while not self.ending.is_set():
            reader.news.clear()
            # A hub counts what is asked: what comes in other rooms is no reason to.
            if reader.spot and (reader.said or clock() - asked >= POLL_SECS):
                reader.said, asked = False, clock()
                last, news = await self._later(reader.spot, last)
                for one in news:
                    yield "message", one
                if news:  # there may be more
                    reader.said = True
                    reader.news.set()
            slow = reader.members or clock() - looked >= LOOK_AGAIN_SECS
            if slow:
                reader.members, looked = False, clock()
            for name, data in (await self._regions(reader, view, slow=slow)).items():
                if sent.get(name) != data:
                    sent[name] = data
                    beat = clock()
                    yield name, data
            if clock() - beat >= BEAT_SECS:
                beat = clock()
                yield "beat", None
            if reader.spot is None:
                await asyncio.sleep(REST_SECS)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECS):
                    await reader.news.wait()

    async def _later(self, spot: Spot, last: int) -> tuple[int, list[dict[str, Any]]]:
        """What came in a room after a message, oldest first."""
        try:
            ctx = self.desk.whose(spot).ctx
            if not ctx.client.connected:  # it would wait until there is a hub again
                return last, []
            async with asyncio.timeout(ASK_SECS):
                batch = await ctx.client.pull(
                    spot[1], since=last, limit=MAX_EVENT_MESSAGES
                )
        except (ParlerError, TimeoutError):
            return last, []  # the reader is told by the region of trouble
        found = shown_all(batch.messages)
        if not found:
            return last, []
        html = self._render("_messages.html", **await self._lines(spot, found))
        return found[-1].seq, [{"html": html, "last": found[-1].seq}]

    async def _regions(
        self, reader: Reader, view: str, *, slow: bool
    ) -> dict[str, Any]:
        """The pieces of a page that may have changed, by their names.

        Args:
            slow: Also those for which a hub is asked.
        """
        desk = self.desk
        shown: dict[str, Any] = {
            "waiting": desk.waiting,
            "decisions": words.decisions(desk.items, desk.permissions),
            "trouble": self._render("_away.html", away=desk.away),
        }
        if view == "home":
            for name in ("inbox", "peers", "rooms"):
                shown[name] = self._render(f"_{name}.html", **self._home())
        elif view == "agents" and slow:
            shown["agents"] = self._render("_agents.html", **await self._agents())
        elif reader.spot is not None:
            given = self._home(reader.spot)
            shown["rooms"] = self._render("_rooms.html", **given)
            given |= {"items": self._knocks(reader.spot), "permissions": []}
            shown["knocks"] = self._render("_knocks.html", **given)
            with suppress(ParlerError, TimeoutError):
                shown["title"] = words.room_title(desk.room(reader.spot))
                if slow and desk.whose(reader.spot).ctx.client.connected:
                    async with asyncio.timeout(ASK_SECS):
                        members = await desk.members(reader.spot)
                        remover = await tools.may_remove(desk, reader.spot)
                    given |= {"members": members, "remover": remover}
                    shown["members"] = self._render("_members.html", **given)
                    shown["ladder"] = [
                        [one.id, one.delivered or 0, one.seen or 0] for one in members
                    ]
        return shown

    # Doing

    async def act(self, request: Request) -> Response:
        """Do what the person decided."""
        name = request.path_params["act"]
        act = acts.ACTS.get(name) or tools.ACTS.get(name)
        if act is None:
            return PlainTextResponse("there is no such thing\n", HTTPStatus.NOT_FOUND)
        done = await act(self.desk, await _body(request))
        self.desk.stir()
        said: dict[str, Any] = {"said": done.said, "undo": done.undo}
        if done.piece is not None:
            template, given = done.piece
            said["piece"] = self._render(template, **given)
        return JSONResponse(said)

    # Pieces

    async def _tail(self, spot: Spot, before: int | None) -> dict[str, Any]:
        own = self.desk.whose(spot)
        result = await history(
            own.ctx, spot[1], limit=PAGE_MESSAGES, before=before or None
        )
        found, size = result.messages, 0
        for at, one in enumerate(reversed(found)):
            size += len(bytes(one.parts))
            if size > MAX_PAGE_BYTES and at:
                found = found[-at:]
                break
        else:
            if len(found) < PAGE_MESSAGES:
                return await self._lines(spot, found) | {"earlier": None}
        return await self._lines(spot, found) | {"earlier": found[0].seq}

    async def _lines(self, spot: Spot, found: list[ShownMessage]) -> dict[str, Any]:
        own = self.desk.whose(spot)
        authors = [
            one.author.id for one in found if one.signature is not Signature.INVALID
        ]
        known = await self.desk.belonging(own.ctx, authors)
        ours = self.desk.own_ids
        return {
            "lines": [
                words.line_of(one, known.get(one.author.id), ours=one.author.id in ours)
                for one in found
            ],
            "spot": spot,
            "earlier": None,
        }

    def _view(self, answer: Answer) -> Answer:
        """A page that says what is wrong as a page."""

        async def view(request: Request) -> Response:
            try:
                return await answer(request)
            except ParlerError as error:
                page = self._page(request, "error.html", error=error)
                page.status_code = _status_of(error)
                return page

        return view

    def _page(self, request: Request, template: str, **given: Any) -> Response:
        session = session_of(request.scope)
        assert session is not None
        shared = {
            "token": session.token,
            "waiting": self.desk.waiting,
            "path": request.url.path,
            "away": self.desk.away,
        }
        return HTMLResponse(self._render(template, **{**shared, **given}))

    def _piece(self, template: str, **given: Any) -> Response:
        return HTMLResponse(self._render(template, **given))

    def _render(self, template: str, **given: Any) -> str:
        return str(self.templates.get_template(template).render(**given))


def _told(answer: Answer) -> Answer:
    """Say an error of ours in its words, and what to do about it."""

    async def told(request: Request) -> Response:
        try:
            return await answer(request)
        except ParlerError as error:
            step = f"\n{error.next_step}" if error.next_step else ""
            said = words.plain(f"{error.message}{step}")
            return PlainTextResponse(said, _status_of(error))

    return told


def _status_of(error: ParlerError) -> HTTPStatus:
    return _STATUS.get(type(error), HTTPStatus.BAD_GATEWAY)


@cache
def _static() -> Mapping[str, bytes]:
    folder = resources.files("parler.ui") / "static"
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


async def _body(request: Request) -> Mapping[str, Any]:
    """What was posted; the guard has bounded it."""
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError("the page asked for nothing")
    return found


def _spot(given: Mapping[str, str]) -> Spot:
    return acts.text(given, "at"), RoomName(acts.text(given, "name"))
