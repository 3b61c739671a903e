"""Every tool there is, in the order in which hosts are shown them."""

from collections.abc import Iterable

from parler.mcp_server.tool_call import Host
from parler.mcp_server.tool_schema import Tool
from parler.mcp_server.tools import (
    attachments,
    directory,
    memory,
    messages,
    peers,
    sessions,
)

ALL: tuple[Tool, ...] = (
    *sessions.TOOLS,
    *messages.TOOLS,
    *attachments.TOOLS,
    *memory.TOOLS,
    *directory.TOOLS,
    *peers.TOOLS,
)
BY_NAME = {tool.name: tool for tool in ALL}


def offered(host: Host, *, full: bool) -> Iterable[Tool]:
    """The tools that a host is shown; the others answer all the same."""
    for tool in ALL:
        wanted = full or tool.capability.common
        if wanted and (tool.only_for is None or tool.only_for(host)):
            yield tool
