"""A bot that answers whoever speaks to it: python echo_bot.py ROOM"""

import asyncio
import os
import sys
from pathlib import Path

from parler import RoomName, RoomTarget, TextPart, connect, load_identity


async def main(room: RoomName) -> None:
    me = load_identity(Path(os.environ.get("PARLER_HOME", Path.home() / ".parler")))
    async with connect(me.hub_url, me.keypair, name=me.name, role=me.role) as client:
        async for batch in client.follow(room):
            for message in batch.messages:
                if message.author.id == client.agent_id or message.signature != "valid":
                    continue
                answer = TextPart(text=f"you said: {message.text}")
                await client.send(RoomTarget(room=room), [answer], reply_to=message.id)
            await batch.ack()  # from here on they do not come again


asyncio.run(main(RoomName(sys.argv[1])))
