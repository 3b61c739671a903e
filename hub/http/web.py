"""The hub's pages for people: how they look, and what a browser may do with them.

A page is words of ours around escaped words of others. Style and script are files of
the hub's own, which are read when first asked for; nothing comes from elsewhere.
"""

import html
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

STATIC = {"hub.css": "text/css", "session.js": "text/javascript"}
"""Files that pages load, which everybody may have."""

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_FOLDER = Path(__file__).with_name("static")
_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{up}hub.css">{script}</head><body><main>
{body}
</main></body></html>
"""
_SESSION = """<section id="enter" hidden>
<h1>A session to read along</h1>
<p id="why" class="bad" role="alert"></p>
<p>Somebody who owns a session gives you a link or a token: <code>parler session
watch</code> makes one. It only reads.</p>
<form id="form"><p><label for="token">Link or token</label></p>
<p><input id="token" type="password" autocomplete="off" spellcheck="false">
<button>Read along</button></p></form>
</section>
<section id="room" hidden>
<h1><bdi id="name"></bdi></h1>
<p class="soft"><span id="count"></span>. You read along: nobody is told that you do,
and you cannot write.</p>
<p class="soft">Names and words are as this hub tells them. A watch token shows no
signatures, so nothing is checked here; who is in the room checks every author with
<code>parler history</code>.</p>
<h2>Who is in it</h2>
<ul id="members"></ul>
<h2>What was said</h2>
<p id="nothing" class="soft" hidden>Nothing yet. What is said appears here by
itself.</p>
<div role="log" aria-label="What was said"><ol id="messages"></ol></div>
</section>
<p id="state" class="soft" role="status"></p>
<noscript><p>This page reads the room with a script of this hub: allow it here. Programs
ask <code>/api/session</code> instead.</p></noscript>"""


def page(
    title: str,
    body: str,
    *,
    up: str = "",
    script: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    """A page.

    Args:
        title: Anybody's words; it is escaped here.
        body: HTML, escaped where it is not ours.
        up: From the page's folder to that of the hub.
    """
    # No module: a browser asks for one with an Origin, which a private hub refuses.
    loaded = f'\n<script src="{up}{script}" defer></script>' if script else ""
    framed = _FRAME.format(title=html.escape(title), body=body, up=up, script=loaded)
    return HTMLResponse(framed, status_code=status, headers=HEADERS)


def wants_page(request: Request) -> bool:
    """Whether a browser asks: programs get plain text or JSON."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return any(one.partition(";")[0].strip() == "text/html" for one in accepted)


async def session(request: Request) -> Response:
    """``/session``: a room, for whoever has a watch token in the fragment."""
    return page("A Parler session", _SESSION, script="session.js")


async def static(request: Request) -> Response:
    """A file that pages load."""
    name = request.url.path.rpartition("/")[2]
    headers = {"cache-control": "no-cache", "referrer-policy": "no-referrer"}
    return Response(_read(name), media_type=STATIC[name], headers=headers)


@lru_cache
def _read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
