"""Ends chains of agents that ask one another: counts how many asked before us.

An agent that answers is told so by a variable. Apps do not hand all variables on to
what they start, so that the environments of the processes above count as well.
"""

import os
from collections.abc import Mapping

from parler.errors import UsageError
from parler.machine.processes import ancestor_variables

VARIABLE = "PARLER_ASK_HOPS"
MAX_HOPS = 2
"""Questions in a row: an agent that was asked may ask one more, and that is all."""


def hops(environment: Mapping[str, str], *, pid: int | None = None) -> int:
    """How many questions led to this process; 0 if nobody asked."""
    # All of them count: an agent can set the variable anew for what it starts.
    said = ancestor_variables(VARIABLE, os.getpid() if pid is None else pid)
    if VARIABLE in environment:
        said.append(environment[VARIABLE])
    return max(map(_number, said), default=0)


def _number(said: str) -> int:
    # Whatever else it says, somebody did ask.
    plain = said.isascii() and said.isdigit() and len(said) < 5
    return int(said) if plain else MAX_HOPS


def check_may_ask(depth: int) -> None:
    """Refuse to ask on without end.

    Raises:
        UsageError: Too many agents are asking one another already.
    """
    if depth >= MAX_HOPS:
        raise UsageError(
            f"{depth} agents are asking one another in a row already; this one "
            "answers from what it has",
        )


def check_not_asked(depth: int, what: str) -> None:
    """Refuse what only somebody may do who was not started to answer a question.

    Raises:
        UsageError: We were.
    """
    if depth:
        raise UsageError(f"an agent that answers a question does not {what}")
