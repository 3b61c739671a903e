"""Options that several commands share, and reading what was pasted or piped in."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from parler.errors import UsageError

if TYPE_CHECKING:
    from parler.wire.joinkey import JoinKey

MAX_STDIN_BYTES = 2**24
"""Far more than fits into a message; reading stops there."""

Room = Annotated[
    str | None,
    typer.Option("--room", metavar="ROOM", help="Instead of the active session."),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="AGENT", help="One agent: id, name or fingerprint."),
]
Service = Annotated[
    str | None, typer.Option("--service", metavar="NAME", help="Whoever serves this.")
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="TEXT", help="The recap.")
]
Ttl = Annotated[
    int | None,
    typer.Option("--ttl", metavar="SECS", help="How long the key works.", min=0),
]
MaxUses = Annotated[
    int | None,
    typer.Option(
        "--max-uses", metavar="N", help="How often it works.", min=0, max=2**32 - 1
    ),
]


def pasted_key(text: str) -> "JoinKey":
    """A key the way people paste it.

    Raises:
        UsageError: It cannot be a key of any hub.
    """
    from parler.wire.joinkey import InvalidJoinKey, parse_join_key

    try:
        return parse_join_key(text)
    except InvalidJoinKey as error:
        raise UsageError(
            str(error), next_step="ask the owner for the key once more and paste it"
        ) from None


def piped_text(what: str) -> str:
    """All of stdin, without the line break that ends it.

    Raises:
        UsageError: It is too long, or not UTF-8.
    """
    data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(data) > MAX_STDIN_BYTES:
        raise UsageError(f"{what} on stdin is longer than {MAX_STDIN_BYTES} bytes")
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise UsageError(f"{what} on stdin is not UTF-8") from None


def only_one(**targets: str | None) -> None:
    """Refuse more than one target.

    Raises:
        UsageError: More than one was given.
    """
    given = [f"--{name}" for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} exclude each other",
            next_step="name one of them, or none for the active session",
        )
