"""Finding the one who is meant among several: by id, fingerprint or name.

A name is whatever somebody calls itself, so it counts only where it is unique, and
never where it looks like an id or a fingerprint.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from parler.errors import UsageError
from parler.identity.signing import fingerprint, is_agent_id
from parler.text.terminal import shown_name
from parler.wire.base import AgentId

MIN_PREFIX_CHARS = 9
"""Characters of a fingerprint that may stand for it: 40 bits and a dash."""

_FINGERPRINT = re.compile(r"[A-Z2-7]{4}-[A-Z2-7]{4}(-[A-Z2-7]{1,4}){0,2}-?", re.ASCII)
_WHOLE_FINGERPRINT = re.compile(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){3}", re.ASCII)
_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may be meant."""

    agent: AgentId
    name: str

    def __str__(self) -> str:
        """The name and, since anybody may use it, the fingerprint."""
        return f"{shown_name(self.name)} {fingerprint(self.agent)}"


def as_agent_id(who: str) -> AgentId | None:
    """The id if the text is one."""
    return AgentId(who) if is_agent_id(who) else None


def is_whole_fingerprint(who: str) -> bool:
    """Whether a text is all of a fingerprint."""
    return _WHOLE_FINGERPRINT.fullmatch(who) is not None


def matching(who: str, people: Sequence[Person]) -> list[Person]:
    """Those who may be meant, each once."""
    distinct = {person.agent: person for person in people}.values()
    wanted = who.strip()
    if is_agent_id(wanted):
        return [person for person in distinct if person.agent == wanted]
    short = wanted.upper()
    if _FINGERPRINT.fullmatch(short) and len(short) >= MIN_PREFIX_CHARS:
        return [
            person for person in distinct if fingerprint(person.agent).startswith(short)
        ]
    folded = wanted.casefold()
    return [person for person in distinct if person.name.strip().casefold() == folded]


def pick(who: str, people: Sequence[Person], *, among: str, next_step: str) -> Person:
    """The one who is meant.

    Args:
        among: Whom `people` are, to end the sentence "nobody called X …".
        next_step: The command that lists them.

    Raises:
        UsageError: Nobody, or more than one.
    """
    found = matching(who, people)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"nobody called {who!r} {among}", next_step=next_step)
    listed = ", ".join(str(person) for person in found[:_LISTED])
    raise UsageError(
        f"{who!r} could be any of {len(found)} {among}: {listed}",
        next_step="use the fingerprint or the id instead of the name",
    )
