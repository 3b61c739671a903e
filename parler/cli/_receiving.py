"""Showing messages, once or as they come: shown first, acknowledged after."""

from parler.cli import _format
from parler.cli._run import Run
from parler.ops import messages
from parler.ops import watch as watching
from parler.ops.admission import Knock, admit_preapproved
from parler.ops.messages import ReceiveParams, ReceiveResult
from parler.ops.rooms import elsewhere
from parler.text.terminal import counted, shell_word
from parler.text.transcript import Transcript
from parler.wire.base import RoomName


async def look(run: Run, params: ReceiveParams) -> ReceiveResult:
    """Get what is new, or was said before."""
    await admit_preapproved(run.ctx, params.room)
    return await messages.receive(run.ctx, params)


async def once(run: Run, room: RoomName, *, limit: int | None) -> None:
    """Show what is new."""
    result = await look(run, ReceiveParams(room=room, limit=limit))
    transcript = Transcript(run.reader, now=run.ctx.now())
    lines = _format.news(result.messages, transcript, banners=True)
    run.out.result(result, lines, foreign=True)
    await run.ctx.client.ack(room, result.cursor)
    if not result.messages:
        run.out.note("nothing new")
        for one in await elsewhere(run.ctx, room):
            many = counted(one.unread, "direct message waits", "direct messages wait")
            run.out.note(f"{many}: parler recv --room {shell_word(one.name)}")


async def watch(run: Run, room: RoomName) -> None:
    """Show messages as they come, until interrupted or nobody listens."""
    run.out.note(f"watching {room}; Ctrl-C ends it")
    await watching.watch(run.ctx, room, _Screen(run))


class _Screen:
    """A terminal, or a program that reads stdout."""

    def __init__(self, run: Run) -> None:
        self._out = run.out
        self._transcript = Transcript(run.reader, now=run.ctx.now())
        self._hub = run.ctx.hub

    def hear(self, news: ReceiveResult) -> None:
        lines = _format.news(news.messages, self._transcript, banners=True)
        self._out.result(news, lines, foreign=True)

    def knocked(self, who: Knock) -> None:
        self._out.note(_format.knocked(who))

    def admitted(self, who: Knock) -> None:
        self._out.note(_format.admitted(who))

    def hub_down(self) -> None:
        self._out.note(f"the hub {self._hub} is down; waiting for it")

    def hub_back(self) -> None:
        self._out.note(f"the hub {self._hub} is back")

    def still_there(self) -> None:
        self._out.still_there()
