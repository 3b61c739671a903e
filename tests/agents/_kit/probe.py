"""The smallest MCP server, to see that a CLI started it, and what reached it.

It is run by path: `python probe.py FILE`. FILE is made when a client shakes hands. Its
one tool, `mark`, says its text again.
"""

import json
import sys
from pathlib import Path
from typing import Any

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOL = {"name": "mark", "description": "Say a text again.", "inputSchema": TEXT}


def answer(method: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """A result; None for what this server does not know."""
    if method == "initialize":
        Path(sys.argv[1]).touch()
        return {
            "protocolVersion": given["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "probe", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [TOOL]}
    if method == "tools/call":
        said = f"marked {given['arguments'].get('text')}"
        return {"content": [{"type": "text", "text": said}]}
    return {} if method == "ping" else None


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request or "method" not in request:
            continue
        result = answer(request["method"], request.get("params") or {})
        unknown = {"error": {"code": -32601, "message": "unknown method"}}
        told = unknown if result is None else {"result": result}
        reply = {"jsonrpc": "2.0", "id": request["id"], **told}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
