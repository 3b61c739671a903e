"""The composition root of the hub: puts its parts together and runs them."""

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from starlette.responses import Response

from hub.admin import commands
from hub.admin.lock_file import LockFile, port_of_holder
from hub.admin.logs import set_up
from hub.admin.malloc import give_back, keep_buffers
from hub.admin.pruning import Pruner
from hub.blobs.folder import BlobFolder
from hub.connection.connection import Connection
from hub.delivery.last_seen import LastSeen
from hub.delivery.notifier import Notifier
from hub.delivery.receipts import FLUSH_SECS, Receipts
from hub.delivery.room_cache import RoomCache
from hub.errors import CannotStart, Refusal
from hub.http import (
    Site,
    peer_address,
    too_many,
)
from hub.ids import hub_token
from hub.quotas.accountant import Accountant, files_wanted
from hub.quotas.days import Taken
from hub.quotas.machine import allow_files
from hub.quotas.seats import Seat
from hub.server.uvicorn_server import (
    AsgiApp,
    AsgiTransport,
    Message,
    Receive,
    Send,
    bind,
    make_server,
    serve,
)
from hub.services import Clock, Limits, Services, system_clock
from hub.settings import LOCAL_RUNNING, Settings, local_folder, read_settings
from hub.store import shares
from hub.store.engine import Store, lock_database, used_bytes
from hub.store.shares import KeptShare
from parler._version import __version__
from parler.wire.codes import ErrorCode

log = logging.getLogger(__name__)

COLLECT = (20_000, 20, 50)
"""Allocations before each generation of the garbage collector runs."""

GIVE_BACK_SECS = 60.0
"""How long memory that nobody uses is kept for the next rush."""

GIVE_BACK_AFTER = 1000
"""Connections that came and went before it is looked for what they left behind."""

DRAIN_SECS = 5.0
"""How long connections may take to end when the hub stops."""


class Hub:
    """One running hub, apart from the socket it is reached by."""

    def __init__(self, settings: Settings, *, now: Clock = system_clock) -> None:
        """Open the database and put the parts together.

        Raises:
            CannotStart: The database cannot be used.
        """
        self.settings = settings
        wanted = files_wanted(settings.max_connections)
        quotas = Accountant(settings, time.monotonic, files=allow_files(wanted))
        if quotas.connections.total < settings.max_connections:
            log.warning(
                "%d connections at most: more need %d open files",
                quotas.connections.total,
                wanted,
            )
        self.public_url = settings.url or _bound_url(settings.host, settings.port)
        self.store = Store(
            settings.db,
            max_bytes=quotas.disk.budget,
            owners_admit=settings.owners_admit,
        )
        quotas.disk.used = self.store.bytes_at_start
        notifier = Notifier()
        self.services = Services(
            settings=settings,
            store=self.store,
            rooms=RoomCache(self.store),
            notifier=notifier,
            receipts=Receipts(self.store, notifier),
            last_seen=LastSeen(self.store),
            online=Counter(),
            present=Counter(),
            limits=Limits(settings, time.monotonic),
            quotas=quotas,
            blobs=_blob_folder(settings),
            blob_changes=asyncio.Lock(),
            now=now,
            public_url=lambda: self.public_url,
            # What lies in memory has no id that lasts.
            hub_token=hub_token(
                self.store.hub_id, settings.url if settings.db else self.public_url
            ),
        )
        self._resume_shares()
        self._connections: set[Connection] = set()
        self._idle = asyncio.Event()
        self.connections_total = 0
        self._writes_seen = -1
        self.site = Site(self.services, self)

    def _resume_shares(self) -> None:
        days, now = self.services.quotas.days, self.services.now

        def keep(taken: Taken) -> None:
            began = now() - int(taken.age * 1000)
            share = KeptShare(taken.kind, taken.key, began, taken.bytes)
            self.store.write_soon("share", shares.keep, share, after=lambda _: None)

        days.resume(
            [
                Taken(
                    kind=kept.kind,
                    key=kept.key,
                    bytes=kept.bytes,
                    age=(now() - kept.began) / 1000,
                )
                for kept in self.store.shares
            ]
        )
        days.keep = keep

    def listening_on(self, host: str, port: int) -> None:
        """Learn the address that port 0 became."""
        if self.settings.url is None:
            self.public_url = _bound_url(host, port)

    async def serve_websocket(
        self, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Serve one WebSocket from upgrade to close."""
        await receive()
        refusal = self._refusal_of_upgrade(scope)
        if refusal is not None:
            await self.site.answer(refusal, scope, receive, send)
            return
        await send({"type": "websocket.accept"})
        transport = AsgiTransport(scope, send)
        ip = peer_address(scope, header=self.settings.address_header)

        def settle() -> None:
            if seat is not None:
                seat.settle()

        connection = Connection(self.services, transport, ip, welcomed=settle)
        full = partial(
            connection.refuse,
            ErrorCode.AT_CAPACITY,
            "hub at capacity — try again shortly",
        )
        seat = self.services.quotas.connections.take(ip or "", full)
        if seat is None:
            full()
        self.connections_total += 1
        self._connections.add(connection)
        try:
            await connection.serve()
        except* Exception:
            log.exception("a connection failed")
        finally:
            self._connections.discard(connection)
            if seat is not None:
                seat.free()
            if not self._connections:
                self._idle.set()

    def take_seat(
        self, client: tuple[str, int] | None, leave: Callable[[], object]
    ) -> Seat | None:
        """Take a place for a socket that was accepted."""
        scope: Message = {"client": client, "headers": ()}
        address = peer_address(scope, header=None)
        return self.services.quotas.sockets.take(address or "", leave)

    async def drain(self) -> None:
        """End all connections: parked pulls answer, then each is closed."""
        for connection in self._connections:
            connection.stop()
        if self._connections:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECS):
                    await self._idle.wait()

    async def tidy_up(self) -> None:
        """Store positions every second and prune what is too old, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flush_positions())
            group.create_task(self._give_memory_back())
            pruner = Pruner(self.services)
            group.create_task(pruner.run_once())
            group.create_task(pruner.run())

    async def _flush_positions(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECS)
            await self.store_positions()
            await self._look_at_the_disk()

    async def _look_at_the_disk(self) -> None:
        disk = self.services.quotas.disk
        if not disk.budget or self.store.writes == self._writes_seen:
            return
        self._writes_seen = self.store.writes
        try:
            disk.used = await self.store.read("used", used_bytes)
        except Exception:  # outermost: no full or damaged disk may end the hub
            log.exception("the size of the database is not known")

    async def _give_memory_back(self) -> None:
        collected = 0
        while True:
            await asyncio.sleep(GIVE_BACK_SECS)
            if self.connections_total > GIVE_BACK_AFTER + collected:
                # What a storm of connections left: at rest no collection would come.
                collected = self.connections_total
                gc.collect()
            await asyncio.to_thread(give_back)

    async def store_positions(self) -> None:
        """Store how far everybody got, if it can be stored."""
        try:
            await self.services.receipts.flush()
        except Refusal as refusal:
            log.warning("positions were not stored: %s", refusal.message)
        except Exception:  # outermost: no full or damaged disk may end the hub
            log.exception("positions were not stored")

    def _refusal_of_upgrade(self, scope: Message) -> Response | None:
        refusal = self.site.refusal(scope)
        if refusal is None and scope["path"] != "/ws":
            refusal = Response(status_code=404)
        if refusal is None and not self.site.admits(scope):
            refusal = too_many()
        return refusal

    @property
    def live_connections(self) -> int:
        """How many connections there are now."""
        return len(self._connections)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait to be written to all connections."""
        return sum(connection.outbox_bytes for connection in self._connections)

    @property
    def http_answers(self) -> Mapping[int, int]:
        """HTTP answers by status."""
        return self.site.answers


def build_app(hub: Hub) -> AsgiApp:
    """The ASGI application: WebSockets to the hub, the rest to the pages."""

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await hub.serve_websocket(scope, receive, send)
        else:
            await hub.site(scope, receive, send)

    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a hub until SIGINT or SIGTERM; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        if arguments and arguments[0] in commands.COMMANDS:
            return commands.main(arguments)
        settings = read_settings(arguments)
        set_up(
            settings.log_level,
            as_json=settings.log_format == "json",
            file=settings.log_file,
        )
        if (
            settings.address_header == "x-forwarded-for"
            and "FLY_APP_NAME" in os.environ
        ):
            log.warning("on Fly.io pass --client-ip-header Fly-Client-IP")
        _run(settings)
    except CannotStart as error:
        sys.stderr.write(f"error: {error}\n")
        return 3
    return 0


def _bound_url(host: str, port: int) -> str:
    return f"parler://[{host}]:{port}" if ":" in host else f"parler://{host}:{port}"


def _folder_of_blobs(settings: Settings) -> Path | None:
    if settings.blob_dir is None and settings.db is not None:
        return settings.db.with_name(settings.db.name + ".blobs")
    return settings.blob_dir


def _blob_folder(settings: Settings) -> BlobFolder:
    # Of a hub that others reach, half is for all other addresses.
    pool = settings.max_inflight_blob_bytes
    half = pool // 2 if settings.max_agent_blob_bytes else 0
    bounds = {"max_in_flight": pool, "max_per_owner": half}
    folder = _folder_of_blobs(settings)
    if folder is not None:
        blobs = BlobFolder(folder, **bounds)
        blobs.sweep()
        return blobs
    # A hub that keeps nothing leaves nothing behind, however its process ends.
    scratch = Path(tempfile.mkdtemp(prefix="parler-hub-"))
    blobs = BlobFolder(scratch, **bounds)
    weakref.finalize(blobs, shutil.rmtree, scratch, ignore_errors=True)
    return blobs


def _run(settings: Settings) -> None:
    keep_buffers()
    with contextlib.ExitStack() as stack:
        lock_file = None
        if settings.running_file is not None:
            lock_file = stack.enter_context(LockFile(settings.running_file))
        # First of all: who does not get the port leaves no file behind.
        listener = stack.enter_context(
            _listen(settings.host, settings.port, flag="--addr")
        )
        folder = _folder_of_blobs(settings)
        if folder is not None:
            # What the database does not know is deleted: two hubs must not share it.
            held = lock_database(folder, create=False)
            if held is not None:
                stack.enter_context(held)
        metrics = None
        if settings.metrics_addr is not None:
            metrics = stack.enter_context(
                _listen(*settings.metrics_addr, flag="--metrics-addr")
            )
        runner = asyncio.Runner(loop_factory=_loop_factory())
        with runner:
            runner.run(_serve(settings, listener, metrics, lock_file))


def _listen(host: str, port: int, *, flag: str) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        own = local_folder(os.environ) / LOCAL_RUNNING
        if error.errno == errno.EADDRINUSE and port_of_holder(own) == port:
            raise CannotStart(
                f"this machine's own hub has port {port}, for all of your terminals "
                "and agents (parler hub status); next: parler session open, or for a "
                f"second hub another {flag}"
            ) from None
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            f"pass another {flag}"
        ) from None


async def _serve(
    settings: Settings,
    listener: socket.socket,
    metrics: socket.socket | None,
    lock_file: LockFile | None,
) -> None:
    host, port = listener.getsockname()[:2]
    hub = Hub(replace(settings, host=host))  # whatever its name in the settings
    listener.listen(hub.services.quotas.backlog)
    hub.listening_on(host, port)
    hub.store.start()
    asked_to_stop, drained = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    _calm_the_collector()
    server = make_server(
        build_app(hub),
        max_blob_bytes=settings.max_blob_bytes,
        max_text_bytes=settings.max_text_frame_bytes,
        take_seat=hub.take_seat,
        memory=hub.services.quotas.memory,
    )
    try:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(server, listener, drained))
            _announce(settings, hub, host, port)
            tidying = [group.create_task(hub.tidy_up())]
            if lock_file is not None:
                _tell(lock_file, settings, host, port)
            if settings.announce:
                from hub.admin.mdns import keep_announced  # seldom on

                tidying.append(
                    group.create_task(
                        keep_announced(settings, host, port, _teller(lock_file))
                    )
                )
            if metrics is not None:
                from hub.http.metrics import metrics_app  # slow to import, seldom on

                bound = metrics.getsockname()[0]
                shown = make_server(metrics_app(hub, host=bound))
                group.create_task(serve(shown, metrics, drained))
            waiting = group.create_task(asked_to_stop.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if lock_file is not None:
                lock_file.say(ending=True)
            for task in tidying:
                task.cancel()
            await hub.drain()
            await hub.store_positions()
            drained.set()
    finally:
        await hub.services.background.finish(DRAIN_SECS)
        hub.services.quotas.decoders.close()
        await hub.store.close()


def _calm_the_collector() -> None:
    """Look for cycles seldom, and never again in what was made until now.

    What a request makes is freed by its last reference. What lives long is
    connections, and walking all of them again and again is time nobody is served in.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


def _announce(settings: Settings, hub: Hub, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    lines = (
        f"parler-hub up · ws://{shown}:{port}/ws · {settings.mode} hub "
        f"'{settings.name}' · db: {settings.db or ':memory:'}\n"
    )
    if not settings.public:
        url = hub.public_url.replace("parler://", "ws://", 1)  # as clients show it
        lines += f"join it: PARLER_HUB={url}"
        lines += " with the join secret\n" if settings.join_secret else "\n"
    with contextlib.suppress(OSError):  # a full disk, or nobody reads it any more
        sys.stdout.write(lines)
        sys.stdout.flush()
    if settings.ready_file is not None:
        _write_ready(settings.ready_file, f"ws://{shown}:{port}")


def _write_ready(path: Path, url: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    temporary.replace(path)


def _tell(lock_file: LockFile, settings: Settings, host: str, port: int) -> None:
    from hub.admin.mdns import fingerprint, lan_addresses  # only with this file

    shown = f"[{host}]" if ":" in host else host
    lock_file.say(
        url=f"ws://{shown}:{port}",
        version=__version__,
        started=system_clock(),
        fingerprint=fingerprint(settings),
        lan=lan_addresses(host),
    )


def _teller(lock_file: LockFile | None) -> Callable[[list[str]], None]:
    def found(addresses: list[str]) -> None:
        if lock_file is not None:
            lock_file.say(lan=addresses)

    return found


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop  # type: ignore[return-value]
