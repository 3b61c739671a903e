"""Asks to be let into a room with a key, and waits in the background for its owner.

The key may come with the start of the process (``PARLER_SESSION_KEY``). It is kept on
disk while nobody has decided, so that a later process waits on; one that was used up
is remembered, so that the next start does not use it again.
"""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from parler.errors import ConfigError, ParlerError, UsageError
from parler.machine.backoff import Backoff, system_fraction
from parler.machine.files import read_private, write_private
from parler.ops.context import OpContext
from parler.ops.memory import DIGEST_KEY, digest_of
from parler.ops.session import JoinResult, JoinState, join_session
from parler.runtime.delivery import Delivery
from parler.runtime.log_file import LogFile
from parler.text.untrusted import place_of
from parler.wire.joinkey import InvalidJoinKey, JoinKey, parse_join_key
from parler.wire.urls import same_hub

FILE_NAME = "joining.json"
MAX_USED = 50
WAIT_SECS = 3600.0
"""One wait for the owner; the next follows it."""

REFUSED_SECS = 15.0
RECENT = 30
"""Messages of a backlog that are shown besides the first one."""


class _State(msgspec.Struct):
    key: str | None = None
    """The key of a knock that nobody has decided about, with its hub."""

    used: list[str] = []


class Joiner:
    """The knock of one identity."""

    def __init__(self, home: Path, *, delivery: Delivery, log: LogFile) -> None:
        """Take up what an earlier process of this identity waited for."""
        self._path = home / FILE_NAME
        self._delivery = delivery
        self._log = log
        self._state = self._read()
        self._key = _parsed(self._state.key)
        self._stir = asyncio.Event()

    @property
    def key(self) -> JoinKey | None:
        """What is waited for."""
        return self._key

    def knows(self, key: JoinKey) -> bool:
        """Whether a key was redeemed before, or opens nothing."""
        return _trace(key) in self._state.used

    def given(self, text: str | None, *, hub: str) -> None:
        """A key that came with the start of the process.

        Args:
            hub: Where a key without a hub belongs.
        """
        if not text:
            return
        try:
            key = parse_join_key(text)
        except InvalidJoinKey as wrong:
            self._delivery.notice(
                f"PARLER_SESSION_KEY is of no use: {wrong}. Ask for the key again.",
                key="session-key",
            )
            return
        if self.knows(key):
            return  # joined before; whether we are still in is the hub's word
        self.expect(JoinKey(key.code, key.hub or hub))

    def expect(self, key: JoinKey) -> None:
        """Wait for a decision from now on; another knock is not waited for."""
        self._key = key
        self._keep(str(key))
        self._stir.set()

    def ended(self, key: JoinKey) -> None:
        """A key was redeemed, or opens nothing."""
        used = [one for one in self._state.used if one != _trace(key)]
        self._state.used = [*used, _trace(key)][-MAX_USED:]
        if self._key is not None and self._key.code == key.code:
            self._key = None
        self._keep(str(self._key) if self._key else None)

    async def attend(self, ctx: OpContext) -> None:
        """Wait over one connection, until it ends."""
        pace = Backoff(system_fraction)
        while True:
            self._stir.clear()
            key = self._key
            if key is None or not key.hub or not same_hub(key.hub, ctx.hub):
                await self._stir.wait()
                continue
            try:
                result = await join_session(
                    ctx, key, wait_secs=WAIT_SECS, with_digest=False
                )
            except ParlerError as error:
                if error.retryable:
                    await asyncio.sleep(pace.next())
                    continue
                self._refused(key, error)
            else:
                pace.reset()
                if result.state is JoinState.JOINED and self._key == key:
                    self._joined(key, result)
                    await self._tell_of_digest(ctx, result)

    def _joined(self, key: JoinKey, result: JoinResult) -> None:
        self.ended(key)
        self._log.note("let into a session")
        skip = None
        left_out = ""
        if len(result.messages) > RECENT + 1:
            first, start = result.messages[0].seq, result.messages[-RECENT].seq
            skip = (first, start)
            left_out = (
                f" What was said between [{first}] and [{start}] is left out: "
                f"parler_recv since={first} shows it."
            )
        self._delivery.entered(result.room, skip=skip)
        self._delivery.notice(
            f"You are in: {place_of(result.room)} is your active session now. What was "
            f"said there so far comes as messages; read the first one before you act."
            f"{left_out}",
            key=f"joined:{_trace(key)[:12]}",
            room=result.room,
        )

    async def _tell_of_digest(self, ctx: OpContext, result: JoinResult) -> None:
        """Say that there is one; not before it is known that we are in."""
        with suppress(ParlerError):
            if await digest_of(ctx, result.room):
                self._delivery.notice(
                    f"A member wrote a digest of {place_of(result.room)}: "
                    f"parler_recall key={DIGEST_KEY} shows it.",
                    key=f"digest:{result.room}",
                    room=result.room,
                )

    def _refused(self, key: JoinKey, error: ParlerError) -> None:
        self.ended(key)
        self._log.note(f"a key was refused: {error.code}")
        step = f" Next: {error.next_step}." if error.next_step else ""
        self._delivery.notice(
            f"You were not let in with the key {key.code[:2]}…: {error.message}.{step}",
            key=f"refused:{_trace(key)[:12]}",
        )

    def _keep(self, key: str | None) -> None:
        self._state.key = key
        with suppress(ConfigError):  # it is only not remembered over a restart
            write_private(self._path, msgspec.json.encode(self._state))

    def _read(self) -> _State:
        try:
            return msgspec.json.decode(read_private(self._path), type=_State)
        except (FileNotFoundError, ConfigError, msgspec.DecodeError, UnicodeError):
            return _State()


def pasted_key(text: str) -> JoinKey:
    """A key the way people paste it.

    Raises:
        UsageError: It cannot be a key of any hub.
    """
    try:
        return parse_join_key(text)
    except InvalidJoinKey as error:
        raise UsageError(
            str(error), next_step="ask your user for the key once more"
        ) from None


def _parsed(text: str | None) -> JoinKey | None:
    with suppress(InvalidJoinKey):
        return parse_join_key(text) if text else None
    return None


def _trace(key: JoinKey) -> str:
    """What is remembered of a key: it opens nothing."""
    return hashlib.sha256(key.code.encode()).hexdigest()
