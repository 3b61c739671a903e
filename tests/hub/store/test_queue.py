"""Work of a service room: who is offered it, who gets it, for how long (10.4)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers.queue import MAX_DISPATCHED_ROLES, dispatched_roles
from hub.store import agents, members, messages, queue, rooms
from hub.store.agents import FRESH_MS
from hub.store.messages import NewMessage, Stored
from hub.store.schema import dispatches
from parler.wire.base import AgentId, MessageId, RoomName
from parler.wire.codes import ErrorCode
from parler.wire.limits import MAX_PULLED_BYTES
from parler.wire.records import RoomKind, TaskStatus
from tests._support.stores import OpenStore, greet, open_store

ANN, BOB, EVE = AgentId("ann"), AgentId("bob"), AgentId("eve")
LEASE = 300_000


class Service:
    """A service room in which Ann asks; everything happens at the time given."""

    def __init__(self, store: OpenStore) -> None:
        self.store = store
        self._count = 0
        self.room = store.write(
            lambda connection: (
                rooms.create(
                    connection,
                    RoomName("svc.review"),
                    RoomKind.SERVICE,
                    owner=ANN,
                    gated=False,
                    now=0,
                ).id
            )
        )
        self.enter(ANN)

    def enter(self, agent: AgentId, *, floor: int = 0) -> None:
        def add(connection: sa.Connection) -> None:
            greet(connection, agent, agent, None, now=0)
            members.add(connection, self.room, agent, now=0, floor=floor)

        self.store.write(add)

    def serves(self, agent: AgentId, role: str = "review") -> None:
        self.enter(agent)
        self.store.write(partial(queue.enlist, room=self.room, agent=agent, role=role))

    def is_doing(self, agent: AgentId, status: str, now: int = 0) -> None:
        told = {"status": status, "activity": None, "attention": None}
        self.store.write(partial(agents.set_presence, agent=agent, now=now, **told))

    def send(self, *roles: str, text: str = "please", **fields: Any) -> MessageId:
        return self.append(self.message(*roles, text=text, **fields))[0].id

    def message(self, *roles: str, text: str = "please", **fields: Any) -> NewMessage:
        self._count += 1
        number = f"m{self._count}"
        record = msgspec.json.encode({"id": number, "text": text}).decode()
        return NewMessage(
            room=self.room,
            id=MessageId(number),
            author=fields.get("author", ANN),
            client_id=fields.get("client_id"),
            ts=0,
            record=record,
            roles=tuple(map(queue.folded, roles)),
        )

    def append(self, *new: NewMessage) -> list[Any]:
        return self.store.write(partial(messages.append, new=list(new)))

    def sees(
        self, agent: AgentId, role: str = "review", *, limit: int = 50, now: int = 0
    ) -> list[str]:
        found = self.store.read(
            partial(
                queue.waiting,
                room=self.room,
                agent=agent,
                role=role,
                limit=limit,
                now=now,
            )
        )
        return [msgspec.json.decode(raw)["id"] for raw in found]

    def claim(
        self, agent: AgentId, message: str, *, now: int = 0, lease_ms: int = LEASE
    ) -> int | None:
        return self.store.write(
            partial(
                queue.claim,
                room=self.room,
                agent=agent,
                message=MessageId(message),
                lease_ms=lease_ms,
                now=now,
            )
        )

    def complete(
        self,
        agent: AgentId,
        message: str,
        *,
        now: int = 0,
        status: TaskStatus = TaskStatus.DONE,
    ) -> bool:
        return self.store.write(
            partial(
                queue.complete,
                room=self.room,
                agent=agent,
                message=MessageId(message),
                status=status,
                now=now,
            )
        )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_store(tmp_path / "hub.sqlite") as opened:
        yield Service(opened)


# ------------------------------------------------------------------------ being offered


def test_work_is_offered_in_the_order_it_was_given(service: Service) -> None:
    service.serves(BOB)
    given = [service.send("review") for _ in range(3)]
    service.send()
    assert service.sees(BOB) == given
    assert service.sees(BOB, limit=2) == given[:2]
    assert service.sees(BOB, limit=0) == []


def test_reading_the_room_does_not_use_up_its_work(service: Service) -> None:
    service.serves(BOB)
    task = service.send("review")
    read = partial(members.mark_read, room=service.room, agent=BOB, cursor=1)
    service.store.write(read)
    assert service.sees(BOB) == [task]


def test_only_who_serves_the_role_is_offered_it(service: Service) -> None:
    service.serves(BOB)
    service.serves(EVE, "deploy")
    service.send("review")
    assert service.sees(ANN) == []
    assert service.sees(EVE) == []
    assert service.sees(EVE, "deploy") == []


def test_roles_compare_without_ascii_case_and_no_further(service: Service) -> None:
    service.serves(BOB, "Code RÉview")
    task = service.send("cODE rÉVIEW")
    service.send("code réview")
    assert service.sees(BOB, "code rÉview") == [task]
    assert service.sees(BOB, "code réview") == []


def test_a_message_may_be_work_for_several_roles(service: Service) -> None:
    service.serves(BOB, "review")
    service.serves(EVE, "deploy")
    task = service.send("Review", "deploy")
    assert service.sees(BOB, "review") == [task]
    assert service.sees(EVE, "deploy") == [task]
    assert service.claim(EVE, task)
    assert service.sees(BOB, "review") == []
    assert service.complete(EVE, task)
    assert service.sees(BOB, "review", now=10 * LEASE) == []


def test_the_last_role_an_agent_serves_is_the_one(service: Service) -> None:
    service.serves(BOB)
    task = service.send("review")
    again = partial(queue.enlist, room=service.room, agent=BOB, role="deploy")
    service.store.write(again)
    assert service.sees(BOB) == []
    assert service.claim(BOB, task) is None


@pytest.mark.parametrize("status", ["working", "online", "Idle", "idle ", ""])
def test_a_busy_agent_is_offered_nothing_and_gets_nothing(
    service: Service, status: str
) -> None:
    service.serves(BOB)
    task = service.send("review")
    service.is_doing(BOB, status)
    assert service.sees(BOB) == []
    assert service.claim(BOB, task) is None


@pytest.mark.parametrize("status", ["idle", "waiting"])
def test_a_presence_is_believed_for_five_minutes(service: Service, status: str) -> None:
    service.serves(BOB)
    task = service.send("review")
    service.is_doing(BOB, status, now=1000)
    assert service.sees(BOB, now=1000 + FRESH_MS) == [task]
    assert service.sees(BOB, now=1001 + FRESH_MS) == []
    assert service.claim(BOB, task, now=1001 + FRESH_MS) is None


def test_work_from_before_a_members_time_is_not_for_it(service: Service) -> None:
    task = service.send("review")
    service.enter(BOB, floor=1)
    enlist = partial(queue.enlist, room=service.room, agent=BOB, role="review")
    service.store.write(enlist)
    assert service.sees(BOB) == []
    assert service.claim(BOB, task) is None


def test_a_queue_reply_stays_small_enough_for_every_client(service: Service) -> None:
    service.serves(BOB)
    for _ in range(6):
        service.send("review", text="x" * 1_000_000)
    assert len(service.sees(BOB)) == MAX_PULLED_BYTES // 1_000_000


# ----------------------------------------------------------------------------- claiming


def test_claimed_work_is_offered_to_nobody(service: Service) -> None:
    service.serves(BOB)
    service.serves(EVE)
    task = service.send("review")
    assert service.claim(BOB, task, now=7) == 7 + LEASE
    assert service.sees(BOB) == service.sees(EVE) == []
    assert service.claim(EVE, task) is None


def test_nobody_claims_what_is_no_work_for_it(service: Service) -> None:
    service.serves(BOB)
    chat, deploy = service.send(), service.send("deploy")
    for message in (chat, deploy, "unknown", ""):
        assert service.claim(BOB, message) is None
    assert service.claim(ANN, service.send("review")) is None


def test_the_holder_renews_its_lease_while_it_works(service: Service) -> None:
    service.serves(BOB)
    task = service.send("review")
    service.claim(BOB, task)
    service.is_doing(BOB, "working")
    assert service.claim(BOB, task, now=LEASE - 1) == 2 * LEASE - 1
    assert service.sees(BOB) == []


def test_a_lease_that_ended_is_not_renewed_while_working(service: Service) -> None:
    service.serves(BOB)
    task = service.send("review")
    service.claim(BOB, task)
    service.is_doing(BOB, "working")
    assert service.claim(BOB, task, now=LEASE) is None


def test_work_whose_lease_ended_goes_to_the_next(service: Service) -> None:
    service.serves(BOB)
    service.serves(EVE)
    task = service.send("review")
    assert service.claim(BOB, task, lease_ms=15_000) == 15_000
    assert service.sees(EVE, now=14_999) == []
    assert service.claim(EVE, task, now=14_999) is None
    assert service.sees(EVE, now=15_000) == [task]
    assert service.claim(EVE, task, now=15_000) == 15_000 + LEASE
    assert not service.complete(BOB, task, now=15_000)
    assert service.complete(EVE, task, now=15_001)


# --------------------------------------------------------------------------- completing


def test_the_holder_completes_until_the_last_moment_of_its_lease(
    service: Service,
) -> None:
    service.serves(BOB)
    one, other = service.send("review"), service.send("review")
    for task in (one, other):
        service.claim(BOB, task)
    assert service.complete(BOB, one, now=LEASE)
    assert not service.complete(BOB, other, now=LEASE + 1)
    assert service.sees(BOB, now=LEASE) == [other]


@pytest.mark.parametrize(
    "status", [TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED]
)
def test_completed_work_never_comes_back(service: Service, status: TaskStatus) -> None:
    service.serves(BOB)
    task = service.send("review")
    service.claim(BOB, task)
    assert service.complete(BOB, task, status=status)
    assert not service.complete(BOB, task)
    later = 100 * LEASE
    service.is_doing(BOB, "idle", now=later)
    assert service.sees(BOB, now=later) == []
    assert service.claim(BOB, task, now=later) is None


def test_nobody_completes_what_it_does_not_hold(service: Service) -> None:
    service.serves(BOB)
    service.serves(EVE)
    task = service.send("review")
    assert not service.complete(BOB, task)
    service.claim(BOB, task)
    assert not service.complete(EVE, task)
    assert not service.complete(BOB, "unknown")
    assert service.complete(BOB, task)


def test_a_room_that_is_deleted_takes_its_work_along(service: Service) -> None:
    service.serves(BOB)
    service.claim(BOB, service.send("review"))
    service.send("review")
    service.store.write(partial(rooms.delete, room=service.room))
    assert service.sees(BOB, now=LEASE) == []


# --------------------------------------------------------------------------- being sent


def test_what_is_sent_again_is_no_new_work(service: Service) -> None:
    service.serves(BOB)
    first = service.send("review", client_id="c")
    again = service.append(service.message("review", "deploy", client_id="c"))
    assert again == [Stored(1, first, repeated=True)]
    assert service.sees(BOB) == [first]
    assert stored_roles(service) == ["review"]


def test_work_of_somebody_who_is_no_member_is_not_stored(service: Service) -> None:
    service.serves(BOB)
    refused, stored = service.append(
        service.message("review", author=EVE), service.message("review")
    )
    assert isinstance(refused, Refusal)
    assert service.sees(BOB) == [stored.id]


def test_several_messages_in_one_group_keep_their_own_work(service: Service) -> None:
    service.serves(BOB)
    one = service.message("review")
    chat = service.message()
    two = service.message("review")
    service.append(one, chat, two)
    assert service.sees(BOB) == [one.id, two.id]


def test_a_message_and_its_work_are_stored_together_or_not_at_all(
    service: Service,
) -> None:
    class Stopped(Exception):
        pass

    def half(connection: sa.Connection) -> None:
        messages.append(connection, [service.message("review")])
        raise Stopped

    with pytest.raises(Stopped):
        service.store.write(half)
    assert stored_roles(service) == []
    assert service.store.read(partial(messages.head, room=service.room)) == 0


def stored_roles(service: Service) -> list[str]:
    rows = sa.select(dispatches.c.role).order_by(dispatches.c.role)
    return service.store.read(
        lambda connection: list(connection.execute(rows).scalars())
    )


# ------------------------------------------------------------------------ reading parts


def parts(*roles: object) -> msgspec.Raw:
    found = [{"kind": "text", "text": "com.parler.dispatch"}]
    found += [{"kind": "com.parler.dispatch", "role": role} for role in roles]
    return msgspec.Raw(msgspec.json.encode(found))


def test_every_role_that_is_a_string_is_work_once() -> None:
    given = parts("Review", "review", "deploy", None, 7, ["x"], "")
    assert dispatched_roles(given) == ("review", "deploy", "")
    assert dispatched_roles(parts()) == ()


def test_a_part_is_work_however_its_kind_is_spelled() -> None:
    raw = msgspec.Raw(b'[{"role":"r","kind":"com.parler.\\u0064ispatch"}]')
    assert dispatched_roles(raw) == ("r",)
    assert dispatched_roles(msgspec.Raw(b'[{"kind":"com.parler.dispatch"}]')) == ()


def test_a_role_too_long_to_be_served_is_no_work() -> None:
    assert dispatched_roles(parts("x" * 4097, "é" * 2048)) == ("é" * 2048,)


def test_work_for_more_roles_than_allowed_is_refused() -> None:
    allowed = [str(number) for number in range(MAX_DISPATCHED_ROLES)]
    assert len(dispatched_roles(parts(*allowed))) == MAX_DISPATCHED_ROLES
    with pytest.raises(Refusal) as refused:
        dispatched_roles(parts(*allowed, "one more"))
    assert refused.value.code is ErrorCode.TOO_LARGE
