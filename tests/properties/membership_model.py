"""What a hub should do about rooms, keys, members and messages, in plain Python.

Written from protocol 4, 5, 14.5 and 14.6, without a look at how the hub does it. Every
operation returns what the asker is told: the code of a refusal, or a result.
"""

from dataclasses import dataclass, field

JOINED, PENDING = "joined", "join_pending"
NO_ENTRY, NOT_MEMBER, NOT_OWNER = "invalid_invite", "not_member", "not_owner"
NOT_AUTHORIZED, NOBODY, DONE = "not_authorized", None, "done"


@dataclass
class Member:
    """What one agent has read, and from where on it may."""

    cursor: int
    floor: int


@dataclass
class Room:
    """A room, its log, and who knocked."""

    owner: str
    gated: bool
    members: dict[str, Member] = field(default_factory=dict)
    knocks: dict[str, str] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)
    sent: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def head(self) -> int:
        return self.log[-1][0] if self.log else 0


@dataclass
class Key:
    """A session key."""

    room: str
    maker: str
    gated: bool
    uses_left: int


class Model:
    """The whole hub, as far as its members can tell."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.keys: dict[str, Key] = {}

    def opened(self, agent: str, room: str, *, gated: bool) -> None:
        self.rooms[room] = Room(agent, gated, {agent: Member(0, 0)})

    def may_mint(self, agent: str, room: str, *, gated: bool) -> str:
        there = self.rooms.get(room)
        if there is None or agent not in there.members:
            return NOT_MEMBER
        if there.gated and not gated and there.owner != agent:
            return NOT_OWNER
        return DONE

    def redeem(self, agent: str, code: str) -> str:
        key = self.keys.get(code)
        if key is None:
            return NO_ENTRY
        room = self.rooms[key.room]
        if agent in room.members:
            return JOINED
        knock = room.knocks.get(agent)
        if room.owner != agent:
            if knock == "denied":
                return NO_ENTRY
            if knock == "pending":
                return PENDING
            if key.uses_left <= 0:
                return NO_ENTRY
        key.uses_left -= 1
        if room.owner != agent and (key.gated or knock == "removed"):
            room.knocks[agent] = "pending"
            return PENDING
        room.knocks.pop(agent, None)
        room.members[agent] = Member(0, 0)
        return JOINED

    def knocking(self, agent: str, room: str) -> set[str] | str:
        if self._owned(agent, room) is None:
            return NOT_OWNER
        knocks = self.rooms[room].knocks
        return {one for one, state in knocks.items() if state == "pending"}

    def resolve(
        self, agent: str, room: str, other: str, *, approve: bool, history: bool
    ) -> str | None:
        owned = self._owned(agent, room)
        if owned is None:
            return NOT_OWNER
        if owned.knocks.get(other) not in ("pending", "denied"):
            return NOBODY
        if not approve:
            owned.knocks[other] = "denied"
            return DONE
        del owned.knocks[other]
        floor = 0 if history else owned.head
        owned.members[other] = Member(floor, floor)
        return DONE

    def leave(self, agent: str, room: str) -> str:
        there = self.rooms.get(room)
        if there is None or there.members.pop(agent, None) is None:
            return NOT_MEMBER
        return DONE

    def remove(self, agent: str, room: str, other: str) -> str:
        owned = self._owned(agent, room)
        if owned is None:
            return NOT_OWNER
        if agent == other:
            return NOT_AUTHORIZED
        if owned.members.pop(other, None) is None:
            return NOT_MEMBER
        owned.knocks[other] = "removed"
        theirs = (room, other)
        self.keys = {
            c: key for c, key in self.keys.items() if (key.room, key.maker) != theirs
        }
        return DONE

    def delete(self, agent: str, room: str) -> str:
        if self._owned(agent, room) is None:
            return NOT_OWNER
        del self.rooms[room]
        self.keys = {c: key for c, key in self.keys.items() if key.room != room}
        return DONE

    def resent(self, agent: str, room: str, client_id: str) -> int | None:
        return self.rooms[room].sent.get((agent, client_id))

    def sent(
        self, agent: str, room: str, client_id: str, *, seq: int, text: str
    ) -> None:
        self.rooms[room].sent[agent, client_id] = seq
        self.rooms[room].log.append((seq, text))

    def pull(
        self,
        agent: str,
        room: str,
        *,
        since: int | None,
        ack: int | None,
        limit: int,
    ) -> tuple[list[tuple[int, str]], int] | str:
        there = self.rooms.get(room)
        if there is None or agent not in there.members:
            return NOT_MEMBER
        member = there.members[agent]
        start = member.cursor if since is None else since
        if since is None and ack is not None:
            start = max(start, min(ack, there.head))
        after = max(start, member.floor)
        page = [entry for entry in there.log if entry[0] > after][:limit]
        cursor = page[-1][0] if page else start
        if since is None:
            member.cursor = start if ack is not None else cursor
        return page, cursor

    def is_member(self, agent: str, room: str) -> bool:
        return room in self.rooms and agent in self.rooms[room].members

    def _owned(self, agent: str, room: str) -> Room | None:
        there = self.rooms.get(room)
        return there if there is not None and there.owner == agent else None
