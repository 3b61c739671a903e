"""Questions and answers as parts of messages (protocol 14.8).

Beside the fields of the protocol, a question of ours names the project that is meant
and, for an answerer of the same user, which of the user's projects asks; or says that
it is for a person, and what there is to choose from.
"""

from enum import StrEnum
from typing import TypeVar

import msgspec

from parler.client.messages import Message
from parler.wire.parts import OtherPart, Part, SigPart, TextPart

S = TypeVar("S", bound=msgspec.Struct)

ASK_KIND = "com.parler.ask"
ANSWER_KIND = "com.parler.answer"


class Status(StrEnum):
    """How a question ended."""

    DONE = "done"
    FAILED = "failed"
    DECLINED = "declined"


class Ask(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A question to the agent of a project, or to a person."""

    question: str
    context: str | None = None
    deadline_ms: int | None = None
    """Epoch milliseconds after which nobody waits for an answer."""

    project: str | None = None
    asker: str | None = None
    """A word for the project that asks (`parler.ask.pseudonyms`)."""

    hops: int = 0
    """How many questions in a row led to this one."""

    person: bool = False
    """It is for the person who is asked: no agent may answer it."""

    choices: list[str] = []
    """What the answer is one of, if it is not free."""


class Answered(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What came of a question; the answer itself is the text beside it."""

    status: Status
    tier: str | None = None
    elapsed_ms: int | None = None
    tokens: int | None = None


def ask_parts(ask: Ask) -> list[Part]:
    """A question; its words are a text as well, for whoever knows no questions."""
    words = ask.question
    if ask.context:
        words += f"\n\nTo be known first:\n{ask.context}"
    if ask.choices:
        numbered = (f"{n} {one}" for n, one in enumerate(ask.choices, start=1))
        words += "\n" + "\n".join(numbered)
    return [TextPart(text=words), _other(ASK_KIND, ask)]


def answer_parts(text: str, answered: Answered) -> list[Part]:
    """An answer."""
    words: list[Part] = [TextPart(text=text)] if text else []
    return [*words, _other(ANSWER_KIND, answered)]


def ask_of(message: Message) -> Ask | None:
    """The question in a message."""
    return _find(message, ASK_KIND, Ask)


def answered_of(message: Message) -> Answered | None:
    """What a message says came of a question."""
    return _find(message, ANSWER_KIND, Answered)


def is_plain(message: Message) -> bool:
    """Whether a message is nothing but words."""
    return bool(message.text.strip()) and all(
        isinstance(part, TextPart | SigPart) for part in message.parts
    )


def _find(message: Message, kind: str, shape: type[S]) -> S | None:
    for part in message.parts:
        if isinstance(part, OtherPart) and part.kind == kind:
            try:
                return msgspec.convert(part.fields, shape)
            except msgspec.ValidationError:
                continue
    return None


def _other(kind: str, value: msgspec.Struct) -> OtherPart:
    return OtherPart(kind=kind, fields=msgspec.to_builtins(value))
