"""A scripted model on loopback, in the four dialects that agent CLIs speak.

It is run by path, alone, and imports nothing of ours. What it is to say comes on stdin
and what it is asked goes to stdout, one JSON object a line; it ends with its stdin.

    in:   {"do": "script", "steps": [STEP, ...]}   {"do": "open", "gate": NAME}
          {"do": "answer"}
    out:  {"is": "ready", "port": N}   {"is": "done"}   {"is": "asked", ...}

A step is one reply of the model. Which one is due is read off the conversation, by
counting what the model has said in it, so retries and side requests shift nothing:

    {"say": TEXT}                    the turn ends
    {"call": TOOL, "with": {...}}    a tool by its bare name; an argument may be
                                     {"read": REGEX}, the last match in all it has read
    {"refuse": STATUS}               an HTTP error
    {..., "gate": NAME}              only once the gate was opened

After the last step it repeats the newest tool result. A request that offers no tools
is not the agent's (a title, a classifier) and gets "aside".
"""

import gzip
import json
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests._support.polling import WAIT

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a request says of the conversation."""

    tools: list[tuple[str, str]]  # the name space, if there is one, and the bare name
    replies: int
    results: list[Any]


@dataclass(frozen=True)
class Dialect:
    """How one vendor's interface is read, and how its answers are written."""

    name: str
    path: str  # in which the request's path ends, or what it contains
    read: Callable[[Json], Asked]
    write: Callable[[Json], tuple[list[Any], Json]]  # events of a stream; a document


def read_messages(body: Json) -> Asked:
    messages = body.get("messages", [])
    blocks = [
        block
        for message in messages
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    return Asked(
        [("", tool.get("name", "")) for tool in body.get("tools") or []],
        sum(message["role"] == "assistant" for message in messages),
        [block.get("content") for block in blocks if block["type"] == "tool_result"],
    )


def write_messages(reply: Json) -> tuple[list[Any], Json]:
    call = "call" in reply
    if call:
        block = {"type": "tool_use", "id": fresh("toolu"), "name": reply["call"][1]}
        begun = block | {"input": {}}
        block = block | {"input": reply["with"]}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(reply["with"])}
    else:
        begun = {"type": "text", "text": ""}
        block = {"type": "text", "text": reply["say"]}
        delta = {"type": "text_delta", "text": reply["say"]}
    why = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    usage = dict.fromkeys(
        ("input_tokens", "output_tokens", "cache_creation_input_tokens"), 1
    ) | {"cache_read_input_tokens": 0}
    message = {"id": fresh("msg"), "type": "message", "role": "assistant"}
    message |= {"model": "scripted", "usage": usage}
    head = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    events = [
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": why, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return events, message | why | {"content": [block]}


def read_responses(body: Json) -> Asked:
    items = body["input"] if isinstance(body.get("input"), list) else []
    tools: list[tuple[str, str]] = []
    for tool in body.get("tools") or []:
        if tool.get("type") == "namespace":
            tools += [(tool["name"], inner.get("name", "")) for inner in tool["tools"]]
        else:
            tools.append(("", tool.get("name") or tool.get("type", "")))
    said = [
        item
        for item in items
        if item.get("type") == "function_call" or item.get("role") == "assistant"
    ]
    outputs = [item for item in items if item.get("type") == "function_call_output"]
    return Asked(tools, len(said), [item.get("output") for item in outputs])


def write_responses(reply: Json) -> tuple[list[Any], Json]:
    if "call" in reply:
        space, name = reply["call"]
        item = {"type": "function_call", "id": fresh("fc"), "call_id": fresh("call")}
        item |= {"name": name, "arguments": json.dumps(reply["with"])}
        item |= {"namespace": space} if space else {}
    else:
        text = {"type": "output_text", "text": reply["say"], "annotations": []}
        item = {"type": "message", "id": fresh("msg"), "role": "assistant"}
        item |= {"content": [text]}
    head = {"id": fresh("resp"), "object": "response", "output": []}
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    usage |= {"input_tokens_details": {"cached_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    whole = head | {"status": "completed", "output": [item], "usage": usage}
    events = [
        {"type": "response.created", "response": head | {"status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return events, whole


def read_chat(body: Json) -> Asked:
    messages = body.get("messages", [])
    return Asked(
        [("", tool["function"]["name"]) for tool in body.get("tools") or []],
        sum(message["role"] == "assistant" for message in messages),
        [message["content"] for message in messages if message["role"] == "tool"],
    )


def write_chat(reply: Json) -> tuple[list[Any], Json]:
    said: Json = {"role": "assistant", "content": reply.get("say")}
    if "call" in reply:
        function = {"name": reply["call"][1], "arguments": json.dumps(reply["with"])}
        call = {"index": 0, "id": fresh("call"), "type": "function"}
        said["tool_calls"] = [call | {"function": function}]
    why = "tool_calls" if "call" in reply else "stop"
    head = {"id": fresh("chat"), "created": 0, "model": "scripted"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}

    def piece(delta: Json, reason: str | None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return head | {"object": "chat.completion.chunk", "choices": [choice]}

    whole = head | {"object": "chat.completion", "usage": usage}
    whole |= {"choices": [{"index": 0, "message": said, "finish_reason": why}]}
    return [piece(said, None), piece({}, why) | {"usage": usage}, "[DONE]"], whole


def read_contents(body: Json) -> Asked:
    contents = body.get("contents", [])
    answers = [
        part["functionResponse"].get("response")
        for content in contents
        for part in content["parts"]
        if "functionResponse" in part
    ]
    tools = [
        ("", function["name"])
        for tool in body.get("tools") or []
        for function in tool.get("functionDeclarations") or []
    ]
    return Asked(tools, sum(c.get("role") == "model" for c in contents), answers)


def write_contents(reply: Json) -> tuple[list[Any], Json]:
    if "call" in reply:
        part = {"functionCall": {"name": reply["call"][1], "args": reply["with"]}}
    else:
        part = {"text": reply["say"]}
    content = {"role": "model", "parts": [part]}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    whole = {"usageMetadata": usage, "modelVersion": "scripted"}
    whole["candidates"] = [{"content": content, "finishReason": "STOP", "index": 0}]
    return [whole], whole


DIALECTS = (
    Dialect("messages", "/messages", read_messages, write_messages),
    Dialect("responses", "/responses", read_responses, write_responses),
    Dialect("chat", "/chat/completions", read_chat, write_chat),
    Dialect("contents", "enerateContent", read_contents, write_contents),
)


def fresh(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def strings(value: object) -> Iterator[str]:
    """Every string in a value, as the model would read them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def decide(step: Json, asked: Asked, body: Json) -> Json:
    """What is said to a request when this step is due."""
    if not asked.tools:
        return {"say": "aside"}
    if "call" in step:
        wanted = step["call"]
        called = [tool for tool in asked.tools if tool[1] == wanted] or [
            tool
            for tool in asked.tools
            if tool[1].endswith((f"_{wanted}", f"-{wanted}"))
        ]
        if not called:
            return {"say": f"no tool {wanted}"}
        read = "\n".join(strings(body))
        given = {name: fill(value, read) for name, value in step["with"].items()}
        return {"call": called[0], "with": given}
    if "say" in step or "refuse" in step:
        return step
    last = "\n".join(strings(asked.results[-1])) if asked.results else ""
    return {"say": f"finished: {last}"}


def fill(value: object, read: str) -> object:
    if not (isinstance(value, dict) and set(value) == {"read"}):
        return value
    found = re.findall(value["read"], read)
    return found[-1] if found else ""


class Model(ThreadingHTTPServer):
    """What is to be said, and whom to tell of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.steps: list[Json] = []
        self.gates: dict[str, threading.Event] = {}

    def tell(self, **what: object) -> None:
        with self.lock:
            sys.stdout.write(json.dumps(what) + "\n")
            sys.stdout.flush()

    def gate(self, name: str) -> threading.Event:
        with self.lock:
            return self.gates.setdefault(name, threading.Event())

    def obey(self, order: Json) -> None:
        if order["do"] == "script":
            self.steps = order["steps"]
        elif order["do"] == "open":
            self.gate(order["gate"]).set()
        self.tell(**{"is": "done"})

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients may hang up
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Model

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.document({"object": "list", "data": [], "models": []})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body, path = self.body(), self.path.partition("?")[0]
        found = [one for one in DIALECTS if path.endswith(one.path)]
        if not found or not isinstance(body, dict):
            counted = {"input_tokens": 1, "totalTokens": 1}
            self.document(counted if "ount" in path else {})
            return
        asked = found[0].read(body)
        steps = self.server.steps
        step = steps[asked.replies] if asked.replies < len(steps) else {}
        reply = decide(step, asked, body)
        self.server.tell(
            **{"is": "asked", "dialect": found[0].name, "reply": reply},
            turn=asked.replies,
            tools=[name for _, name in asked.tools],
            results=["\n".join(strings(result)) for result in asked.results],
            text="\n".join(strings(body)),
        )
        if asked.tools and "gate" in step:
            self.server.gate(step["gate"]).wait(WAIT)
        if "refuse" in reply:
            error = {"type": "authentication_error", "message": "no such key"}
            self.document({"type": "error", "error": error}, reply["refuse"])
            return
        events, document = found[0].write(reply)
        if body.get("stream") or "stream" in path:
            self.events(events)
        else:
            self.document(document)

    def body(self) -> object:
        raw = b""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            while size := int(self.rfile.readline().partition(b";")[0] or b"0", 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            raw = gzip.decompress(raw)
        try:
            return json.loads(raw or b"{}")
        except ValueError:
            return None

    def document(self, value: object, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def events(self, events: list[Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            text = event if isinstance(event, str) else json.dumps(event)
            if isinstance(event, dict) and "type" in event:
                self.wfile.write(f"event: {event['type']}\n".encode())
            self.wfile.write(f"data: {text}\n\n".encode())
        self.close_connection = True


def main() -> None:
    """Serve until stdin ends."""
    model = Model()
    threading.Thread(target=model.serve_forever, daemon=True).start()
    model.tell(**{"is": "ready", "port": model.server_port})
    for line in sys.stdin:
        model.obey(json.loads(line))


if __name__ == "__main__":
    main()
