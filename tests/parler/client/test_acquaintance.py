"""Whose direct messages reach a model, and whose wait for a person's word."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from parler.client.acquaintance import Standing
from parler.client.client import Client, connect
from parler.errors import UsageError
from parler.identity.contacts import Contacts
from parler.identity.homes import machine_home
from parler.identity.identity import ensure_identity
from parler.identity.person import VOUCH, Vouch, ensure_person, vouch
from parler.identity.senders import Senders
from parler.identity.settings import Flags, resolve_settings
from parler.identity.signing import Keypair
from parler.ops.context import OpContext
from parler.ops.directory import RegisterParams, register
from parler.ops.messages import ReceiveParams, SendParams, history, receive, send
from parler.ops.requests import MAX_REQUESTS, message_requests
from parler.ops.session import join_session
from parler.runtime.bootstrap import connected, now, reader_of
from parler.runtime.follower import Follower
from parler.runtime.knocks import Knocks
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.wire.base import AgentId, RoomName
from parler.wire.canonical import card_bytes
from parler.wire.joinkey import parse_join_key
from parler.wire.records import AgentCard, DmTarget, RoomKind, Visibility
from parler.wire.replies import Registered, RoomList
from parler.wire.requests import Register, Rooms
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
    hub: HubProcess, tmp_path: Path
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
        waiting = await message_requests(scene.ctx, await scene.direct())
        assert len(waiting) == MAX_REQUESTS
        assert waiting[0][1].text == "buy this 0"


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


async def _standings(scene: Scene, *rooms: RoomName) -> list[str]:
    assert scene.ctx.acquaintance is not None
    return [await scene.ctx.acquaintance.standing(room) for room in rooms]
