"""What agents do at a hub that has none of our extensions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parler.cli import _format
from parler.errors import UsageError
from parler.identity.identity import active_session
from parler.identity.signing import fingerprint
from parler.ops import session
from parler.ops.context import OpContext
from parler.ops.invites import InviteParams, invite
from parler.ops.memory import RememberParams, remember
from parler.ops.session import OpenParams, join_session, open_session
from parler.text.transcript import Reader, Transcript
from parler.wire.joinkey import parse_join_key
from parler.wire.records import RoomKind
from parler.wire.replies import RoomList
from parler.wire.requests import Rooms
from tests._support.actors import Stage, stage
from tests._support.plain_hub import make_plain
from tests._support.processes import Agent, running_hub


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    make_plain(monkeypatch.setattr)


@asynccontextmanager
async def alice_and_bob(
    folder: Path,
) -> AsyncIterator[tuple[Stage, OpContext, OpContext]]:
    """The two, at a hub, in no room."""
    async with stage(folder) as at:
        yield at, await at.enter("alice"), await at.enter("bob")


async def rooms_of(ctx: OpContext) -> list[str]:
    return [one.name for one in (await ctx.client.request(Rooms(), RoomList)).rooms]


async def test_leaving_ends_the_active_session_and_says_that_we_stay_a_member(
    tmp_path: Path,
) -> None:
    async with alice_and_bob(tmp_path) as (_, alice, bob):
        opened = await open_session(alice, OpenParams(gated=False))
        await join_session(bob, parse_join_key(opened.key))
        left = await session.leave_session(bob, opened.room)
        assert left.still_member
        assert active_session(bob.identity.home) is None
        [said] = (await alice.client.pull(opened.room)).messages
        assert said.text == "bob left the session"
        await join_session(bob, parse_join_key(opened.key))
        assert active_session(bob.identity.home) == opened.room


async def test_who_joins_is_shown_the_digest_as_words_of_its_author(
    tmp_path: Path,
) -> None:
    async with alice_and_bob(tmp_path) as (_, alice, bob):
        opened = await open_session(alice, OpenParams(gated=False))
        for text in ("SESSION DIGEST: old", "SESSION DIGEST: all\ngreen"):
            fact = RememberParams(text=text, key="session-digest", room=opened.room)
            await remember(alice, fact)
        joined = await join_session(bob, parse_join_key(opened.key))
        assert joined.digest is not None
        reader = Reader(agent=bob.client.agent_id, name="bob", role=None)
        lines = [*_format.joined(joined, Transcript(reader, now=bob.now()))]
        start = lines.index("  | SESSION DIGEST: all")
        assert fingerprint(alice.client.agent_id) in lines[start - 1]
        assert lines[start + 1] == "  | green"
        assert not any("old" in line for line in lines)


@pytest.mark.parametrize("kind", [RoomKind.CHANNEL, RoomKind.SERVICE])
async def test_a_key_to_a_room_that_cannot_be_named_is_refused_and_makes_no_room(
    tmp_path: Path, kind: RoomKind
) -> None:
    async with alice_and_bob(tmp_path) as (_, alice, _bob):
        made = await invite(alice, InviteParams(kind=kind))
        before = await rooms_of(alice)
        with pytest.raises(UsageError, match="no further key"):
            await invite(alice, InviteParams(kind=kind, name=made.room))
        assert await rooms_of(alice) == before
        named = await invite(alice, InviteParams(kind=RoomKind.CHANNEL, name="my room"))
        assert named.room == "my_room"
        again = await invite(alice, InviteParams(kind=RoomKind.CHANNEL, name="my room"))
        assert again.room == named.room


def test_a_command_hides_from_nobody_what_its_agent_is_doing(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub", plain=True) as hub:
        ann, bob = (Agent(tmp_path, name, hub.url) for name in ("ann", "bob"))
        opened = ann("session", "open", "--no-approval", "--json").json
        bob("join", opened["portable"])
        ann("presence", "working", "--activity", "the API")
        ann("send", "hello")
        members = bob("roster", "--json").json["entries"]
        [shown] = [one for one in members if one["name"] == "ann"]
        assert (shown["status"], shown["activity"]) == ("working", "the API")
