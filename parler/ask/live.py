"""Asks an agent that runs now: sends it a direct message and waits for its reply."""

import asyncio
import time
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
    position, pause = sent.seq, POLL_SECS
    deadline = time.monotonic() + wait_secs
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        await asyncio.sleep(min(pause, left))
        pause = min(pause * _SLOWER, _MAX_POLL_SECS)
        try:
            batch = await client.pull(sent.room, since=position)
        except TransportError:
            continue  # the client dials again
        for message in batch.messages:
            answered = _answer(message, agent, sent.id)
            if answered is not None:
                return LiveAnswer(
                    message=sent.id,
                    room=sent.room,
                    seq=sent.seq,
                    answered=answered,
                    text=message.text,
                )
        position = batch.cursor
    return LiveAnswer(message=sent.id, room=sent.room, seq=sent.seq, answered=None)


def _answer(message: Message, agent: AgentId, question: str) -> Answered | None:
    signed = message.signature is Signature.VALID and message.author.id == agent
    if not signed or message.stored.reply_to != question:
        return None
    answered = answered_of(message)
    if answered is None and is_plain(message):
        return Answered(status=Status.DONE)
    return answered
