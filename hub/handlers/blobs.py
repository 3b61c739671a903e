"""Uploads and downloads: ``put_blob``, its bytes, ``get_blob`` (protocol 8)."""

import asyncio
import contextlib
import logging
from functools import partial

import sqlalchemy as sa

from hub.blobs.folder import Download, Upload
from hub.errors import Refusal
from hub.handlers.caller import Caller
from hub.handlers.messages import resolve
from hub.services import Services
from hub.store import blobs, messages
from parler.wire import requests
from parler.wire.base import Digest
from parler.wire.codec import encode_utf8
from parler.wire.codes import ErrorCode
from parler.wire.replies import BlobIncoming, BlobReady, BlobStored

log = logging.getLogger(__name__)

UNAVAILABLE = "blob bytes unavailable"

DROP_TOGETHER = 200
"""Blobs forgotten in one transaction."""


async def put_blob(
    services: Services, caller: Caller, request: requests.PutBlob
) -> BlobReady:
    """Set room aside for an upload; its bytes are the next binary message."""
    settings = services.settings
    if request.size > settings.max_blob_bytes:
        raise Refusal(
            ErrorCode.TOO_LARGE, f"a blob may have {settings.max_blob_bytes} bytes"
        )
    owner = caller.ip or caller.agent
    services.blobs.check_pool(request.size, owner)
    services.limits.count_blob(caller.agent)
    await services.store.read(
        "blob budget",
        partial(_check_budget, services, caller, request.sha256, request.size, None),
    )
    live = await resolve(services, caller, request.target)
    services.limits.count_room_blob(live.room.id)
    services.quotas.count_upload(caller.ip, request.size)
    upload = services.blobs.reserve(
        request.sha256,
        request.size,
        owner=owner,
        room=live.room.id,
        media_type=request.media_type,
        rid=request.rid,
    )
    caller.expect(upload)
    return BlobReady(id=request.sha256)


async def store_blob(
    services: Services, caller: Caller, upload: Upload, data: bytes
) -> BlobStored:
    """Take the bytes of an upload; the reply means they are on disk.

    A peer that goes away meanwhile leaves bytes and row, or neither.

    Raises:
        Refusal: They are not what was announced, cannot be stored, or the caller is
            no longer in the room.
    """
    return await services.background.run(_store_blob(services, caller, upload, data))


async def _store_blob(
    services: Services, caller: Caller, upload: Upload, data: bytes
) -> BlobStored:
    now = services.now()

    def bind(connection: sa.Connection) -> None:
        digest, size, room = upload.digest, upload.size, upload.room
        _check_budget(services, caller, digest, size, room, connection)
        if not messages.is_member(connection, upload.room, caller.agent):
            raise messages.not_member()
        blobs.bind(
            connection,
            upload.digest,
            upload.size,
            room=upload.room,
            author=caller.agent,
            media_type=upload.media_type,
            now=now,
        )

    try:
        if upload.expired:
            raise Refusal(ErrorCode.TIMEOUT, "the upload came too late; start again")
        async with services.blob_changes:
            try:
                await asyncio.to_thread(services.blobs.write, upload, data)
                await services.store.write("store blob", bind)
            except Exception:
                await _drop_unbound(services, upload)
                raise
    except OSError as error:
        log.error("cannot store a blob: %s", error.strerror)
        raise Refusal(
            ErrorCode.INTERNAL, "the hub cannot store blobs at the moment"
        ) from None
    finally:
        upload.release()
    return BlobStored(id=upload.digest, size=upload.size)


def _check_budget(
    services: Services,
    caller: Caller,
    digest: Digest,
    size: int,
    room: int | None,
    connection: sa.Connection,
) -> None:
    held = blobs.held(connection, digest, agent=caller.agent, room=room)
    services.quotas.check_blobs(
        stored=held.all, of_agent=held.of_agent, of_room=held.of_room, size=size
    )


async def _drop_unbound(services: Services, upload: Upload) -> None:
    known = await services.store.read(
        "blob is known", lambda connection: blobs.is_known(connection, upload.digest)
    )
    if not known:
        await asyncio.to_thread(services.blobs.delete, upload.digest)


async def get_blob(
    services: Services, caller: Caller, request: requests.GetBlob
) -> Download:
    """Announce a blob; its bytes follow in fragments."""
    found = await readable(services, caller, request.id)
    path = services.blobs.path(request.id)
    if not await asyncio.to_thread(path.is_file):
        raise Refusal(ErrorCode.INTERNAL, UNAVAILABLE)
    with contextlib.suppress(Refusal):  # a full disk keeps nobody from reading
        await services.store.write(
            "blob fetched",
            partial(blobs.note_fetched, digest=request.id, now=services.now()),
        )
    incoming = BlobIncoming(
        id=request.id, size=found.size, media_type=found.media_type, rid=request.rid
    )
    return Download(encode_utf8(incoming), path, request.id, request.rid)


async def readable(services: Services, caller: Caller, digest: Digest) -> blobs.Found:
    """A blob as the caller may read it now.

    Raises:
        Refusal: It is in none of the caller's rooms, or no longer.
    """
    return await services.store.read(
        "get blob", partial(blobs.readable_by, digest=digest, agent=caller.agent)
    )


async def drop_useless(services: Services, *, idle_before: int = 0) -> None:
    """Delete blobs of no room, and those nobody fetched since; 0 keeps these."""
    # Bytes and rows go under the lock that uploads hold, so nothing that was just
    # uploaded again can be deleted.
    forget = partial(blobs.forget_useless, idle_before=idle_before, limit=DROP_TOGETHER)
    while True:
        async with services.blob_changes:
            digests = await services.store.write("forget blobs", forget)
            for digest in digests:
                await asyncio.to_thread(services.blobs.delete, digest)
        if not digests:
            return
