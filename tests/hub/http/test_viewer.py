"""What a watch token opens, and what it must never show."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests._support.plainclient import Link, PlainAgent
from tests._support.plainhttp import bearer, http_link
from tests.conformance.steps import join, open_room
from tests.hub.conftest import RunningHub, StartHub, running_hub

FILE = b"the bytes of a file\n" * 50_000  # more than one piece
DIGEST = hashlib.sha256(FILE).hexdigest()
UNBOUND = b"bound to another room"
PARTS: list[dict[str, Any]] = [
    {"kind": "text", "text": "hello there"},
    {"kind": "data", "data": {"private": "free data"}},
    {
        "kind": "com.parler.file",
        "blob": DIGEST,
        "name": "../notes.txt",
        "size": len(FILE),
        "extra": "not a typed field",
    },
    {"kind": "com.parler.bundle", "blob": DIGEST, "vcs": "git", "size": 3, "tip": "ab"},
    {"kind": "com.parler.bundle", "blob": 5},
    {
        "kind": "com.parler.observation",
        "type": "tool",
        "tool_name": "shell",
        "tool_output": "x" * 5000,
        "deep": [[[[[[[["bottom"]]]]]]]],
        "wide": list(range(5000)),
    },
    {"kind": "com.parler.handoff", "next": "go on", "summary": "secret plan"},
    {"kind": "org.example.other", "what": "ever"},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A room with a few messages, and tokens."""

    hub: RunningHub
    room: str
    token: str
    other_token: str
    directory_token: str
    agents: tuple[str, str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running_hub(tmp_path_factory.mktemp("watched")) as hub:
        yield asyncio.run(_talk(hub))


async def _talk(hub: RunningHub) -> Watched:
    async with (
        PlainAgent.create("ada", "lead").dial(hub.url) as ada,
        PlainAgent.create("bob").dial(hub.url) as bob,
    ):
        opened = await open_room(ada)
        room = opened["room"]
        await join(bob, opened["code"])
        await ada.send(room, PARTS)
        await bob.send_text(room, "four")
        await bob.send_text(room, "five!")
        await upload(ada, room, FILE, mediaType="text/plain")
        other = (await open_room(ada))["room"]
        await upload(ada, other, UNBOUND)
        await bob.ask("presence_ok", "presence", status="working", activity="tests")
        return Watched(
            hub=hub,
            room=room,
            token=(await ada.ask("watch", "mint_watch", room=room))["token"],
            other_token=(await ada.ask("watch", "mint_watch", room=other))["token"],
            directory_token=(await ada.ask("directory_token", "mint_directory_token"))[
                "token"
            ],
            agents=(ada.id, bob.id),
        )


async def upload(link: Link, room: str, data: bytes, **fields: Any) -> None:
    await link.ask(
        "blob_ready",
        "put_blob",
        target={"kind": "room", "room": room},
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        **fields,
    )
    await link.raw(data)
    assert (await link.next_reply())["type"] == "blob_stored"


def session(watched: Watched, query: str = "") -> Any:
    answer = watched.hub.get(f"/api/session{query}", headers=bearer(watched.token))
    assert answer.status == 200
    return answer.json()


def blob_path(data: bytes) -> str:
    return f"/api/session/blob/{hashlib.sha256(data).hexdigest()}"


def test_session_has_exactly_the_fields_of_the_contract(watched: Watched) -> None:
    shown = session(watched)
    assert set(shown) == {
        "room",
        "kind",
        "memberCount",
        "onlineCount",
        "agents",
        "messages",
        "cursor",
        "stats",
    }
    assert (shown["room"], shown["kind"]) == (watched.room, "channel")
    assert shown["memberCount"] == 2
    for agent in shown["agents"]:
        assert set(agent) == {"name", "role", "status", "activity", "lastSeen"}
    for message in shown["messages"]:
        assert set(message) == {"seq", "ts", "from", "parts"}
        assert set(message["from"]) == {"name", "role"}
    by_name = {agent["name"]: agent for agent in shown["agents"]}
    assert by_name["bob"]["role"] is None
    assert by_name["bob"]["activity"] == "tests"
    assert by_name["ada"]["activity"] is None


def test_watcher_never_sees_ids_signatures_or_free_data(watched: Watched) -> None:
    text = json.dumps(session(watched))
    for secret in (*watched.agents, "com.parler.sig", "free data", "secret plan"):
        assert secret not in text


def test_parts_are_reduced(watched: Watched) -> None:
    text, data, file, bundle, broken, observation, handoff, other = session(watched)[
        "messages"
    ][0]["parts"]
    assert text == {"kind": "text", "text": "hello there"}
    assert data == {"kind": "data"}
    assert file == {
        "kind": "com.parler.file",
        "file": {
            "blob": DIGEST,
            "name": "../notes.txt",
            "size": len(FILE),
            "mediaType": None,
            "summary": None,
        },
    }
    assert bundle["file"] == {
        "blob": DIGEST,
        "vcs": "git",
        "size": 3,
        "tip": "ab",
        "base": None,
        "summary": None,
        "mediaType": None,
    }
    assert broken == {"kind": "com.parler.bundle"}
    assert set(observation) == {"kind", "fields"}
    assert handoff == {"kind": "com.parler.handoff"}
    assert other == {"kind": "org.example.other"}


def test_tool_output_reaches_a_watcher_only_in_part(watched: Watched) -> None:
    fields = session(watched)["messages"][0]["parts"][5]["fields"]
    assert fields["tool_name"] == "shell"
    assert len(fields["tool_output"]) < 2100
    assert "bottom" not in json.dumps(fields)
    assert len(json.dumps(fields)) < 10_000


def test_since_pages_forward(watched: Watched) -> None:
    everything = session(watched)
    seqs = [message["seq"] for message in everything["messages"]]
    assert seqs == sorted(seqs)
    assert everything["cursor"] == seqs[-1]
    later = session(watched, f"?since={seqs[0]}")
    assert [message["seq"] for message in later["messages"]] == seqs[1:]
    nothing = session(watched, "?since=999999")
    assert (nothing["messages"], nothing["cursor"]) == ([], 999_999)
    assert len(session(watched, "?since=-5")["messages"]) == len(seqs)


@pytest.mark.parametrize("since", ["abc", "1.0", "9" * 19, "9" * 40, "--1", "1e3"])
def test_since_that_is_no_position_is_refused_as_text(
    watched: Watched, since: str
) -> None:
    answer = watched.hub.get(
        f"/api/session?since={since}", headers=bearer(watched.token)
    )
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")


def test_stats_cover_the_whole_room(watched: Watched) -> None:
    stats = session(watched, "?since=999999")["stats"]
    messages = session(watched)["messages"]
    assert stats["messages"] == 3
    assert stats["firstMessageAt"] == messages[0]["ts"]
    assert stats["lastMessageAt"] == messages[-1]["ts"]
    ada, bob = stats["perAgent"]  # most tokens first
    assert (ada["name"], ada["role"], ada["messages"]) == ("ada", "lead", 1)
    assert bob == {"name": "bob", "role": None, "messages": 2, "estimatedTokens": 3}
    assert stats["estimatedTokens"] == ada["estimatedTokens"] + 3


def test_empty_room_has_nulls_for_what_is_not_there(watched: Watched) -> None:
    answer = watched.hub.get("/api/session", headers=bearer(watched.other_token))
    shown = answer.json()
    assert shown["messages"] == []
    assert shown["cursor"] == 0
    assert shown["stats"] == {
        "messages": 0,
        "estimatedTokens": 0,
        "firstMessageAt": None,
        "lastMessageAt": None,
        "perAgent": [],
    }


def test_only_a_watch_token_opens_a_session(watched: Watched) -> None:
    for token in ("", "wrong", watched.directory_token, watched.token.lower()):
        for path in ("/api/session", blob_path(FILE)):
            answer = watched.hub.get(path, headers=bearer(token))
            assert answer.status == 401
            assert set(answer.json()) == {"error"}


def test_token_may_stand_in_the_query(watched: Watched) -> None:
    for path in ("/api/session", blob_path(FILE)):
        assert watched.hub.get(f"{path}?token={watched.token}").status == 200


def test_token_dies_with_its_room(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> int:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]
            await ada.ask("room_deleted", "delete_room", room=room)
            await ada.ask("invited", "invite", kind="channel", room=room)
            answer = await asyncio.to_thread(hub.get, f"/api/session?token={token}")
            return answer.status

    assert asyncio.run(story()) == 401


Ends = Callable[[Link, str], Awaitable[object]]


async def _revokes(owner: Link, room: str) -> None:
    await owner.ask("tokens_revoked", "revoke_tokens", room=room)


async def _leaves(owner: Link, room: str) -> None:
    await owner.ask("left", "leave", room=room)


async def _comes_back(owner: Link, room: str) -> None:
    code = (await open_room(owner, room=room))["code"]
    await _leaves(owner, room)
    await join(owner, code)


async def _deletes(owner: Link, room: str) -> None:
    await owner.ask("room_deleted", "delete_room", room=room)


ENDS = pytest.mark.parametrize("ends", [_revokes, _leaves, _comes_back, _deletes])


@ENDS
def test_token_opens_nothing_once_its_owner_may_not_read(
    start_hub: StartHub, ends: Ends
) -> None:
    hub = start_hub()

    async def story() -> list[int]:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            await upload(ada, room, FILE)
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]

            async def statuses() -> list[int]:
                return [
                    (
                        await asyncio.to_thread(hub.get, path, headers=bearer(token))
                    ).status
                    for path in ("/api/session", blob_path(FILE))
                ]

            before = await statuses()
            await ends(ada, room)
            return before + await statuses()

    assert asyncio.run(story()) == [200, 200, 401, 401]


@ENDS
def test_answer_under_way_ends_with_the_token(
    start_hub: StartHub, monkeypatch: pytest.MonkeyPatch, ends: Ends
) -> None:
    """Before it is sent, or before its next piece is."""
    hub = start_hub()
    read = hub.hub.store.read
    asked = threading.Event()
    ended = threading.Event()

    async def slow(name: str, *given: Any, **options: Any) -> Any:
        found = await read(name, *given, **options)
        if name == "session":
            asked.set()
            assert await asyncio.to_thread(ended.wait, 10)
        return found

    monkeypatch.setattr(hub.hub.store, "read", slow)

    async def story() -> int:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]
            async with asyncio.TaskGroup() as group:
                answer = group.create_task(
                    asyncio.to_thread(hub.get, "/api/session", headers=bearer(token))
                )
                assert await asyncio.to_thread(asked.wait, 10)
                await ends(ada, room)
                ended.set()
            return answer.result().status

    assert asyncio.run(story()) == 401


@ENDS
def test_file_under_way_ends_with_the_token(start_hub: StartHub, ends: Ends) -> None:
    hub = start_hub()
    data = FILE * 20  # more than the system keeps for a peer that reads nothing

    async def story() -> int:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            await upload(ada, room, data)
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]
            async with http_link(hub.url) as link:
                head = f"GET {blob_path(data)}?token={token} HTTP/1.1\r\n"
                await link.raw(f"{head}Host: {link.host}\r\n\r\n".encode())
                await link.reader.readuntil(b"\r\n\r\n")
                await ends(ada, room)
                return len(await link.closed())

    assert asyncio.run(story()) < len(data)


def test_file_is_downloaded_whole(watched: Watched) -> None:
    answer = watched.hub.get(blob_path(FILE), headers=bearer(watched.token))
    assert answer.status == 200
    assert answer.body == FILE
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="parler-{DIGEST[:12]}.txt"'
    )


def test_head_of_a_file_tells_its_size(watched: Watched) -> None:
    answer = watched.hub.get(
        blob_path(FILE), headers=bearer(watched.token), method="HEAD"
    )
    assert answer.headers["content-length"] == str(len(FILE))


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("notes.txt", "notes.txt"),
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C%3A%5Ctemp%5Ca.txt", "a.txt"),
        ("a%22%3B%20x%3D%0D%0ASet-Cookie%3A%20y.txt", "a xSet-Cookie y.txt"),
        (".hidden.", "hidden"),
        ("%20.%20", f"parler-{DIGEST[:12]}.txt"),
        ("%C3%A9t%C3%A9.txt", "t.txt"),
        ("a" * 300, "a" * 128),
        ("", f"parler-{DIGEST[:12]}.txt"),
    ],
)
def test_name_of_a_download_cannot_leave_the_header_or_the_folder(
    watched: Watched, name: str, filename: str
) -> None:
    answer = watched.hub.get(
        f"{blob_path(FILE)}?name={name}", headers=bearer(watched.token)
    )
    assert answer.headers["content-disposition"] == f'attachment; filename="{filename}"'


def test_file_of_another_room_looks_like_no_file(watched: Watched) -> None:
    paths = [
        blob_path(UNBOUND),
        blob_path(b"never uploaded"),
        "/api/session/blob/..",
        "/api/session/blob/" + "A" * 64,
        "/api/session/blob/%00",
    ]
    answers = {
        (answer.status, answer.body)
        for answer in (
            watched.hub.get(path, headers=bearer(watched.token)) for path in paths
        )
    }
    assert len(answers) == 1
    status, body = answers.pop()
    assert status == 403
    assert set(json.loads(body)) == {"error"}


def test_media_type_of_a_stranger_cannot_add_headers(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> list[str]:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]
            types = []
            for media_type in ("a/b\r\nX-Evil: 1", "é", "text/html; charset=utf-8"):
                data = media_type.encode()
                await upload(ada, room, data, mediaType=media_type)
                answer = await asyncio.to_thread(
                    hub.get, blob_path(data), headers=bearer(token)
                )
                assert answer.body == data
                assert "x-evil" not in answer.headers
                types.append(answer.headers["content-type"])
            return types

    octets = "application/octet-stream"
    assert asyncio.run(story()) == [octets, octets, "text/html; charset=utf-8"]


def test_file_whose_bytes_are_gone_is_not_found(start_hub: StartHub) -> None:
    hub = start_hub()

    async def story() -> list[int]:
        async with PlainAgent.create("ada").dial(hub.url) as ada:
            room = (await open_room(ada))["room"]
            token = (await ada.ask("watch", "mint_watch", room=room))["token"]
            await upload(ada, room, b"short lived")
            path = hub.hub.services.blobs.folder / blob_path(b"short lived")[-64:]
            target = f"{blob_path(b'short lived')}?token={token}"
            path.unlink()
            gone = await asyncio.to_thread(hub.get, target)
            path.mkdir()
            unreadable = await asyncio.to_thread(hub.get, target)
            assert set(gone.json()) == set(unreadable.json()) == {"error"}
            return [gone.status, unreadable.status]

    assert asyncio.run(story()) == [404, 500]
