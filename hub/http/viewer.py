"""A room for whoever holds one of its watch tokens, and its files (protocol 11).

A watcher sees names, texts and files, never agent ids, signatures or free data.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO

import msgspec
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.http.answers import (
    Refused,
    access_of,
    bearer,
    bounded,
    integer,
    json,
    query,
)
from hub.http.counts import RoomCounts
from hub.services import Services
from hub.store import agents, blobs, rooms, viewer
from hub.store.rooms import Room
from hub.store.viewer import RoomCount, WatchedMessage
from parler.wire.base import Digest
from parler.wire.canonical import SIG_KIND
from parler.wire.parts import (
    BundlePart,
    FilePart,
    InvalidParts,
    TextPart,
    part_objects,
    read_part,
)
from parler.wire.records import OFFLINE, RosterEntry

log = logging.getLogger(__name__)

PAGE = 1000
MAX_AUTHORS = 1000
_NEEDED = "a watch token is required"
PIECE_BYTES = 256 * 1024
_OBSERVATION = "com.parler.observation"
_MAX_STRING = 2000
_MAX_FIELDS = 1000
_MAX_DEPTH = 6
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
_EXTENSIONS = {
    "application/x-git-bundle": ".bundle",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "text/plain": ".txt",
}
_STRANGE = re.compile(r"[^A-Za-z0-9. _-]")


class Viewer:
    """What a watch token opens."""

    def __init__(self, services: Services) -> None:
        """Take the hub's parts."""
        self._services = services
        self._counts = RoomCounts(services.store)

    async def session(self, request: Request) -> Response:
        """``/api/session``"""
        since = integer(request, "since", default=0, lowest=-(2**63), highest=2**63 - 1)
        room = await self._room(request)
        now = self._services.now()

        def read(
            connection: sa.Connection,
        ) -> tuple[list[RosterEntry], list[WatchedMessage]]:
            return (
                agents.roster(
                    connection, room.id, online=self._services.online, now=now
                ),
                viewer.page(connection, room.id, since=since, limit=PAGE),
            )

        roster, page = await query(self._services, "session", read)
        async with bounded():
            count = await self._counts.current(room.id)
        await self._access(request)  # it may have ended meanwhile
        return json(
            {
                "room": room.name,
                "kind": room.kind,
                "memberCount": len(roster),
                "onlineCount": sum(entry.status != OFFLINE for entry in roster),
                "agents": [_agent(entry) for entry in roster],
                "messages": [_message(message) for message in page],
                "cursor": page[-1].seq if page else since,
                "stats": _stats(count),
            },
            headers={"cache-control": "no-store"},
        )

    async def blob(self, request: Request) -> Response:
        """``/api/session/blob/<id>``"""
        room = await self._room(request)
        digest = Digest(request.path_params["blob"])
        bound = None
        if _DIGEST.fullmatch(digest):
            bound = await query(
                self._services,
                "blob",
                lambda connection: blobs.media_type(connection, digest, room.name),
            )
        if bound is None:
            raise Refused(HTTPStatus.FORBIDDEN, "that file is not in this session")
        size, media_type = bound
        headers = {
            "content-type": _safe_type(media_type),
            "content-length": str(size),
            "content-disposition": _attachment(
                request.query_params.get("name"), digest, media_type
            ),
            "cache-control": "no-store",
            "content-security-policy": "sandbox",
        }
        file = await self._open(digest)
        if request.method == "HEAD":
            await asyncio.to_thread(file.close)
            return Response(headers=headers)
        return StreamingResponse(self._pieces(request, file, size), headers=headers)

    async def _room(self, request: Request) -> Room:
        number = await self._access(request)
        room = await query(
            self._services, "room", lambda connection: rooms.by_id(connection, number)
        )
        if room is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, _NEEDED)
        return room

    async def _access(self, request: Request) -> int:
        """The number of the room that may be watched now."""
        access = await access_of(self._services, bearer(request, query="token"))
        if access is None or access.room is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, _NEEDED)
        return access.room

    async def _pieces(
        self, request: Request, file: BinaryIO, size: int
    ) -> AsyncIterator[bytes]:
        with file:
            while size > 0:
                piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, size))
                if not piece:
                    raise OSError("a blob is shorter than its size")
                await self._access(request)  # it may have ended meanwhile
                size -= len(piece)
                yield piece

    async def _open(self, digest: Digest) -> BinaryIO:
        services = self._services
        try:
            file = await asyncio.to_thread(services.blobs.open, digest)
            await services.store.write(
                "blob fetched",
                partial(blobs.note_fetched, digest=digest, now=services.now()),
            )
            return file
        except FileNotFoundError:
            raise Refused(HTTPStatus.NOT_FOUND, "the file is gone") from None
        except OSError as error:
            log.error("cannot read a blob: %s", error.strerror)
            raise Refused(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the file cannot be read"
            ) from None


def _agent(entry: RosterEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "role": entry.role,
        "status": entry.status,
        "activity": entry.activity,
        "lastSeen": entry.last_seen,
    }


def _message(message: WatchedMessage) -> dict[str, Any]:
    return {
        "seq": message.seq,
        "ts": message.ts,
        "from": {"name": message.author.name, "role": message.author.role},
        "parts": _parts(message.parts),
    }


def _stats(count: RoomCount) -> dict[str, Any]:
    authors = sorted(count.authors.items(), key=lambda item: (-item[1][1], item[0][0]))
    return {
        "messages": count.messages,
        "estimatedTokens": count.tokens,
        "firstMessageAt": count.first_ts,
        "lastMessageAt": count.last_ts,
        "perAgent": [
            {"name": name, "role": role, "messages": said, "estimatedTokens": tokens}
            for (name, role), (said, tokens) in authors[:MAX_AUTHORS]
        ],
    }


def _parts(raw: msgspec.Raw) -> list[dict[str, Any]]:
    try:
        parts = part_objects(raw)
    except InvalidParts:  # one unreadable message spoils no page (protocol 13.24)
        return []
    return [_reduced(part) for part in parts if part["kind"] != SIG_KIND]


def _reduced(fields: dict[str, Any]) -> dict[str, Any]:
    """What a watcher sees of a part (protocol 11)."""
    kind = fields["kind"]
    match read_part(fields):
        case TextPart(text=said):
            return {"kind": kind, "text": said}
        case BundlePart() | FilePart() as part:
            return {"kind": kind, "file": _typed_fields(part)}
        case _ if kind == _OBSERVATION:
            free = {name: value for name, value in fields.items() if name != "kind"}
            return {"kind": kind, "fields": _Bounded().value(free, _MAX_DEPTH)}
    return {"kind": kind}


def _typed_fields(part: BundlePart | FilePart) -> dict[str, Any]:
    return {
        field.encode_name: getattr(part, field.name)
        for field in msgspec.structs.fields(part)
    }


class _Bounded:
    """Cuts the free fields of one part down to what may go out (protocol 13.16)."""

    def __init__(self) -> None:
        self._left = _MAX_FIELDS

    def value(self, value: Any, depth: int) -> Any:
        """The value, with its long strings, deep and late members cut."""
        self._left -= 1
        if isinstance(value, str):
            return value if len(value) <= _MAX_STRING else value[:_MAX_STRING] + "…"
        if not isinstance(value, dict | list):
            return value
        if depth == 0:
            return "…"
        if isinstance(value, list):
            return [self.value(item, depth - 1) for item in value if self._left > 0]
        return {
            self.value(name, 0): self.value(item, depth - 1)
            for name, item in value.items()
            if self._left > 0
        }


def _safe_type(media_type: str | None) -> str:
    # It was chosen by whoever uploaded, so it must not be able to end the header.
    if media_type is None or not _MEDIA_TYPE.fullmatch(media_type):
        return "application/octet-stream"
    return media_type


def _attachment(name: str | None, digest: Digest, media_type: str | None) -> str:
    base = re.split(r"[/\\]", name or "")[-1]
    kept = _STRANGE.sub("", base)[:128].strip(" .")
    if not kept:
        kept = f"parler-{digest[:12]}{_EXTENSIONS.get(media_type or '', '.bin')}"
    return f'attachment; filename="{kept}"'
