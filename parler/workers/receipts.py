"""What is said about tasks: our own receipts, and what others' receipts tell.

Pure. Every receipt has a client id that follows from the task, so that the hub stores
it once however often it is sent (protocol 5.2).
"""

from collections import OrderedDict
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from parler.client.messages import Message
from parler.identity.message_signing import Signature
from parler.wire.base import AgentId, MessageId, Seq
from parler.wire.parts import OtherPart, Part, TaskPart, TextPart
from parler.wire.records import EndpointRef, TaskStatus
from parler.workers.ledger import NextTurn, Outcome
from parler.workers.selection import HANDOFF_KIND, HOPS

MAX_TASKS = 4096
"""Tasks whose receipts are remembered; the oldest are forgotten first."""

MAX_AUTHORS = 64
"""Authors of receipts that are remembered for one task."""


def client_id(task: MessageId, what: str) -> str:
    """The client id of our only message of this sort about a task."""
    return f"parler-task:{task}:{what}"


def progress(task: MessageId, status: TaskStatus, note: str | None = None) -> Part:
    """A receipt on the way."""
    return TaskPart(status=status, task=task, note=note)


def final(task: MessageId, outcome: Outcome) -> list[Part]:
    """The receipt that ends a task: what came of it, and how."""
    parts: list[Part] = []
    if outcome.text:
        parts.append(TextPart(text=outcome.text))
    parts.append(
        TaskPart(
            status=outcome.status,
            task=task,
            note=outcome.note,
            elapsed_ms=outcome.elapsed_ms,
        )
    )
    if outcome.then is not None and outcome.returns:
        parts.append(handing_on(outcome.then))
    return parts


def handing_on(then: NextTurn) -> Part:
    """A handoff that says how many workers handed it on."""
    fields: dict[str, Any] = {"to": then.to, "next": then.next, HOPS: then.hops}
    if then.summary:
        fields["summary"] = then.summary
    return OtherPart(kind=HANDOFF_KIND, fields=fields)


@dataclass(slots=True)
class _Said:
    author: EndpointRef
    first: Seq
    status: TaskStatus


@dataclass(slots=True)
class Receipts:
    """What was said about tasks in one room, as far as it was read."""

    _tasks: OrderedDict[str, dict[AgentId, _Said]] = field(default_factory=OrderedDict)

    def note(self, message: Message) -> None:
        """Take note of a message, in the order of the room."""
        if message.signature is not Signature.VALID:
            return
        for part in message.parts:
            if isinstance(part, TaskPart) and part.task:
                self._note(part.task, part.status, message)

    def first_taker(
        self, task: MessageId, *, before: Seq | None, ignoring: Container[AgentId]
    ) -> EndpointRef | None:
        """Who took a task, by its receipts, and has not given it back.

        Args:
            before: Only who did so before this position.
            ignoring: Whose receipts do not count.
        """
        takers = [
            said
            for agent, said in self._tasks.get(task, {}).items()
            if agent not in ignoring
            and said.status is not TaskStatus.CANCELLED
            and (before is None or said.first < before)
        ]
        return min(takers, key=lambda said: said.first).author if takers else None

    def endings(self, task: MessageId) -> dict[AgentId, TaskStatus]:
        """Who said that a task has ended, and how."""
        return {
            agent: said.status
            for agent, said in self._tasks.get(task, {}).items()
            if said.status.final
        }

    def _note(self, task: str, status: TaskStatus, message: Message) -> None:
        known = self._tasks.setdefault(task, {})
        author = message.author.id
        if author in known:
            if not known[author].status.final:  # nothing follows an end
                known[author].status = status
        elif len(known) < MAX_AUTHORS:
            known[author] = _Said(message.author, message.seq, status)
        while len(self._tasks) > MAX_TASKS:
            self._tasks.popitem(last=False)
