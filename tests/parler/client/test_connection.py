"""Requests over connections that come and go, against a peer played in memory."""

import asyncio
from typing import Any

import pytest

from parler.client.client import Client, Gap, connect
from parler.client.connection import MAX_PARKED
from parler.errors import (
    ConnectFailed,
    ConnectionLost,
    HubBusy,
    HubError,
    HubFault,
    NotAuthenticated,
    NotAuthorized,
    NotMember,
    RelayedChallenge,
    RemoteProtocolError,
    TimedOut,
    TooLarge,
)
from parler.wire import replies, requests
from parler.wire.base import MessageId, RoomName
from parler.wire.limits import MAX_IN_FLIGHT
from parler.wire.parts import TextPart
from parler.wire.records import RoomTarget
from tests._support.transports import (
    HUB,
    ME,
    NONCE,
    WAIT,
    Wire,
    connected,
    refusal_of,
    stored,
)

DEN = RoomName("den")
TARGET = RoomTarget(room=DEN)
SENT = replies.Sent(id=MessageId("m1"), seq=1, room=DEN)
PONG = replies.Pong()


async def ping(client: Client, *, timeout: float = WAIT) -> replies.Pong:
    return await client.request(requests.Ping(), replies.Pong, timeout=timeout)


async def say(client: Client, *, timeout: float = WAIT) -> replies.Sent:
    return await client.send(TARGET, [TextPart(text="hi")], timeout=timeout)


# ---------------------------------------------------------------------------- in order


async def test_without_rid_requests_go_out_one_at_a_time_and_in_order() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        first = group.create_task(ping(client))
        heard = await peer.hears(requests.Ping)
        second = group.create_task(client.request(requests.Rooms(), replies.RoomList))
        third = group.create_task(ping(client))
        assert heard.rid is None
        await peer.says(PONG)
        await first
        await peer.hears(requests.Rooms)
        assert not second.done()
        await peer.says(replies.RoomList(rooms=[]))
        await second
        await peer.hears(requests.Ping)
        await peer.says(PONG)
        await third


async def test_a_delivery_between_request_and_reply_disturbs_nothing() -> None:
    for features in ((), ("rid",)):
        wire = Wire()
        async with connected(wire, *features) as (client, peer):
            async with asyncio.TaskGroup() as group:
                asked = group.create_task(ping(client))
                heard = await peer.hears(requests.Ping)
                await peer.says(replies.Delivery(message=stored(9)))
                await peer.says(PONG, to=heard)
                await asked
            note = await anext(client.notifications())
            assert isinstance(note, replies.Delivery)


async def test_a_cancelled_request_keeps_its_place_among_replies_in_order() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        given_up = group.create_task(client.request(requests.Rooms(), replies.RoomList))
        await peer.hears(requests.Rooms)
        given_up.cancel()
        asked = group.create_task(ping(client))
        await peer.says(replies.RoomList(rooms=[]))  # of the one that was given up
        await peer.hears(requests.Ping)
        await peer.says(PONG)
        assert await asked == PONG


async def test_a_request_cancelled_before_it_went_out_never_does() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        first = group.create_task(ping(client))
        await peer.hears(requests.Ping)
        given_up = group.create_task(say(client))
        third = group.create_task(client.request(requests.Rooms(), replies.RoomList))
        await asyncio.sleep(0)
        given_up.cancel()
        await peer.says(PONG)
        await peer.hears(requests.Rooms)
        await peer.says(replies.RoomList(rooms=[]))
        await asyncio.gather(first, third)


async def test_with_rid_a_parked_pull_is_overtaken() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer), asyncio.TaskGroup() as group:
        parked = group.create_task(client.pull(DEN, wait_secs=25))
        pull = await peer.hears(requests.Pull)
        other = group.create_task(client.request(requests.Rooms(), replies.RoomList))
        rooms = await peer.hears(requests.Rooms)
        await peer.says(replies.RoomList(rooms=[]), to=rooms)
        assert (await other).rooms == []
        assert not parked.done()
        news = replies.Pulled(room=DEN, messages=[stored(4)], cursor=4)
        await peer.says(news, to=pull)
        assert (await parked).cursor == 4


async def test_parked_pulls_leave_room_for_other_requests() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer):
        pulls = [client.pull(DEN, wait_secs=25) for _ in range(2 * MAX_IN_FLIGHT)]
        parked = asyncio.gather(*pulls)
        for _ in range(MAX_PARKED):
            await peer.hears(requests.Pull)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(ping(client))
            await peer.says(PONG, to=await peer.hears(requests.Ping))
            await asked
        parked.cancel()
        assert isinstance(await refusal_of(parked), asyncio.CancelledError)


async def test_never_more_in_flight_than_the_hub_reads() -> None:
    wire = Wire()
    async with connected(wire, "rid") as (client, peer):
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ping(client)) for _ in range(MAX_IN_FLIGHT + 1)]
            heard = [await peer.hears(requests.Ping) for _ in range(MAX_IN_FLIGHT)]
            await asyncio.sleep(0)
            assert peer.transport._inbox.empty()
            await peer.says(PONG, to=heard.pop())
            heard.append(await peer.hears(requests.Ping))
            for one in heard:
                await peer.says(PONG, to=one)
        assert all(one.done() for one in asked)


async def test_an_error_is_final_and_typed() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        asked = group.create_task(refusal_of(client.pull(DEN)))
        await peer.hears(requests.Pull)
        await peer.says(replies.Error(message="not a member", code="not_member"))
        error = await asked
        assert isinstance(error, NotMember)
        assert error.hub_code == "not_member"


# ------------------------------------------------------------------------ reconnecting


async def test_a_send_lost_with_its_connection_goes_out_again_as_the_same() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        sending = group.create_task(say(client))
        first = await peer.hears(requests.Send)
        await peer.drops()
        peer = await wire.admitted()
        again = await peer.hears(requests.Send)
        assert first.client_id
        assert again == first  # same clientId, same signature: stored once
        await peer.says(SENT)
        assert await sending == SENT


async def test_every_unanswered_request_goes_out_again_in_order() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(client.pull(DEN, wait_secs=25))
        await peer.hears(requests.Pull)
        group.create_task(say(client))
        await peer.hears(requests.Send)
        answered = group.create_task(ping(client))
        await peer.says(PONG, to=await peer.hears(requests.Ping))
        await answered
        await peer.drops()
        peer = await wire.admitted("rid")
        pull = await peer.hears(requests.Pull)
        send = await peer.hears(requests.Send)
        await peer.says(SENT, to=send)
        empty = replies.Pulled(room=DEN, messages=[], cursor=0)
        await peer.says(empty, to=pull)


async def test_a_request_made_while_there_is_no_connection_waits_for_one() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        wire.failures.extend(["refused", "still refused"])
        await peer.drops()
        asked = group.create_task(ping(client))
        peer = await wire.admitted()
        await peer.hears(requests.Ping)
        await peer.says(PONG)
        await asked
        assert len(wire.dialled) == 4


async def test_subscription_and_presence_are_renewed_before_anything_else() -> None:
    wire = Wire()
    here = requests.Presence(status="busy", while_connected=True)
    async with connected(wire, "events", "presence") as (client, peer):
        async with asyncio.TaskGroup() as group:
            group.create_task(client.subscribe(["member"]))
            await peer.hears(requests.Subscribe)
            await peer.says(replies.Subscribed())
            group.create_task(client.request(here, replies.PresenceOk))
            await peer.hears(requests.Presence)
            await peer.says(replies.PresenceOk())
        async with asyncio.TaskGroup() as group:
            group.create_task(ping(client))
            await peer.hears(requests.Ping)
            await peer.drops()
            peer = await wire.admitted("events", "presence")
            subscribe = await peer.hears(requests.Subscribe)
            assert subscribe.events == ["member"]
            await peer.says(replies.Delivery(message=stored(2)))
            await peer.says(replies.Subscribed())
            assert (await peer.hears(requests.Presence)).while_connected
            await peer.says(replies.PresenceOk())
            await peer.hears(requests.Ping)
            await peer.says(PONG)
        notes = client.notifications()
        kinds = [type(await anext(notes)), type(await anext(notes))]
        assert kinds == [replies.Delivery, Gap]


async def test_a_repeated_leave_that_is_refused_says_that_it_may_have_worked() -> None:
    wire = Wire()
    async with connected(wire, "membership") as (client, peer):
        async with asyncio.TaskGroup() as group:
            left = client.request(requests.Leave(room=DEN), replies.Left)
            leaving = group.create_task(refusal_of(left))
            await peer.hears(requests.Leave)
            await peer.drops()
            peer = await wire.admitted("membership")
            await peer.hears(requests.Leave)
            await peer.says(replies.Error(message="no member", code="not_member"))
            error = await leaving
        assert isinstance(error, NotMember)
        assert "may have been done" in error.message


async def test_a_pull_that_moves_the_cursor_by_being_read_is_not_repeated() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        reading = group.create_task(refusal_of(client.pull(DEN, ack=None)))
        await peer.hears(requests.Pull)
        await peer.drops()
        assert isinstance(await reading, ConnectionLost)


async def test_a_refusal_that_may_pass_is_tried_again_on_reconnecting() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        await peer.drops()
        asked = group.create_task(ping(client))
        full = await wire.peer()
        await full.says(replies.Error(message="full", code="at_capacity"))
        peer = await wire.admitted()
        await peer.hears(requests.Ping)
        await peer.says(PONG)
        await asked


async def test_a_final_refusal_on_reconnecting_ends_the_client() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        asked = group.create_task(refusal_of(ping(client)))
        await peer.hears(requests.Ping)
        await peer.drops()
        peer = await wire.peer()
        await peer.hears(requests.Hello)
        secret = "this hub requires a join secret (set PARLER_JOIN_SECRET)"
        await peer.says(replies.Error(message=secret, code="not_authorized"))
        assert isinstance(await asked, NotAuthorized)
        assert isinstance(await refusal_of(ping(client)), NotAuthorized)


async def test_without_reconnect_a_lost_connection_ends_the_client() -> None:
    wire = Wire()
    async with connected(wire, reconnect=False) as (client, peer):
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(refusal_of(say(client)))
            await peer.hears(requests.Send)
            await peer.drops()
            error = await sending
        assert isinstance(error, ConnectionLost)
        assert "may have been stored" in error.message
        assert isinstance(await refusal_of(ping(client)), ConnectionLost)
        assert not client.connected


# --------------------------------------------------------------------- time, and doubt


async def test_a_timeout_says_that_the_message_may_have_been_stored() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        sending = group.create_task(refusal_of(say(client, timeout=0.2)))
        await peer.hears(requests.Send)
        error = await sending
        assert isinstance(error, TimedOut)
        assert error.operation == "send"
        assert "may have been stored" in str(error)
        assert error.may_have_happened
        # Its late answer is not taken for that of the next request.
        asked = group.create_task(ping(client))
        await peer.says(SENT)
        await peer.hears(requests.Ping)
        await peer.says(PONG)
        await asked


async def test_a_timeout_of_a_question_says_that_nothing_can_have_happened() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer), asyncio.TaskGroup() as group:
        asked = group.create_task(refusal_of(ping(client, timeout=0.2)))
        await peer.hears(requests.Ping)
        error = await asked
        assert isinstance(error, TimedOut)
        assert not error.may_have_happened


async def test_a_timeout_without_connection_says_that_nothing_was_sent() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer):
        wire.failures.extend(["refused"] * 100_000)
        await peer.drops()
        await refusal_of(ping(client, timeout=0.05))  # by now the loss is noticed
        error = await refusal_of(say(client, timeout=0.05))
        assert isinstance(error, ConnectionLost)
        assert "'send' was not sent" in error.message
        assert "refused" in error.message


@pytest.mark.parametrize("features", [(), ("rid",)])
async def test_a_silent_hub_is_left_for_a_new_connection(
    features: tuple[str, ...],
) -> None:
    wire = Wire()
    async with connected(wire, *features, heartbeat=0.1) as (_, peer):
        await peer.hears(requests.Ping)  # and no answer
        await wire.admitted(*features)
        assert await peer.sees_the_end() == []


async def test_a_hub_that_gives_a_sign_is_kept() -> None:
    wire = Wire()
    async with connected(wire, heartbeat=0.3) as (client, peer):
        for _ in range(2):
            await peer.hears(requests.Ping)
            await peer.says(PONG)
        assert client.connected
        assert len(wire.dialled) == 1


# -------------------------------------------------------------------------- violations


@pytest.mark.parametrize(
    "stray", ['{"type":"pong"}', "garbage", b"bytes", '{"type":"weather","rid":"1"}']
)
async def test_a_stray_frame_ends_the_connection_and_fails_what_was_on_it(
    stray: str | bytes,
) -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        sending = group.create_task(refusal_of(say(client)))
        await peer.hears(requests.Send)
        await peer.says_text(stray)
        error = await sending
        assert isinstance(error, RemoteProtocolError)
        assert "may have been stored" in error.message
        assert await peer.sees_the_end() == []
        asked = group.create_task(ping(client))
        peer = await wire.admitted("rid")
        await peer.says(PONG, to=await peer.hears(requests.Ping))
        await asked


async def test_a_farewell_gives_the_reason_of_the_loss() -> None:
    wire = Wire()
    async with connected(wire, reconnect=False) as (client, peer):
        await peer.says(replies.Error(message="going down", code="internal"))
        await peer.sees_the_end()
        error = await refusal_of(ping(client))
        assert "going down (internal)" in str(error)


async def test_the_longest_request_is_blamed_for_a_frame_that_was_too_large() -> None:
    wire = Wire()
    async with (
        connected(wire, "rid") as (client, peer),
        asyncio.TaskGroup() as group,
    ):
        asked = group.create_task(ping(client))
        await peer.hears(requests.Ping)
        sending = group.create_task(refusal_of(say(client)))
        await peer.hears(requests.Send)
        await peer.says(replies.Error(message="too long", code="too_large"))
        assert isinstance(await sending, TooLarge)
        peer = await wire.admitted("rid")
        await peer.says(PONG, to=await peer.hears(requests.Ping))
        await asked


# -------------------------------------------------------------------------- connecting


async def first_answer(*frames: replies.Reply | str, **options: Any) -> BaseException:
    """What `connect` fails with when the hub says these after each hello."""
    wire = Wire()
    options = {"timeout": WAIT} | options

    async def dialling() -> None:
        async with connect(HUB, ME, name="me", dial=wire.dial, **options):
            pass

    async def answering() -> None:
        peer = await wire.peer()
        for frame in frames:
            await peer.hears(requests.Hello)
            if isinstance(frame, str):
                await peer.says_text(frame)
            else:
                await peer.says(frame)

    error, _ = await asyncio.gather(refusal_of(dialling()), answering())
    return error


@pytest.mark.parametrize("frame", ["<html>", "{}", '{"op":"hello","id":"x"}'])
async def test_something_that_is_no_hub_is_a_failed_connection(frame: str) -> None:
    error = await first_answer(frame)
    assert isinstance(error, ConnectFailed)
    assert "no Parler hub" in error.message
    assert error.next_step == "parler doctor"


async def test_a_hostile_nonce_is_not_signed_and_ends_the_connection() -> None:
    error = await first_answer(replies.Challenge(nonce='{"from":"me"}'))
    assert isinstance(error, RemoteProtocolError)


async def test_a_relayed_challenge_is_refused() -> None:
    class Memory:
        def check(self, token_field: str, dialled_url: str) -> None:
            assert (token_field, dialled_url) == ("0123456789ab", HUB)
            raise RelayedChallenge("it belongs to another hub")

        def former(self, dialled_url: str) -> list[str]:
            raise AssertionError("nobody asks about a hub that was refused")

    challenge = replies.Challenge(nonce=NONCE)
    error = await first_answer(challenge, known_hubs=Memory())
    assert isinstance(error, RelayedChallenge)


async def test_a_missing_join_secret_names_the_next_step() -> None:
    text = "this hub requires a join secret (set PARLER_JOIN_SECRET)"
    refused = replies.Error(message=text, code="not_authorized")
    error = await first_answer(replies.Challenge(nonce=NONCE), refused)
    assert isinstance(error, NotAuthorized)
    assert "PARLER_JOIN_SECRET" in (error.next_step or "")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("unauthenticated", NotAuthenticated),
        ("at_capacity", HubBusy),
        ("timeout", HubFault),
        ("brand_new", HubError),
    ],
)
async def test_a_refused_handshake_is_the_hubs_error(
    code: str, kind: type[HubError]
) -> None:
    error = await first_answer(replies.Error(message="no", code=code))
    assert isinstance(error, kind)


async def test_a_hub_that_says_nothing_is_a_failed_connection() -> None:
    error = await first_answer(timeout=0.05)
    assert isinstance(error, ConnectFailed)
    assert "no answer within 0.05 s" in error.reason


async def test_a_connection_that_ends_in_the_handshake_is_a_failed_one() -> None:
    wire = Wire()

    async def dialling() -> None:
        async with connect(HUB, ME, name="me", dial=wire.dial):
            pass

    async def hanging_up() -> None:
        await (await wire.peer()).drops()

    error, _ = await asyncio.gather(refusal_of(dialling()), hanging_up())
    assert isinstance(error, ConnectFailed)


# ----------------------------------------------------------------------------- the end


async def test_leaving_the_block_closes_the_connection_and_fails_what_waits() -> None:
    wire = Wire()
    async with connected(wire) as (client, peer):
        waiting = asyncio.gather(say(client), ping(client), return_exceptions=True)
        await peer.hears(requests.Send)
    lost, unsent = await waiting
    assert isinstance(lost, ConnectionLost)
    assert "may have been stored" in str(lost)
    assert "was not sent" in str(unsent)
    assert await peer.sees_the_end() == []


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    wire = Wire()

    async def session() -> None:
        async with connect(HUB, ME, name="me", dial=wire.dial):
            raise KeyError("mine")

    error, _ = await asyncio.gather(refusal_of(session()), wire.admitted())
    assert isinstance(error, KeyError)


async def test_cancelling_the_block_is_a_cancellation() -> None:
    wire = Wire()
    inside = asyncio.Event()

    async def session() -> None:
        async with connect(HUB, ME, name="me", dial=wire.dial):
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(session())
        await wire.admitted()
        await inside.wait()
        task.cancel()
    assert task.cancelled()
