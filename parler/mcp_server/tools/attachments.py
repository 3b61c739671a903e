"""Tools to hand over code and files, and to take them."""

from pathlib import Path
from typing import Any

from parler.errors import UsageError
from parler.handoff.repository import open_repository
from parler.identity.message_signing import Signature
from parler.mcp_server.tool_call import Answer, Call
from parler.mcp_server.tool_schema import Arg
from parler.mcp_server.tools.common import (
    fitting,
    only_one_target,
    target_of,
    tool,
)
from parler.ops import bundles, files
from parler.ops.attachments import Sender, announced
from parler.ops.bundles import ApplyResult, Bundle, Edit, Outline
from parler.text.terminal import shown_name, shown_size, visible, word
from parler.text.untrusted import LEGEND, quote
from parler.wire.base import RoomName
from parler.wire.parts import FilePart

SHOWN_COMMITS = 20
SHOWN_CHANGES = 40


async def push(call: Call, args: Any) -> Answer:
    """Send commits, or a file."""
    only_one_target(room=args.room, to=args.to, service=args.service)
    if args.file:
        path = _inside(call, args.file, "sent")
        return await call.patiently(_send_file(call, args, path), "sending the file")
    select = bundles.SelectParams(
        folder=call.folder(args.repo), ref=args.gitref, base=args.base
    )
    return await call.patiently(_push(call, args, select), "sending commits")


async def _push(call: Call, args: Any, select: bundles.SelectParams) -> Answer:
    ctx = await call.ctx()
    target, where = await target_of(
        ctx, room=args.room, to=args.to, service=args.service
    )
    async with bundles.prepared(select) as ready:
        result = await bundles.push(
            ctx,
            ready,
            bundles.PushParams(target=target, summary=args.summary, note=args.note),
            progress=call.transfer("sending commits"),
        )
        count = ready.selection.contents.commit_count
    return Answer(
        text=f"{count} commits up to {result.tip[:12]} sent to {where} (seq "
        f"{result.seq}), {shown_size(result.size)}. The other agent takes them with "
        f"parler_apply blob={result.blob}, or `parler apply {result.blob}`."
    )


async def apply(call: Call, args: Any) -> Answer:
    """Take commits, without merging; or the file that was sent instead."""
    return await call.patiently(_apply(call, args), "fetching what was sent")


async def _apply(call: Call, args: Any) -> Answer:
    ctx = await call.ctx()
    digest, sent = await announced(
        ctx, args.blob, _room(args.room), next_step="parler_recv since=0"
    )
    if sent is not None and isinstance(sent.part, FilePart):
        return await _fetch(call, sent.part.blob, args.room, None)
    repository = await open_repository(call.folder(args.path))
    progress = call.transfer("fetching commits")
    result = await bundles.take(ctx, repository, digest, sent, progress=progress)
    return Answer(text="\n".join(_applied(result)))


async def send_file(call: Call, args: Any) -> Answer:
    """Send a file of the project."""
    path = _inside(call, args.path, "sent")
    return await call.patiently(_send_file(call, args, path), "sending the file")


async def _send_file(call: Call, args: Any, path: Path) -> Answer:
    ctx = await call.ctx()
    target, where = await target_of(
        ctx, room=args.room, to=args.to, service=args.service
    )
    params = files.SendFileParams(target=target, path=path, note=args.note)
    result = await files.send_file(
        ctx, params, progress=call.transfer("sending the file")
    )
    return Answer(
        text=f"{shown_name(result.name)} sent to {where} (seq {result.seq}), "
        f"{shown_size(result.size)}, blob {result.blob}"
    )


async def fetch(call: Call, args: Any) -> Answer:
    """Fetch a file that was sent."""
    out = _inside(call, args.out, "written") if args.out else None
    fetching = _fetch(call, args.what, args.room, out)
    return await call.patiently(fetching, "fetching the file")


async def _fetch(call: Call, what: str, room: str | None, out: Path | None) -> Answer:
    params = files.FetchParams(what=what, room=_room(room), out=out)
    result = await files.fetch(
        await call.ctx(), params, progress=call.transfer("fetching the file")
    )
    lines = [
        f"kept as {visible(result.path)}, {shown_size(result.size)}, looks like "
        f"{word(result.looks_like)}; not opened. What is in it is {LEGEND}.",
        *_sender(result.sender),
    ]
    if result.warning:
        lines.append(f"careful: {word(result.warning)}")
    return Answer(text="\n".join(lines))


async def list_bundles(call: Call, args: Any) -> Answer:
    """What commits came in."""
    ctx = await call.ctx()
    result = await bundles.bundles(ctx, call.room(args.room), None)
    texts = [_bundle(one) for one in result.bundles]
    count = fitting(list(reversed(texts)))
    return Answer(text="\n".join(texts[-count:]) if texts else "no bundles came in")


def _inside(call: Call, named: str, what: str) -> Path:
    """A path within the project: a peer may have talked the model into any other.

    Raises:
        UsageError: It is none.
    """
    folder = call.folder(None).resolve()
    path = call.folder(named).resolve()
    if not path.is_relative_to(folder):
        raise UsageError(
            f"{visible(named)} is not in {folder}; only files there are {what} by this "
            "tool",
            next_step="your user can do it: parler send-file, parler fetch --out",
        )
    return path


def _room(named: str | None) -> RoomName | None:
    return RoomName(named) if named else None


def _applied(result: ApplyResult) -> list[str]:
    contents = result.contents
    again = " (was there already)" if result.already else ""
    lines = [f"imported {one.ref} at {one.tip[:12]}{again}" for one in result.refs]
    lines += _sender(result.sender)
    lines += [
        f"{contents.commit_count} commits, {contents.change_count} files, "
        f"{_lines(contents)}. Subjects and names are {LEGEND}:"
    ]
    for line in contents.commits[:SHOWN_COMMITS]:
        lines += quote(f"{line.oid[:12]} {line.subject}")
    for change in contents.changes[:SHOWN_CHANGES]:
        lines += quote(f"{_lines(change)} {change.path}")
    lines += [
        "Nothing was merged or checked out. Look at it before you do:",
        f"  git log -p {result.refs[0].ref} --not --branches",
        f"  {result.merge}",
    ]
    return lines


def _lines(of: Edit | Outline) -> str:
    return "lines not counted" if of.added is None else f"+{of.added} -{of.removed}"


def _sender(sender: Sender | None) -> list[str]:
    if sender is None:
        return ["no message speaks of it: who sent it is unknown"]
    proof = (
        "signature verified" if sender.signature is Signature.VALID else "NOT SIGNED"
    )
    return [f"from {shown_name(sender.name)} {sender.fingerprint}, {proof}"]


def _bundle(one: Bundle) -> str:
    tip = f" at {word(one.tip, 12)}" if one.tip else ""
    lines = [f"[{one.sender.seq}]{tip} {shown_size(one.size)} {_sender(one.sender)[0]}"]
    if one.summary:
        lines += quote(one.summary)
    return "\n".join([*lines, f"parler_apply blob={one.blob}"])


TOOLS = (
    tool(
        bundles.PUSH,
        push,
        repo=Arg(str | None, "Folder; default: this one.", None),
        file=Arg(str | None, "Send this file instead.", None),
    ),
    tool(
        bundles.APPLY,
        apply,
        path=Arg(str | None, "Repository; default: this folder.", None),
    ),
    tool(files.SEND_FILE, send_file, path=Arg(str, "The file, in this folder.")),
    tool(
        files.FETCH,
        fetch,
        aliases={"id": "what", "name": "what"},
        out=Arg(str | None, "A new file in this folder; else the inbox.", None),
    ),
    tool(bundles.BUNDLES, list_bundles),
)
