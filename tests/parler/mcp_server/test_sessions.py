"""Opening, entering, and who decides about those who knock."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from parler.apps.install.manifest import AppRecord, FileRecord, Manifest
from parler.identity.identity import load_identity
from parler.identity.signing import Keypair, fingerprint
from parler.local_hub import Record, hub_paths, stop, write_record
from parler.text.terminal import shown_name
from parler.wire.base import RoomName
from parler.wire.records import Fact
from parler.wire.replies import Remembered
from parler.wire.requests import Remember
from tests._support.mcp_hosts import (
    Host,
    at_work,
    environment,
    home_of,
    serving,
    text_of,
)
from tests._support.mcp_peers import peer
from tests._support.polling import WAIT, comes
from tests._support.processes import HubProcess

ELICITS: dict[str, Any] = {"elicitation": {"form": {}}}


def key_in(text: str) -> str:
    """The key that a session was opened with."""
    found = re.search(r"KEY: (\S+)", text)
    assert found
    return found[1]


def room_in(text: str) -> RoomName:
    """The room of a session that was opened."""
    found = re.search(r"Session (\S+) is open", text)
    assert found
    return RoomName(found[1])


async def knocked(host: Host, hub: HubProcess) -> tuple[str, str, str]:
    """Have Bob knock at a new session; its room, his fingerprint, and what was told."""
    opened = await host.calls("parler_open_session", topic="api", context="we did X")
    async with peer(hub.url, "bob") as bob:
        await bob.joins(key_in(opened))
        told = await host.brings("KNOCK", "parler_rooms")
        return room_in(opened), bob.fingerprint, told


@pytest.mark.parametrize("modern", [False, True], ids=["handshake", "stateless"])
async def test_a_joiner_is_let_in_only_by_the_answer_of_a_person(
    hub: HubProcess, tmp_path: Path, modern: bool
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with (
        at_work(env, tmp_path, modern=modern, capabilities=ELICITS) as host,
        peer(hub.url, "bob") as bob,
    ):
        opened = await host.calls("parler_open_session", context="the plan")
        room = await bob.joins(key_in(opened))
        told = await host.brings(bob.fingerprint, "parler_rooms")
        assert "Only your user may decide" in told
        asked: list[str] = []

        def says(decision: str) -> dict[str, Any]:
            return {"action": decision}

        async def approves(decision: str) -> str:
            arguments = {"agent": bob.fingerprint}
            params = {"name": "parler_approve_join", "arguments": arguments}
            if not modern:
                host.answer = lambda frame: says(decision)
                return text_of(await host.result(host.asks("tools/call", params)))
            first = await host.result(host.asks("tools/call", params))
            assert first["resultType"] == "input_required"
            asked.append(str(first["inputRequests"]))
            answers = {"inputResponses": {"decision": says(decision)}}
            state = {"requestState": first["requestState"]}
            again = host.asks("tools/call", params | answers | state)
            return text_of(await host.result(again))

        assert "NOT approved" in await approves("decline")
        assert "is in" in await approves("accept")
        shown = str(host.asked) if not modern else asked[0]
        assert bob.fingerprint in shown
        assert "compare the fingerprint" in shown
        assert "'properties': {}" in shown  # nothing to fill in
        assert "the plan" in str(await bob.texts(room))


@pytest.mark.parametrize("shows", [{}, {"elicitation": {"url": {}}}])
async def test_without_a_question_to_the_user_nobody_is_let_in(
    hub: HubProcess, tmp_path: Path, shows: dict[str, Any]
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path, capabilities=shows) as host:
        _, fingerprint, _ = await knocked(host, hub)
        read = await host.calls("parler_approve_join", agent=fingerprint)
        assert "NOT approved: your user has to decide" in read
        assert f"parler approve {fingerprint} --home {home_of(env)}" in read
        read = await host.calls("parler_deny_join", agent=fingerprint)
        assert "NOT rejected" in read
        assert f"parler reject {fingerprint} --home {home_of(env)}" in read
        assert fingerprint in await host.calls("parler_join_requests")
        await host.calls("parler_serve", service="review")
        given = {"service": "review", "agent": Keypair.generate().agent_id}
        read = await host.calls("parler_admit_worker", **given)
        assert "NOT admitted" in read
        assert f"parler serve review --admit {given['agent']} --home " in read


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_user_who_dismisses_the_question_has_not_agreed(
    hub: HubProcess, tmp_path: Path, action: str
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path, capabilities=ELICITS) as host:
        host.answer = lambda frame: {"action": action}
        _, fingerprint, _ = await knocked(host, hub)
        read = await host.calls("parler_approve_join", agent=fingerprint)
        assert "NOT approved" in read
        assert f"parler approve {fingerprint}" in read
        assert fingerprint in await host.calls("parler_join_requests")


@pytest.mark.parametrize(
    ("tool", "command", "done"),
    [
        ("parler_delete_room", "delete-room", "are gone"),
        ("parler_close_session", "session leave", "left "),
    ],
)
async def test_what_is_gone_for_good_waits_for_a_person(
    hub: HubProcess, tmp_path: Path, tool: str, command: str, done: str
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host:  # that can ask nobody
        room = room_in(await host.calls("parler_open_session"))
        read = await host.calls(tool)
        assert read.startswith("NOT ")
        assert f"parler {command} --room {room} --home {home_of(env)}" in read
        assert room in await host.calls("parler_rooms")
    async with at_work(env, tmp_path, capabilities=ELICITS) as host:
        host.answer = lambda frame: {"action": "decline"}
        assert "NOT " in await host.calls(tool)
        host.answer = lambda frame: {"action": "accept"}
        assert done in await host.calls(tool)
        assert room not in await host.calls("parler_rooms")


async def test_whoever_is_a_guest_leaves_without_asking(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host, peer(hub.url, "bob") as bob:
        key, room = await bob.opens()
        await host.calls("parler_join_session", key=key)
        assert await host.calls("parler_close_session") == f"left {room}"


async def test_who_is_wired_is_not_told_to_wire_an_app(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host:
        by_hand = await host.calls("parler_open_session")
        assert f"mcp add parler -e PARLER_SESSION_KEY={key_in(by_hand)}" in by_hand
        wired = FileRecord(path="config.toml", written="as it was")
        Manifest(home_of(env)).set("codex", AppRecord(files={"servers": wired}))
        opened = await host.calls("parler_open_session")
        assert f"parler session join {key_in(opened)}" in opened
        assert "mcp add" not in opened


async def test_sessions_and_files_need_no_more_than_the_tools_that_are_offered(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with (
        at_work(env, tmp_path / "ann" / "shop") as host,
        at_work(environment(tmp_path, hub.url, "bob"), tmp_path / "bob") as bob,
    ):
        first = room_in(await host.calls("parler_open_session", topic="api"))
        opened = await bob.calls("parler_open_session", topic="login", approval=False)
        second = room_in(opened)
        await host.calls("parler_join_session", key=key_in(opened))

        async def manages(action: str = "list", **more: str) -> str:
            return await host.calls("parler_session", action=action, **more)

        lost = await host.calls("parler_session", action="use", room="nowhere")
        assert lost.endswith("next: parler_session")  # and no command of a shell
        listed = await host.calls("parler_session")
        assert f'* {second} "login"' in listed
        assert f'  {first} "api"' in listed
        members = await manages("members")
        assert "ann" in members
        assert "bob" in members
        assert f'{first} "api" is your active' in await manages("use", room="API")
        assert "bob" not in await manages("members")
        assert "which session" in await manages("use")
        assert "several" not in await manages("use", room="login")

        (tmp_path / "ann" / "shop" / "a.txt").write_text("for you", "utf-8")
        sent = await host.calls("parler_push", file="a.txt", room=second)
        assert "a.txt sent to" in sent
        outside = await host.calls("parler_push", file="../secret", room=second)
        assert "only files there are sent" in outside
        got = await bob.calls("parler_apply", blob=sent.rpartition(" ")[2])
        assert "kept as" in got
        assert "from ann" in got

        assert await manages("leave", room="login") == f"left {second}"
        assert second not in await host.calls("parler_session")
        assert (await manages("leave", room="api")).startswith("NOT left")

        twice = [
            room_in(await host.calls("parler_open_session", topic="twice"))
            for _ in range(2)
        ]
        for action in ("use", "members", "leave"):
            said = await manages(action, room="twice")
            named = said.rpartition("next: ")[2]
            assert named in {f"parler_session action={action} room={r}" for r in twice}


async def test_an_answer_counts_once_and_for_its_question_alone(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with (
        at_work(env, tmp_path, modern=True, capabilities=ELICITS) as host,
        peer(hub.url, "bob") as bob,
        peer(hub.url, "mallory") as mallory,
    ):
        opened = await host.calls("parler_open_session")
        room = await bob.joins(key_in(opened))
        await mallory.joins(key_in(opened))
        await host.brings(mallory.fingerprint, "parler_rooms")

        def approve(who: str, **more: Any) -> int:
            params = {"name": "parler_approve_join", "arguments": {"agent": who}}
            return host.asks("tools/call", params | more)

        first = await host.result(approve(bob.fingerprint))
        yes = {"decision": {"action": "accept", "content": {}}}
        given = {"inputResponses": yes, "requestState": first["requestState"]}
        for state in (given, given | {"requestState": "forged.99999999999.00"}):
            other = await host.result(approve(mallory.fingerprint, **state))
            assert other["resultType"] == "input_required"
        assert "is in" in text_of(await host.result(approve(bob.fingerprint, **given)))
        assert await bob.texts(room) == []


async def test_a_pending_joiner_is_told_when_it_is_in(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    gemini = "gemini-cli-mcp-client"
    async with at_work(env, tmp_path, name=gemini) as host, peer(hub.url, "bob") as bob:
        key, room = await bob.opens(gated=True)
        await bob.says(room, "📋 session context (from bob):\nsecret plan")
        fact = Fact(text="SESSION DIGEST: all green", key="session-digest", room=room)
        await bob.client.request(Remember(fact=fact), Remembered)
        read = await host.calls("parler_join_session", key=f"{key}@{hub.url}")
        assert "You knocked" in read
        assert "Nothing wakes Gemini CLI while it is idle" in read
        assert "secret plan" not in read
        (waiting,) = await bob.knocks(room)
        await bob.admits(room, waiting)
        async with asyncio.timeout(WAIT):
            while "secret plan" not in read or "key=session-digest" not in read:
                read += await host.calls("parler_recv", wait_secs=2)
        assert "You are in" in read
        read = await host.calls("parler_join_session", key=f"{key}@{hub.url}")
        assert f"Digest of bob {bob.fingerprint}" in read
        assert "\n  | SESSION DIGEST: all green" in read


async def test_a_key_in_the_environment_needs_no_tool(
    hub: HubProcess, tmp_path: Path
) -> None:
    async with peer(hub.url, "bob") as bob:
        key, room = await bob.opens(gated=True)
        await bob.says(room, "read me first")
        env = environment(
            tmp_path, "ws://127.0.0.1:9", "ann", PARLER_SESSION_KEY=f"{key}@{hub.url}"
        )
        async with at_work(env, tmp_path) as host:
            waiting = await comes(lambda: bob.knocks(room))
        # Restarted while it waits: the knock goes on.
        async with at_work(env, tmp_path) as host:
            await bob.admits(room, waiting[0])
            read = ""
            async with asyncio.timeout(WAIT):
                while "read me first" not in read:
                    read += await host.calls("parler_recv", wait_secs=2)
            assert "You are in" in read
            await host.calls("parler_close_session")
        async with at_work(env, tmp_path) as host:  # it left: the key is used up
            read = await host.calls("parler_rooms")
            assert "no connection to the hub" in read  # of the session it is back


async def test_a_bare_key_means_this_machines_hub_where_none_was_chosen(
    tmp_path: Path,
) -> None:
    env = environment(tmp_path, "", "ann", PARLER_SESSION_KEY="AAAA2222")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_record(hub_paths(home_of(env)), Record(addr=f"127.0.0.1:{port}"))
    try:
        async with at_work(env, tmp_path) as host:
            read = ""
            async with asyncio.timeout(WAIT):
                while "You were not let in" not in read:
                    read += await host.calls("parler_recv", wait_secs=2)
            assert f"ws://127.0.0.1:{port} does not know the key" in read
            assert "KEY@HUB" in read
    finally:
        stop(home_of(env), force=True)


async def test_a_rejected_joiner_is_told_so(hub: HubProcess, tmp_path: Path) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host:
        read = await host.calls("parler_join_session", key="AAAA2222")
        assert "error" in read
        assert "does not know the key" in read
        read = await host.calls("parler_join_session", key="not a key")
        assert "is not a session key" in read


async def test_a_key_of_another_hub_is_followed_there_or_not_at_all(
    hub: HubProcess, tmp_path: Path
) -> None:
    second = HubProcess(tmp_path / "second")
    try:
        env = environment(tmp_path, hub.url, "ann")
        async with at_work(env, tmp_path) as host, peer(second.url, "bob") as bob:
            await host.calls("parler_open_session")
            away = await host.calls(
                "parler_join_session", key="AAAA2222@ws://127.0.0.1:9"
            )
            assert "nothing was changed" in away
            assert "sent to" in await host.calls("parler_send", text="still here")
            key, room = await bob.opens()
            await bob.says(room, "on the other hub")
            read = await host.calls("parler_join_session", key=f"{key}@{second.url}")
            assert "on the other hub" in read
            assert f"serves the hub {second.url}" in read
            await host.calls("parler_send", text="hello there")
            assert "hello there" in await bob.texts(room)
        async with at_work(env, tmp_path) as host:  # and so after a restart
            assert "sent to" in await host.calls("parler_send", text="again")
    finally:
        second.stop()


async def test_the_lists_need_no_hub(tmp_path: Path) -> None:
    env = environment(tmp_path, "ws://127.0.0.1:9", "ann")
    async with serving(env, tmp_path) as host:
        result = await host.shakes_hands()
        assert result["serverInfo"]["name"] == "parler"
        assert "claude/channel" in result["capabilities"]["experimental"]
        read = await host.calls("parler_roster")
        assert "no connection to the hub" in read
        assert "dialled again" in read


async def test_an_agent_of_ones_own_walks_in_and_a_stranger_is_told_with_whose_it_is(
    hub: HubProcess, tmp_path: Path
) -> None:
    def env_of(machine: str, app: str) -> dict[str, str]:
        home = tmp_path / machine / ".parler" / "agents" / app
        return environment(tmp_path, hub.url, app) | {"PARLER_HOME": str(home)}

    ours, other = env_of("ours", "claude-code"), env_of("ours", "codex")
    async with (
        at_work(ours, tmp_path) as host,
        at_work(other, tmp_path) as mine,
        at_work(env_of("theirs", "codex"), tmp_path) as theirs,
    ):
        opened = await host.calls("parler_open_session")
        assert "Your user's own agents come in at once." in opened
        key = key_in(opened)
        # The very first call: its card has to be there before it knocks.
        read = await mine.calls("parler_join_session", key=key)
        assert "You are in" in read
        assert "your Codex" in await host.brings("was let into", "parler_rooms")
        person = load_identity(tmp_path / "theirs" / ".parler")
        mark = fingerprint(person.agent_id)
        knocked = await theirs.calls("parler_join_session", key=key)
        assert f"an agent of {shown_name(person.name)} {mark}" in knocked
        told = await host.brings("KNOCK", "parler_rooms")
        assert f"Codex, says it is {shown_name(person.name)}'s ({mark})" in told


async def test_all_of_a_backlog_ids_and_embeddings_are_there_for_who_asks(
    hub: HubProcess, tmp_path: Path
) -> None:
    env = environment(tmp_path, hub.url, "ann")
    async with at_work(env, tmp_path) as host, peer(hub.url, "bob") as bob:
        key, room = await bob.opens()
        said = [f"message {number} {'x' * 300}" for number in range(40)]
        for text in said:
            await bob.says(room, text)
        joining = {"key": f"{key}@{hub.url}"}
        recent = await host.calls("parler_join_session", **joining)
        assert "message 5 " not in recent
        whole = await host.calls("parler_join_session", **joining, backlog="full")
        assert all(text in whole for text in said)
        agent = bob.client.agent_id
        assert agent not in await host.calls("parler_roster")
        assert agent in await host.calls("parler_roster", detail=True)
        near, far = [1.0, *[0.0] * 767], [*[0.0] * 767, 1.0]
        for text, meaning in (("cats purr", near), ("rust compiles", far)):
            await host.calls("parler_remember", text=text, embedding=meaning)
        found = await host.calls("parler_recall", query="", embedding=near, limit=1)
        assert "cats purr" in found
        assert "rust" not in found
