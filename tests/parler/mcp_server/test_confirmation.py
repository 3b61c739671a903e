"""What counts as taken by the host, step by step."""

from mcp_types import JSONRPCNotification, JSONRPCRequest

from parler.mcp_server.confirmation import RequestId, ResultConfirmation
from parler.runtime.receipt import Claim, Receipt
from parler.wire.base import RoomName

ROOM = RoomName("room.a")
PING = JSONRPCRequest(jsonrpc="2.0", id=9, method="ping")


class Pipe:
    """What was written, and whether the host has read it."""

    def __init__(self) -> None:
        self.written: set[RequestId] = set()
        self.watched: set[RequestId] = set()
        self.read = True
        self.had: set[RequestId] = set()

    def was_read(self, request: RequestId, *, secs_ago: float) -> bool:
        assert secs_ago > 0
        return request in self.had

    def watch(self, request: RequestId) -> None:
        self.watched.add(request)

    def was_written(self, request: RequestId) -> bool:
        return request in self.written

    def forget(self, request: RequestId) -> None:
        self.watched.discard(request)

    def all_read(self) -> bool:
        return self.read


def cancelled(request: RequestId) -> JSONRPCNotification:
    return JSONRPCNotification(
        jsonrpc="2.0",
        method="notifications/cancelled",
        params={"requestId": request},
    )


class Scene:
    def __init__(self) -> None:
        self.pipe = Pipe()
        self.settled: list[tuple[int, bool]] = []
        self.results = ResultConfirmation(self.pipe)
        self.results.report_to(self._settled)

    def _settled(self, receipt: Receipt, arrived: bool) -> None:
        self.settled.append((receipt.claims[0].upto, arrived))

    def answers(self, request: RequestId, upto: int) -> None:
        self.results.open(request, Receipt(claims=[Claim(ROOM, upto)]))


def test_a_result_arrived_when_it_was_written_and_the_host_spoke_again() -> None:
    scene = Scene()
    scene.answers(1, 10)
    scene.results.heard(PING)
    assert scene.settled == []  # it spoke before anything was written
    scene.pipe.written.add(1)
    assert scene.settled == []
    scene.results.heard(PING)
    assert scene.settled == [(10, True)]
    scene.results.heard(PING)
    assert len(scene.settled) == 1
    assert not scene.pipe.watched


def test_what_lies_unread_in_the_pipe_has_not_arrived() -> None:
    scene = Scene()
    scene.answers(1, 10)
    scene.pipe.written.add(1)
    scene.pipe.read = False  # what it says was said before it could read
    scene.results.heard(PING)
    assert scene.settled == []
    scene.pipe.read = True
    scene.results.heard(PING)
    assert scene.settled == [(10, True)]


def test_a_cancelled_result_has_not_arrived_even_if_it_was_written() -> None:
    scene = Scene()
    scene.answers(1, 10)
    scene.answers("2", 20)
    scene.pipe.written |= {1, "2"}
    scene.results.heard(cancelled(2))  # by number or by text
    assert (20, False) in scene.settled
    assert (10, True) in scene.settled


def test_a_host_that_cancels_what_it_has_had_for_a_while_has_taken_it() -> None:
    """As OpenCode does with each call, some time after it got the result."""
    scene = Scene()
    scene.answers(1, 10)
    scene.pipe.written.add(1)
    scene.pipe.had.add(1)
    scene.results.heard(cancelled(1))
    assert scene.settled == [(10, True)]


def test_an_error_in_place_of_a_result_brings_nothing() -> None:
    scene = Scene()
    scene.answers(1, 10)
    scene.results.failed(1)
    assert scene.settled == [(10, False)]


def test_an_id_that_is_used_again_stands_for_the_newer_call() -> None:
    scene = Scene()
    scene.answers(1, 10)
    scene.answers(1, 20)
    assert scene.settled == [(10, False)]
    scene.pipe.written.add(1)
    scene.results.heard(PING)
    assert scene.settled == [(10, False), (20, True)]


def test_a_result_that_brings_nothing_is_not_watched() -> None:
    scene = Scene()
    scene.results.open(1, Receipt())
    assert not scene.pipe.watched


def test_a_result_that_comes_after_its_cancellation_has_not_arrived() -> None:
    scene = Scene()
    scene.results.heard(cancelled(1))  # while the call was about to end
    scene.answers(1, 10)
    scene.pipe.written.add(1)
    scene.results.heard(PING)
    assert scene.settled == [(10, False)]


def test_a_cancellation_does_not_concern_a_later_call_of_the_same_id() -> None:
    scene = Scene()
    scene.results.heard(cancelled(1))
    scene.results.heard(JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/call"))
    scene.answers(1, 10)
    scene.pipe.written.add(1)
    scene.results.heard(PING)
    assert scene.settled == [(10, True)]
