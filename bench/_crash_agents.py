"""Agents that keep talking and reading, through the product's own client.

They note everything in a `Ledger` and know nothing of when or how their hub dies.
"""

import asyncio
import itertools
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress

from bench._crash_ledger import Ledger, Line, Reading, Said
from parler.client.client import Client, connect
from parler.client.messages import Batch
from parler.client.transport import Transport, dial_websocket
from parler.errors import ConnectFailed, HubError, TransportError
from parler.identity.message_signing import Signature
from parler.identity.signing import Keypair
from parler.wire.base import RoomName
from parler.wire.parts import TextPart
from parler.wire.records import RoomTarget

SEND_SECS = 120.0
"""How long one send may take, with all its repetitions over lost connections."""

FOLLOW_SECS = 5
PAUSE_SECS = 0.01
"""Longest pause of a sender between two messages."""


class Sender:
    """Says 0, 1, 2 … to rooms in turn, with several messages on their way."""

    def __init__(
        self,
        keypair: Keypair,
        rooms: Sequence[RoomName],
        ledger: Ledger,
        chance: random.Random,
        *,
        window: int,
    ) -> None:
        """Say nothing yet."""
        self.keypair = keypair
        self._rooms = rooms
        self._ledger = ledger
        self._chance = chance
        self._window = window
        self.confirmed = 0

    async def run(self, hub: str, stop: asyncio.Event) -> None:
        """Talk until `stop`, and until all that was said is confirmed."""
        while not stop.is_set():
            with suppress(ConnectFailed):  # the hub died before we were in
                await self._talk(hub, stop)

    async def _talk(self, hub: str, stop: asyncio.Event) -> None:
        slots = asyncio.Semaphore(self._window)
        async with (
            connect(hub, self.keypair, name="sender") as client,
            asyncio.TaskGroup() as group,
        ):
            for number in itertools.count():
                await asyncio.sleep(self._chance.random() * PAUSE_SECS)
                await slots.acquire()
                if stop.is_set():
                    return
                group.create_task(self._say(client, number, slots))

    async def _say(self, client: Client, number: int, slots: asyncio.Semaphore) -> None:
        room = self._rooms[number % len(self._rooms)]
        self._ledger.sent += 1
        try:
            sent = await client.send(
                RoomTarget(room=room), [TextPart(text=str(number))], timeout=SEND_SECS
            )
        except HubError as error:
            self._ledger.refused[error.code] += 1
        except TransportError as error:
            self._ledger.refused[f"{error.code}: {error.message}"] += 1
        else:
            said = Said(self.keypair.agent_id, number)
            self._ledger.acknowledged[room][said] = sent.seq
            self.confirmed += 1
        finally:
            slots.release()


class Reader:
    """Follows rooms by its cursors, and acknowledges what it noted.

    One that is `forgetful` is a new process after each crash: what it has read, only
    the hub remembers.
    """

    def __init__(
        self,
        keypair: Keypair,
        rooms: Sequence[RoomName],
        ledger: Ledger,
        gate: asyncio.Event,
        *,
        forgetful: bool,
    ) -> None:
        """Read nothing yet.

        Args:
            gate: Closed while nobody may reach the hub, so that a stored cursor can
                be looked at before its reader raises it.
        """
        self.keypair = keypair
        self._rooms = rooms
        self._ledger = ledger
        self._gate = gate
        self._forgetful = forgetful
        self._crashed = asyncio.Event()

    async def run(self, hub: str) -> None:
        """Read until cancelled."""
        while True:
            with suppress(TransportError):  # the hub died again at once
                async with self._connected(hub) as client:
                    await self._live(client)

    def crash(self) -> None:
        """Note that the hub was killed."""
        if self._forgetful:
            self._crashed.set()

    def reading(self, room: RoomName) -> Reading:
        """What it got of a room so far."""
        return self._ledger.readings[self.keypair.agent_id, room]

    def _connected(self, hub: str) -> AbstractAsyncContextManager[Client]:
        return connect(hub, self.keypair, name="reader", dial=self._dial)

    async def _dial(self, url: str) -> Transport:
        await self._gate.wait()
        return await dial_websocket(url)

    async def _live(self, client: Client) -> None:
        self._crashed.clear()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._follow(client, room)) for room in self._rooms
            ]
            await self._crashed.wait()
            for task in tasks:
                task.cancel()

    async def _follow(self, client: Client, room: RoomName) -> None:
        reading = self.reading(room)
        async for batch in client.follow(room, wait_secs=FOLLOW_SECS):
            _note(batch, reading)
            with suppress(TransportError):
                await batch.ack()
                reading.confirm(batch.cursor)


def _note(batch: Batch, reading: Reading) -> None:
    for message in batch.messages:
        said = Said(message.author.id, int(message.text))
        valid = message.signature is Signature.VALID
        reading.take(Line(message.seq, said), valid=valid)
