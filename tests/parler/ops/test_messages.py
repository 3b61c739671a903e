"""Saying and reading, against the real hub."""

import asyncio
import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from parler.errors import UsageError
from parler.identity.signing import fingerprint
from parler.ops.addressing import find_agent
from parler.ops.context import OpContext
from parler.ops.export import Shape, export
from parler.ops.identity import presence
from parler.ops.invites import InviteParams, invite, invites, revoke
from parler.ops.lookback import seq_at
from parler.ops.message_named import message_named
from parler.ops.messages import (
    HandoffParams,
    ReceiveParams,
    ReceiveResult,
    SendParams,
    handoff,
    history,
    receive,
    send,
)
from parler.ops.rooms import delete_room, remove_member, rooms, roster
from parler.ops.session import OpenParams, join_session, open_session
from parler.ops.watch import watch
from parler.text.transcript import body
from parler.wire.base import Code, RoomName
from parler.wire.joinkey import parse_join_key
from parler.wire.records import DmTarget, RoomKind, RoomTarget
from tests._support.actors import Stage, stage
from tests._support.polling import WAIT


async def pair(at: Stage) -> tuple[OpContext, OpContext, RoomName]:
    alice, bob = await at.enter("alice"), await at.enter("bob", "webdev")
    opened = await open_session(alice, OpenParams(gated=False))
    await join_session(bob, parse_join_key(opened.key))
    return alice, bob, opened.room


async def say(ctx: OpContext, room: RoomName, *texts: str) -> None:
    for text in texts:
        await send(ctx, SendParams(target=RoomTarget(room=room), text=text))


def said(result: ReceiveResult) -> list[str]:
    return [body(message) for message in result.messages]


async def test_what_was_not_acknowledged_is_new_again(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, "one", "two")
        for _ in range(2):
            got = await receive(bob, ReceiveParams(room=room))
            assert said(got) == ["one", "two"]
        await bob.client.ack(room, got.cursor)
        assert said(await receive(bob, ReceiveParams(room=room))) == []


async def test_own_messages_are_left_out_of_the_news_but_not_of_history(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(bob, room, "mine")
        await say(alice, room, "yours")
        news = await receive(bob, ReceiveParams(room=room))
        assert said(news) == ["yours"]
        assert news.cursor == news.messages[-1].seq
        everything = await receive(bob, ReceiveParams(room=room, everything=True))
        assert said(everything) == ["mine", "yours"]


async def test_of_everything_a_limit_leaves_the_newest(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, *"abcde")
        for reader in (alice, bob):
            params = ReceiveParams(room=room, everything=True, limit=2)
            assert said(await receive(reader, params)) == ["d", "e"]


async def test_history_is_searched_by_words_author_and_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, "Deploy it", "not yet")
        await say(bob, room, "deploy what?", "never mind")
        mark = fingerprint(bob.identity.agent_id).lower()
        day = datetime.fromtimestamp(alice.now() / 1000).astimezone()
        end = (await history(alice, room)).cursor
        for expected, looked_for in [
            (["Deploy it", "deploy what?"], {"grep": "DEPLOY"}),
            (["deploy what?", "never mind"], {"from_": "Bob"}),
            (["never mind"], {"from_": mark, "limit": 1}),
            (["Deploy it"], {"grep": "deploy", "from_": alice.identity.agent_id}),
            (["never mind"], {"since": "1h", "limit": 1}),
            (["not yet"], {"since": f"{day:%Y-%m-%d}", "grep": "yet"}),
            ([], {"since": f"{day + timedelta(days=1):%Y-%m-%dT%H:%M}"}),
            (["not yet", "deploy what?"], {"before": end, "limit": 2}),
            (["Deploy it"], {"before": end - 1, "grep": "deploy"}),
        ]:
            found = await history(alice, room, **{"limit": 20} | looked_for)  # type: ignore[arg-type]
            assert said(found) == expected
        for wrong in ("soon", "9999999d", "-1h", "10000-01-01"):
            with pytest.raises(UsageError, match="no time"):
                await history(alice, room, since=wrong)


async def test_a_room_is_written_into_a_file_of_lines_or_of_words(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, *map(str, range(201)))
        await say(bob, room, "two\nlines \u202e")
        lines = await export(alice, room, file=tmp_path / "all.jsonl")
        assert (lines.shape, lines.messages) == (Shape.JSONL, 202)
        read = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(one)["seq"] for one in read] == [*range(1, 203)]
        assert {json.loads(one)["signature"] for one in read} == {"valid"}
        words = await export(alice, room, file=tmp_path / "bob.txt", from_="bob")
        [day, said, more] = Path(words.file).read_text(encoding="utf-8").splitlines()
        assert day.startswith("— ")
        assert "bob (webdev): two" in said
        assert "\u202e" not in more
        assert Path(words.file).stat().st_mode & 0o777 == 0o600
        with pytest.raises(UsageError, match="there already"):
            await export(alice, room, file=Path(words.file))
        with pytest.raises(UsageError, match="no time"):
            await export(alice, room, file=tmp_path / "none", since="soon")
        assert not (tmp_path / "none").exists()


async def test_a_time_is_found_in_a_room_in_few_looks(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        began = at.hub.clock()
        for number in range(20):
            await say(alice, room, str(number))
            at.hub.clock.advance(60)
        await bob.client.ack(room, 20)
        minutes = [began, began + 1, began + 5 * 60_000, began + 99 * 60_000]
        assert [await seq_at(bob, room, one) for one in minutes] == [0, 1, 5, 20]


async def test_a_limit_leaves_the_rest_unread(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, "1", "2", "3")
        got = await receive(bob, ReceiveParams(room=room, limit=2))
        assert said(got) == ["1", "2"]
        await bob.client.ack(room, got.cursor)
        assert said(await receive(bob, ReceiveParams(room=room))) == ["3"]


async def test_since_is_a_pure_read(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, "1", "2", "3")
        first = (await receive(bob, ReceiveParams(room=room, limit=1))).cursor
        later = await receive(bob, ReceiveParams(room=room, since=first))
        assert said(later) == ["2", "3"]
        assert said(await receive(bob, ReceiveParams(room=room))) == ["1", "2", "3"]


async def test_more_than_a_page_is_read_in_one_go(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await say(alice, room, *map(str, range(205)))
        assert len((await receive(bob, ReceiveParams(room=room))).messages) == 205


@pytest.mark.parametrize("text", ["", " \n"])
async def test_nothing_is_no_message(tmp_path: Path, text: str) -> None:
    async with stage(tmp_path) as at:
        alice, _, room = await pair(at)
        with pytest.raises(UsageError):
            await say(alice, room, text)


async def test_text_that_is_no_unicode_is_refused_before_it_is_sent(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice, _, room = await pair(at)
        with pytest.raises(UsageError):
            await say(alice, room, "bad \udc80 byte")


async def test_a_handoff_mentions_whom_it_is_for(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        target = RoomTarget(room=room)
        await handoff(alice, HandoffParams(target=target, next="go", to="webdev"))
        [got] = (await receive(bob, ReceiveParams(room=room))).messages
        assert got.mentions == ["webdev"]
        assert body(got) == "🤝 handoff → webdev: go"


class Notebook:
    """An audience that writes down what it is shown."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.events: list[str] = []
        self.changed = asyncio.Event()

    def hear(self, news: ReceiveResult) -> None:
        self.heard += said(news)
        self.changed.set()

    def knocked(self, who: object) -> None:
        self.events.append("knocked")
        self.changed.set()

    def admitted(self, who: object) -> None:
        self.events.append("admitted")
        self.changed.set()

    def hub_down(self) -> None: ...

    def hub_back(self) -> None: ...

    def still_there(self) -> None: ...

    async def until(self, *heard: str, events: tuple[str, ...] = ()) -> None:
        while self.heard != list(heard) or self.events != list(events):
            self.changed.clear()
            await self.changed.wait()


async def test_a_watcher_sees_what_comes_and_acknowledges_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as at, asyncio.timeout(WAIT):
        alice, bob, room = await pair(at)
        await say(alice, room, "before")
        book = Notebook()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(bob, room, book))
            await book.until("before")
            await say(bob, room, "mine")
            await say(alice, room, "after")
            await book.until("before", "after")
            while (await receive(bob, ReceiveParams(room=room))).messages:
                pass
            watching.cancel()


async def test_what_could_not_be_shown_is_not_acknowledged(tmp_path: Path) -> None:
    class Gone(Notebook):
        def hear(self, news: ReceiveResult) -> None:
            raise BrokenPipeError

    async with stage(tmp_path) as at, asyncio.timeout(WAIT):
        alice, bob, room = await pair(at)
        await say(alice, room, "unseen")
        with pytest.raises(ExceptionGroup):
            await watch(bob, room, Gone())
        assert said(await receive(bob, ReceiveParams(room=room))) == ["unseen"]


async def test_an_owner_who_watches_hears_knocks(tmp_path: Path) -> None:
    async with stage(tmp_path) as at, asyncio.timeout(WAIT):
        alice, bob = await at.enter("alice"), await at.enter("bob")
        carol = await at.enter("carol")
        approvals = [carol.client.agent_id]
        opened = await open_session(alice, OpenParams(preapprove=approvals))
        book = Notebook()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch(alice, opened.room, book))
            await join_session(bob, parse_join_key(opened.key))
            await book.until(events=("knocked",))
            await join_session(carol, parse_join_key(opened.key))
            await book.until(events=("knocked", "admitted"))
            watching.cancel()


async def test_keys_are_listed_and_revoked(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        made = await invite(
            alice,
            InviteParams(kind=RoomKind.CHANNEL, name="dev", require_approval=True),
        )
        assert made.room == "dev"
        [live] = (await invites(alice, made.room)).invites
        assert (live.code, live.require_approval) == (made.code, True)
        await revoke(alice, Code(made.code))
        assert (await invites(alice, made.room)).invites == []


async def test_members_are_listed_and_put_out(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, room = await pair(at)
        await presence(bob, "working", activity="tests")
        people = {entry.name: entry for entry in (await roster(alice, room)).entries}
        assert people["bob"].activity == "tests"
        removed = await remove_member(alice, room, people["bob"].fingerprint)
        assert removed.agent == bob.client.agent_id
        assert [entry.name for entry in (await roster(alice, room)).entries] == [
            "alice"
        ]


async def test_a_deleted_room_is_gone_from_the_list(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, _, room = await pair(at)
        await delete_room(alice, room)
        assert (await rooms(alice)).rooms == []
        with pytest.raises(UsageError):
            alice.room(None)


async def test_an_agent_is_found_among_the_members_by_name(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob, _ = await pair(at)
        assert (await find_agent(alice, "BOB")).agent == bob.client.agent_id
        with pytest.raises(UsageError):
            await find_agent(alice, "nobody")
        with pytest.raises(UsageError):
            await find_agent(alice, "alice")  # never oneself


async def test_a_message_is_named_by_its_number_or_the_beginning_of_its_id(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        room = (await open_session(alice, OpenParams(gated=False))).room
        target = RoomTarget(room=room)
        one, two = [
            await send(alice, SendParams(target=target, text=text)) for text in "ab"
        ]
        alike = next(i for i in range(36) if one.id[i] != two.id[i])

        async def meant(word: str) -> str:
            return (await message_named(alice, word, room)).id

        assert await meant(str(one.seq)) == await meant(one.id) == one.id
        assert await meant(f" {two.id[: alike + 1].upper()}") == two.id
        for word, said, step in [
            (two.id[:alike], f"{one.id} [{one.seq}], {two.id} [{two.seq}]", "number"),
            (str(two.seq + 1), f"no message '{two.seq + 1}' in {room}", "history"),
            (two.id[:3], "no message", f"parler history {room}"),
        ]:
            with pytest.raises(UsageError, match=re.escape(said)) as refused:
                await meant(word)
            assert step in (refused.value.next_step or "")
        to_one = DmTarget(agent=alice.client.agent_id)
        params = SendParams(target=to_one, text="yes", reply_to=str(one.seq))
        with pytest.raises(UsageError) as refused:
            await send(alice, params)
        assert "--room ROOM" in (refused.value.next_step or "")
        said = await send(
            alice, SendParams(target=target, text="c", reply_to=str(one.seq))
        )
        last = await receive(alice, ReceiveParams(room=room, since=said.seq - 1))
        assert [message.reply_to for message in last.messages] == [one.id]
