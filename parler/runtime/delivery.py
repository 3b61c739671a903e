"""Brings every message to the model once, and marks none as read before it has it.

Of the processes that run for an identity only one reads the hub (`leader`). It fetches
messages (`follower`), keeps what waits (`mailbox`), has each shown by one path only, by
this process or by a hook of the app (`shared_spool`), and acknowledges to the hub what
was shown with nothing left out before it (`acknowledger`). Here these are wired.
"""

import asyncio
from contextlib import suppress

from parler.errors import ParlerError
from parler.identity.identity import active_session
from parler.identity.settings import hub_key
from parler.machine.backoff import Backoff, system_fraction
from parler.ops.context import OpContext
from parler.runtime.acknowledger import Acknowledger
from parler.runtime.entry import MAX_CHARS, Entry, is_followed
from parler.runtime.follower import Follower
from parler.runtime.knocks import Knocks
from parler.runtime.leader import Leadership
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.runtime.receipt import Claim, Collected, Confirmation, Receipt
from parler.runtime.shared_spool import SharedSpool
from parler.text.transcript import Reader
from parler.wake.spool import Held, Item, Spool
from parler.wire.base import RoomName, Seq

REFRESH_SECS = 45.0
"""How often the hub is asked for what it may not have announced."""

SPOOL_SECS = 1.0
"""How often is looked what hooks have shown."""

REFUSED_SECS = 15.0


class Delivery:
    """The mail of one identity."""

    def __init__(
        self,
        spool: Spool,
        *,
        confirmation: Confirmation,
        log: LogFile,
        max_chars: int | None = MAX_CHARS,
    ) -> None:
        """Nothing is read before `run` and `attend`.

        Args:
            confirmation: Learns whether what was collected arrived.
        """
        self.waiters = 0
        """Calls that wait for news at this moment."""

        self.knocks = Knocks(self)
        self.last_taken: int | None = None
        """When the model got something last, in epoch milliseconds."""

        self._confirmation = confirmation
        confirmation.report_to(self.settled)
        self._log = log
        self._max_chars = max_chars
        self._mailbox = Mailbox()
        self._spool = SharedSpool(
            spool, self._mailbox, unwanted=self._unwanted, log=log
        )
        self._leadership = Leadership(spool.home, log)
        self._follower: Follower | None = None
        self._todo: asyncio.Queue[tuple[Receipt, bool]] = asyncio.Queue()
        self._news = asyncio.Event()
        """Set whenever something new may wait: for calls that wait for it."""

        self._pushable = asyncio.Event()
        """The same, for whoever reaches an idle model."""

        self._stir = asyncio.Event()
        """The hub should be asked or told something."""

        self._askers: list[asyncio.Future[None]] = []
        """Who waits for the hub to be asked from its beginning."""

    # What waits

    @property
    def leads(self) -> bool:
        """Whether this process reads for the identity; another window does not."""
        return self._leadership.held

    def waiting(self, room: RoomName | None = None) -> list[Item]:
        """What could be shown now; of one room, also what may not interrupt."""
        return self._mailbox.waiting(room)

    def quiet(self) -> int:
        """How many messages wait that may not interrupt."""
        return self._mailbox.quiet()

    async def wait_any(self, room: RoomName | None, secs: float) -> bool:
        """Wait until something could be shown, in a room or of all that may interrupt.

        Nobody else is bothered with it meanwhile.
        """
        self.waiters += 1
        try:
            return await self._wait(room, secs)
        finally:
            self.waiters -= 1

    async def _wait(self, room: RoomName | None, secs: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(secs):
                while not self.waiting(room) and not self.waiting():
                    self._news.clear()
                    await self._news.wait()
                return True
        return False

    async def ask(self, secs: float) -> bool:
        """Have the hub asked now what there is; False if it did not answer in time.

        It announces news in its own time: that nothing waits here is no proof.
        """
        if self._follower is None or not self.leads:
            return False
        asked = asyncio.get_running_loop().create_future()
        self._askers.append(asked)
        self._look_again()
        try:
            async with asyncio.timeout(secs):
                await asked
        except TimeoutError:
            self._askers = [one for one in self._askers if one is not asked]
            return False
        return True

    async def heard_of_news(self) -> None:
        """Wait until something new may wait."""
        await self._pushable.wait()
        self._pushable.clear()

    async def follows(self, room: RoomName, *, secs: float) -> bool:
        """Whether what is said there is shown unasked.

        If it is going to be, this waits for what is there already to be fetched.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + secs
        while self.leads and is_followed(room, self._mailbox.active):
            box = self._mailbox.boxes.get(room)
            if box is not None and box.fetched is not None:
                return True
            if clock() >= deadline or self._follower is None:
                break
            await asyncio.sleep(0.02)
        return False

    def author_is_proven(self, item: Item) -> Entry | None:
        """The entry of a waiting message whose signature is good."""
        entry = self._mailbox.entry_of(item)
        return entry if entry and entry.trusted else None

    # Taking it

    async def collect(
        self,
        *,
        room: RoomName | None = None,
        limit: int | None = None,
        max_chars: int | None,
    ) -> Collected:
        """Take what waits, until it is known whether it arrived.

        Args:
            room: Only what is there, also what may not interrupt.
            limit: At most so many messages.
        """
        if not self.leads or not self.waiting(room):
            return Collected()
        return await self._spool.collect(
            lambda: self.waiting(room), limit=limit, max_chars=max_chars
        )

    async def collect_replies(self, message: str) -> list[Held]:
        """Take what answers a message of ours, and is shown otherwise."""
        replies = self._mailbox.replies_to(message)
        if not self.leads or not replies:
            return []
        got = await self._spool.collect(
            lambda: [item for item in self.waiting() if item.mark in replies]
        )
        return [got.held] if got.held else []

    def has_read(self, room: RoomName, upto: Seq) -> Claim:
        """A result is about to show a room up to here: not to be shown twice."""
        return self._mailbox.claim(room, upto)

    def settled(self, receipt: Receipt, arrived: bool) -> None:
        """It is known of what was collected whether it came to the model."""
        self._todo.put_nowait((receipt, arrived))

    async def mark_seen(self, marks: set[tuple[str, int]]) -> int:
        """The model says itself that it has these; how many of them waited."""
        if not self.leads or not marks:
            return 0
        seen = await self._spool.mark_seen(marks)
        self._stir.set()
        return seen

    def call_over(self) -> None:
        """A result is out: what came too late for it may be pushed."""
        if self.waiting():
            self._pushable.set()

    # What else changes what is shown

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        """Tell the model something of our own, with the next result or by a hook."""
        if self._mailbox.notice(Item(room, 0, text, True, key)):
            self._bell()

    def withdraw(self, key: str, room: str = "") -> None:
        """A notice is out of date."""
        self._mailbox.notices.own.pop((room, 0, key), None)

    def entered(
        self, room: RoomName | None, *, skip: tuple[Seq, Seq] | None = None
    ) -> None:
        """The active session is another one now, or none.

        Args:
            skip: Of its backlog, what is between these two is left out.
        """
        self._mailbox.active = room
        if room is not None and skip is not None:
            self._mailbox.box(room).leave_out(skip)
        self._look_again()

    def judge_anew(self) -> None:
        """What may interrupt has changed."""
        self._mailbox.judge_anew()
        self._look_again()

    # Working

    async def run(self) -> None:
        """Lead, and settle what arrived, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take_lead())
                tasks.create_task(self._settle_results())
                tasks.create_task(self._watch_hooks())
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Others may show what nobody knows to have arrived, and read the hub."""
        self._confirmation.abandon()
        while not self._todo.empty():
            receipt, _ = self._todo.get_nowait()
            for held in receipt.holds:
                held.release()
        self._mailbox.release_all()
        self._leadership.give_up()

    async def attend(self, ctx: OpContext, reader: Reader) -> None:
        """Read the hub over one connection, until it ends."""
        active = active_session(ctx.identity.home)
        if self._mailbox.begin(hub_key(ctx.hub), active):
            self.knocks.forget()
        follower = self._follower = Follower(
            ctx,
            reader,
            self._mailbox,
            self.knocks,
            log=self._log,
            max_chars=self._max_chars,
        )
        self._stir.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(follower))
                tasks.create_task(self._work(follower))
                tasks.create_task(self._remind())
        finally:
            self._follower = None

    async def _take_lead(self) -> None:
        await self._leadership.take()
        self._look_again()

    async def _listen(self, follower: Follower) -> None:
        async for note in follower.ctx.client.notifications():
            follower.heard(note)
            self._stir.set()

    async def _remind(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECS)
            self._look_again()

    async def _watch_hooks(self) -> None:
        """Notice what hooks have shown, and that another session became active."""
        while True:
            await asyncio.sleep(SPOOL_SECS)
            follower = self._follower
            if follower is None or not self.leads:
                continue
            if (
                active_session(follower.ctx.identity.home) != self._mailbox.active
                or follower.knows_others()
            ):
                self._look_again()
            if await self._spool.has_news():
                self._stir.set()

    async def _work(self, follower: Follower) -> None:
        acknowledger = Acknowledger(follower.ctx.client, log=self._log)
        pace = Backoff(system_fraction)
        while True:
            await self._stir.wait()
            self._stir.clear()
            if not self.leads:
                continue
            askers, self._askers = self._askers, []
            try:
                await follower.catch_up()
                await self._spool.settle()
                await acknowledger.tell(self._mailbox.due())
            except ParlerError as error:
                self._askers += askers
                if not error.retryable:
                    self._log.note(f"cannot follow: {error.code}")
                await asyncio.sleep(pace.next() if error.retryable else REFUSED_SECS)
                self._stir.set()
                continue
            pace.reset()
            if follower.has_more():
                self._stir.set()
            await self._spool.offer()
            for asked in askers:
                if not asked.done():
                    asked.set_result(None)
            if self.waiting():
                self._news.set()
                self._pushable.set()

    async def _settle_results(self) -> None:
        while True:
            receipt, arrived = await self._todo.get()
            for held in receipt.holds:
                await self._spool.finish(held, arrived=arrived)
            for claim in receipt.claims:
                self._mailbox.settle_claim(claim, arrived=arrived)
            if arrived and self._follower is not None:
                self.last_taken = self._follower.ctx.now()
            self._bell()

    def _unwanted(self, held: Held) -> None:
        self.settled(Receipt(holds=[held]), False)

    def _look_again(self) -> None:
        """Ask the hub which rooms there are."""
        if self._follower is not None:
            self._follower.rescan = True
        self._stir.set()

    def _bell(self) -> None:
        self._news.set()
        self._stir.set()
