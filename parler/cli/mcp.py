"""``parler mcp``: the MCP server, which agents' apps start."""

import typer

from parler.cli._command import command
from parler.cli._run import Options


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "mcp", example="claude mcp add parler -- parler mcp")(mcp)


def mcp(options: Options) -> None:
    """Serve an agent's app over stdin and stdout (MCP); apps start it by themselves.

    PARLER_SESSION_KEY joins a session at once, PARLER_TOOLS=full offers all tools,
    PARLER_PUBLIC=1 makes the card public, PARLER_NO_REGISTER=1 makes none.
    """
    from parler.identity.settings import Flags
    from parler.mcp_server.main import serve

    flags = Flags(
        command=options.command,
        home=options.home,
        hub=options.hub,
        insecure=options.insecure,
    )
    raise typer.Exit(serve(flags))
