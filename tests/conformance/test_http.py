"""The HTTP side of a hub (protocol 11): one test per row of its table, and the rules
that hold for all of them.
"""

import hashlib
import uuid
from typing import Any

import pytest

from tests._support.plainclient import Link
from tests._support.plainhttp import Answer, bearer, fetch, http_link
from tests.conformance.steps import Mesh, join, open_room

KINDS = ["handoff", "task", "dispatch", "bundle", "file", "sig"]
FILE = b"a small file"
DIGEST = hashlib.sha256(FILE).hexdigest()


async def get(mesh: Mesh, target: str, **options: Any) -> Answer:
    """One request from the address of this test."""
    return await fetch(mesh.hub.url, target, local_address=mesh.address, **options)


async def register(link: Link, visibility: str, **fields: Any) -> str:
    """Put the agent's card into the directory; returns a tag nobody else has."""
    tag = f"t{uuid.uuid4().hex[:12]}"
    card = {"id": link.id, "name": link.agent.name, "kind": "agent", "tags": [tag]}
    await link.ask("registered", "register", card=card | fields, visibility=visibility)
    return tag


async def directory_token(link: Link) -> str:
    """A token for the directory."""
    token: str = (await link.ask("directory_token", "mint_directory_token"))["token"]
    return token


async def watch_token(link: Link, room: str) -> str:
    """A token for watching a room."""
    token: str = (await link.ask("watch", "mint_watch", room=room))["token"]
    return token


async def upload(link: Link, room: str) -> None:
    """Bind `FILE` to a room."""
    await link.ask(
        "blob_ready",
        "put_blob",
        target={"kind": "room", "room": room},
        sha256=DIGEST,
        size=len(FILE),
        mediaType="text/plain",
    )
    await link.raw(FILE)
    assert (await link.next_reply())["type"] == "blob_stored"


# ------------------------------------------------------------------ rules for all paths


@pytest.mark.parametrize("path", ["/api/hub", "/api/session", "/no/such/path"])
async def test_answers_say_which_origins_may_read_them(mesh: Mesh, path: str) -> None:
    answer = await get(mesh, path)
    # Ours says it to pages that its operator allows, a public one to all.
    allowed = None if mesh.hub.ours else "*"
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert answer.headers["vary"] == (
        "origin, access-control-request-method, access-control-request-headers"
    )


@pytest.mark.extension("rid")
@pytest.mark.parametrize("origin", ["https://viewer.example", "null"])
async def test_pages_of_other_origins_are_refused(mesh: Mesh, origin: str) -> None:
    upgrade = {
        **{"Connection": "Upgrade", "Upgrade": "websocket"},
        **{"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "A" * 22 + "=="},
    }
    sent = {"Origin": origin}
    assert (await get(mesh, "/api/session", headers=sent)).status == 403
    assert (await get(mesh, "/ws", headers=sent | upgrade)).status == 403


@pytest.mark.parametrize("path", ["/", "/api/session", "/ws", "/no/such/path"])
async def test_preflight_is_answered_on_any_path(mesh: Mesh, path: str) -> None:
    asked = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    origin = {} if mesh.hub.ours else {"Origin": "https://viewer.example"}
    answer = await get(mesh, path, method="OPTIONS", headers=asked | origin)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-methods"] == "*"
    allowed = answer.headers["access-control-allow-headers"]
    assert "*" in allowed
    if mesh.hub.ours:
        assert "authorization, content-type" in allowed


async def test_unknown_path_is_not_found_and_empty(mesh: Mesh) -> None:
    answer = await get(mesh, "/no/such/path")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("path", ["/api/hub", "/a2a/directory", "/a2a/agents/x"])
async def test_posting_is_not_allowed(mesh: Mesh, path: str) -> None:
    answer = await get(mesh, path, method="POST", body=b"{}")
    assert (answer.status, answer.body) == (405, b"")


async def test_head_has_the_length_and_no_body(mesh: Mesh) -> None:
    async with http_link(mesh.hub.url, local_address=mesh.address) as link:
        whole = await link.ask("/.well-known/parler.json")
        head = await link.ask("/.well-known/parler.json", method="HEAD")
        assert head.status == 200
        assert head.headers["content-length"] == str(len(whole.body))
        assert (await link.ask("/health")).status == 200  # still in step


async def test_connection_is_kept_until_asked_to_close(mesh: Mesh) -> None:
    async with http_link(mesh.hub.url, local_address=mesh.address) as link:
        assert (await link.ask("/health")).status == 200
        last = await link.ask("/health", headers={"Connection": "close"})
        assert last.status == 200
        assert await link.closed() == b""


# ------------------------------------------------------------------- without any token


async def test_landing_page_is_html(mesh: Mesh) -> None:
    answer = await get(mesh, "/")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/html")


async def test_health_is_ok(mesh: Mesh) -> None:
    answer = await get(mesh, "/health")
    assert (answer.status, answer.body) == (200, b"ok")


async def test_socket_without_upgrade_is_a_bad_request_with_text(mesh: Mesh) -> None:
    answer = await get(mesh, "/ws")
    assert answer.status == 400
    assert answer.body


async def test_link_of_an_invite_tells_what_to_run(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        invited = await open_room(ada)
    path = "/join/" + invited["url"].rpartition("/join/")[2]
    answer = await get(mesh, path)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"parler session join {invited['code']}" in answer.text


async def test_hub_describes_itself(mesh: Mesh) -> None:
    described = (await get(mesh, "/.well-known/parler.json")).json()
    ours = {"hubId"} if mesh.hub.ours else set()
    assert set(described) == {"name", "mode", "protocolVersion", "capabilities"} | ours
    assert described["mode"] in ("public", "private")
    assert described["protocolVersion"] == "0.2"
    can = described["capabilities"]
    assert (can["push"], can["longPoll"], can["blobs"]) == (True, True, True)
    assert can["joinPolicy"] in ("secret", "open")
    assert can["messageKinds"] == [f"com.parler.{kind}" for kind in KINDS]
    assert can["maxBlobBytes"] > 0
    assert can["maxMessageBytes"] > 0


@pytest.mark.extension("rid")
async def test_features_are_those_of_the_welcome(mesh: Mesh) -> None:
    for path in ("/.well-known/parler.json", "/api/hub"):
        can = (await get(mesh, path)).json()["capabilities"]
        assert set(can["features"]) == mesh.hub.features


async def test_statistics_grow_with_what_happens(mesh: Mesh) -> None:
    before = (await get(mesh, "/api/hub")).json()
    async with mesh.room_of("ada", "bob") as ((ada, bob), room):
        await bob.ask("subscribed", "subscribe")
        await ada.send_text(room, "eight ch")
        await bob.next_delivery()
        await register(ada, "public")
        await register(bob, "private")
        stats = await _later_statistics(mesh, before)
    assert stats["liveConnections"] >= 2
    for name, least in (
        ("connectionsTotal", 2),
        ("messagesTotal", 1),
        ("estimatedTokensTotal", 2),
        ("pushesTotal", 1),
    ):
        assert stats[name] - before["stats"][name] >= least, name


async def _later_statistics(mesh: Mesh, before: dict[str, Any]) -> dict[str, Any]:
    # A hub may count once a second; health takes no budget and passes the time.
    async with http_link(mesh.hub.url, local_address=mesh.address) as link:
        while True:
            now = (await link.ask("/api/hub")).json()
            grown = now["stats"]["messagesTotal"] > before["stats"]["messagesTotal"]
            if grown and now["agents"] >= before["agents"] + 2:
                assert now["publicAgents"] >= before["publicAgents"] + 1
                stats: dict[str, Any] = now["stats"]
                return stats
            for _ in range(50):
                await link.ask("/health")


# -------------------------------------------------------------------------- directory


async def test_directory_shows_public_cards_to_everybody(mesh: Mesh) -> None:
    async with mesh.links("ada", "bob") as (ada, bob):
        shown, hidden = await register(ada, "public"), await register(bob, "private")
        (entry,) = (await get(mesh, f"/api/directory?tag={shown}")).json()
        assert entry["card"]["id"] == ada.id
        assert entry["visibility"] == "public"
        assert entry["verified"] is False
        for scope in ("", "&scope=public", "&scope=anything"):
            answer = await get(mesh, f"/api/directory?tag={hidden}{scope}")
            assert answer.json() == []


async def test_directory_shows_all_cards_to_its_token(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        tag = await register(ada, "private")
        path = f"/api/directory?scope=hub&tag={tag}"
        refused = await get(mesh, path)
        assert refused.status == 401
        assert set(refused.json()) == {"error"}
        token = await directory_token(ada)
        (entry,) = (await get(mesh, path, headers=bearer(token))).json()
        assert entry["card"]["id"] == ada.id


async def test_directory_takes_the_filters_of_discover(mesh: Mesh) -> None:
    skills = [{"id": "review", "name": "Code review"}]
    async with mesh.link("Ada Lovelace") as ada:
        tag = await register(ada, "public", skills=skills)
        for matching in ("q=LOVELACE", "skill=code", "status=idle", "limit=1"):
            found = (await get(mesh, f"/api/directory?tag={tag}&{matching}")).json()
            assert len(found) == 1, matching
        for other in ("q=turing", "skill=cooking", "status=offline"):
            found = (await get(mesh, f"/api/directory?tag={tag}&{other}")).json()
            assert found == [], other


async def test_limit_that_is_no_number_is_a_bad_request_with_text(mesh: Mesh) -> None:
    answer = await get(mesh, "/api/directory?limit=abc")
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body


async def test_agent_is_found_by_id(mesh: Mesh) -> None:
    async with mesh.links("ada", "bob") as (ada, bob):
        await register(ada, "public")
        await register(bob, "private")
        entry = (await get(mesh, f"/api/agents/{ada.id}")).json()
        assert entry["card"]["name"] == "ada"
        for unseen in (bob.id, "nobody"):
            answer = await get(mesh, f"/api/agents/{unseen}")
            assert answer.status == 404
            assert answer.json() == {"error": "no such public agent"}
        token = bearer(await directory_token(bob))
        entry = (await get(mesh, f"/api/agents/{bob.id}", headers=token)).json()
        assert entry["visibility"] == "private"


# ----------------------------------------------------------------------------- session


async def test_session_opens_to_its_watch_token(mesh: Mesh) -> None:
    async with mesh.room_of("ada", "bob") as ((ada, _), room):
        first = await ada.send_text(room, "hello")
        second = await ada.send_text(room, "again")
        token = await watch_token(ada, room)
        by_header = await get(mesh, "/api/session", headers=bearer(token))
        shown = by_header.json()
        assert (shown["room"], shown["kind"]) == (room, "channel")
        assert (shown["memberCount"], shown["onlineCount"]) == (2, 2)
        assert shown["cursor"] == second["seq"]
        assert [message["parts"] for message in shown["messages"]] == [
            [{"kind": "text", "text": "hello"}],
            [{"kind": "text", "text": "again"}],
        ]
        assert shown["messages"][0]["from"] == {"name": "ada", "role": None}
        assert ada.id not in by_header.text
        stats = shown["stats"]
        assert (stats["messages"], stats["estimatedTokens"]) == (2, 4)
        assert stats["perAgent"] == [
            {"name": "ada", "role": None, "messages": 2, "estimatedTokens": 4}
        ]
        later = f"/api/session?since={first['seq']}&token={token}"
        rest = (await get(mesh, later)).json()
        assert [message["seq"] for message in rest["messages"]] == [second["seq"]]


async def test_session_stays_closed_without_its_token(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        await open_room(ada)
        tokens = ["", "wrong", await directory_token(ada)]
    for token in tokens:
        for path in ("/api/session", f"/api/session/blob/{DIGEST}"):
            answer = await get(mesh, path, headers=bearer(token))
            assert answer.status == 401
            assert set(answer.json()) == {"error"}


async def test_since_that_is_no_number_is_a_bad_request(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        token = await watch_token(ada, (await open_room(ada))["room"])
    answer = await get(mesh, "/api/session?since=abc", headers=bearer(token))
    assert answer.status == 400


async def test_file_of_a_session_is_downloaded_as_an_attachment(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        room = (await open_room(ada))["room"]
        await upload(ada, room)
        token = await watch_token(ada, room)
    path = f"/api/session/blob/{DIGEST}"
    answer = await get(mesh, path, headers=bearer(token))
    assert (answer.status, answer.body) == (200, FILE)
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    disposition = answer.headers["content-disposition"]
    assert disposition == f'attachment; filename="parler-{DIGEST[:12]}.txt"'
    named = await get(mesh, f"{path}?name=..%2Fa%22b.txt&token={token}")
    assert named.headers["content-disposition"] == 'attachment; filename="ab.txt"'


async def test_file_of_another_session_is_forbidden(mesh: Mesh) -> None:
    async with mesh.link("ada") as ada:
        await upload(ada, (await open_room(ada))["room"])
        other = (await open_room(ada))["room"]
        token = bearer(await watch_token(ada, other))
    for digest in (DIGEST, "0" * 64):
        answer = await get(mesh, f"/api/session/blob/{digest}", headers=token)
        assert answer.status == 403
        assert set(answer.json()) == {"error"}


# --------------------------------------------------------------------------------- A2A


async def test_hub_has_an_a2a_card(mesh: Mesh) -> None:
    card = (await get(mesh, "/.well-known/agent-card.json")).json()
    assert (card["protocolVersion"], card["version"]) == ("0.3.0", "0.2")
    assert card["preferredTransport"] == "JSONRPC"
    assert [skill["id"] for skill in card["skills"]] == ["directory"]
    assert card["url"].endswith("/a2a")
    assert card["parler"]["directory"] == card["url"] + "/directory"
    assert set(card["parler"]) == {"mode", "agents", "publicAgents", "directory"}
    assert "signatures" not in card


async def test_a2a_cards_are_named_by_the_address_they_were_asked_under(
    mesh: Mesh,
) -> None:
    for headers, base in (
        ({"Host": "hub.localhost"}, "https://hub.localhost"),
        ({"Host": "localhost:7070"}, "http://localhost:7070"),
        (
            {"Host": "hub.localhost", "X-Forwarded-Proto": "http, https"},
            "http://hub.localhost",
        ),
    ):
        if not mesh.hub.managed:
            pytest.skip("a proxy in front of the hub decides these headers")
        answer = await get(mesh, "/.well-known/agent-card.json", headers=headers)
        assert answer.json()["url"] == f"{base}/a2a"


async def test_agents_have_a2a_cards(mesh: Mesh) -> None:
    async with mesh.links("ada", "bob") as (ada, bob):
        skills = [{"id": "review", "name": "Code review"}]
        tag = await register(ada, "public", skills=skills)
        hidden = await register(bob, "private")
        card = (await get(mesh, f"/a2a/agents/{ada.id}")).json()
        assert (await get(mesh, f"/a2a/directory?tag={tag}")).json() == [card]
        assert card["name"] == "ada"
        assert card["url"].endswith(f"/a2a/agents/{ada.id}")
        (skill,) = card["skills"]
        assert (skill["description"], skill["tags"]) == ("Code review", [tag])
        assert card["parler"]["id"] == ada.id
        assert card["parler"]["signature"] is None
        assert (await get(mesh, f"/a2a/agents/{bob.id}")).status == 404
        assert (await get(mesh, f"/a2a/directory?tag={hidden}")).json() == []
        token = bearer(await directory_token(bob))
        path = f"/a2a/directory?scope=hub&tag={hidden}"
        assert (await get(mesh, path)).status == 401
        (card,) = (await get(mesh, path, headers=token)).json()
        assert card["parler"]["visibility"] == "private"


# ----------------------------------------------------------------------------- members


async def test_watcher_reads_on_after_somebody_joined(mesh: Mesh) -> None:
    async with mesh.links("ada", "bob") as (ada, bob):
        opened = await open_room(ada)
        token = bearer(await watch_token(ada, opened["room"]))
        before = (await get(mesh, "/api/session", headers=token)).json()
        await join(bob, opened["code"])
        await bob.send_text(opened["room"], "I am here")
        after = (await get(mesh, "/api/session", headers=token)).json()
        assert (before["memberCount"], after["memberCount"]) == (1, 2)
        assert before["stats"]["firstMessageAt"] is None
        assert after["stats"]["lastMessageAt"] == after["messages"][-1]["ts"]
