"""The phones that act for the person of this machine, and what each was told.

One small file in the machine home, which other users cannot read. All that keeps a
phone's word from counting twice is written here before anything is done by it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from parler.errors import ConfigError, UsageError
from parler.machine.files import aside, locked, read_private, write_private
from parler.wire.base import AgentId, Millis, RoomName, Seq

FILE_NAME = "devices.json"
MAX_DEVICES = 8
MAX_DONE = 64
"""Commands whose answers are kept, of each phone."""

MAX_KEPT_CHARS = 1000
"""Of such an answer."""


class Device(msgspec.Struct, kw_only=True):
    """A phone that was paired."""

    name: str
    id: AgentId
    hub: str
    room: RoomName
    secret: bytes
    """What the codes of the pairing had in it: all keys come from that."""

    since: Millis
    used: Millis = 0
    """When it last said something that counted."""

    seq: Seq = 0
    """What it said up to here was looked at."""

    heard: int = 0
    """Its newest counter: what has no higher one is no news."""

    sent: int = 0
    """The newest one of ours."""

    done: dict[str, str | None] = {}
    """The last commands by their ids, oldest first, with what came of each; None: it
    was begun."""


class _File(msgspec.Struct, frozen=True):
    devices: list[Device] = []


class Devices:
    """The phones of one machine home; processes share the file."""

    def __init__(self, machine_home: Path) -> None:
        """Use the file in `machine_home`; nothing is read or written yet."""
        self.path = machine_home / FILE_NAME

    def all(self) -> list[Device]:
        """Every phone, by name.

        Raises:
            ConfigError: The file is damaged, or other users may read it.
        """
        return sorted(self._read(), key=lambda one: one.name.casefold())

    def add(self, device: Device) -> Device:
        """Let a phone act from now on, under a name that no other has.

        Raises:
            UsageError: There are too many.
            ConfigError: The file is damaged or not writable.
        """
        with self._changing() as known:
            if len(known) >= MAX_DEVICES:
                raise UsageError(
                    f"{MAX_DEVICES} phones are the most",
                    next_step="parler devices remove NAME",
                )
            taken = {one.name.casefold() for one in known}
            name, number = device.name, 2
            while name.casefold() in taken:
                name, number = f"{device.name}-{number}", number + 1
            named = msgspec.structs.replace(device, name=name)
            known.append(named)
        return named

    def remove(self, name: str) -> Device:
        """Let a phone act no more.

        Raises:
            UsageError: There is none of that name.
            ConfigError: The file is damaged or not writable.
        """
        wanted = name.strip().casefold()
        with self._changing() as known:
            gone = [one for one in known if one.name.casefold() == wanted]
            if not gone:
                raise UsageError(
                    f"no phone is called {name!r}", next_step="parler devices"
                )
            known[:] = [one for one in known if one not in gone]
        return gone[0]

    def looked(self, device: AgentId, seq: Seq) -> None:
        """Note that nothing up to a message waits any more."""
        with self._changing() as known:
            for one in known:
                if one.id == device:
                    one.seq = max(one.seq, seq)

    def begin(
        self, device: AgentId, counter: int, command: str, *, once: bool, now: Millis
    ) -> "Begun | None":
        """Note that a phone said something before it is done.

        Args:
            once: It must never be done a second time, whenever it is said again.

        Returns:
            None if the phone was removed, or said that before.
        """
        with self._changing() as known:
            found = next((one for one in known if one.id == device), None)
            if found is None or counter <= found.heard:
                return None
            found.heard, found.used = counter, now
            if not once:
                return Begun(True, None)
            if command in found.done:
                return Begun(False, found.done[command])
            for oldest in list(found.done)[: max(len(found.done) + 1 - MAX_DONE, 0)]:
                del found.done[oldest]
            found.done[command] = None
            return Begun(True, None)

    def end(self, device: AgentId, command: str, answer: str) -> None:
        """Keep what came of a command, for when it is asked for again."""
        with self._changing() as known:
            for one in known:
                if one.id == device and command in one.done:
                    one.done[command] = answer[:MAX_KEPT_CHARS]

    def next(self, device: AgentId) -> int | None:
        """The counter of what we say next; None if the phone was removed."""
        with self._changing() as known:
            for one in known:
                if one.id == device:
                    one.sent += 1
                    return one.sent
        return None

    def _read(self) -> list[Device]:
        try:
            return msgspec.json.decode(read_private(self.path), type=_File).devices
        except FileNotFoundError:
            return []
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ConfigError(
                f"{self.path} is damaged: {error}",
                next_step=f"{aside(self.path)}; phones have to be paired again",
            ) from None

    @contextmanager
    def _changing(self) -> Iterator[list[Device]]:
        with locked(self.path):
            known = self._read()
            before = msgspec.json.encode(_File(known))
            yield known
            after = msgspec.json.encode(_File(known))
            if after != before:
                write_private(self.path, after)


class Begun(msgspec.Struct, frozen=True):
    """What a command is that was just said."""

    is_new: bool
    answer: str | None
    """What came of it when it was said first; None while that is not known."""
