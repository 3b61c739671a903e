"""Serving the page until somebody stops it, or nobody has read it for an hour."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from platform import node

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from parler.identity.devices import Devices
from parler.identity.homes import machine_home
from parler.identity.own_agents import own_agents
from parler.identity.settings import Settings
from parler.ops.doctor.installation import DoctorResult
from parler.ops.machine_context import Here
from parler.runtime.dialling import LocalStart
from parler.runtime.own_hubs import OwnHubs
from parler.ui.desk import Desk
from parler.ui.guard import Guard, Scope, Sessions
from parler.ui.pages import Pages
from parler.ui.peer import is_of_user
from parler.ui.phone import Phones, asker_of
from parler.ui.process import Place, serving, take_token
from parler.ui.words import environment

IDLE_SECS = 3600.0
"""Without a reader, before this process ends."""

END_SECS = 2.0
"""How long readers may take to notice that it does."""

MAX_CONNECTIONS = 200
"""Of this user; those of others are closed before they are counted."""

MAX_HEAD_BYTES = 16 * 2**10
"""Of a request, before anybody looks at it."""

_LOOK_SECS = 2.0


def serve(
    settings: Settings,
    *,
    port: int | None,
    here: Callable[[], Here],
    doctor: Callable[[], Awaitable[DoctorResult]],
    idle_secs: float = IDLE_SECS,
) -> None:
    """Serve the page of this user until a signal ends it, or it has no reader.

    Args:
        port: As that of `serving`.
        doctor: Examines this installation.
        idle_secs: Without a reader, before it ends.

    Raises:
        ConfigError: It is served already.
        UsageError: The port is taken.
    """
    machine = machine_home(settings.base_home)
    place = Place.of(machine)
    hubs = OwnHubs(
        settings=settings, agents=own_agents(machine), local=LocalStart(revive=False)
    )
    desk = Desk(machine, hubs, here)
    phones = Phones(desk, Devices(machine), asker_of(desk, settings.hub), node())
    with serving(place, port) as listener:
        ending = asyncio.Event()
        sessions = Sessions(listener.getsockname()[1])
        pages = Pages(
            desk=desk,
            sessions=sessions,
            doctor=doctor,
            take_token=lambda token: take_token(place, token),
            ending=ending,
            templates=environment(),
        )
        guard = Guard(app=pages.app(), sessions=sessions, is_ours=_is_ours)
        server = _Server(config_of(guard))

        async def run() -> None:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.add_signal_handler(number, ending.set)
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(desk.stay())
                answering = tasks.create_task(phones.stay())
                idle = tasks.create_task(wait_for_idling(desk, ending, idle_secs))
                serving = tasks.create_task(server.serve([listener]))
                await ending.wait()
                server.should_exit = True
                await asyncio.wait([serving])
                keeping.cancel()
                answering.cancel()
                idle.cancel()

        asyncio.run(run())


def config_of(app: Guard) -> uvicorn.Config:
    """How the page is served, and what of it one may take."""
    return uvicorn.Config(
        app,
        http=OwnUsers,  # over h11: what may be sent of a head is bounded there
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        proxy_headers=False,  # nobody else says where a request comes from
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(END_SECS),
    )


class OwnUsers(H11Protocol):
    """HTTP for connections from processes of this user; others take nobody's place."""

    _is_closed = False

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Close one that is another user's, unread."""
        peer, own = map(transport.get_extra_info, ("peername", "sockname"))
        if peer and own and is_of_user(tuple(peer), tuple(own), user=os.getuid()):
            super().connection_made(transport)
            return
        self._is_closed = True
        transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what comes of ours."""
        if not self._is_closed:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget one of ours."""
        if not self._is_closed:
            super().connection_lost(exc)


class _Server(uvicorn.Server):
    """One that leaves signals to us: first of all, readers are told."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


async def wait_for_idling(desk: Desk, ending: asyncio.Event, idle_secs: float) -> None:
    """Have this process end once nobody has read the page for a time."""
    clock = asyncio.get_running_loop().time
    read = clock()
    while desk.readers or clock() - read < idle_secs:
        if desk.readers:
            read = clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_LOOK_SECS, idle_secs)):
                await ending.wait()
                return
    ending.set()


def _is_ours(scope: Scope) -> bool:
    """Whether a request comes from a process of this user."""
    peer, own = scope.get("client"), scope.get("server")
    if peer is None or own is None:
        return False
    enters = scope["path"] == "/enter"
    user = os.getuid()
    return is_of_user(tuple(peer), tuple(own), user=user, slow=enters)
