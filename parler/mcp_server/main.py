"""Entry of ``parler mcp``: from the command line to a server on stdin and stdout."""

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Sequence

from parler.errors import ParlerError
from parler.identity.homes import current_directory, process_environment
from parler.identity.settings import Flags
from parler.machine.interrupts import raise_interrupt
from parler.mcp_server import sdk
from parler.mcp_server.seating import Seating
from parler.runtime.options import server_options

LAST_SECS = 4.0
"""How long the end may take once the host has gone."""

INTERRUPTED = 130
_VALUED = ("--home", "--hub")


def flags_of(arguments: Sequence[str]) -> Flags | None:
    """What was typed; None if it needs the whole command line to be understood."""
    values: dict[str, str] = {}
    insecure = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--insecure":
            insecure = True
        elif name in _VALUED and (equals or rest):
            values[name] = value if equals else rest.pop(0)
        else:
            return None
    return Flags(
        command="mcp",
        home=values.get("--home"),
        hub=values.get("--hub"),
        insecure=insecure,
    )


def serve(flags: Flags) -> int:
    """Serve the host at stdin and stdout until it leaves; returns the exit status.

    Raises:
        ParlerError: The settings cannot be used.
    """
    gc.disable()  # what is imported stays; looking through it over and over is slow
    env = process_environment()
    seating = Seating(flags, env)
    settings = seating.settings()
    folder = current_directory() or settings.base_home
    options = server_options(env, folder)

    async def whole() -> None:
        sdk.load()
        from parler.mcp_server.server import ToolServer

        server = ToolServer(settings, options, env, seating=seating)
        try:
            await server.run()
        finally:
            _end_in_time()

    raise_interrupt()
    try:
        asyncio.run(whole())
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def main(arguments: Sequence[str]) -> int | None:
    """Serve, if the arguments are plain ones; None if they are not."""
    flags = flags_of(arguments)
    if flags is None:
        return None
    try:
        return serve(flags)
    except ParlerError as error:
        step = f" — next: {error.next_step}" if error.next_step else ""
        sys.stderr.write(f"error: {error.message}{step}\n")
        return error.exit_status


def _end_in_time() -> None:
    """See to it that no thread that hangs keeps the process."""

    def end() -> None:
        os._exit(0)

    last = threading.Timer(LAST_SECS, end)
    last.daemon = True
    last.start()
