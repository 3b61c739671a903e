"""The views and decisions of the page, over a real hub in memory."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from parler.client.acquaintance import Acquaintance
from parler.client.questions import Ask, ask_parts
from parler.errors import UsageError
from parler.identity.own_agents import OwnAgent, Place
from parler.identity.person import find_person
from parler.identity.senders import Senders
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.doctor.installation import DoctorResult
from parler.ops.machine_context import Here
from parler.ops.messages import SendParams, send
from parler.ops.own import Own
from parler.ops.questions import AskUserParams, ask_user
from parler.ops.reservations import ReserveParams, reservations, reserve
from parler.ops.session import OpenParams, OpenResult, join_session, open_session
from parler.peers.reservations import _paths as reservation_paths
from parler.ui.desk import MAX_READERS, Desk
from parler.ui.guard import Sessions
from parler.ui.pages import PAGE_MESSAGES, Pages
from parler.ui.pieces import MAX_TEXT_CHARS
from parler.ui.server import wait_for_idling
from parler.ui.words import environment
from parler.wake.permissions import Question, Verdict, ask
from parler.wire.base import Code
from parler.wire.joinkey import parse_join_key
from parler.wire.records import DmTarget, RoomTarget, Visibility
from parler.wire.replies import JoinPending, Sent
from parler.wire.requests import Redeem, Send
from tests._support.actors import Stage, stage
from tests._support.memory_hub import until

HOSTILE = '<script>hit()</script>"><b>\u202eevil\x1b[31m {{ 7*7 }}'
LONG = "x" * (MAX_TEXT_CHARS + 1000)


@dataclass
class Browser:
    """A browser that was let in."""

    pages: Pages

    def __post_init__(self) -> None:
        """Take the application as it is behind its guard."""
        self.app = self.pages.app()

    async def get(self, path: str, **query: object) -> tuple[int, str]:
        """Look at something."""
        return await self._ask("GET", path, urlencode(query), b"")

    async def does(self, act: str, **given: object) -> tuple[int, str]:
        """Decide something."""
        return await self._ask("POST", f"/do/{act}", "", json.dumps(given).encode())

    async def _ask(
        self, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, str]:
        from parler.ui.guard import Session

        sent: list[Any] = []
        asked = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if not asked:
                await asyncio.Event().wait()  # it does not hang up
            return asked.pop()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1:7171")],
            "server": ("127.0.0.1", 7171),
            "scheme": "http",
            "parler.session": Session("token"),
        }
        await self.app(scope, receive, send)
        return sent[0]["status"], b"".join(
            one.get("body", b"") for one in sent[1:]
        ).decode()


@dataclass
class At:
    """A person, an agent of theirs that owns a session, and the page of both."""

    person: OpContext
    agent: OpContext
    desk: Desk
    browser: Browser
    opened: OpenResult
    stage: Stage

    @property
    def spot(self) -> dict[str, str]:
        """The session, as the page names it."""
        return {"at": self.agent.hub, "name": self.opened.room}


@asynccontextmanager
async def page(tmp_path: Path, *, wary: bool = False) -> AsyncIterator[At]:
    """A page.

    Args:
        wary: Direct messages of strangers are requests.
    """
    async with stage(tmp_path) as on:
        person = await on.enter("ann", home=tmp_path / "ann")
        if wary:
            person = replace(person, acquaintance=acquaintance_of(person))
        agent = await on.enter("shop-claude", home=tmp_path / "ann/agents/claude-code")
        opened = await open_session(agent, OpenParams(topic="flaky login"))
        here = Here(
            home=tmp_path / "ann",
            folder=tmp_path,
            environment={},
            agent=person.identity.agent_id,
            name="ann",
            pid=1,
            now=person.now,
            token=lambda size: "0" * size,
        )
        desk = Desk(tmp_path / "ann", None, lambda: here)  # type: ignore[arg-type]
        owns = [
            Own(
                agent=OwnAgent(one.identity.home, one is person, Place()),
                name=one.identity.name,
                ctx=one,
            )
            for one in (person, agent)
        ]
        desk.agents = [one.agent for one in owns]

        async def doctor() -> DoctorResult:
            return DoctorResult(ok=True, checks=[])

        pages = Pages(
            desk=desk,
            sessions=Sessions(7171),
            doctor=doctor,
            take_token=lambda token: False,
            ending=asyncio.Event(),
            templates=environment(),
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(desk._watch(one)) for one in owns]
            await until(lambda: desk.complete and len(desk.lives) == 2)
            yield At(person, agent, desk, Browser(pages), opened, on)
            for task in watching:
                task.cancel()


def acquaintance_of(ctx: OpContext) -> Acquaintance:
    """Of somebody who has no agents and no contacts."""
    return Acquaintance(
        ctx.client,
        hub=ctx.hub,
        senders=Senders(ctx.identity.home),
        known_rooms=ctx.known_rooms,
        own_agents=lambda: (),
        is_vouched_for=lambda card: False,
        decided_in=(),
        everybody_is_ours=lambda: False,
    )


async def knocks(at: At, name: str) -> OpContext:
    """Somebody knocks, and the page knows."""
    who = await at.stage.enter(name)
    async with asyncio.TaskGroup() as tasks:
        joining = tasks.create_task(
            join_session(who, parse_join_key(at.opened.key), wait_secs=0)
        )
        await until(lambda: bool(at.desk.items))
        at.stage.hub.clock.advance(5)
        joining.cancel()
    return who


def decision(at: At) -> dict[str, str]:
    [item] = at.desk.items
    return at.spot | {"owner": str(item.owner_id), "agent": str(item.agent)}


async def test_a_knock_is_approved_and_that_can_be_taken_back(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        bob = await knocks(at, "bob")
        _, home = await at.browser.get("/")
        assert "flaky login" in home
        assert ">Approve<" in home
        assert ">Reject<" in home
        status, said = await at.browser.does("approve", **decision(at))
        assert (status, "is in" in said) == (200, True)
        await until(lambda: not at.desk.items)
        undo = json.loads(said)["undo"]
        assert (await at.browser.does(undo["act"], **undo["given"]))[0] == 200
        listed = await at.browser.get("/agents")
        assert bob.identity.agent_id not in listed[1]


async def test_taking_a_refusal_back_lets_nobody_in(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        bob = await knocks(at, "bob")
        _, said = await at.browser.does("reject", **decision(at))
        assert json.loads(said)["undo"] is None
        done = await at.browser.does("decline", agent=bob.identity.agent_id)
        assert (done[0], json.loads(done[1])["undo"]) == (200, None), done


async def test_what_an_agent_asks_its_person_is_answered(tmp_path: Path) -> None:
    @asynccontextmanager
    async def as_person() -> AsyncIterator[OpContext]:
        yield at.person

    async with page(tmp_path) as at:
        params = AskUserParams(question="Deploy?", choices=["no", "yes"], wait_secs=0)
        asked = await ask_user(at.agent, params, as_person=as_person)
        mail = await send(
            at.agent, SendParams(text="read me", target=RoomTarget(room=asked.room))
        )
        params = AskUserParams(question="When?", wait_secs=0)
        later = await ask_user(at.agent, params, as_person=as_person)
        await until(lambda: len(at.desk.items) == 3)
        assert "1 no, 2 yes" in (await at.browser.get("/"))[1]
        given = {"at": at.person.hub, "name": asked.room}
        given["owner"] = at.person.identity.agent_id
        told = await at.browser.does("answer", **given, seq=later.seq, text="at noon")
        assert told == (200, '{"said":"answered","undo":null}')
        told = await at.browser.does("answer", **given, seq=asked.seq, text="2")
        assert told[0] == 200
        said = (await at.agent.client.pull(asked.room, since=later.seq)).messages
        assert [one.text for one in said] == ["at noon", "yes"]
        # What was said between the two is not read by that.
        own = at.person.identity.agent_id
        at.desk.stir()
        await until(
            lambda: (
                [one.seq for one in at.desk.items if one.owner_id == own] == [mail.seq]
            )
        )


async def test_done_with_some_mails_is_done_with_all_of_them(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        await register(at.person, RegisterParams(visibility=Visibility.PUBLIC))
        bob = await at.stage.enter("bob")
        target = DmTarget(agent=at.person.identity.agent_id)
        for words in ("one", "two", "three"):
            sent = await send(bob, SendParams(text=words, target=target))
        await until(lambda: [one.count for one in at.desk.items] == [3])
        _, home = await at.browser.get("/")
        assert f'data-seq="{sent.seq}"' in home
        given = {"at": at.person.hub, "name": sent.room}
        assert (await at.browser.does("seen", **given, seq=sent.seq))[0] == 200
        await until(lambda: not at.desk.items)
        # A question among them is not read by that.
        said = await send(bob, SendParams(text="four", target=target))
        await bob.client.send(target, ask_parts(Ask(question="Five?")))
        await send(bob, SendParams(text="six", target=target))
        await until(
            lambda: [one.count for one in at.desk.items if one.kind == "mail"] == [2]
        )
        [mail] = [one for one in at.desk.items if one.kind == "mail"]
        assert mail.last == said.seq
        assert (await at.browser.does("seen", **given, seq=mail.last))[0] == 200
        await until(
            lambda: (
                {(one.kind, one.last) for one in at.desk.items}
                == {("question", None), ("mail", None)}
            )
        )


async def test_rooms_of_strangers_hide_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parler.ui.words.MAX_ROOMS", 4)
    monkeypatch.setattr("parler.ui.words.MAX_STRANGE_ROOMS", 2)
    async with page(tmp_path, wary=True) as at:
        friend = await at.stage.enter("friend")
        for one in (friend, at.person):
            await register(one, RegisterParams(visibility=Visibility.PUBLIC))
        target = DmTarget(agent=friend.identity.agent_id)
        sent = await send(at.person, SendParams(text="hello", target=target))
        at.person.known_rooms.remember(at.person.hub, sent.room)
        mine = DmTarget(agent=at.person.identity.agent_id)
        for number in range(5):
            eve = await at.stage.enter(f"eve-{number}")
            await send(eve, SendParams(text="buy", target=mine))
        await until(lambda: sum(one.is_strange for one in at.desk.rooms) == 5)
        await send(friend, SendParams(text="and you", target=mine))
        _, home = await at.browser.get("/")
        listed = home.partition('id="rooms"')[2]
        assert "flaky login" in listed
        assert "with friend" in listed
        assert listed.count("with eve-") == 2
        assert "and 3 more" in listed


async def test_the_person_speaks_where_only_an_agent_was(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        status, said = await at.browser.does("say", **at.spot, text="hello, all")
        assert (status, json.loads(said)["said"]) == (200, "")
        batch = await at.agent.client.pull(at.opened.room, since=0)
        [spoken] = [one for one in batch.messages if one.text == "hello, all"]
        assert spoken.author.id == at.person.identity.agent_id
        at.desk.stir()
        await until(lambda: at.desk.rooms[0].has_person)
        await at.browser.does("seen", **at.spot, seq=spoken.seq)
        assert at.desk.rooms[0].unread == 0
        refused = await at.browser.does("say", at=at.agent.hub, name="room.x", text="x")
        assert refused[0] == 404


async def test_a_long_room_is_loaded_from_its_end_in_pages(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        target = RoomTarget(room=at.opened.room)
        for number in range(PAGE_MESSAGES + 5):
            await send(at.agent, SendParams(text=f"said {number}", target=target))
        _, room = await at.browser.get("/room", **at.spot)
        assert room.count('<li class="line') == PAGE_MESSAGES
        assert f"said {PAGE_MESSAGES + 4}" in room
        first = room.partition('data-seq="')[2].partition('"')[0]
        _, earlier = await at.browser.get("/messages", **at.spot, before=first)
        assert "said 0" in earlier
        assert f'data-seq="{first}"' not in earlier
        for wrong in ("-1", "1e9", "", "٣", "9" * 30):
            asked = await at.browser.get("/messages", **at.spot, before=wrong)
            assert asked[0] == 400


async def test_what_strangers_wrote_is_text_and_bounded(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        stranger = await at.stage.hub.sign_in(HOSTILE)  # a client that is not ours
        code = Code(parse_join_key(at.opened.key).code)
        await stranger.asks(Redeem(code=code), JoinPending)
        await until(lambda: bool(at.desk.items))
        for view in ("/", "/agents"):
            _, shown = await at.browser.get(view)
            assert "<b>" not in shown.replace('<b id="waiting"', "")
            assert "hit()</script" not in shown
            assert not {"\u202e", "\x1b"} & {*shown}
        await at.browser.does("approve", **decision(at))
        target = RoomTarget(room=at.opened.room)
        for words in (HOSTILE, LONG):
            parts = msgspec.Raw(msgspec.json.encode([{"kind": "text", "text": words}]))
            said = Send(target=target, parts=parts, client_id=words[:3])
            sent = await stranger.asks(said, Sent)
        _, shown = await at.browser.get("/room", **at.spot)
        assert "&lt;script&gt;hit()&lt;/script&gt;" in shown
        assert "{{ 7*7 }}" in shown
        assert "hit()</script" not in shown
        assert not {"\u202e", "\x1b"} & {*shown}
        assert shown.count("x" * 100) <= MAX_TEXT_CHARS / 100
        assert "Show the other 1,000 characters" in shown
        whole = await at.browser.get("/message", **at.spot, seq=sent.seq)
        assert whole == (200, LONG)


async def test_a_permission_request_is_decided_by_the_id_of_what_is_shown(
    tmp_path: Path,
) -> None:
    async with page(tmp_path) as at, asyncio.TaskGroup() as tasks:
        home = at.desk.machine
        person = find_person(home)
        assert person
        question = Question(
            app="claude-code",
            window="w",
            folder="/project",
            tool="Bash",
            input={"command": HOSTILE, "then": "x\n" * 40},
            secs=600,
        )
        heard = threading.Event()  # nothing rings: it only paces the hook
        asking = tasks.create_task(
            asyncio.to_thread(
                ask,
                home,
                question,
                person=person.agent_id,
                is_heard=lambda secs: not heard.wait(0.05),
                now=lambda: at.desk.here().now() / 1000,
            )
        )
        try:
            while not at.desk.permissions:
                at.desk.look_at_permissions()
                await asyncio.sleep(0)
            [one] = at.desk.permissions
            _, shown = await at.browser.get("/")
            assert "asks to use Bash" in shown
            assert "&lt;script&gt;hit()&lt;/script&gt;" in shown
            assert "hit()</script" not in shown
            assert f'data-id="{one.id}"' in shown
            done = await at.browser.does("permit", id=one.id)
            assert "permitted, this once" in str(done)
            assert await asking is Verdict.PERMIT
            done = await at.browser.does("permit", id=one.id)
            assert "no such request waits" in str(done)
        finally:
            heard.set()


async def test_what_comes_elsewhere_asks_the_hub_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    later = Pages._later

    async def counted(pages: Pages, spot: Any, last: int) -> Any:
        asked.append(last)
        return await later(pages, spot, last)

    monkeypatch.setattr(Pages, "_later", counted)
    monkeypatch.setattr("parler.ui.pages.POLL_SECS", 60.0)
    async with page(tmp_path) as at:
        spot = (at.agent.hub, at.opened.room)
        pages = at.browser.pages
        with at.desk.reading(spot) as reader:
            stream = pages._news(reader, "room", 0)
            seen = [name async for name, _ in _until(stream, "ladder")]
            assert "message" in seen
            before = len(asked) + 1  # there may have been more
            for number in range(20):
                at.desk.away[f"ws://{number}"] = "it is full"
                at.desk.changed()
                assert [one async for one in _until(stream, "trouble")]
            assert len(asked) == before
            target = RoomTarget(room=at.opened.room)
            await send(at.agent, SendParams(text="news", target=target))
            at.desk.said(spot)
            assert [one async for one in _until(stream, "message")]
            await stream.aclose()


async def _until(stream: Any, name: str) -> AsyncIterator[tuple[str, Any]]:
    """What comes, up to something of that name."""
    async for one in stream:
        yield one
        if one[0] == name:
            return


async def test_the_person_releases_what_an_agent_reserved(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        held = reserve(at.desk.here(), ReserveParams(glob="src/**")).reserved
        assert held is not None
        status, said = await at.browser.does("release", reservation=held.id)
        assert (status, "src/** is free again" in said) == (200, True), said
        assert not reservations(at.desk.here()).reservations
        # Whoever was faster, or made it up, is told so.
        assert (await at.browser.does("release", reservation=held.id))[0] == 400
        assert (await at.browser.does("release"))[0] == 400


async def test_a_damaged_file_does_not_end_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parler.ui.desk.AROUND_SECS", 0.001)
    async with page(tmp_path) as at:
        looked = 0
        here = at.desk.here()
        for path in reservation_paths(here.home):
            path.mkdir(parents=True)

        def counted() -> Here:
            nonlocal looked
            looked += 1
            return here

        at.desk.here = counted
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(at.desk._look_around())
            await until(lambda: looked > 2)
            looking.cancel()


async def test_more_readers_than_there_may_be_are_refused(tmp_path: Path) -> None:
    async with page(tmp_path) as at:
        open_ = [at.desk.reading(None) for _ in range(MAX_READERS)]
        for one in open_:
            one.__enter__()
        with pytest.raises(UsageError, match="close one"), at.desk.reading(None):
            pass
        assert (await at.browser.get("/events", view="home"))[0] == 400
        for one in open_:
            one.__exit__(None, None, None)
        assert not at.desk.readers


async def test_the_page_ends_once_nobody_has_read_it_for_long(tmp_path: Path) -> None:
    async with page(tmp_path) as at, asyncio.TaskGroup() as tasks:
        ending = asyncio.Event()
        with at.desk.reading(None):
            tasks.create_task(wait_for_idling(at.desk, ending, idle_secs=0.05))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await ending.wait()
        await ending.wait()


@pytest.mark.parametrize("act", ["approve", "say", "answer", "accept", "nothing"])
async def test_nothing_is_decided_by_what_is_no_decision(
    tmp_path: Path, act: str
) -> None:
    async with page(tmp_path) as at:
        for given in ({}, {"at": 1, "name": [], "agent": {}, "owner": None}):
            status, _ = await at.browser.does(act, **given)
            assert status == (404 if act == "nothing" else 400)
