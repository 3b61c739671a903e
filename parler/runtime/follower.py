"""Fetches what is said in the rooms an agent follows, and finds who mentions it.

The active session and direct messages of those we know are fetched whole; of other
rooms, what is unread is searched for messages that name us. A stranger's direct message
is a request: it stays on the hub, and no model hears of it. The hub announces news
while we are connected; `catch_up` asks for what it may not have announced.
"""

import asyncio
from collections import deque
from contextlib import suppress

from parler.client.acquaintance import Stamp, Standing
from parler.client.connection import Note
from parler.client.messages import Batch, Message
from parler.errors import HubError, NotMember, ParlerError, TransportError
from parler.identity.identity import AttentionPolicy, active_session, load_identity
from parler.ops.context import OpContext
from parler.runtime.box import Box
from parler.runtime.entry import entry_of, is_followed, item_of, mentions_us
from parler.runtime.knocks import Knocks
from parler.runtime.log_file import LogFile
from parler.runtime.mailbox import Mailbox
from parler.text.transcript import Reader
from parler.wire.base import RoomName, Seq
from parler.wire.limits import MAX_PULL_LIMIT
from parler.wire.names import is_direct
from parler.wire.records import RoomInfo, RoomKind, StoredMessage
from parler.wire.replies import Delivery as Pushed
from parler.wire.replies import Event, RoomList
from parler.wire.requests import Rooms

PAGE = 200
MAX_SCANNED_ROOMS = 20
MAX_FOLLOWED = 100
"""Rooms: anybody may open a direct one with us."""

MAX_UNJUDGED = 32
"""Messages of other rooms that were pushed and nobody has looked at."""

MAX_JUDGED_AT_ONCE = 32
"""Direct rooms of which is found out, in one look, whether we know who writes there."""

EVENTS = ("join_request", "join_resolved", "member", "room")


class Follower:
    """Fills a mailbox over one connection."""

    def __init__(
        self,
        ctx: OpContext,
        reader: Reader,
        mailbox: Mailbox,
        knocks: Knocks,
        *,
        log: LogFile,
        max_chars: int | None,
    ) -> None:
        """Nothing was fetched yet."""
        self.ctx = ctx
        self.rescan = True
        """Whether the next `catch_up` asks which rooms there are."""

        self._reader = reader
        self._mailbox = mailbox
        self._knocks = knocks
        self._log = log
        self._max_chars = max_chars
        self._known_as_of: Stamp = ()
        self._subscribed = False
        self._stale: set[RoomName] = set()
        """Rooms where more is to be fetched."""

        self._unjudged: deque[StoredMessage] = deque()
        self._scanned: dict[RoomName, Seq] = {}
        """Up to where rooms were looked through for mentions."""

    def heard(self, note: Note) -> None:
        """The hub announced something."""
        match note:
            case Pushed(message=message):
                self._heard_message(message)
            case Event(event="join_request", room=room):
                self._knocks.stale.add(room)
            case Event(event="join_resolved"):
                self._knocks.decided.set()
            case Event(event="member", room=room, agent=agent) if (
                self.ctx.acquaintance is not None
            ):
                self.ctx.acquaintance.member_changed(room, agent)
                self.rescan = True
            case _:  # members and rooms change, or something was missed
                self.rescan = True

    def _heard_message(self, stored: StoredMessage) -> None:
        room, boxes = stored.room, self._mailbox.boxes
        if room in boxes or is_followed(room, self._mailbox.active):
            self._stale.add(room)
        elif len(self._unjudged) < MAX_UNJUDGED:
            self._unjudged.append(stored)
        else:
            self.rescan = True

    async def catch_up(self) -> None:
        """Fetch what is new.

        Raises:
            ParlerError: Not all of it; the next time goes on there.
        """
        if not self._subscribed:
            await self.ctx.client.subscribe(EVENTS)
            self._subscribed = True
        if self.knows_others():
            self._known_as_of = self._decided()
            self.rescan = True
        if self.rescan:
            self.rescan = False
            try:
                await self._scan()
            except ParlerError:
                self.rescan = True
                raise
        await self._knocks.look(self.ctx, self._mailbox.active)
        await self._judge_pushed()
        while self._stale:
            room = self._stale.pop()
            try:
                await self._fetch(room)
            except TransportError:
                self._stale.add(room)
                raise

    async def _judge_pushed(self) -> None:
        """Find out which of the messages that were pushed mention us."""
        while self._unjudged:
            stored = self._unjudged.popleft()
            if stored.room in self._mailbox.boxes or self._mailbox.notices.full:
                continue
            # It may take long, and the memory of what was seen may be held.
            message = await asyncio.to_thread(self.ctx.client.judge, stored)
            self._note_mention(message)

    def knows_others(self) -> bool:
        """Whether it was decided anew whose direct messages come through."""
        return self._decided() != self._known_as_of

    def _decided(self) -> Stamp:
        return self.ctx.acquaintance.as_of() if self.ctx.acquaintance else ()

    def has_more(self) -> bool:
        """Whether there is place again for what the hub has more of a room."""
        again = {
            box.room
            for box in self._mailbox.boxes.values()
            if box.more and not box.full
        }
        self._stale |= again
        return bool(again)

    async def _scan(self) -> None:
        """Find out which rooms there are, and what waits in those not followed."""
        mailbox = self._mailbox
        mailbox.active = active_session(self.ctx.identity.home)
        rooms = (await self.ctx.client.request(Rooms(), RoomList)).rooms
        wanted = await self._from_known(
            [one for one in rooms if is_followed(one.name, mailbox.active)]
        )
        wanted.sort(key=lambda one: (one.name != mailbox.active, not one.unread))
        followed = {one.name for one in wanted[:MAX_FOLLOWED]}
        mailbox.follow_only(followed)
        for box in list(mailbox.boxes.values()):
            await self._drop_read(box)
        self._stale |= {
            one.name
            for one in rooms
            if one.name in followed and (one.unread or one.name == mailbox.active)
        }
        self._knocks.stale |= {
            one.name for one in rooms if one.kind == RoomKind.CHANNEL
        } - self._knocks.not_ours
        unread = [
            one
            for one in rooms
            if one.unread and not is_followed(one.name, mailbox.active)
        ]
        for one in unread[:MAX_SCANNED_ROOMS]:
            await self._find_mentions(one.name)

    async def _from_known(self, rooms: list[RoomInfo]) -> list[RoomInfo]:
        """Those rooms whose messages come through; of many, more with the next look."""
        acquaintance, active = self.ctx.acquaintance, self._mailbox.active
        if acquaintance is None:
            return rooms
        doubtful = [
            one.name
            for one in rooms
            if one.unread and one.name != active and not acquaintance.judged(one.name)
        ]
        self.rescan = len(doubtful) > MAX_JUDGED_AT_ONCE
        now = doubtful[:MAX_JUDGED_AT_ONCE]
        await asyncio.gather(*(self._comes_through(room) for room in now))
        standing = {one.name: acquaintance.judged(one.name) for one in rooms}
        for one in rooms:
            if one.unread and standing[one.name] is Standing.DECLINED:
                await self._pass_over(one.name)
        return [
            one
            for one in rooms
            if one.name == active
            or not one.unread
            or standing[one.name] is Standing.KNOWN
        ]

    async def _pass_over(self, room: RoomName) -> None:
        """Count what was said in a room as read: nobody wants it."""
        with suppress(HubError):
            batch = await self.ctx.client.pull(room, limit=MAX_PULL_LIMIT)
            await batch.ack()

    async def _comes_through(self, room: RoomName) -> bool:
        """Whether a model may be shown what is said in a room."""
        acquaintance = self.ctx.acquaintance
        if acquaintance is None or room == self._mailbox.active or not is_direct(room):
            return True
        try:
            return await acquaintance.standing(room) is Standing.KNOWN
        except HubError as refused:
            self._log.note(f"a room cannot be read: {refused.code}")
            return False

    async def _drop_read(self, box: Box) -> None:
        """Drop what another program of this agent, such as a shell, has read."""
        if not box.entries:
            return
        try:
            batch = await self.ctx.client.pull(box.room, limit=1)
        except HubError:
            return
        unread = batch.messages[0].seq if batch.messages else batch.cursor + 1
        box.forget_before(unread)

    async def _fetch(self, room: RoomName) -> None:
        boxes = self._mailbox.boxes
        if room not in boxes and (
            len(boxes) >= MAX_FOLLOWED or not is_followed(room, self._mailbox.active)
        ):
            return
        if not await self._comes_through(room):
            return
        box = self._mailbox.box(room)
        policy = self._policy()
        while not box.full:
            try:
                batch = await self._page(box)
            except NotMember:
                self._mailbox.boxes.pop(room, None)
                return
            except HubError as refused:
                self._log.note(f"a room cannot be read: {refused.code}")
                return
            for message in batch.messages:
                box.add(
                    entry_of(
                        message,
                        self._reader,
                        policy,
                        now=self.ctx.now(),
                        max_chars=self._max_chars,
                    )
                )
            if not batch.messages:
                box.fetched = max(box.fetched or 0, batch.cursor)
                box.more = False
                return
        box.more = True

    async def _page(self, box: Box) -> Batch:
        if box.fetched is None:
            return await self.ctx.client.pull(box.room, limit=PAGE)
        return await self.ctx.client.pull(box.room, since=box.fetched, limit=PAGE)

    async def _find_mentions(self, room: RoomName) -> None:
        """Look through what is unread in a room."""
        since = self._scanned.get(room)
        try:
            batch = await self.ctx.client.pull(room, since=since, limit=PAGE)
        except HubError:
            return
        self._scanned[room] = batch.cursor
        for message in batch.messages:
            self._note_mention(message)

    def _note_mention(self, message: Message) -> None:
        if self._mailbox.notices.full:
            return
        if mentions_us(message, self._reader, self._policy()):
            now = self.ctx.now()
            self._mailbox.mention(item_of(message, self._reader, now=now, urgent=True))

    def _policy(self) -> AttentionPolicy:
        """What may interrupt us, as it is now."""
        return load_identity(self.ctx.identity.home).attention
