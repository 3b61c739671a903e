"""Asking the person at the terminal, for what `ops.person_only` lets pass."""

import os
import sys

import click

from parler.cli.render import complain, put_question
from parler.ops.person_only import Deciding, PersonGate


def check_no_agent(deciding: Deciding) -> None:
    """Refuse what an agent's shell runs, before anybody is bothered.

    Raises:
        UsageError: One runs us.
    """
    _person(yes=False).check(deciding)


def check_agreed(deciding: Deciding, *, yes: bool) -> None:
    """Go on only if a person wants it; a command given up on changes nothing.

    Raises:
        UsageError: An agent runs us, or there is nobody to ask.
        click.Abort: The person said no.
    """
    if not _person(yes=yes).agrees(deciding):
        complain("nothing was changed")
        raise click.Abort


def _person(*, yes: bool) -> PersonGate:
    from parler.identity.homes import process_environment

    return PersonGate(
        environment=process_environment(),
        pid=os.getpid(),
        ask=put_question if sys.stdin and sys.stdin.isatty() else None,
        yes=yes,
    )
