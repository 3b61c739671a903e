"""Asks an agent that runs now: sends it a direct message and waits for its reply."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from parler.client.client import Client
from parler.client.messages import Message
from parler.client.questions import (
    Answered,
    Ask,
    Status,
    answered_of,
    ask_parts,
    is_plain,
)
from parler.errors import TransportError
from parler.identity.message_signing import Signature
from parler.wire.base import AgentId, MessageId, RoomName, Seq
from parler.wire.records import DmTarget

POLL_SECS = 0.1
_MAX_POLL_SECS = 3.0
_SLOWER = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAnswer:
    """What an agent that runs answered, or that it did not in time."""

    message: MessageId
    room: RoomName
    seq: Seq
    answered: Answered | None
    text: str = ""


async def ask_agent(
    client: Client, agent: AgentId, ask: Ask, *, wait_secs: float
) -> LiveAnswer:
    """Ask an agent, and wait for its answer; it may come later all the same.

    Only what the agent itself signed, in the room of the question and as a reply to
    it, is its answer. Plain words will do: not every agent knows of questions.

    Raises:
        HubError: The hub does not take the question, for one if the agent has no
            card.
        TransportError: It is not known whether it took it.
    """
    sent = await client.send(DmTarget(agent=agent), ask_parts(ask))
    message = await first_message(
        client,
        sent.room,
        lambda one: _answer(one, agent, sent.id) is not None,
        since=sent.seq,
        wait_secs=wait_secs,
    )
    return LiveAnswer(
        message=sent.id,
        room=sent.room,
        seq=sent.seq,
        answered=_answer(message, agent, sent.id) if message else None,
        text=message.text if message else "",
    )


async def first_message(
    client: Client,
    room: RoomName,
    wanted: Callable[[Message], bool],
    *,
    since: Seq,
    wait_secs: float,
) -> Message | None:
    """The first message of a room that is wanted, waited for while our cursor stays.

    Returns:
        None if none came in time.
    """
    pause = POLL_SECS
    deadline = time.monotonic() + wait_secs
    while (left := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(pause, left))
        pause = min(pause * _SLOWER, _MAX_POLL_SECS)
        try:
            batch = await client.pull(room, since=since)
        except TransportError:
            continue  # the client dials again
        for message in batch.messages:
            if wanted(message):
                return message
        since = batch.cursor
    return None


def _answer(message: Message, agent: AgentId, question: str) -> Answered | None:
    signed = message.signature is Signature.VALID and message.author.id == agent
    if not signed or message.stored.reply_to != question:
        return None
    answered = answered_of(message)
    if answered is None and is_plain(message):
        return Answered(status=Status.DONE)
    return answered
