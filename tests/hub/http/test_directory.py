"""Who sees which cards over HTTP, and as what."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from hub.store.schema import tokens
from hub.store.tokens import revoke_directory
from parler.wire.base import AgentId
from tests._support.plainclient import PlainAgent
from tests._support.plainhttp import bearer
from tests.conformance.steps import open_room
from tests.hub.conftest import RunningHub, StartHub, running_hub


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A hub with a public and a private card, and tokens."""

    hub: RunningHub
    public: str
    private: str
    directory_token: str
    watch_token: str


def card(agent: PlainAgent, **fields: Any) -> dict[str, Any]:
    return {"id": agent.id, "name": agent.name, "kind": "agent"} | fields


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_hub(tmp_path_factory.mktemp("listed")) as hub:
        yield asyncio.run(_list(hub))


async def _list(hub: RunningHub) -> Listed:
    shown, hidden = PlainAgent.create("shown", "reviewer"), PlainAgent.create("hidden")
    async with shown.dial(hub.url) as one, hidden.dial(hub.url) as other:
        await one.ask(
            "registered",
            "register",
            visibility="public",
            card=card(
                shown,
                role="reviewer",
                tags=["rust", "web"],
                skills=[{"id": "review", "name": "Code review"}],
            ),
        )
        await other.ask(
            "registered", "register", visibility="private", card=card(hidden)
        )
        minted = await other.ask("directory_token", "mint_directory_token")
        room = (await open_room(one))["room"]
        watch = await one.ask("watch", "mint_watch", room=room)
    return Listed(
        hub=hub,
        public=shown.id,
        private=hidden.id,
        directory_token=minted["token"],
        watch_token=watch["token"],
    )


def ids(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["card"]["id"] for entry in entries}


def test_stranger_finds_public_cards_only(listed: Listed) -> None:
    for query in ("", "?scope=public", "?scope=HUB", "?scope="):
        found = listed.hub.get(f"/api/directory{query}").json()
        assert ids(found) == {listed.public}


def test_stranger_may_not_ask_for_all_cards(listed: Listed) -> None:
    for token in (None, "", "wrong", listed.watch_token, listed.directory_token + "x"):
        headers = {} if token is None else bearer(token)
        for path in ("/api/directory", "/a2a/directory"):
            answer = listed.hub.get(f"{path}?scope=hub", headers=headers)
            assert answer.status == 401
            assert set(answer.json()) == {"error"}


def test_token_of_the_directory_opens_all_cards(listed: Listed) -> None:
    found = listed.hub.get(
        "/api/directory?scope=hub", headers=bearer(listed.directory_token)
    ).json()
    assert ids(found) == {listed.public, listed.private}


def test_token_in_the_query_does_not_open_the_directory(listed: Listed) -> None:
    answer = listed.hub.get(f"/api/directory?scope=hub&token={listed.directory_token}")
    assert answer.status == 401


def test_private_card_looks_like_no_card_to_a_stranger(listed: Listed) -> None:
    unknown = listed.hub.get("/api/agents/UNOBODY")
    for path in (f"/api/agents/{listed.private}", f"/a2a/agents/{listed.private}"):
        for headers in ({}, bearer(listed.watch_token)):
            answer = listed.hub.get(path, headers=headers)
            assert (answer.status, answer.body) == (404, unknown.body)
    assert unknown.json() == {"error": "no such public agent"}


def test_private_card_opens_with_a_directory_token(listed: Listed) -> None:
    entry = listed.hub.get(
        f"/api/agents/{listed.private}", headers=bearer(listed.directory_token)
    ).json()
    assert entry["card"]["name"] == "hidden"
    assert entry["visibility"] == "private"


def test_scheme_of_the_token_may_be_spelled_any_way(listed: Listed) -> None:
    headers = {"authorization": f"bEARER  {listed.directory_token}"}
    assert listed.hub.get("/api/directory?scope=hub", headers=headers).status == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=SHO", 1),
        ("q=rus", 1),
        ("q=Code%20rev", 1),
        ("tag=WEB", 1),
        ("tag=w%25b", 0),
        ("skill=review", 1),
        ("status=offline", 0),
        ("q=rust&tag=nothing", 0),
        ("limit=0", 0),
        ("limit=1000000", 1),
        ("q=", 1),
    ],
)
def test_filters_are_those_of_discover(listed: Listed, query: str, found: int) -> None:
    assert len(listed.hub.get(f"/api/directory?{query}").json()) == found
    assert len(listed.hub.get(f"/a2a/directory?{query}").json()) == found


@pytest.mark.parametrize("limit", ["abc", "-1", "1.5", "", "9" * 30, "%F0%9F", "٣"])
def test_limit_that_is_no_number_is_refused_as_text(listed: Listed, limit: str) -> None:
    target = "/api/directory?limit=" + limit.encode().decode("latin-1")
    if not limit.isascii():
        target = "/api/directory?limit=%D9%A3"
    answer = listed.hub.get(target)
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")


def test_token_that_is_revoked_while_it_is_answered_opens_nothing(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = start_hub()
    read, write = hub.hub.store.read, hub.hub.store.write

    async def story() -> str:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            reply = await ada.ask("directory_token", "mint_directory_token")
            return str(reply["token"])

    token = asyncio.run(story())

    def owner_of(connection: sa.Connection) -> AgentId:
        return AgentId(connection.execute(sa.select(tokens.c.created_by)).scalar_one())

    async def revoked_meanwhile(name: str, *given: Any, **options: Any) -> Any:
        found = await read(name, *given, **options)
        if name == "directory":
            owner = await read("owner", owner_of)
            await write("revoke", partial(revoke_directory, agent=owner))
        return found

    monkeypatch.setattr(hub.hub.store, "read", revoked_meanwhile)
    assert hub.get("/api/directory?scope=hub", headers=bearer(token)).status == 401
