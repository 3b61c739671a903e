"""Answering the phones of this person, for as long as this process lives.

A phone asks for little: to look, and to decide what the inbox offers to be decided.
All of it is done here, as the page does it, and each decision once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from parler.errors import ParlerError, UsageError
from parler.identity.devices import Device, Devices
from parler.ops.affiliations import belongs
from parler.ops.ask import AskParams, AskResult, ask
from parler.ops.context import OpContext
from parler.ops.inbox import Item, Kind
from parler.ops.messages import history
from parler.ops.own import Own
from parler.ops.questions import numbered
from parler.text.terminal import lines, shown_name
from parler.ui import words
from parler.ui.acts import ACTS
from parler.ui.desk import Desk, Reader
from parler.ui.pairing import end_room
from parler.ui.remote import Ask, Command, Decide, Line, Look, Tail
from parler.wire.base import RoomName
from parler.wire.foreign import Foreign, clipped
from parler.wire.records import RoomTarget

AGAIN_SECS = 10.0
"""How often a phone's room is read though nothing was heard."""

FIND_SECS = 2.0
"""How soon a phone that was paired is answered, and one that was removed not."""

NEWS_SECS = 60.0
"""How long after a phone looked it is told what changes."""

REST_SECS = 2.0
"""Between two such tellings."""

MAX_AGE_MS = 24 * 3600 * 1000
"""What a phone said longer ago is not done any more."""

TAIL_MESSAGES = 20
MAX_ITEMS = 50
MAX_AGENTS = 50
MAX_ANSWER_CHARS = 8000
MAX_TALKS = 2
"""Questions of one phone that are answered at a time."""

OFFERS = {
    Kind.KNOCK: (("approve", "Approve", True), ("reject", "Reject", False)),
    Kind.REQUEST: (("accept", "Accept", True), ("decline", "Decline", False)),
    Kind.QUESTION: (("answer", "Answer", True), ("refuse", "Decline", False)),
    Kind.MAIL: (),
}
"""What a phone may decide of each kind of thing that waits."""

_WHAT = {
    Kind.KNOCK: "knocks at",
    Kind.REQUEST: "wants to write to",
    Kind.QUESTION: "asks",
    Kind.MAIL: "wrote to",
}
_THEN = {
    Kind.KNOCK: "Approved, it reads all that was said there and may speak. "
    "Compare the fingerprint: anybody can use a name.",
    Kind.REQUEST: "Accepted, its messages reach you and your agents.",
}
_STOPPED = (
    "it was begun, and your machine stopped in the middle: look what became of it"
)
_BUSY = "ask again when what you asked before is answered"
_LATE = "not done: it reached your machine a day late"

Asker = Callable[[str, str], Awaitable[AskResult]]


@dataclass(slots=True)
class Phones:
    """All phones of a person."""

    desk: Desk
    devices: Devices
    ask: Asker
    """Asks a project a question."""

    machine: str
    """What this computer is called."""

    _talks: dict[str, set[str]] = field(default_factory=dict)

    async def stay(self) -> None:
        """Answer them, until cancelled."""
        serving: dict[str, asyncio.Task[None]] = {}
        served: dict[str, Device] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    found = await asyncio.to_thread(self.devices.all)
                except ParlerError:  # the doctor says what is wrong with the file
                    await asyncio.sleep(FIND_SECS)
                    continue
                there = {one.id for one in found}
                for device in [one for one in serving if one not in there]:
                    serving.pop(device).cancel()
                    tasks.create_task(self._end_room(served.pop(device)))
                for one in found:
                    if one.id not in serving or serving[one.id].done():
                        served[one.id] = one
                        serving[one.id] = tasks.create_task(self._serve(one))
                await asyncio.sleep(FIND_SECS)

    async def _end_room(self, device: Device) -> None:
        """Have the hub tell a phone that it was removed, and keep nothing of it."""
        with suppress(ParlerError):  # a hub that is away keeps it, and nobody answers
            await end_room(self._own(device).ctx, device.room)

    async def _serve(self, device: Device) -> None:
        """Answer one phone. While one is paired, the page has a reader and stays."""
        with (
            suppress(UsageError),  # too many pages are open: tried again soon
            self.desk.reading((device.hub, device.room)) as reader,
        ):
            async with asyncio.TaskGroup() as tasks:
                await self._follow(device, reader, tasks)

    async def _follow(
        self, device: Device, reader: Reader, tasks: asyncio.TaskGroup
    ) -> None:
        clock = asyncio.get_running_loop().time
        looked = told_at = -NEWS_SECS
        read = -AGAIN_SECS
        last: Any = None
        while True:
            reader.news.clear()
            if reader.said or clock() - read >= AGAIN_SECS:
                reader.said, read = False, clock()
                with suppress(ParlerError):  # a hub that is away comes back
                    if await self._read(device, tasks):
                        looked, last = clock(), self.state()
            now = self.state()
            if now != last and clock() - looked < NEWS_SECS:
                if clock() - told_at >= REST_SECS:
                    last, told_at = now, clock()
                    with suppress(ParlerError):
                        await self._say(device, {"state": now})
                else:
                    await asyncio.sleep(REST_SECS)
                    continue
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECS):
                    await reader.news.wait()

    def _line(self, device: Device, own: Own) -> Line:
        return Line(device.secret, device.room, device.id, own.ctx.client.agent_id)

    def _own(self, device: Device) -> Own:
        person = self.desk.person_id
        if person is None:
            raise UsageError("there is no person here")
        return self.desk.as_(person, device.hub)

    async def _read(self, device: Device, tasks: asyncio.TaskGroup) -> bool:
        """Take what a phone said since; whether it looked."""
        own = self._own(device)
        line, looked = self._line(device, own), False
        while True:
            batch = await own.ctx.client.pull(device.room, since=device.seq, limit=100)
            for message in batch.messages:
                if heard := line.hear(message):
                    late = self.desk.here().now() - message.ts > MAX_AGE_MS
                    looked |= await self._take(device, *heard, tasks, late=late)
                device.seq = message.seq
            if not batch.messages:
                return looked
            await asyncio.to_thread(self.devices.looked, device.id, device.seq)
            with suppress(ParlerError):
                await batch.ack()

    async def _take(
        self,
        device: Device,
        counter: int,
        command: Command,
        tasks: asyncio.TaskGroup,
        *,
        late: bool,
    ) -> bool:
        once = isinstance(command, Decide | Ask)
        begun = await asyncio.to_thread(
            self.devices.begin,
            device.id,
            counter,
            command.id,
            once=once,
            now=self.desk.here().now(),
        )
        if begun is None:
            return False
        if not once:
            await self._show(device, command)
            return isinstance(command, Look)
        talks = self._talks.setdefault(device.id, set())
        if not begun.is_new:
            if command.id in talks:
                await self._say(device, {"busy": command.id})
            else:
                said, ok = begun.answer or _STOPPED, begun.answer is not None
                await self._say(device, {"re": command.id, "ok": ok, "said": said})
        elif late:
            await self._end(device, command, _LATE, False)
        elif isinstance(command, Decide):
            await self._end(device, command, *await self._decided(command))
            self.desk.stir()
        elif len(talks) >= MAX_TALKS:
            await self._end(device, command, _BUSY, False)
        elif isinstance(command, Ask):
            talks.add(command.id)
            tasks.create_task(self._talk(device, command))
        return False

    async def _show(self, device: Device, command: Command) -> None:
        """Answer what changes nothing."""
        try:
            match command:
                case Look():
                    shown: dict[str, Any] = {"state": self.state()}
                case Tail():
                    shown = {"tail": await self._tail(command)}
                case _:
                    return
        except ParlerError as error:
            shown = {"ok": False, "said": error.message}
        await self._say(device, {"re": command.id, **shown})

    async def _decided(self, command: Decide) -> tuple[str, bool]:
        try:
            return await self._decide(command), True
        except ParlerError as error:
            return error.message, False

    async def _talk(self, device: Device, command: Ask) -> None:
        try:
            if command.project not in self._projects():
                raise UsageError("there is no such project on your machine")
            result = await self.ask(command.project, command.question)
            said, ok = (
                result.answer or result.note or str(result.status),
                bool(result.answer),
            )
        except ParlerError as error:
            said, ok = error.message, False
        except OSError as error:  # whatever its agent is started with
            said, ok = f"it could not be asked: {error.strerror or error}", False
        await self._end(device, command, said, ok)
        self._talks[device.id].discard(command.id)

    async def _end(self, device: Device, command: Command, said: str, ok: bool) -> None:
        """Keep what came of a command, and say it; lost, it is asked for again."""
        said = plain(said)[:MAX_ANSWER_CHARS]
        await asyncio.to_thread(self.devices.end, device.id, command.id, said)
        with suppress(ParlerError):
            await self._say(device, {"re": command.id, "ok": ok, "said": said})

    async def _say(self, device: Device, value: dict[str, Any]) -> None:
        counter = await asyncio.to_thread(self.devices.next, device.id)
        if counter is None:
            return
        own = self._own(device)
        part = self._line(device, own).say(counter, value)
        await own.ctx.client.send(RoomTarget(room=device.room), [part])

    # What a phone sees

    def _projects(self) -> list[str]:
        try:
            return [one.name for one in self.desk.here().projects.all()]
        except ParlerError:  # the doctor says what is wrong with a file
            return []

    def state(self) -> dict[str, Any]:
        """What waits, who is here, the rooms."""
        desk = self.desk
        return {
            "machine": self.machine,
            "items": [self._item(one) for one in desk.items[:MAX_ITEMS]],
            "agents": [
                {
                    "name": shown_name(one.name),
                    "app": words.app_title(one.app),
                    "doing": clipped(one.summary, 120) if one.summary else "",
                }
                for one in desk.peers[:MAX_AGENTS]
            ],
            "rooms": [
                {
                    "at": one.hub,
                    "name": one.one.name,
                    "title": plain(words.room_title(one)),
                    "unread": one.unread,
                }
                for one in desk.rooms[: words.MAX_ROOMS]
            ],
            "projects": self._projects()[:MAX_AGENTS],
            "away": [plain(f"{hub}: {why}") for hub, why in desk.away.items()],
        }

    def _item(self, one: Item) -> dict[str, Any]:
        room = clipped(one.topic or one.room, 80)
        whom = "you" if one.owner_id == self.desk.person_id else shown_name(one.owner)
        proof = [one.fingerprint or ""]
        if one.affiliation and one.agent:
            proof.insert(0, belongs(one.affiliation, one.agent))
        return {
            "key": key_of(one),
            "kind": one.kind,
            "who": shown_name(one.name or ""),
            "what": f"{_WHAT[one.kind]} {room if one.kind is Kind.KNOCK else whom}",
            "proof": " ".join(filter(None, proof)),
            "since": one.since,
            "text": clipped(one.text, 200) if one.text else "",
            "mark": words.MARKS[one.signature][0]
            if one.signature and one.signature.fails
            else "",
            "choices": plain(numbered(one.choices)) if one.choices else "",
            "then": _THEN.get(one.kind, ""),
            "answers": one.kind is Kind.QUESTION,
            "acts": [
                {"act": act, "label": label, "yes": yes, "words": act == "answer"}
                for act, label, yes in OFFERS[one.kind]
            ],
        }

    async def _decide(self, command: Decide) -> str:
        item = next(
            (one for one in self.desk.items if key_of(one) == command.key), None
        )
        if item is None:
            raise UsageError("that does not wait any more: it was decided, or is gone")
        if command.act not in {act for act, _, _ in OFFERS[item.kind]}:
            raise UsageError("that is nothing a phone may do")
        given: dict[str, Any] = {
            "owner": item.owner_id,
            "at": item.hub,
            "name": item.room,
            "agent": item.agent,
            "seq": item.seq or 0,
            "text": command.text,
        }
        refuses = command.act == "refuse"
        if refuses:
            given["decline"] = True
        done = await ACTS["answer" if refuses else command.act](self.desk, given)
        return done.said or "done"

    async def _tail(self, command: Tail) -> dict[str, Any]:
        spot = (command.at, RoomName(command.name))
        own = self.desk.whose(spot)
        result = await history(own.ctx, spot[1], limit=TAIL_MESSAGES)
        ours = self.desk.own_ids
        found = [
            words.line_of(one, None, ours=one.author.id in ours)
            for one in result.messages
        ]
        return {
            "name": command.name,
            "lines": [
                {
                    "who": one.name,
                    "mark": one.mark,
                    "ts": one.ts,
                    "text": plain(
                        "\n".join(
                            "".join(span.text for span in piece.spans)
                            for piece in one.pieces
                        )
                    ),
                }
                for one in found
            ],
        }


def asker_of(desk: Desk, usual_hub: str) -> Asker:
    """Asks a project in the name of the person, as `parler ask` does."""

    @asynccontextmanager
    async def connect(hub: str | None) -> AsyncIterator[OpContext]:
        async with desk.person(hub or usual_hub) as own:
            yield own.ctx

    async def asker(project: str, question: str) -> AskResult:
        params = AskParams(project=project, question=question)
        return await ask(desk.here(), params, connect=connect)

    return asker


def key_of(item: Item) -> str:
    """What tells a thing that waits from all others, in few characters."""
    return sha256(repr(item.key).encode("utf-8", "replace")).hexdigest()[:32]


def plain(text: str | Foreign) -> str:
    """Text in which nothing invisible is left."""
    return "\n".join(lines(text))
