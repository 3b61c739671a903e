"""What is shown besides the rooms that are followed: notices, and who mentions us."""

from dataclasses import dataclass, field
from typing import TypeAlias

from parler.errors import HubError
from parler.identity.identity import AttentionPolicy, load_identity
from parler.ops.context import OpContext
from parler.runtime.mailbox import item_of, mentions_us
from parler.text.transcript import Reader
from parler.wake.spool import Item
from parler.wire.base import RoomName, Seq
from parler.wire.records import StoredMessage

PAGE = 200
MAX_MENTIONS = 50
MAX_NOTICES = 50

Mark: TypeAlias = tuple[str, int, str]


@dataclass(slots=True)
class Elsewhere:
    """At one hub."""

    mentions: dict[Mark, Item] = field(default_factory=dict)
    notices: dict[Mark, Item] = field(default_factory=dict)
    scanned: dict[RoomName, Seq] = field(default_factory=dict)
    """Up to where rooms were looked through for mentions."""

    def notice(self, item: Item) -> None:
        """Add something of our own; of too many, the oldest go."""
        self.notices[item.mark] = item
        while len(self.notices) > MAX_NOTICES:
            del self.notices[next(iter(self.notices))]

    def drop(self, shown: set[Mark]) -> None:
        """Forget what was shown."""
        for items in (self.mentions, self.notices):
            for mark in shown & items.keys():
                del items[mark]

    async def scan(
        self, ctx: OpContext, reader: Reader, room: RoomName, shown: set[Mark]
    ) -> None:
        """Look through what is unread in a room."""
        since = self.scanned.get(room)
        try:
            batch = await ctx.client.pull(room, since=since, limit=PAGE)
        except HubError:
            return
        self.scanned[room] = batch.cursor
        for message in batch.messages:
            self.hear(ctx, reader, message.stored, shown)

    def hear(
        self, ctx: OpContext, reader: Reader, stored: StoredMessage, shown: set[Mark]
    ) -> None:
        """Note a message if it mentions us."""
        if len(self.mentions) >= MAX_MENTIONS:
            return
        message = ctx.client.judge(stored)
        if not mentions_us(message, reader, policy_of(ctx)):
            return
        item = item_of(message, reader, now=ctx.now(), urgent=True)
        if item.mark not in shown:
            self.mentions[item.mark] = item


def policy_of(ctx: OpContext) -> AttentionPolicy:
    """What may interrupt us, as it is now."""
    return load_identity(ctx.identity.home).attention
