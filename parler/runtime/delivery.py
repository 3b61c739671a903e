"""Every message to the model once, and none marked as read that it was not given.

One process of an identity does this, by a lease: it follows the active session and
direct messages, notices what mentions us elsewhere and who knocks, and offers it to
whoever can show it: a tool's result here, or a hook of the app, through the spool. A
position on the hub is acknowledged only when what is up to it was shown.
"""

import asyncio
from contextlib import suppress

from parler.client.messages import Batch
from parler.errors import ConfigError, HubError, NotMember, ParlerError, TransportError
from parler.identity.identity import active_session
from parler.identity.settings import hub_key
from parler.machine.backoff import Backoff, system_fraction
from parler.ops.context import OpContext
from parler.runtime.knocks import Doors
from parler.runtime.leader import Lease
from parler.runtime.log_file import Journal
from parler.runtime.mailbox import MAX_CHARS, Box, Entry, entry_of, is_followed
from parler.runtime.notices import PAGE, Elsewhere, Mark, policy_of
from parler.runtime.receipt import Collected, Confirmation, Receipt
from parler.text.transcript import Reader
from parler.wake.spool import Held, Item, Spool
from parler.wire.base import RoomName, Seq
from parler.wire.records import RoomKind, StoredMessage
from parler.wire.replies import Delivery as Pushed
from parler.wire.replies import Event, RoomList
from parler.wire.requests import Rooms

REFRESH_SECS = 45.0
"""How often the hub is asked for what it may not have announced."""

SPOOL_SECS = 1.0
"""How often is looked what hooks have shown."""

REFUSED_SECS = 15.0
MAX_SCANNED_ROOMS = 20
MAX_FOLLOWED = 100
"""Rooms: anybody may open a direct one with us."""

EVENTS = ("join_request", "join_resolved", "member", "room")


class Delivery:
    """The mail of one identity."""

    def __init__(
        self,
        spool: Spool,
        *,
        confirmation: Confirmation,
        journal: Journal,
        max_chars: int | None = MAX_CHARS,
    ) -> None:
        """Nothing is read before `run` and `attend`.

        Args:
            confirmation: Learns whether what was collected arrived.
        """
        self.news = asyncio.Event()
        """Set whenever something new may wait."""

        self.waiters = 0
        """Calls that wait for news at this moment."""

        self.active: RoomName | None = None
        self.doors = Doors(self)
        self.last_taken: int | None = None
        self._spool = spool
        self._confirmation = confirmation
        confirmation.report_to(self._settled)
        self._journal = journal
        self._max_chars = max_chars
        self._boxes: dict[RoomName, Box] = {}
        self._claims: list[tuple[RoomName, Seq]] = []
        self._taken: dict[RoomName, Seq] = {}
        self._acked: dict[RoomName, Seq] = {}
        self._elsewhere = Elsewhere()
        self._shown: set[Mark] = set()
        self._flying: set[Mark] = set()
        self._hub = ""
        self._ctx: OpContext | None = None
        self._reader: Reader | None = None
        self._stale: set[RoomName] = set()
        self._rescan = True
        self._stir = asyncio.Event()
        self._pushable = asyncio.Event()
        self._todo: asyncio.Queue[tuple[Receipt, bool]] = asyncio.Queue()
        self._lock = asyncio.Lock()
        self._lease = Lease(spool.home, journal)
        self._hook_news: object = None

    # What the server asks for

    @property
    def leads(self) -> bool:
        """Whether this process reads for the identity; another window does not."""
        return self._lease.held

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
        async with self._lock:
            items = self.waiting(room)
            chosen = items if limit is None else items[:limit]
            held = await self._hold(chosen, max_chars)
        return Collected(held=held, left=len(items) - len(held.items if held else []))

    async def collect_replies(self, message: str) -> list[Held]:
        """Take what answers a message of ours, and is shown otherwise."""
        replies = {
            entry.item.mark
            for box in self._boxes.values()
            for entry in box.entries
            if entry.item and entry.reply_to == message
        }
        if not self.leads or not replies:
            return []
        async with self._lock:
            chosen = [item for item in self.waiting() if item.mark in replies]
            held = await self._hold(chosen, None)
        return [held] if held else []

    def waiting(self, room: RoomName | None = None) -> list[Item]:
        """What could be shown now; of one room, also what may not interrupt."""
        hidden = self._shown | self._flying
        return [item for item in self._offer_of(room) if item.mark not in hidden]

    def quiet(self) -> int:
        """How many messages wait that may not interrupt."""
        return sum(box.held() for box in self._boxes.values())

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
                    self.news.clear()
                    await self.news.wait()
                return True
        return False

    async def follows(self, room: RoomName, *, secs: float) -> bool:
        """Whether what is said there is shown unasked.

        If it is going to be, this waits for what is there already to be fetched.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + secs
        while self.leads and is_followed(room, self.active):
            box = self._boxes.get(room)
            if box is not None and box.fetched is not None:
                return True
            if clock() >= deadline or self._ctx is None:
                break
            await asyncio.sleep(0.02)
        return False

    def author_is_proven(self, item: Item) -> Entry | None:
        """The entry of a waiting message whose signature is good."""
        box = self._boxes.get(RoomName(item.room))
        found = (one for one in box.entries if one.item == item) if box else iter(())
        return next((one for one in found if one.trusted), None)

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        """Tell the model something of our own, with the next result or by a hook."""
        item = Item(room, 0, text, True, key)
        if item.mark not in self._shown:
            self._elsewhere.notice(item)
            self._bell()

    def withdraw(self, key: str, room: str = "") -> None:
        """A notice is out of date."""
        self._elsewhere.notices.pop((room, 0, key), None)

    async def heard_of_news(self) -> None:
        """Wait until something new may wait."""
        await self._pushable.wait()
        self._pushable.clear()

    def finished(self, held: Held, *, arrived: bool) -> None:
        """What was collected came to the model by another way, or did not."""
        self._todo.put_nowait((Receipt(holds=[held]), arrived))

    def returned(self, receipt: Receipt) -> None:
        """What was collected for a result that there will not be."""
        self._todo.put_nowait((receipt, False))

    async def mark_seen(self, marks: set[tuple[str, int]]) -> int:
        """The model says itself that it has these; how many of them waited."""
        if not self.leads or not marks:
            return 0
        async with self._lock:
            seen = await asyncio.to_thread(self._record_seen, marks)
        self._shown |= seen
        self._stir.set()
        return len(seen)

    def entered(
        self, room: RoomName | None, *, skip: tuple[Seq, Seq] | None = None
    ) -> None:
        """The active session is another one now, or none.

        Args:
            skip: Of its backlog, what is between these two is left out.
        """
        self.active = room
        if room is not None and skip is not None:
            self._box(room).leave_out(skip)
        self._rescan = True
        self._stir.set()

    def call_over(self) -> None:
        """A result is out: what came too late for it may be pushed."""
        if self.waiting():
            self._pushable.set()

    def judge_anew(self) -> None:
        """What may interrupt has changed."""
        for box in self._boxes.values():
            box.entries.clear()
            box.fetched = None
        self._rescan = True
        self._stir.set()

    def has_read(self, room: RoomName, upto: Seq) -> tuple[RoomName, Seq]:
        """A result is about to show a room up to here: not to be shown twice."""
        self._claims.append((room, upto))
        if is_followed(room, self.active):
            self._box(room).claimed = self._claimed(room)
        return room, upto

    # Working

    async def run(self) -> None:
        """Hold the lease and settle what arrived, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_lease())
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
        self._flying.clear()
        self._lease.give_up()

    async def attend(self, ctx: OpContext, reader: Reader) -> None:
        """Read the hub over one connection, until it ends."""
        self._begin(ctx, reader)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(ctx))
                tasks.create_task(self._work(ctx))
                tasks.create_task(self._remind())
        finally:
            self._ctx = None

    def _begin(self, ctx: OpContext, reader: Reader) -> None:
        self._ctx, self._reader = ctx, reader
        hub = hub_key(ctx.hub)
        if hub != self._hub:
            self._hub = hub
            self._shown.clear()
            self._taken.clear()
            self._claims.clear()  # numbers of rooms of the same name mean others here
            self._elsewhere = Elsewhere()
            self.doors.forget()
        # Positions are the hub's to know: what it was not told comes from it again.
        self._boxes.clear()
        self._acked.clear()
        self._elsewhere.scanned.clear()
        self.active = active_session(ctx.identity.home)
        self._rescan = True
        self._stir.set()

    async def _keep_lease(self) -> None:
        await self._lease.take()
        self._rescan = True
        self._stir.set()

    async def _listen(self, ctx: OpContext) -> None:
        async for note in ctx.client.notifications():
            match note:
                case Pushed(message=message):
                    self._heard(ctx, message)
                case Event(event="join_request", room=room):
                    self.doors.stale.add(room)
                case Event(event="join_resolved"):
                    self.doors.decided.set()
                case _:  # members and rooms change, or something was missed
                    self._rescan = True
            self._stir.set()

    def _heard(self, ctx: OpContext, stored: StoredMessage) -> None:
        room = stored.room
        known = room in self._boxes
        if known or (
            is_followed(room, self.active) and len(self._boxes) < MAX_FOLLOWED
        ):
            self._box(room)
            self._stale.add(room)
        elif self._reader is not None:
            self._elsewhere.hear(ctx, self._reader, stored, self._shown)

    async def _remind(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECS)
            self._rescan = True
            self._stir.set()

    async def _work(self, ctx: OpContext) -> None:
        pace = Backoff(system_fraction)
        subscribed = False
        while True:
            await self._stir.wait()
            self._stir.clear()
            if not self.leads:
                continue
            try:
                if not subscribed:
                    await ctx.client.subscribe(EVENTS)
                    subscribed = True
                await self._catch_up(ctx)
            except ParlerError as error:
                if not error.retryable:
                    self._journal.note(f"cannot follow: {error.code}")
                await asyncio.sleep(pace.next() if error.retryable else REFUSED_SECS)
                self._stir.set()
            else:
                pace.reset()

    async def _catch_up(self, ctx: OpContext) -> None:
        if self._rescan:
            self._rescan = False
            try:
                await self._scan(ctx)
            except ParlerError:
                self._rescan = True
                raise
        await self.doors.look(ctx, self.active)
        while self._stale:
            room = self._stale.pop()
            try:
                await self._fetch(ctx, room)
            except TransportError:
                self._stale.add(room)
                raise
        await self._settle(ctx)
        await self._show_waiting()

    async def _scan(self, ctx: OpContext) -> None:
        """Find out which rooms there are, and what waits in those not followed."""
        self.active = active_session(ctx.identity.home)
        rooms = (await ctx.client.request(Rooms(), RoomList)).rooms
        wanted = [one for one in rooms if is_followed(one.name, self.active)]
        wanted.sort(key=lambda one: (one.name != self.active, not one.unread))
        followed = {one.name for one in wanted[:MAX_FOLLOWED]}
        for room in self._boxes.keys() - followed:
            del self._boxes[room]
        for room in followed:
            self._box(room)
        for box in list(self._boxes.values()):
            await self._check(ctx, box)
        self._stale |= {
            one.name
            for one in rooms
            if one.name in followed and (one.unread or one.name == self.active)
        }
        self.doors.stale |= {
            one.name for one in rooms if one.kind == RoomKind.CHANNEL
        } - self.doors.not_ours
        unread = [one for one in rooms if one.unread and one.name not in self._boxes]
        for one in unread[:MAX_SCANNED_ROOMS]:
            if self._reader is not None:
                await self._elsewhere.scan(ctx, self._reader, one.name, self._shown)

    async def _check(self, ctx: OpContext, box: Box) -> None:
        """Drop what another program of this agent, such as a shell, has read."""
        if not box.entries:
            return
        try:
            batch = await ctx.client.pull(box.room, limit=1)
        except HubError:
            return
        unread = batch.messages[0].seq if batch.messages else batch.cursor + 1
        box.forget_before(unread)

    async def _fetch(self, ctx: OpContext, room: RoomName) -> None:
        box = self._boxes.get(room)
        if box is None or self._reader is None:
            return
        policy = policy_of(ctx)
        while not box.full:
            try:
                batch = await self._page(ctx, box)
            except NotMember:
                self._boxes.pop(room, None)
                return
            except HubError as refused:
                self._journal.note(f"a room cannot be read: {refused.code}")
                return
            for message in batch.messages:
                box.add(
                    entry_of(
                        message,
                        self._reader,
                        policy,
                        now=ctx.now(),
                        max_chars=self._max_chars,
                    )
                )
            if not batch.messages:
                box.fetched = max(box.fetched or 0, batch.cursor)
                box.more = False
                return
        box.more = True

    async def _page(self, ctx: OpContext, box: Box) -> Batch:
        if box.fetched is None:
            return await ctx.client.pull(box.room, limit=PAGE)
        return await ctx.client.pull(box.room, since=box.fetched, limit=PAGE)

    # Settling

    def _settled(self, receipt: Receipt, arrived: bool) -> None:
        self._todo.put_nowait((receipt, arrived))

    async def _settle_results(self) -> None:
        while True:
            receipt, arrived = await self._todo.get()
            for held in receipt.holds:
                await self._finish(held, arrived=arrived)
            for room, upto in receipt.claims:
                if (room, upto) not in self._claims:
                    continue  # it was of another hub
                self._claims.remove((room, upto))
                if arrived:
                    self._taken[room] = max(upto, self._taken.get(room, 0))
                if box := self._boxes.get(room):
                    box.taken = self._taken.get(room, 0)
                    box.claimed = self._claimed(room)
            if arrived and self._ctx is not None:
                self.last_taken = self._ctx.now()
            self._bell()

    async def _finish(self, held: Held, *, arrived: bool) -> None:
        marks = {item.mark for item in held.items}
        try:
            async with self._lock:
                if arrived:
                    await asyncio.to_thread(held.confirm)
                    self._shown |= marks
                else:
                    await asyncio.to_thread(held.release)
        except ConfigError as failed:
            # They are still held: not shown by anybody else, and not acknowledged.
            self._journal.note(f"what was shown could not be noted: {failed.code}")
        else:
            self._flying -= marks

    def _box(self, room: RoomName) -> Box:
        if room not in self._boxes:
            box = Box(room, taken=self._taken.get(room, 0), claimed=self._claimed(room))
            self._boxes[room] = box
        return self._boxes[room]

    def _claimed(self, room: RoomName) -> Seq:
        return max((seq for one, seq in self._claims if one == room), default=0)

    async def _settle(self, ctx: OpContext) -> None:
        """Tell the hub what the model has."""
        recorded = await asyncio.to_thread(self._marks_shown)
        items = {item.mark for item in self._offer_of(None)}
        self._shown = recorded | (self._shown & items)
        self._elsewhere.drop(self._shown)
        for box in list(self._boxes.values()):
            box.settle(self._shown)
            await self._acknowledge(ctx, box.room, box.due)
            if box.more and not box.full:
                self._stale.add(box.room)
                self._stir.set()
        for room, upto in list(self._taken.items()):
            if room not in self._boxes:
                await self._acknowledge(ctx, room, upto)

    async def _acknowledge(self, ctx: OpContext, room: RoomName, upto: Seq) -> None:
        if upto <= self._acked.get(room, 0):
            return
        try:
            await ctx.client.ack(room, upto)
        except NotMember:
            pass  # nobody asks any more
        except HubError as refused:
            self._journal.note(f"what was read could not be told: {refused.code}")
            return  # until the next time
        self._acked[room] = upto

    async def _watch_hooks(self) -> None:
        """Notice what hooks have shown, and that another session became active."""
        while True:
            await asyncio.sleep(SPOOL_SECS)
            ctx = self._ctx
            if ctx is None or not self.leads:
                continue
            if active_session(ctx.identity.home) != self.active:
                self._rescan = True
                self._stir.set()
            newest = (await asyncio.to_thread(self._spool.history))[-1:]
            if newest != self._hook_news:
                self._hook_news = newest
                self._stir.set()

    async def _show_waiting(self) -> None:
        """Have the spool hold what waits, for hooks."""
        async with self._lock:
            items = self._offer_of(None)
            try:
                await asyncio.to_thread(self._spool.offer, items, hub=self._hub)
            except ConfigError as failed:
                self._journal.note(f"nothing can be offered to hooks: {failed.code}")
        if self.waiting():
            self.news.set()
            self._pushable.set()

    def _offer_of(self, room: RoomName | None) -> list[Item]:
        if room is not None:
            box = self._boxes.get(room)
            return list(box.offered(everything=True)) if box else []
        items = [*self._elsewhere.notices.values()]
        first = self._boxes.get(self.active) if self.active else None
        if first is not None:
            items += first.offered()
        for box in self._boxes.values():
            if box is not first:
                items += box.offered()
        return [*items, *self._elsewhere.mentions.values()]

    async def _hold(self, items: list[Item], max_chars: int | None) -> Held | None:
        """Hold items, of those that wait; nobody else shows them meanwhile."""
        rest = self._offer_of(None)
        hub = self._hub

        def hold() -> Held:
            self._spool.offer(items, hub=hub)
            try:
                return self._spool.hold(via="mcp", max_chars=max_chars)
            finally:
                self._spool.offer(rest, hub=hub)

        holding = asyncio.get_running_loop().run_in_executor(None, hold)
        try:
            held = await asyncio.shield(holding)
        except asyncio.CancelledError:
            holding.add_done_callback(self._hold_unwanted)
            raise
        except ConfigError as busy:
            self._journal.note(f"nothing was taken: {busy.code}")
            return None
        self._flying |= {item.mark for item in held.items}
        return held

    def _hold_unwanted(self, holding: "asyncio.Future[Held]") -> None:
        if not holding.cancelled() and holding.exception() is None:
            self.returned(Receipt(holds=[holding.result()]))

    def _record_seen(self, marks: set[tuple[str, int]]) -> set[Mark]:
        with self._spool.take(via="channel") as items:
            items[:] = [item for item in items if (item.room, item.seq) in marks]
            return {item.mark for item in items}

    def _marks_shown(self) -> set[Mark]:
        return {one.mark for one in self._spool.history() if one.hub == self._hub}

    def _bell(self) -> None:
        self.news.set()
        self._stir.set()
