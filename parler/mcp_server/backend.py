"""What works behind the tools: the hub, the mail, and each call from start to end."""

import asyncio
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, JSONRPCNotification

from parler.errors import ParlerError, UsageError
from parler.identity.homes import machine_home, project_home
from parler.identity.identity import active_session
from parler.identity.known_rooms import KnownRooms
from parler.identity.settings import Settings
from parler.mcp_server.confirmation import ResultConfirmation
from parler.mcp_server.elicitation import AskFirst, Questions
from parler.mcp_server.instructions import PIGGYBACK_CHARS, failure, with_mail
from parler.mcp_server.push import Pusher
from parler.mcp_server.resources import prompt_text, resource_text
from parler.mcp_server.stdio import HostPipe
from parler.mcp_server.tool_call import (
    Answer,
    Call,
    Host,
    Question,
    Services,
    Verdict,
    conversation_of,
)
from parler.mcp_server.tool_schema import Tool, read_arguments
from parler.mcp_server.tools.messages import post
from parler.ops.context import OpContext
from parler.runtime import bootstrap
from parler.runtime.delivery import Delivery
from parler.runtime.entry import MAX_CHARS
from parler.runtime.hub_link import HubLink
from parler.runtime.joining import Joiner
from parler.runtime.log_file import LogFile
from parler.runtime.options import ServerOptions
from parler.runtime.outbox import Outbox
from parler.runtime.presence import Presence
from parler.runtime.receipt import Receipt
from parler.text.terminal import counted
from parler.wake.spool import Spool
from parler.wire.base import RoomName
from parler.wire.joinkey import InvalidJoinKey, parse_join_key
from parler.wire.urls import same_hub

Context = ServerRequestContext[Any, Any]

FAULT_SECS = 5.0
SESSION_SECS = 1.0
"""How often is looked whether a shell or another window has entered a session."""


class Backend:
    """All that one server needs besides the protocol."""

    def __init__(
        self,
        settings: Settings,
        options: ServerOptions,
        env: Mapping[str, str],
        pipe: HostPipe,
    ) -> None:
        """Nothing runs yet."""
        self._settings = settings
        self._pipe = pipe
        self._questions = Questions()
        self._sides: asyncio.TaskGroup | None = None
        self.log = LogFile(
            settings.base_home,
            now=bootstrap.now,
            name=f"{_short(settings.home)}/{os.getpid()}",
        )
        self.confirmation = ResultConfirmation(pipe)
        self.delivery = Delivery(
            Spool(settings.home),
            confirmation=self.confirmation,
            log=self.log,
            max_chars=None if options.verbose else MAX_CHARS,
        )
        joiner = Joiner(settings.home, delivery=self.delivery, log=self.log)
        presence = Presence(options, log=self.log, clock=time.monotonic)
        link = HubLink(
            _first_hub(settings, joiner),
            settings,
            log=self.log,
            attend=self._attend,
            now=bootstrap.now,
        )
        joiner.given(settings.session_key, hub=settings.hub)
        self.pusher = Pusher(
            self.delivery,
            presence,
            home=settings.home,
            environment=env,
            log=self.log,
            notify=self._notify,
        )
        self.services = Services(
            settings=settings,
            options=options,
            link=link,
            delivery=self.delivery,
            outbox=Outbox(settings.home, post=post, told=self._tell, log=self.log),
            joiner=joiner,
            presence=presence,
            now=bootstrap.now,
            channel_works=self._channel_works,
        )

    def met(self, host: Host) -> None:
        """Which host asks."""
        if host.name:
            self.pusher.host = host

    async def run(self) -> None:
        """Work until cancelled."""
        self.log.note("started")
        async with asyncio.TaskGroup() as tasks:
            self._sides = tasks
            tasks.create_task(self._forever(self.delivery.run))
            tasks.create_task(self._forever(self.services.link.run))
            tasks.create_task(self._forever(self._show_here))
            tasks.create_task(self._forever(self._mind_session))

    async def _forever(self, work: Callable[[], Awaitable[None]]) -> None:
        """Keep at it: the tools must outlive a fault of ours in the background."""
        while True:
            try:
                await work()
                return
            except Exception as error:  # noqa: BLE001 - outermost place of a background
                self.log.note(f"{work.__name__} failed: {_place_of(error)}")
            await asyncio.sleep(FAULT_SECS)

    async def _mind_session(self) -> None:
        """Follow the active session to its hub, whoever of this agent entered it."""
        services = self.services
        before = services.active
        while True:
            await asyncio.sleep(SESSION_SECS)
            room = services.active
            if room == before or self.pusher.calls:  # a call may be entering one
                continue
            before = room
            hub = _hub_of(self._settings, room)
            if hub is not None and not same_hub(hub, services.link.hub):
                services.link.serve(hub)

    async def _attend(self, ctx: OpContext) -> None:
        services = self.services
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self.delivery.attend(ctx, bootstrap.reader_of(ctx.identity))
            )
            tasks.create_task(services.outbox.flush(ctx))
            tasks.create_task(self._join(ctx))
            tasks.create_task(services.presence.attend(ctx))
            tasks.create_task(self.pusher.run(ctx))

    async def _join(self, ctx: OpContext) -> None:
        await self.services.presence.introduce(ctx)
        await self.services.joiner.attend(ctx)

    async def _show_here(self) -> None:
        services = self.services
        try:
            identity, _ = await asyncio.to_thread(
                bootstrap.identity_of, self._settings, hub=services.link.hub
            )
        except ParlerError as broken:
            self.log.note(f"no identity: {broken.code}")
            return
        link, delivery = services.link, self.delivery

        def news() -> dict[str, Any]:
            return {
                "room": active_session(services.home),
                "hub": link.hub if link.ctx is not None else None,
                "last_taken": delivery.last_taken,
                "thread": self.pusher.thread,
            }

        await services.presence.show_here(
            identity,
            home=machine_home(self._settings.base_home),
            news=news,
            app=self.pusher.app.id if self.pusher.app else None,
        )

    # Calls

    async def call(
        self, tool: Tool, params: CallToolRequestParams, context: Context, host: Host
    ) -> Any:
        """Carry out a call; what waits for the model goes with its result."""
        self.services.presence.called()
        self.pusher.thread = conversation_of(context.meta) or self.pusher.thread
        self.pusher.calls += 1
        answer: Answer | None = None
        try:
            answer = await self._answer(tool, params, context, host)
            mail = await self.delivery.collect(max_chars=PIGGYBACK_CHARS)
            if mail.held is not None:
                answer.holds.append(mail.held)
            text = with_mail(
                await self._with_state(answer),
                [item.text for item in mail.items],
                mail.left,
                self.delivery.quiet(),
            )
        except AskFirst as first:
            return first.result
        except BaseException:
            if answer is not None:
                self.delivery.settled(_receipt(answer), False)
            raise
        finally:
            self.pusher.calls -= 1
            self.delivery.call_over()
        assert context.request_id is not None
        self.confirmation.open(context.request_id, _receipt(answer))
        content = {"type": "text", "text": text.encode("utf-8", "replace").decode()}
        return {"content": [content], "isError": answer.failed}

    async def _answer(
        self, tool: Tool, params: CallToolRequestParams, context: Context, host: Host
    ) -> Answer:
        try:
            args = read_arguments(tool, params.arguments)
            made = await tool.run(self._call(params, context, host), args)
        except AskFirst:
            raise
        except ParlerError as error:
            return Answer(text=self._failure(error), failed=True)
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            text = f"error: {error.strerror or type(error).__name__}{where}"
            return Answer(text=text, failed=True)
        except Exception as error:  # noqa: BLE001 - the outermost place of a call
            return self._fault(tool, error)
        assert isinstance(made, Answer)
        return made

    def _failure(self, error: ParlerError) -> str:
        return failure(error, full=self.services.options.full)

    def _fault(self, tool: Tool, error: BaseException) -> Answer:
        error = _leaf(error)
        if isinstance(error, ParlerError):
            return Answer(text=self._failure(error), failed=True)
        place = _place_of(error)
        self.log.note(f"{tool.name} failed: {place}")
        text = f"error: a fault of parler ({place}); it is noted in mcp.log"
        return Answer(text=text, failed=True)

    def _call(
        self, params: CallToolRequestParams, context: Context, host: Host
    ) -> Call:
        session = context.session

        async def tell(done: float, total: float | None, message: str) -> None:
            await session.report_progress(done, total, message)

        def hint(done: float, total: float | None, message: str) -> None:
            if self._sides is not None:
                self._sides.create_task(tell(done, total, message))

        async def decide(question: Question) -> Verdict:
            return await self._questions.decide(
                question,
                context,
                handshake=host.handshake,
                answers=params.input_responses,
                state=params.request_state,
            )

        return Call(
            services=self.services,
            host=host,
            tell_progress=tell,
            hint=hint,
            decide=decide,
        )

    async def _with_state(self, answer: Answer) -> str:
        link = self.services.link
        state = link.state()
        if state is None:
            return answer.text
        said = [] if state in answer.text else [state]
        if queued := await self.services.outbox.count(link.hub):
            said.append(counted(queued, "message is queued", "messages are queued"))
        return "\n".join([*(f"[{one}]" for one in said), answer.text])

    # What is not a call

    async def resource(self, uri: str) -> str:
        """What a resource holds now."""
        try:
            return await resource_text(await self.services.link.ready(), uri)
        except ParlerError as error:
            raise MCPError(_code(error), self._failure(error)) from None

    async def prompt(self, name: str) -> str:
        """What a prompt says now."""
        try:
            return await prompt_text(await self.services.link.ready(), name)
        except ParlerError as error:
            raise MCPError(_code(error), self._failure(error)) from None

    async def _notify(self, method: str, params: Mapping[str, Any]) -> None:
        await self._pipe.send(
            JSONRPCNotification(jsonrpc="2.0", method=method, params=dict(params))
        )

    def _channel_works(self) -> None:
        self.pusher.channel_seen = True

    def _tell(self, text: str, key: str) -> None:
        self.delivery.notice(text, key=f"outbox:{key}")


def _short(home: Path) -> str:
    """A word for a home among those of an app."""
    project = project_home(home)
    return project.name[:8] + ("" if project == home else f"-{home.name}")


def _first_hub(settings: Settings, joiner: Joiner) -> str:
    """The hub of the flag, of the key, of the active session, or the configured one."""
    if settings.hub_source == "flag":
        return settings.hub
    if joiner.key is not None and joiner.key.hub:
        return joiner.key.hub
    try:
        key = parse_join_key(settings.session_key or "")
    except InvalidJoinKey:
        key = None
    if key is not None and key.hub and not joiner.knows(key):
        return key.hub
    return _hub_of(settings, active_session(settings.home)) or settings.hub


def _hub_of(settings: Settings, room: RoomName | None) -> str | None:
    try:
        return KnownRooms(settings.home).hub_of(room) if room else None
    except ParlerError:
        return None  # whoever joins again writes it anew


def _place_of(error: BaseException) -> str:
    """Which error, and where; none of its words, which may be anybody's."""
    error = _leaf(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = (
        f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    )
    return type(error).__name__ + place


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _receipt(answer: Answer) -> Receipt:
    return Receipt(holds=answer.holds, claims=answer.claims)


def _code(error: ParlerError) -> int:
    return INVALID_PARAMS if isinstance(error, UsageError) else -32000
