"""What every operation is given: a connected client, who we are, where things live."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from parler.client.acquaintance import Standing
from parler.errors import RemoteProtocolError, UsageError
from parler.identity.identity import (
    Identity,
    Knock,
    active_session,
    knocked_at,
    note_knock,
    noted_session,
    set_active_session,
)
from parler.identity.known_rooms import KnownRooms
from parler.text.terminal import shell_word
from parler.wire.base import RoomName
from parler.wire.foreign import Foreign, exact
from parler.wire.names import is_direct, is_secret_word

if TYPE_CHECKING:
    from parler.client.acquaintance import Acquaintance
    from parler.client.client import Client


class Result(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Base of what an operation returns."""


def room_or_session(home: Path, named: str | None) -> RoomName:
    """The room that is meant: the named one, else the active session.

    Raises:
        UsageError: None was named and there is no active session.
        ConfigError: Which one it is cannot be read.
    """
    room = named or noted_session(home)
    if room:
        return RoomName(room)
    if knock := knocked_at(home):
        raise UsageError(
            not_in_yet(knock),
            next_step=f"parler session join {shell_word(knock.key)} --wait 600",
        )
    raise UsageError(
        "there is no active session, and no --room was named",
        next_step="parler session open, or parler session join KEY",
    )


def not_in_yet(knock: Knock) -> str:
    """Why there is no session although we knocked at one."""
    return (
        f"you knocked at {knock.room}, and its owner has not let you in yet: nothing "
        "can be read or said there before"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpContext:
    """One connection to one hub, in the name of one identity."""

    client: "Client"
    identity: Identity
    hub: str
    """The hub, in the one spelling that people are shown."""

    known_rooms: KnownRooms
    now: Callable[[], int]
    """Epoch milliseconds."""

    shared_as: str | None = None
    """Where others reach the hub, if that is not as we named it."""

    acquaintance: "Acquaintance | None" = None
    """Whose direct messages come through; None: everybody's."""

    for_model: Callable[[], bool] = lambda: False
    """Whether what is read here comes to a model."""

    for_this_user: Callable[[], bool] = lambda: False
    """Whether the hub is this machine's own, and lets in nobody else's agents: looked
    up when somebody asks."""

    def portable(self, code: str) -> str:
        """A key together with its hub, to be handed to others."""
        return f"{code}@{self.shared_as or self.hub}"

    def room(self, named: str | None) -> RoomName:
        """The room that is meant: the named one, else the active session.

        Raises:
            UsageError: None was named and there is no active session.
        """
        return room_or_session(self.identity.home, named)

    async def require_accepted(self, room: RoomName) -> None:
        """Keep from a model what a stranger wrote, until the person has accepted it.

        Raises:
            UsageError: It is such a message that waits in the room.
        """
        if self.acquaintance is None or not is_direct(room) or not self.for_model():
            return
        if await self.acquaintance.standing(room) is Standing.KNOWN:
            return
        raise UsageError(
            f"what waits in {room} is a stranger's request, and your user has not "
            "accepted it",
            next_step="your user sees it with `parler inbox`",
        )

    def wrote_in(self, room: RoomName) -> None:
        """Whom we write to, we know: what is answered there comes through."""
        if is_direct(room) and not self.known_rooms.knows(self.hub, room):
            self.known_rooms.remember(self.hub, room)

    def enter(self, room: RoomName, *, is_open: bool = False) -> None:
        """Make a room the active session and remember which hub it lives on.

        Args:
            is_open: Nobody is asked who comes with a key.
        """
        self.known_rooms.remember(self.hub, room, is_open=is_open)
        set_active_session(self.identity.home, room)
        note_knock(self.identity.home, None)

    def forget(self, room: RoomName) -> None:
        """Forget a room we left; it is no longer the active session."""
        self.known_rooms.forget(self.hub, room)
        self.end_session(room)

    def end_session(self, room: RoomName) -> None:
        """Have a room be no longer the active session."""
        if active_session(self.identity.home) == room:
            set_active_session(self.identity.home, None)


def minted(text: Foreign) -> str:
    """A key or a token that the hub made, to be shown and pasted.

    Raises:
        RemoteProtocolError: It is none.
    """
    word = exact(text)
    if not is_secret_word(word):
        raise RemoteProtocolError("the hub made a key or token that is none")
    return word


def check_texts(**typed: str | None) -> None:
    """Refuse a text that is not valid UTF-8; each is named as people call it.

    Raises:
        UsageError: One of them holds bytes of another encoding.
    """
    for name, text in typed.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            said = name.replace("_", " ")
            raise UsageError(f"the {said} is not valid UTF-8") from None
