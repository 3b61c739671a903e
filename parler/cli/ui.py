"""``parler ui``: the person's page in the browser."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command
from parler.cli._own import person_line
from parler.cli._person import check_no_agent
from parler.cli._run import (
    ELSEWHERE,
    Options,
    Run,
    carry_out,
    identity_of,
    settings_of,
)
from parler.ops.capability import Capability
from parler.ops.context import Result

if TYPE_CHECKING:
    from parler.ui.process import Place, Running


class PageResult(Result):
    """Where the page is, with what lets one browser in once."""

    url: str


class PairedResult(Result):
    """Whether a phone was paired, and as what."""

    paired: bool
    name: str | None = None


class EndedResult(Result):
    """Whether there was a page to end."""

    stopped: bool
    pid: int | None = None


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, UI)(ui)


def ui(
    options: Options,
    print_: Annotated[
        bool,
        typer.Option("--print", help="Print the address; open no browser."),
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the page.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="This port; default: 7171, or any that is free.",
        ),
    ] = None,
    phone: Annotated[
        bool, typer.Option("--phone", help="Pair a phone: show a code for it.")
    ] = False,
    phone_page: Annotated[
        str | None,
        typer.Option(
            "--phone-page",
            metavar="URL",
            help="Take the phone's page from here, not from the hub.",
        ),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", hidden=True)] = False,
) -> None:
    """Open the page, or end it."""
    from parler.identity.homes import machine_home
    from parler.ops.person_only import Deciding
    from parler.ui.process import Place

    line = person_line(options, "ui")
    check_no_agent(Deciding(what="open the page", question="", line=line))
    place = Place.of(machine_home(settings_of(options).base_home))
    if serve:
        _serve(options, port)
    elif stop:
        _stop(options, place)
    elif phone or phone_page:
        _pair(options, place, port, phone_page)
    else:
        _open(options, place, port, browser=not (print_ or options.json))


def _pair(options: Options, place: "Place", port: int | None, page: str | None) -> None:
    import asyncio
    import sys
    from urllib.parse import urlsplit

    from parler.cli.render import put_question
    from parler.errors import UsageError
    from parler.identity.devices import Devices
    from parler.identity.homes import machine_home
    from parler.identity.join_secrets import FILE_NAME, JoinSecrets, secret_for
    from parler.local_hub.lan import qr_lines
    from parler.ui.pairing import CODE_SECS, make_code, page_of, pair

    settings = settings_of(options)
    page_of(settings.hub)  # before anything is started
    if page and (urlsplit(page).scheme != "https" or "#" in page):
        raise UsageError("--phone-page takes an https:// address without #")
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            "this asks you to compare a number, and there is no terminal to ask on",
            next_step=person_line(options, "ui", "--phone"),
        )
    machine = machine_home(settings.base_home)
    secrets = JoinSecrets(machine / FILE_NAME)

    async def agrees(name: str, digits: str) -> bool:
        question = f"{name} wants to act for you. Does it show {digits}?"
        return await asyncio.to_thread(put_question, question)

    async def work(run: Run) -> None:
        hub = run.ctx.hub
        code = await make_code(run.ctx, secret_for(hub, settings, secrets), page)
        out = options.out
        for line in [*qr_lines(code.url), code.url]:
            out.note(line)
        out.note(
            f"photograph this with your phone; it is good once, for {CODE_SECS // 60} "
            "minutes, and who has it first is asked for below"
        )
        device = await pair(run.ctx, Devices(machine), code, agrees)
        if device is None:
            out.result(PairedResult(paired=False), ["no phone was paired"])
            return
        said = f"{device.name} may now decide, look and ask for you"
        out.result(PairedResult(paired=True, name=device.name), [said])
        out.undo(person_line(options, "devices", "remove", device.name))

    carry_out(options, work, place=ELSEWHERE)
    if Devices(machine).all():
        _ensure(options, place, port)
        options.out.note(
            "the page runs in the background and answers it, while it runs"
        )


def _open(options: Options, place: "Place", port: int | None, *, browser: bool) -> None:
    from parler.ui.process import mint_token

    running = _ensure(options, place, port)
    url = f"{running.origin}/#{mint_token(place)}"
    if browser:
        import webbrowser

        if webbrowser.open(url):
            options.out.result(PageResult(url=url), [f"opened {running.origin}"])
            return
        options.out.note(
            "no browser could be opened here: open this address in one, soon and once"
        )
    options.out.result(PageResult(url=url), [url])


def _ensure(options: Options, place: "Place", port: int | None) -> "Running":
    from parler.errors import UsageError
    from parler.identity.homes import process_environment
    from parler.machine.program import own_command
    from parler.ui.process import ensure, find

    identity_of(options, settings_of(options))  # the page speaks as somebody
    there = find(place)
    if there and port not in (None, there.port):
        raise UsageError(
            f"the page is at port {there.port} already",
            next_step=person_line(options, "ui", "--stop"),
        )
    words = [*own_command(), "ui", "--serve"]
    # It works in a folder of its own.
    words += ["--home", str(Path(options.home).absolute())] if options.home else []
    words += ["--hub", options.hub] if options.hub else []
    words += ["--insecure"] if options.insecure else []
    words += ["--port", str(port)] if port is not None else []
    variables = dict(process_environment())
    if home := variables.get("PARLER_HOME"):
        variables["PARLER_HOME"] = str(Path(home).absolute())
    return ensure(place, words, variables)


def _stop(options: Options, place: "Place") -> None:
    from parler.ui.process import stop

    ended = stop(place)
    result = EndedResult(stopped=ended is not None, pid=ended.pid if ended else None)
    said = f"ended process {ended.pid}" if ended else "the page does not run"
    options.out.result(result, [said])


def _serve(options: Options, port: int | None) -> None:
    from parler.cli._machine import here_of
    from parler.cli.doctor import examined
    from parler.ui.server import serve

    here = here_of(options)
    os.umask(0o077)
    serve(
        settings_of(options),
        port=port,
        here=lambda: here,
        doctor=lambda: examined(options),
    )


UI = Capability(
    run=ui,
    about="Open your page in the browser: inbox, agents, rooms live.",
    more="It runs in the background, for this user alone, and ends an hour after "
    "nobody reads it, and no phone is paired. The address lets one browser in, once.",
    command="ui",
    result=(PageResult, EndedResult, PairedResult),
    example="""\
parler ui
parler ui --print
parler ui --phone
parler ui --stop""",
    no_tool="it is the person's",
)
