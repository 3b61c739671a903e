"""Random stories of four agents against the real hub, beside a model of it.

Nothing is readable before admission; no message is lost, and none comes twice after it
was acknowledged; cursors never go back; pushes change nothing; who was removed has to
knock again, and who was rejected stays out. The hub is restarted in between.
"""

import asyncio
import json
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from parler.identity.signing import Keypair
from parler.wire import replies, requests
from parler.wire.base import Code, RoomName
from parler.wire.records import RoomKind, RoomTarget
from tests._support.memory_hub import WAIT, MemoryHub, Peer, memory_hub
from tests.properties.membership_model import (
    DONE,
    JOINED,
    NO_ENTRY,
    PENDING,
    Key,
    Model,
)

T = TypeVar("T")
NAMES = ("ann", "bob", "cid", "dee")
KEYPAIRS = {name: Keypair(bytes([n]) * 32) for n, name in enumerate(NAMES, 1)}
NAME_OF = {pair.agent_id: name for name, pair in KEYPAIRS.items()}

picks = st.integers(0, 10_000)
"""Which of several, with those first in line that make a story go on."""

flags = st.booleans()


class RunningHub:
    """A hub on a loop of its own, so that it lives on between the steps of a story."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ready: Future[MemoryHub] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.hub = self._ready.result(WAIT)

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        try:
            async with memory_hub(self._folder) as hub:
                self._ready.set_result(hub)
                await self._stop.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise


class Membership(RuleBasedStateMachine):
    """The rules of a story; each tells hub and model the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="parler-model-"))
        self.run = RunningHub(self.folder)
        self.peers: dict[str, Peer] = {}
        self.model = Model()
        self.texts = 0
        self.read: dict[tuple[str, str], int] = {}
        self.all_rooms: list[str] = []
        self.all_keys: list[str] = []
        for name in NAMES:
            self._connect(name)

    def teardown(self) -> None:
        try:
            self.everybody_looks_at_everything()
        finally:
            self.run.stop()
            shutil.rmtree(self.folder)

    def _connect(self, name: str) -> None:
        async def subscribed() -> Peer:
            peer = await self.run.hub.sign_in(name, KEYPAIRS[name])
            await peer.asks(requests.Subscribe(), replies.Subscribed)
            return peer

        self.peers[name] = self.run(subscribed())

    def _ask(self, agent: str, request: requests.Request) -> replies.Reply:
        return self.run(self.peers[agent].asks(request, replies.Reply))

    def _told(self, agent: str, request: requests.Request) -> str | None:
        """What became of a request: the code of its refusal, else its reply's type."""
        reply = self._ask(agent, request)
        if isinstance(reply, replies.Error):
            return reply.code
        tag = str(reply.__struct_config__.tag)
        return tag if tag in (JOINED, PENDING) else DONE

    # Who and where: mostly somebody who may, now and then anybody.

    def _room(self, pick: int) -> str:
        return _pick(pick, list(self.model.rooms), self.all_rooms)

    def _key(self, pick: int) -> str:
        return _pick(pick, list(self.model.keys), self.all_keys)

    def _member(self, pick: int, room: str) -> str:
        there = self.model.rooms.get(room)
        return _pick(pick, sorted(there.members) if there else [], NAMES)

    def _guest(self, pick: int, room: str) -> str:
        there = self.model.rooms.get(room)
        guests = sorted(set(there.members) - {there.owner}) if there else []
        return _pick(pick, guests, NAMES)

    def _owner(self, pick: int, room: str) -> str:
        there = self.model.rooms.get(room)
        return _pick(pick, [there.owner] * 4 if there else [], NAMES)

    def _outsider(self, pick: int, room: str) -> str:
        inside = self.model.rooms[room].members if room in self.model.rooms else ()
        return _pick(pick, [name for name in NAMES if name not in inside], NAMES)

    def _knocker(self, pick: int, room: str) -> str:
        there = self.model.rooms.get(room)
        return _pick(pick, sorted(there.knocks) if there else [], NAMES)

    # Keys.

    @initialize(one=picks, other=picks)
    def two_rooms(self, one: int, other: int) -> None:
        for pick, gated in ((one, False), (other, True)):
            room = self.open_room(pick, gated)
            for gated_key in (False, True):
                owner = self.model.rooms[room].owner
                self._mint(owner, room, gated=gated_key, max_uses=2)

    def open_room(self, pick: int, gated: bool) -> str:
        agent = NAMES[pick % len(NAMES)]
        name = RoomName(f"room-{len(self.all_rooms)}")
        request = requests.Invite(
            kind=RoomKind.CHANNEL, room=name, require_approval=gated, max_uses=0
        )
        assert self._told(agent, request) == DONE
        self.model.opened(agent, name, gated=gated)
        self.all_rooms.append(name)
        return name

    @rule(where=picks, who=picks, gated=flags, max_uses=st.integers(0, 2))
    def mint(self, where: int, who: int, gated: bool, max_uses: int) -> None:
        room = self._room(where)
        if room in self.model.rooms:  # else its name would make a new one
            for agent in (self._member(who, room), self._guest(who, room)):
                self._mint(agent, room, gated=gated, max_uses=max_uses)

    def _mint(self, agent: str, room: str, *, gated: bool, max_uses: int) -> None:
        request = requests.Invite(
            kind=RoomKind.CHANNEL,
            room=RoomName(room),
            require_approval=gated,
            max_uses=max_uses,
        )
        expected = self.model.may_mint(agent, room, gated=gated)
        reply = self._ask(agent, request)
        if isinstance(reply, replies.Error):
            assert reply.code == expected
            return
        assert isinstance(reply, replies.Invited)
        assert expected == DONE
        self.model.keys[reply.code] = Key(room, agent, gated, max_uses)
        self.all_keys.append(reply.code)

    @rule(which=picks, who=picks)
    def redeem(self, which: int, who: int) -> None:
        code = self._key(which)
        key = self.model.keys.get(code)
        self._redeem(self._outsider(who, key.room if key else ""), code)

    def _redeem(self, agent: str, code: str) -> None:
        told = self._told(agent, requests.Redeem(code=Code(code)))
        assert told == self.model.redeem(agent, code)

    @rule(which=picks, who=picks, history=flags)
    def knock_and_be_let_in(self, which: int, who: int, history: bool) -> None:
        code = self._key(which)
        key = self.model.keys.get(code)
        if key is not None:
            agent = self._outsider(who, key.room)
            self._redeem(agent, code)
            owner = self.model.rooms[key.room].owner
            self._resolve(owner, key.room, agent, approve=True, history=history)

    def revoke(self, which: int, who: int) -> None:
        code = self._key(which)
        key = self.model.keys.get(code)
        agent = self._owner(who, key.room if key else "")
        told = self._told(agent, requests.RevokeInvite(code=Code(code)))
        if key is None:
            assert told == NO_ENTRY
        elif told == DONE:
            del self.model.keys[code]
        else:
            assert told == "not_owner"
            assert agent != self.model.rooms[key.room].owner

    def _who_knocks(self, agent: str, room: str) -> None:
        reply = self._ask(agent, requests.JoinRequests(room=RoomName(room)))
        expected = self.model.knocking(agent, room)
        if isinstance(reply, replies.Error):
            assert reply.code == expected
        else:
            assert isinstance(reply, replies.JoinRequestList)
            assert {NAME_OF[one.agent] for one in reply.requests} == expected

    @rule(where=picks, who=picks, whom=picks, approve=flags, history=flags)
    def resolve(
        self, where: int, who: int, whom: int, approve: bool, history: bool
    ) -> None:
        undecided = [
            (name, agent)
            for name, room in self.model.rooms.items()
            for agent, state in room.knocks.items()
            if state != "removed"
        ]
        anywhere = self._room(where), NAMES[whom % len(NAMES)]
        room, other = _pick(whom, undecided, [anywhere])
        agent = self._owner(who, room)
        self._who_knocks(agent, room)
        self._resolve(agent, room, other, approve=approve, history=history)

    def _resolve(
        self, agent: str, room: str, other: str, *, approve: bool, history: bool
    ) -> None:
        request = requests.ResolveJoin(
            room=RoomName(room),
            agent=KEYPAIRS[other].agent_id,
            approve=approve,
            history=None if history else "none",
        )
        expected = self.model.resolve(
            agent, room, other, approve=approve, history=history
        )
        assert self._told(agent, request) == expected
        if self.model.is_member(other, room):
            self._pull(other, room, since=None, ack=0, limit=0)

    # Leaving.

    @rule(where=picks, who=picks)
    def knock_again(self, where: int, who: int) -> None:
        """Come back with a key of the room, after whatever became of it before."""
        room = self._room(where)
        agent = self._knocker(who, room)
        for code, key in list(self.model.keys.items()):
            if key.room == room:
                self._redeem(agent, code)

    @rule(where=picks, who=picks)
    def leave(self, where: int, who: int) -> None:
        room = self._room(where)
        agent = self._member(who, room)
        told = self._told(agent, requests.Leave(room=RoomName(room)))
        assert told == self.model.leave(agent, room)
        self._forget_cursors()

    @rule(where=picks, who=picks, whom=picks)
    def remove(self, where: int, who: int, whom: int) -> None:
        room = self._room(where)
        agent = self._owner(who, room)
        other = self._guest(whom, room)
        request = requests.RemoveMember(
            room=RoomName(room), agent=KEYPAIRS[other].agent_id
        )
        assert self._told(agent, request) == self.model.remove(agent, room, other)
        self._forget_cursors()

    def delete(self, where: int, who: int) -> None:
        if len(self.model.rooms) < 2:
            return  # a story without rooms is short
        room = self._room(where)
        agent = self._owner(who, room)
        told = self._told(agent, requests.DeleteRoom(room=RoomName(room)))
        assert told == self.model.delete(agent, room)
        self._forget_cursors()

    @rule(
        what=st.sampled_from(["open", "revoke", "delete"]),
        where=picks,
        who=picks,
        gated=flags,
    )
    def keep_house(self, what: str, where: int, who: int, gated: bool) -> None:
        if what == "open" and len(self.model.rooms) < 3:
            self.open_room(who, gated)
        elif what == "revoke":
            self.revoke(where, who)
        elif what == "delete":
            self.delete(where, who)

    # Messages.

    @rule(where=picks, who=picks, again=flags)
    def send(self, where: int, who: int, again: bool) -> None:
        room = self._room(where)
        self._send(self._member(who, room), room, again=again)

    @rule(where=picks, again=flags)
    def everybody_says_something(self, where: int, again: bool) -> None:
        room = self._room(where)
        for agent in NAMES:
            self._send(agent, room, again=again)

    def _send(self, agent: str, room: str, *, again: bool) -> None:
        """Send something new, or what may have been sent before."""
        client_id = "again" if again else f"new-{self.texts}"
        text = f"text {self.texts}"
        self.texts += 1
        request = requests.Send(
            target=RoomTarget(room=RoomName(room)),
            parts=msgspec.Raw(json.dumps([{"kind": "text", "text": text}]).encode()),
            client_id=client_id,
        )
        reply = self._ask(agent, request)
        hears: set[str] = set()
        if not self.model.is_member(agent, room):
            assert isinstance(reply, replies.Error)
            assert reply.code == "not_member"
        else:
            assert isinstance(reply, replies.Sent)
            before = self.model.resent(agent, room, client_id)
            if before is not None:
                assert reply.seq == before
            else:
                newest = max(there.head for there in self.model.rooms.values())
                assert reply.seq > newest, "numbers only grow, over the whole hub"
                self.model.sent(agent, room, client_id, seq=reply.seq, text=text)
                hears = set(self.model.rooms[room].members) - {agent}
        self._everybody_hears(hears, text)

    def _everybody_hears(self, hears: set[str], text: str) -> None:
        for name, peer in self.peers.items():
            self._ask(name, requests.Ping())  # pushes before it have arrived
            pushed = [_text(delivery.message) for delivery in peer.deliveries]
            assert pushed == ([text] if name in hears else [])
            peer.deliveries.clear()

    @rule(
        where=picks,
        who=picks,
        way=st.sampled_from(["read on", "keep", "ack", "ack too much", "since"]),
        limit=st.sampled_from([0, 1, 2, 1000]),
    )
    def pull(self, where: int, who: int, way: str, limit: int) -> None:
        room = self._room(where)
        agent = self._member(who, room)
        last = self.read.get((agent, room), 0)
        since = max(0, last - 2) if way == "since" else None
        ack = {"keep": 0, "ack": last, "ack too much": last + 10_000}.get(way)
        self._pull(agent, room, since=since, ack=ack, limit=limit)

    @rule(where=picks, who=picks)
    def read_and_acknowledge(self, where: int, who: int) -> None:
        room = self._room(where)
        agent = self._member(who, room)
        for ack, limit in ((0, 1000), (0, 0)):
            self._pull(agent, room, since=None, ack=ack, limit=limit)
        last = self.read.get((agent, room), 0)
        self._pull(agent, room, since=None, ack=last, limit=0)

    def _pull(
        self, agent: str, room: str, *, since: int | None, ack: int | None, limit: int
    ) -> None:
        expected = self.model.pull(agent, room, since=since, ack=ack, limit=limit)
        request = requests.Pull(room=RoomName(room), since=since, ack=ack, limit=limit)
        reply = self._ask(agent, request)
        if isinstance(reply, replies.Error):
            assert reply.code == expected
            return
        assert isinstance(reply, replies.Pulled)
        got = [(message.seq, _text(message)) for message in reply.messages]
        assert (got, reply.cursor) == expected
        if since is None and got:
            self.read[agent, room] = max(self.read.get((agent, room), 0), got[-1][0])

    def _forget_cursors(self) -> None:
        self.read = {
            (agent, room): seq
            for (agent, room), seq in self.read.items()
            if self.model.is_member(agent, room)
        }

    # Connections.

    @rule(what=st.sampled_from(["reconnect", "restart", "look"]), who=picks)
    def in_between(self, what: str, who: int) -> None:
        if what == "reconnect":
            agent = NAMES[who % len(NAMES)]
            self.run(_hang_up(self.peers[agent]))
            self._connect(agent)
        elif what == "restart":
            self.run.stop()
            self.run = RunningHub(self.folder)
            for name in NAMES:
                self._connect(name)
        else:
            self.everybody_looks_at_everything()

    def everybody_looks_at_everything(self) -> None:
        for room in list(self.model.rooms):
            for agent in NAMES:
                self._pull(agent, room, since=0, ack=None, limit=1000)
                self._pull(agent, room, since=None, ack=0, limit=0)


def _pick(pick: int, first: Sequence[T], rest: Sequence[T]) -> T:
    pool = [*first, *first, *first, *rest]
    return pool[pick % len(pool)]


def _text(message: Any) -> str:
    text: str = json.loads(bytes(message.parts))[0]["text"]
    return text


async def _hang_up(peer: Peer) -> None:
    peer.hangs_up()
    await peer.sees_close()


Membership.TestCase.settings = settings(
    max_examples=max(30, settings().max_examples // 10), stateful_step_count=40
)
test_members_and_their_messages = Membership.TestCase
