"""What hosts ask, in both eras of the protocol, before anything else is loaded.

`initialize` and the lists are answered from what is at hand, without a hub. What works
behind the tools is loaded and started once the host has its lists.
"""

import asyncio
import gc
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    GetPromptRequestParams,
    JSONRPCMessage,
    JSONRPCRequest,
    PaginatedRequestParams,
    ReadResourceRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from parler._version import __version__
from parler.apps.registry import all_apps
from parler.apps.running import app_above
from parler.errors import ParlerError
from parler.identity.settings import Settings
from parler.machine.processes import Process, is_running
from parler.mcp_server.instructions import CHANNEL_INSTRUCTIONS, INSTRUCTIONS, PROMPTS
from parler.mcp_server.instructions import RESOURCES as OFFERED_RESOURCES
from parler.mcp_server.seating import Seating
from parler.mcp_server.stdio import HostPipe, RequestId
from parler.mcp_server.tool_call import Host, conversation_of
from parler.runtime.options import ServerOptions

if TYPE_CHECKING:
    from parler.mcp_server.backend import Backend

Context = ServerRequestContext[Any, Any]

NAME = "parler"
START_SECS = 1.0
"""After so long what is behind the tools starts, whatever the host asked."""

APP_SECS = 1.0
"""How often is looked whether the app still runs."""

CONVERSATION_SECS = 3.0
"""So long is waited for a hook to tell which conversation is resumed, where that may
have a seat: before it nothing is read in the name of another."""

SEAT_SECS = 1.0
"""How often is looked whether a hook has found another seat for the window."""

DRAIN_SECS = 1.0
LIST_TTL_MS = 300_000
_GLANCE_SECS = 0.05
_CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
_LASTING = {"ttlMs": LIST_TTL_MS, "cacheScope": "private"}
_FRESH = {"ttlMs": 0, "cacheScope": "private"}


class ToolServer:
    """One host, served until it leaves."""

    def __init__(
        self,
        settings: Settings,
        options: ServerOptions,
        env: Mapping[str, str],
        *,
        seating: Seating | None = None,
        descriptors: tuple[int, int] | None = None,
    ) -> None:
        """Nothing runs yet.

        Args:
            seating: Knows when the window has another seat; without it none is
                looked for.
            descriptors: Where the host is, instead of at stdin and stdout.
        """
        self._seating = seating
        self._moved = asyncio.Event()
        self._settings = settings
        self._options = options
        self._env = env
        self._wanted = asyncio.Event()
        self._asked = False
        self._seat_lock = asyncio.Lock()
        self._ready: asyncio.Future[Backend] = (
            asyncio.get_running_loop().create_future()
        )
        self._host = Host()
        self._app: Process | None = None
        """The process that the model lives in, once it was looked for."""

        self._sdk: Server[Any] = Server(
            NAME,
            version=__version__,
            instructions=INSTRUCTIONS,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
        )
        self._sdk.middleware[:] = [self._around]  # no traces: nobody collects them
        self._pipe = HostPipe(self, descriptors=descriptors)

    async def run(self) -> None:
        """Serve until the host closes stdin."""
        self._pipe.start()
        options = self._sdk.create_initialization_options(
            experimental_capabilities={
                app.channel: {} for app in all_apps() if app.channel
            }
        )
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._work_behind()),
                tasks.create_task(self._mind_app()),
            ]
            await self._sdk.run(self._pipe.reader, self._pipe.writer, options)
            await self._pipe.drain(DRAIN_SECS)
            for task in others:
                task.cancel()

    async def _mind_app(self) -> None:
        """End with the app, also while something between us holds the pipe open."""
        self._app = (await asyncio.to_thread(app_above, os.getpid())).process
        while True:
            if not is_running(self._app):
                break
            await asyncio.sleep(APP_SECS)
        self._pipe.hang_up()

    async def _work_behind(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECS):
                await self._wanted.wait()
        from parler.mcp_server.backend import Backend

        await self._until_told()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._mind_seat())
            while True:
                self._moved.clear()
                backend = Backend(self._settings, self._options, self._env, self._pipe)
                backend.met(self._host)
                self._ready.set_result(backend)
                gc.freeze()  # what start-up made stays
                gc.enable()
                work = tasks.create_task(backend.run())
                await self._moved.wait()
                work.cancel()
                await asyncio.wait([work])

    async def _backend(self, conversation: str | None = None) -> "Backend":
        self._asked = True
        self._wanted.set()
        await self._take_seat(conversation)
        return await asyncio.shield(self._ready)

    # The seat of the window

    async def _until_told(self) -> None:
        """Wait for a window's conversation, if it may have a seat already."""
        seating = self._seating
        with suppress(TimeoutError):
            async with asyncio.timeout(CONVERSATION_SECS):
                while seating is not None and not self._asked:
                    if not await asyncio.to_thread(seating.may_move):
                        break
                    await asyncio.sleep(_GLANCE_SECS)
        await self._take_seat(None)

    async def _mind_seat(self) -> None:
        while self._seating is not None:
            await asyncio.sleep(SEAT_SECS)
            await self._take_seat(None)

    async def _take_seat(self, conversation: str | None) -> None:
        """Work in the seat that the window has, which may be another than before."""
        if self._seating is None:
            return
        async with self._seat_lock:
            try:
                settings = await asyncio.to_thread(self._seating.moved, conversation)
            except (ParlerError, OSError):
                return  # it has what it had; looked at again soon
            if settings is None:
                return
            self._settings = settings
            if self._ready.done():
                self._ready = asyncio.get_running_loop().create_future()
                self._moved.set()

    # What passes through the pipe

    def opening(self, message: JSONRPCMessage) -> bytes | None:
        """Keep an app in the era in which it registers a channel."""
        if not isinstance(message, JSONRPCRequest):
            return None
        if message.method != "server/discover":
            return None
        meta = (message.params or {}).get("_meta") or {}
        info = meta.get(_CLIENT_INFO) or {}
        if not _has_channel(info):
            return None
        error = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
        answer = {"jsonrpc": "2.0", "id": message.id, "error": error}
        return json.dumps(answer).encode() + b"\n"

    def heard(self, message: JSONRPCMessage) -> None:
        """Learn from it what the host has taken."""
        if self._app is not None and not is_running(self._app):
            return  # it said this before its end
        if self._ready.done():
            self._ready.result().confirmation.heard(message)

    def failed(self, request: RequestId) -> None:
        """Learn what the host was not given."""
        if self._ready.done():
            self._ready.result().confirmation.failed(request)

    # What hosts ask

    async def _around(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Tell the host that has a channel about it."""
        result = await call_next(ctx)
        if ctx.method == "initialize" and isinstance(result, dict):
            info = (ctx.params or {}).get("clientInfo") or {}
            if _has_channel(info):
                return result | {"instructions": INSTRUCTIONS + CHANNEL_INSTRUCTIONS}
        return result

    def _meet(self, context: Context) -> Host:
        params = context.session.client_params
        name = params.client_info.name if params else ""
        handshake = context.protocol_version not in MODERN_PROTOCOL_VERSIONS
        self._host = Host(name=name, handshake=handshake)
        if self._ready.done():
            self._ready.result().met(self._host)
        return self._host

    async def _list_tools(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> Any:
        from parler.mcp_server.tools.registry import offered

        host = self._meet(context)
        tools = [tool.as_offer(host) for tool in offered(host, full=self._options.full)]
        asyncio.get_running_loop().call_soon(self._wanted.set)
        return self._complete(context, {"tools": tools}, _LASTING)

    async def _call_tool(self, context: Context, params: CallToolRequestParams) -> Any:
        from parler.mcp_server.tools.registry import BY_NAME

        tool = BY_NAME.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name[:80]!r}")
        backend = await self._backend(conversation_of(context.meta))
        result = await backend.call(tool, params, context, self._meet(context))
        if isinstance(result, dict):
            return self._complete(context, result, {})
        return result

    async def _list_resources(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> Any:
        return self._complete(context, {"resources": OFFERED_RESOURCES}, _LASTING)

    async def _list_templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> Any:
        return self._complete(context, {"resourceTemplates": []}, _LASTING)

    async def _read_resource(
        self, context: Context, params: ReadResourceRequestParams
    ) -> Any:
        kind = {str(one["uri"]): one["mimeType"] for one in OFFERED_RESOURCES}
        uri = str(params.uri)
        if uri not in kind:
            raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri[:80]!r}")
        text = await (await self._backend()).resource(uri)
        content = {"uri": uri, "mimeType": kind[uri], "text": text}
        return self._complete(context, {"contents": [content]}, _FRESH)

    async def _list_prompts(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> Any:
        return self._complete(context, {"prompts": PROMPTS}, _LASTING)

    async def _get_prompt(
        self, context: Context, params: GetPromptRequestParams
    ) -> Any:
        if params.name not in {one["name"] for one in PROMPTS}:
            raise MCPError(INVALID_PARAMS, f"Unknown prompt: {params.name[:80]!r}")
        text = await (await self._backend()).prompt(params.name)
        message = {"role": "user", "content": {"type": "text", "text": text}}
        return self._complete(context, {"messages": [message]}, {})

    def _complete(
        self, context: Context, result: dict[str, Any], hint: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A result with what the stateless era wants to know of each."""
        if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return {**result, **hint, "resultType": "complete"}
        return result


def _has_channel(info: Mapping[str, Any]) -> bool:
    return Host(name=str(info.get("name"))).channel is not None
