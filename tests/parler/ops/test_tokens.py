"""Tokens that read over HTTP, and where they lead."""

from dataclasses import replace
from pathlib import Path

import pytest

from parler.errors import NotOwner
from parler.identity.chosen_hub import SHARED_HUB
from parler.ops.session import OpenParams, join_session, open_session
from parler.ops.tokens import VIEWER, directory_token, http_url, watch_token
from parler.wire.joinkey import parse_join_key
from tests._support.actors import stage


@pytest.mark.parametrize(
    ("hub", "url"),
    [
        ("wss://hub.example.org", "https://hub.example.org/x"),
        ("https://hub.example.org/ws/", "https://hub.example.org/x"),
        ("parler://127.0.0.1:7070", "http://127.0.0.1:7070/x"),
        ("hub.local:80/below", "http://hub.local:80/below/x"),
    ],
)
def test_a_hub_is_read_where_it_is_dialled(hub: str, url: str) -> None:
    assert http_url(hub, "/x") == url


async def test_a_local_hubs_watch_token_stays_off_other_peoples_pages(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams())
        watched = await watch_token(alice, opened.room, ttl_secs=60)
        page = "http://127.0.0.1:7070/session"
        assert watched.viewer == f"{page}#{watched.token}"
        assert watched.url == "http://127.0.0.1:7070/api/session"
        assert watched.expires_at == at.hub.clock() + 60_000


@pytest.mark.parametrize("spelling", [SHARED_HUB, "https://PARLER-hub.fly.dev/"])
async def test_the_shared_hub_has_a_viewer_elsewhere(
    tmp_path: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.connection.connection.FEATURES", [])
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        opened = await open_session(alice, OpenParams())
        watched = await watch_token(replace(alice, hub=spelling), opened.room)
        assert watched.viewer == f"{VIEWER}{watched.token}"
        assert (await watch_token(alice, opened.room)).viewer is None


async def test_only_the_owner_lets_others_watch(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        opened = await open_session(alice, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        with pytest.raises(NotOwner):
            await watch_token(bob, opened.room)


async def test_a_directory_token_says_what_it_opens(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        minted = await directory_token(alice)
        assert minted.url == "http://127.0.0.1:7070/api/directory?scope=hub"
        assert minted.expires_at == at.hub.clock() + 3_600_000
        assert minted.token
