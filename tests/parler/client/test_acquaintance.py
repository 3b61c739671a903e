"""Whose direct messages reach a model, and whose wait for a person's word."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.client.acquaintance import Standing
from parler.client.client import Client, connect
from parler.errors import RateLimited, UsageError
from parler.identity.contacts import Contacts
from parler.identity.homes import machine_home
from parler.identity.identity import ensure_identity
from parler.identity.own_agents import OwnAgent
from parler.identity.person import VOUCH, Vouch, ensure_person, vouch
from parler.identity.places import Place
from parler.identity.senders import Senders
from parler.identity.settings import Flags, resolve_settings
from parler.identity.signing import Keypair
from parler.ops import inbox
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.messages import ReceiveParams, SendParams, history, receive, send
from parler.ops.own import Own, rooms_of
from parler.ops.requests import MAX_REQUESTS, message_requests
from parler.ops.session import join_session
from parler.runtime.bootstrap import connected, now, reader_of
from parler.runtime.follower import Follower
from parler.runtime.knocks import Knocks
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.wire.base import AgentId, Code, RoomName
from parler.wire.canonical import card_bytes
from parler.wire.codes import ErrorCode
from parler.wire.joinkey import parse_join_key
from parler.wire.records import AgentCard, DmTarget, RoomKind, Visibility
from parler.wire.replies import (
    Event,
    Invited,
    Joined,
    JoinPending,
    Left,
    Registered,
    RoomList,
)
from parler.wire.requests import (
    Invite,
    Leave,
    Lookup,
    Redeem,
    Register,
    Rooms,
    Roster,
)
from tests._support.mcp_peers import Peer, peer
from tests._support.processes import HubProcess


class Board:
    """Takes no notices."""

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        raise AssertionError(text)

    def withdraw(self, key: str, room: str = "") -> None:
        raise AssertionError(key)


class Scene:
    """Ann's agent in an app, who has a card, so that anybody may write to it."""

    def __init__(self, ctx: OpContext, home: Path) -> None:
        self.ctx, self.home, self.mailbox = ctx, home, Mailbox()
        self.senders, self.contacts = Senders(home), Contacts(home)
        self.mailbox.begin(ctx.hub, None)
        log = LogFile(home, now=now, name="a/1")
        self.follower = Follower(
            ctx,
            reader_of(ctx.identity),
            self.mailbox,
            Knocks(Board()),
            log=log,
            max_chars=None,
        )

    @property
    def id(self) -> AgentId:
        return self.ctx.client.agent_id

    def own(self) -> Own:
        """As its user looks after it."""
        ctx = replace(self.ctx, for_model=lambda: False)
        home = self.ctx.identity.home
        return Own(agent=OwnAgent(home, False, Place()), name="ann", ctx=ctx)

    def judges_over(self, client: "Counting") -> None:
        """Whom it knows is asked anew, over this client."""
        known: Any = self.ctx.acquaintance
        known._client = client
        known.forget()

    async def is_shown(self) -> list[str]:
        """What a model is shown, once everything was looked at."""
        self.follower.rescan = True
        while self.follower.rescan:
            await self.follower.catch_up()
        return [item.text for item in self.mailbox.waiting()]

    async def direct(self) -> list[RoomName]:
        """Its direct rooms with something unread."""
        rooms = (await self.ctx.client.request(Rooms(), RoomList)).rooms
        return [one.name for one in rooms if one.kind is RoomKind.DM and one.unread]

    async def shows(self, words: str) -> bool:
        return any(words in text for text in await self.is_shown())


class Counting:
    """A client that counts what is asked, and whose hub may be too busy for some."""

    def __init__(self, client: Client, too_busy_for: type | None = None) -> None:
        self._client, self._too_busy_for = client, too_busy_for
        self.asked: Counter[type] = Counter()
        self.pulled = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def pull(self, room: RoomName, **options: Any) -> Any:
        self.pulled += 1
        return await self._client.pull(room, **options)

    async def request(self, frame: Any, reply: Any) -> Any:
        self.asked[type(frame)] += 1
        if type(frame) is self._too_busy_for:
            raise RateLimited("too many requests", hub_code=ErrorCode.RATE_LIMITED)
        return await self._client.request(frame, reply)


@asynccontextmanager
async def at_work(hub: HubProcess, folder: Path) -> AsyncIterator[Scene]:
    home = folder / "home"
    environment = {"HOME": str(folder), "PARLER_HOME": str(home / "agents" / "codex")}
    flags = Flags(command="mcp", hub=hub.url)
    settings = resolve_settings(environment, folder, folder, flags)
    identity, _ = ensure_identity(settings.home, hub_url=hub.url, name="ann")
    async with connected(
        hub.url, settings, identity, local=None, for_model=True
    ) as ctx:
        await register(ctx, RegisterParams())
        assert machine_home(settings.base_home) == home
        yield Scene(ctx, home)


class Colleague:
    """An agent of another user's, on another machine."""

    def __init__(self, client: Client, keypair: Keypair) -> None:
        self.client, self.keypair = client, keypair

    async def has_card(self, *vouches: Vouch) -> None:
        meta = {VOUCH: msgspec.to_builtins(vouches[0])} if vouches else None
        card = AgentCard.of(self.keypair.agent_id, "bob", meta=meta)
        sig = self.keypair.sign(card_bytes(card))
        await self.client.request(
            Register(card=card, visibility=Visibility.PRIVATE, sig=sig), Registered
        )

    async def tells(self, agent: AgentId, text: str) -> RoomName:
        return await Peer(self.client).tells(agent, text)


@asynccontextmanager
async def colleague(hub: HubProcess) -> AsyncIterator[Colleague]:
    keypair = Keypair.generate()
    async with connect(hub.url, keypair, name="bob") as client:
        yield Colleague(client, keypair)


async def test_strangers_in_their_hundreds_cost_a_model_nothing_and_hide_nobody(
    hub: HubProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(hub, tmp_path) as scene, AsyncExitStack() as stack:
        for number in range(60):
            stranger = await stack.enter_async_context(peer(hub.url, f"s{number}"))
            for _ in range(3):
                await stranger.tells(scene.id, f"buy this {number}")
        carols = await stack.enter_async_context(colleague(hub))
        carol = ensure_person(tmp_path / "carols", hub_url=hub.url)
        await carols.has_card(vouch(carol, carols.keypair.agent_id, now=now()))
        scene.contacts.trust(carol.agent_id, "Carol", now=now())
        await carols.tells(scene.id, "stop the deploy")
        (shown,) = await scene.is_shown()
        assert "stop the deploy" in shown
        rooms = await scene.direct()
        counting = Counting(scene.ctx.client)
        scene.judges_over(counting)
        waiting = await message_requests(scene.ctx, rooms)
        assert len(waiting) == MAX_REQUESTS
        assert waiting[0][1].text == "buy this 0"
        assert counting.pulled <= len(rooms) + MAX_REQUESTS
        counting.pulled = 0
        assert await message_requests(scene.ctx, rooms) == waiting
        assert counting.pulled <= MAX_REQUESTS, "it is looked for again and again"

        dan = await stack.enter_async_context(colleague(hub))
        await dan.has_card()
        target = DmTarget(agent=dan.keypair.agent_id)
        await send(scene.ctx, SendParams(text="are you there?", target=target))
        told = await dan.tells(scene.id, "I am here")
        listed = await rooms_of(scene.own())
        monkeypatch.setattr(inbox, "MAX_LOOKED_INTO", 1)
        items = (await inbox.waiting_for(scene.own(), listed, [])).items
        assert [one.room for one in items] == [told]


async def test_a_request_comes_through_once_it_is_accepted_and_not_when_declined(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, peer(hub.url) as bob:
        await bob.tells(scene.id, "hello")
        assert await scene.is_shown() == []
        scene.senders.accept(bob.client.agent_id)
        assert await scene.shows("hello")
        scene.senders.decline(bob.client.agent_id)
        await bob.tells(scene.id, "hello again")
        assert await scene.is_shown() == []
        assert await message_requests(scene.ctx, await scene.direct()) == []


async def test_what_waits_is_not_in_the_result_of_a_tool_that_names_the_room(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, peer(hub.url) as bob:
        room = await bob.tells(scene.id, "hello")
        with pytest.raises(UsageError, match="has not accepted"):
            await receive(scene.ctx, ReceiveParams(room=room, since=0))
        with pytest.raises(UsageError, match="has not accepted"):
            await history(scene.ctx, room)
        scene.senders.accept(bob.client.agent_id)
        assert (await history(scene.ctx, room)).messages
        assert (await receive(scene.ctx, ReceiveParams(room=room, since=0))).messages


async def test_whoever_we_wrote_to_first_is_no_stranger(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, colleague(hub) as bob:
        await bob.has_card()
        target = DmTarget(agent=bob.keypair.agent_id)
        await send(scene.ctx, SendParams(text="are you there?", target=target))
        await bob.tells(scene.id, "I am here")
        assert await scene.shows("I am here")


async def test_a_vouch_copied_from_another_agents_card_opens_no_door(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, colleague(hub) as bob:
        carol = ensure_person(tmp_path / "carols", hub_url=hub.url)
        await bob.has_card(vouch(carol, Keypair.generate().agent_id, now=now()))
        scene.contacts.trust(carol.agent_id, "Carol", now=now())
        await bob.tells(scene.id, "hello")
        assert await scene.is_shown() == []


async def test_members_of_a_room_one_knocks_at_are_known_and_of_an_open_one_are_not(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with (
        at_work(hub, tmp_path) as scene,
        peer(hub.url) as bob,
        peer(hub.url, "mallory") as mallory,
    ):
        acquaintance = scene.ctx.acquaintance
        assert acquaintance is not None
        key, gated = await bob.opens(gated=True)
        open_key, open_room = await mallory.opens()
        for redeemed, room in ((key, gated), (open_key, open_room)):
            await join_session(scene.ctx, parse_join_key(redeemed))
            if room == gated:
                await bob.admits(room, scene.id)
                await join_session(scene.ctx, parse_join_key(redeemed))
        of_bob = await bob.tells(scene.id, "of the session")
        of_mallory = await mallory.tells(scene.id, "of the market place")
        assert await _standings(scene, of_bob, of_mallory) == ["known", "stranger"]


async def test_strangers_come_through_where_the_person_wants_it_so(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, peer(hub.url) as bob:
        scene.senders.let_strangers_through(True)
        room = await bob.tells(scene.id, "hello")
        assert await scene.shows("hello")
        scene.senders.let_strangers_through(False)
        assert await _standings(scene, room) == [Standing.STRANGER]


async def test_strangers_do_not_use_up_what_the_agent_may_ask_of_its_hub(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, AsyncExitStack() as stack:
        bob = await stack.enter_async_context(peer(hub.url))
        for _ in range(10):
            key, room = await bob.opens(gated=True)
            await join_session(scene.ctx, parse_join_key(key))
            await bob.admits(room, scene.id)
        for number in range(40):
            stranger = await stack.enter_async_context(peer(hub.url, f"s{number}"))
            await stranger.tells(scene.id, "buy this")
        told = await bob.tells(scene.id, "stop the deploy")
        counting = Counting(scene.ctx.client)
        scene.judges_over(counting)
        assert await scene.shows("stop the deploy")
        assert counting.asked[Roster] == 10
        assert counting.asked[Rooms] == 1

        market, open_room = await bob.opens()
        await join_session(scene.ctx, parse_join_key(market))
        await scene.is_shown()
        counting.asked.clear()
        comes_and_goes = await stack.enter_async_context(peer(hub.url, "mallory"))
        asked = Redeem(code=Code(market))
        await comes_and_goes.client.request(asked, (Joined, JoinPending))
        scene.follower.heard(
            Event(
                event="member",
                room=open_room,
                agent=comes_and_goes.client.agent_id,
                change="joined",
            )
        )
        await scene.is_shown()
        assert not counting.asked
        assert await _standings(scene, told) == ["known"]


async def test_what_a_hub_is_too_busy_to_tell_makes_nobody_a_stranger(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with at_work(hub, tmp_path) as scene, peer(hub.url) as bob:
        key, room = await bob.opens(gated=True)
        await join_session(scene.ctx, parse_join_key(key))
        await bob.admits(room, scene.id)
        told = await bob.tells(scene.id, "stop the deploy")
        for too_busy_for in (Roster, Lookup):
            counting = Counting(scene.ctx.client, too_busy_for=too_busy_for)
            if too_busy_for is Lookup:
                await bob.client.request(Leave(room=room), Left)
            scene.judges_over(counting)
            with pytest.raises(RateLimited, match="too many requests"):
                await _standings(scene, told)
            with pytest.raises(RateLimited, match="too many requests"):
                await message_requests(scene.ctx, [told])


@pytest.mark.parametrize("name", ["senders.json", "contacts.json", "sessions.json"])
async def test_a_damaged_file_lets_no_stranger_in_and_keeps_no_known_one_out(
    hub: HubProcess, tmp_path: Path, name: str
) -> None:
    async with at_work(hub, tmp_path) as scene, peer(hub.url) as bob:
        folder = (
            scene.ctx.identity.home if name == "sessions.json" else tmp_path / "home"
        )
        door = Invite(kind=RoomKind.CHANNEL, require_approval=True)
        await scene.ctx.client.request(door, Invited)
        (folder / name).write_bytes(b"{")
        (folder / name).chmod(0o600)
        theirs = await bob.tells(scene.id, "hello")
        own, _ = ensure_identity(
            tmp_path / "home" / "agents" / "gemini", hub_url=hub.url, name="eve"
        )
        async with connect(hub.url, own.keypair, name="eve") as other:
            ours = await Peer(other).tells(scene.id, "it is done")
        assert await _standings(scene, theirs, ours) == ["stranger", "known"]
        (shown,) = await scene.is_shown()
        assert "it is done" in shown


async def _standings(scene: Scene, *rooms: RoomName) -> list[str]:
    assert scene.ctx.acquaintance is not None
    return [await scene.ctx.acquaintance.standing(room) for room in rooms]
