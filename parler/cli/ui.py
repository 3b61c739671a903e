"""``parler ui``: the person's page in the browser."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parler.cli._command import command
from parler.cli._own import person_line
from parler.cli._person import check_no_agent
from parler.cli._run import Options, identity_of, settings_of
from parler.ops.capability import Capability
from parler.ops.context import Result

if TYPE_CHECKING:
    from parler.ui.process import Place


class PageResult(Result):
    """Where the page is, with what lets one browser in once."""

    url: str


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
    else:
        _open(options, place, port, browser=not (print_ or options.json))


def _open(options: Options, place: "Place", port: int | None, *, browser: bool) -> None:
    from parler.errors import UsageError
    from parler.identity.homes import process_environment
    from parler.machine.program import own_command
    from parler.ui.process import ensure, find, mint_token

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
    running = ensure(place, words, variables)
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
    "nobody reads it. The address lets one browser in, once.",
    command="ui",
    result=(PageResult, EndedResult),
    example="""\
parler ui
parler ui --print
parler ui --stop""",
    no_tool="it is the person's",
)
