"""``parler mcp``: the MCP server, which agents' apps start."""

import typer

from parler.cli._command import command
from parler.cli._run import Options
from parler.ops.capability import Capability


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, MCP)(mcp)


def mcp(options: Options) -> None:
    """Serve until stdin ends."""
    from parler.identity.settings import Flags
    from parler.mcp_server.main import serve

    flags = Flags(
        command=options.command,
        home=options.home,
        hub=options.hub,
        insecure=options.insecure,
    )
    raise typer.Exit(serve(flags))


MCP = Capability(
    run=mcp,
    about="Serve an agent app (MCP); apps start it by themselves.",
    more="It speaks on stdin and stdout. PARLER_SESSION_KEY joins a session at once, "
    "PARLER_TOOLS=full offers all tools, PARLER_PUBLIC=1 makes the card public, "
    "PARLER_NO_REGISTER=1 makes none.",
    command="mcp",
    example="claude mcp add parler -- parler mcp",
    no_tool="it is what offers the tools",
)
