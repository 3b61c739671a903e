"""Bearer tokens that let others read over HTTP: the directory, or one room.

A token goes to whoever may see it all. A link to a page is made for the hub's own; to
somebody else's only for the one shared hub that page belongs to.
"""

from typing import Annotated
from urllib.parse import quote, urlsplit, urlunsplit

from parler.errors import UsageError
from parler.identity.chosen_hub import SHARED_HUB
from parler.ops.capability import SESSION, Capability, Hints, Param
from parler.ops.context import OpContext, Result, minted
from parler.ops.sealing import is_sealed
from parler.wire.base import Millis, RoomName
from parler.wire.codes import Feature
from parler.wire.limits import DEFAULT_TOKEN_TTL_SECS, MAX_TTL_SECS
from parler.wire.replies import DirectoryToken, Watch
from parler.wire.requests import MintDirectoryToken, MintWatch
from parler.wire.urls import dial_url, same_hub

VIEWER = "https://www.parlerprotocol.com/hub#sessions&k="
"""The page that shows a session of the shared hub; what follows the # stays in the
browser (protocol 4.7)."""

_TTL = Param(
    "How long the token works.",
    "SECS",
    option="--ttl",
    ge=1,
    le=MAX_TTL_SECS,
    clamped=True,
)


class TokenResult(Result):
    """A token, and what it opens: GET `url` with it as bearer."""

    token: str
    expires_at: Millis
    url: str


class WatchResult(Result):
    """A read-only token of a room, and what it opens.

    `viewer` is a page for people, None where the hub has none; the token in its
    fragment stays in the browser.
    """

    token: str
    room: RoomName
    expires_at: Millis
    url: str
    viewer: str | None = None


async def directory_token(
    ctx: OpContext, *, ttl_secs: Annotated[int, _TTL] = DEFAULT_TOKEN_TTL_SECS
) -> TokenResult:
    """Make a token that reads the whole directory of the hub over HTTP."""
    made = await ctx.client.request(
        MintDirectoryToken(ttl_secs=ttl_secs), DirectoryToken
    )
    return TokenResult(
        token=minted(made.token),
        expires_at=made.expires_at,
        url=http_url(ctx.hub, "/api/directory?scope=hub"),
    )


TOKEN = Capability(
    run=directory_token,
    about="Make a token that reads the hub's directory over HTTP.",
    more="Whoever has it reads every card until it expires.",
    command="token",
    example="parler token --ttl 600",
    no_tool="who may read every card is for a person to decide",
)


async def watch_token(
    ctx: OpContext,
    room: Annotated[RoomName, SESSION],
    *,
    ttl_secs: Annotated[int, _TTL] = DEFAULT_TOKEN_TTL_SECS,
) -> WatchResult:
    """Make a token that reads a room of ours over HTTP.

    Raises:
        UsageError: The hub, and so whoever reads there, cannot read the room.
    """
    if is_sealed(ctx, room):
        raise UsageError(
            f"{room} is sealed: who watches it at its hub would see that something is "
            "said, and nothing of it",
            next_step="parler invite, with a key of which somebody becomes a member",
        )
    watch = await ctx.client.request(MintWatch(room=room, ttl_secs=ttl_secs), Watch)
    token = minted(watch.token)
    page = None
    if Feature.VIEWER in ctx.client.features:
        page = http_url(ctx.hub, "/session#")
    elif same_hub(ctx.hub, SHARED_HUB):
        page = VIEWER
    return WatchResult(
        token=token,
        room=watch.room,
        expires_at=watch.expires_at,
        url=http_url(ctx.hub, "/api/session"),
        viewer=page + quote(token, safe="") if page else None,
    )


WATCH = Capability(
    run=watch_token,
    about="Make a token that only reads a session, over HTTP.",
    more="Whoever has it reads along until it expires; only the owner can make one.",
    command="session watch",
    example="parler session watch --ttl 600",
    tool="parler_watch_session",
    brief="Make a token that lets a person read a session along.",
    hints=Hints(open_world=True),
)


def http_url(hub: str, path: str) -> str:
    """Where a hub answers HTTP, whatever spelling of it is used."""
    dialled = urlsplit(dial_url(hub))
    scheme = "https" if dialled.scheme == "wss" else "http"
    base = dialled.path.removesuffix("/ws")
    return urlunsplit((scheme, dialled.netloc, base, "", "")) + path
