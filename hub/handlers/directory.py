"""Cards and bearer tokens (protocol 10.1, 11, 14.5)."""

from functools import partial

import msgspec
import sqlalchemy as sa

from hub.errors import Refusal
from hub.handlers import rules
from hub.handlers.caller import Caller
from hub.ids import bearer_token
from hub.services import Services
from hub.store import directory, messages, rooms, tokens
from hub.store.directory import Wanted
from parler.identity.signing import verify
from parler.wire import requests
from parler.wire.canonical import card_bytes
from parler.wire.codes import ErrorCode
from parler.wire.foreign import foreign
from parler.wire.limits import (
    DEFAULT_DISCOVER_LIMIT,
    DEFAULT_TOKEN_TTL_SECS,
    MAX_CARD_BYTES,
)
from parler.wire.records import Scope
from parler.wire.replies import (
    Card,
    Directory,
    DirectoryToken,
    Registered,
    TokensRevoked,
    Watch,
)

MAX_DISCOVERED = 1000
_ENCODER = msgspec.json.Encoder()


async def register(
    services: Services, caller: Caller, request: requests.Register
) -> Registered:
    """Store the caller's card; a signature that is there must be good."""
    card, now = request.card, services.now()
    if card.id != caller.agent:
        raise Refusal(ErrorCode.INVALID_CARD, "a card may only be of its own agent")
    size = len(_ENCODER.encode(card))
    if size > MAX_CARD_BYTES:
        raise Refusal(ErrorCode.TOO_LARGE, f"a card may have {MAX_CARD_BYTES} bytes")
    signed = request.sig is not None
    if request.sig is not None and not verify(card.id, card_bytes(card), request.sig):
        raise Refusal(ErrorCode.INVALID_CARD, "the card's signature does not match")
    known = partial(directory.has_card, agent=caller.agent)
    if not await services.store.read("has card", known):
        services.quotas.count_card(caller.ip)
    services.quotas.count_stored(caller.agent, caller.ip, None, size)
    await services.store.write(
        "register",
        lambda connection: directory.put(
            connection,
            card,
            request.visibility,
            request.sig,
            verified=signed,
            now=now,
        ),
    )
    return Registered(id=card.id, visibility=request.visibility, verified=signed)


async def discover(
    services: Services, caller: Caller, request: requests.Discover
) -> Directory:
    """Search the directory."""
    asked = DEFAULT_DISCOVER_LIMIT if request.limit is None else request.limit
    search = partial(
        directory.search,
        wanted=Wanted(
            public_only=request.scope is Scope.PUBLIC,
            query=request.query,
            tag=request.tag,
            skill=request.skill,
            status=request.status,
            name=request.name,
            limit=min(asked, MAX_DISCOVERED),
        ),
        reader=services.directory(),
        caller=caller.agent,
        after=request.after,
    )
    found = await services.store.read("discover", search, long=True)
    return Directory(
        agents=found.entries, known=found.known or None, next=foreign(found.next)
    )


async def lookup(services: Services, caller: Caller, request: requests.Lookup) -> Card:
    """One agent's card, private ones too."""
    look = partial(directory.by_id, agent=request.id, reader=services.directory())
    return Card(entry=await services.store.read("lookup", look))


async def mint_directory_token(
    services: Services, caller: Caller, request: requests.MintDirectoryToken
) -> DirectoryToken:
    """Make a bearer token that reads the directory over HTTP."""
    now = services.now()
    expires = rules.expiry(request.ttl_secs, DEFAULT_TOKEN_TTL_SECS, now=now)
    token = bearer_token()

    def mint(connection: sa.Connection) -> None:
        _check_quota(services, connection, caller, now=now)
        tokens.mint(
            connection, token, caller.agent, room=None, expires=expires, now=now
        )

    await services.store.write("mint directory token", mint)
    return DirectoryToken(token=foreign(token), expires_at=expires)


async def mint_watch(
    services: Services, caller: Caller, request: requests.MintWatch
) -> Watch:
    """Make a bearer token that reads a room of the caller over HTTP."""
    now = services.now()
    expires = rules.expiry(request.ttl_secs, DEFAULT_TOKEN_TTL_SECS, now=now)
    token = bearer_token()

    def mint(connection: sa.Connection) -> None:
        _check_quota(services, connection, caller, now=now)
        room = rules.must_own(rooms.by_name(connection, request.room), caller.agent)
        if not messages.is_member(connection, room.id, caller.agent):
            raise messages.not_member()  # who may not read it may not have it read
        tokens.mint(
            connection, token, caller.agent, room=room.id, expires=expires, now=now
        )

    await services.store.write("mint watch token", mint)
    return Watch(token=foreign(token), room=request.room, expires_at=expires)


async def revoke_tokens(
    services: Services, caller: Caller, request: requests.RevokeTokens
) -> TokensRevoked:
    """Make the caller's directory tokens worthless, or a room's watch tokens."""

    def revoke(connection: sa.Connection) -> int:
        if request.room is None:
            return tokens.revoke_directory(connection, caller.agent)
        room = rules.must_own(rooms.by_name(connection, request.room), caller.agent)
        return tokens.revoke_watch(connection, room.id)

    return TokensRevoked(count=await services.store.write("revoke tokens", revoke))


def _check_quota(
    services: Services, connection: sa.Connection, caller: Caller, *, now: int
) -> None:
    if (
        tokens.live(connection, caller.agent, now=now)
        >= services.settings.max_active_tokens
    ):
        raise Refusal(ErrorCode.AT_CAPACITY, "too many live tokens; revoke some")
