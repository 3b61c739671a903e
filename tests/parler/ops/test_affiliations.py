"""Whose agents one meets: what cards tell, what is believed, who walks in."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.errors import UsageError
from parler.identity.contacts import Contacts
from parler.identity.homes import machine_home
from parler.identity.identity import Identity, load_identity, mint_identity
from parler.identity.people import Relation
from parler.identity.person import VOUCH, ensure_person, vouch
from parler.identity.signing import fingerprint
from parler.machine import files
from parler.ops import admission
from parler.ops.addressing import find_agent
from parler.ops.admission import approve, decide, join_requests
from parler.ops.affiliations import belongs, introduced
from parler.ops.contacts import Found, contacts_called, trust
from parler.ops.context import OpContext
from parler.ops.directory import (
    DiscoverParams,
    Listed,
    RegisterParams,
    card,
    discover,
    introduce,
    register,
)
from parler.ops.rooms import roster
from parler.ops.session import (
    JoinResult,
    JoinState,
    OpenParams,
    OpenResult,
    join_session,
    open_session,
)
from parler.runtime import knocks
from parler.wire.canonical import card_bytes
from parler.wire.joinkey import parse_join_key
from parler.wire.records import AgentCard, Visibility
from parler.wire.replies import Registered
from parler.wire.requests import Register
from tests._support.actors import HUB, Stage, stage

CYRILLIC = "\u0410nna"
AGENT_HOME = "agents/claude-code/ws/0123456789abcdef"


def person(folder: Path, name: str) -> Identity:
    """Somebody with a machine of its own."""
    home = folder / f"machine-{len(list(folder.iterdir()))}"
    return mint_identity(home, hub_url=HUB, name=name)


async def agent_of(
    at: Stage, whose: Identity, *, app: str = "claude-code", folder: str = "stagent"
) -> OpContext:
    """An agent of that person, in a project, with its card at the hub."""
    home = whose.home / "agents" / app / "ws" / "0123456789abcdef"
    home.mkdir(parents=True, exist_ok=True)
    place = {"app": app, "folder": f"/home/somebody/{folder}", "seat": 1}
    files.write_private(home / "place.json", msgspec.json.encode(place))
    ctx = await at.enter(f"{folder}-claude", home=home)
    await introduce(ctx)
    return ctx


def knows(whose: Identity, other: Identity, name: str) -> None:
    Contacts(whose.home).trust(other.agent_id, name, now=5)


async def put(ctx: OpContext, meta: dict[str, Any] | None) -> None:
    """Put another card there, signed by the agent as any client could."""
    said = AgentCard.of(ctx.client.agent_id, ctx.identity.name, meta=meta)
    sig = ctx.identity.keypair.sign(card_bytes(said))
    await ctx.client.request(Register(card=said, sig=sig), Registered)


async def knock(ctx: OpContext, opened: OpenResult) -> JoinResult:
    return await join_session(ctx, parse_join_key(opened.portable))


def words(one: Listed) -> str | None:
    return one.affiliation and belongs(one.affiliation, one.card.id)


async def test_a_card_says_whose_agent_it_is_and_each_reader_what_that_means_to_him(
    tmp_path: Path,
) -> None:
    anna, bob, eve = (person(tmp_path, name) for name in ("Anna", "bob", "eve"))
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        hers = await agent_of(at, anna)
        # Never the path, and nothing but a name.
        said = (await card(hers)).card.meta or {}
        assert said["com.parler.place"] == {"app": "claude-code", "folder": "stagent"}
        assert set(said[VOUCH]) == {"id", "name", "since", "sig"}
        her_other = await agent_of(at, anna, app="codex")
        his = await agent_of(at, bob)
        at_terminal = await at.enter("Anna", home=anna.home)
        who = hers.client.agent_id
        mark = fingerprint(anna.agent_id)
        eve_there = await at.enter("eve", home=eve.home)
        assert {
            "eve": words(await card(eve_there, who)),
            "bob": words(await card(his, who)),
            "anna": words(await card(her_other, who)),
            "anna herself": words(await card(at_terminal, who)),
        } == {
            "eve": f"Claude Code in stagent, says it is Anna's ({mark})",
            "bob": "anna's Claude Code in stagent ✓",
            "anna": "your Claude Code in stagent",
            "anna herself": "your Claude Code in stagent",
        }
        await register(at_terminal, RegisterParams())
        assert words(await card(his, anna.agent_id)) == "anna ✓"
        assert words(await card(hers, anna.agent_id)) == "you"
        assert words(await card(eve_there, anna.agent_id)) is None
        found = await discover(his, DiscoverParams(query="stagent"))
        assert {words(one) for one in found.agents} == {
            "anna's Claude Code in stagent ✓",
            "anna's Codex in stagent ✓",
            "your Claude Code in stagent",
        }


async def test_a_public_card_tells_a_name_only_where_that_was_asked_for(
    tmp_path: Path,
) -> None:
    anna = person(tmp_path, "Anna")
    async with stage(tmp_path) as at:
        hers = await agent_of(at, anna)
        public = RegisterParams(visibility=Visibility.PUBLIC)
        assert not (await register(hers, public)).card.meta
        # Neither is it told by a server that starts, or by a knock.
        assert not (await register(hers, RegisterParams())).card.meta
        await introduce(hers)
        assert not (await card(hers)).card.meta
        aloud = RegisterParams(visibility=Visibility.PUBLIC, as_person=True)
        assert VOUCH in ((await register(hers, aloud)).card.meta or {})
        again = await register(hers, RegisterParams(tags=["x"]))
        assert VOUCH in (again.card.meta or {})
        await register(hers, RegisterParams(visibility=Visibility.PRIVATE))
        assert not (await register(hers, public)).card.meta


async def test_registering_again_keeps_the_word_and_what_others_put_there(
    tmp_path: Path,
) -> None:
    anna = person(tmp_path, "Anna")
    async with stage(tmp_path) as at:
        hers = await agent_of(at, anna)
        first = (await card(hers)).card.meta or {}
        at.hub.clock.advance(60)
        await put(hers, first | {"com.example.x": [1]})
        again = (await register(hers, RegisterParams())).card.meta
        assert again == first | {"com.example.x": [1]}
        # A person whose file cannot be read takes nothing back, and is no obstacle.
        (anna.home / "config.json").chmod(0o644)
        assert (await register(hers, RegisterParams())).card.meta == again


async def test_a_word_for_somebody_else_is_shown_as_none(tmp_path: Path) -> None:
    anna, bob, eve = (person(tmp_path, name) for name in ("Anna", "bob", "eve"))
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        hers, his, evil = [await agent_of(at, one) for one in (anna, bob, eve)]
        copied = (await card(hers)).card.meta or {}
        await put(evil, copied)
        seen = await card(his, evil.client.agent_id)
        assert words(seen) == "says it is Claude Code in stagent"
        opened = await open_session(his, OpenParams(welcome=["anna"]))
        assert (await knock(evil, opened)).state is JoinState.PENDING
        [waiting] = (await join_requests(his, opened.room)).requests
        assert waiting.affiliation is not None
        assert waiting.affiliation.person is None


async def test_a_card_that_its_agent_did_not_sign_tells_nothing(
    tmp_path: Path,
) -> None:
    """As a hub could make one up: it has all the words, and not the agent's key."""
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        his = await agent_of(at, bob)
        stranger = await at.enter("stranger")
        word = vouch(anna, stranger.client.agent_id, now=5)
        meta = {VOUCH: msgspec.to_builtins(word)}
        said = AgentCard.of(stranger.client.agent_id, "stranger", meta=meta)
        await stranger.client.request(Register(card=said), Registered)
        assert words(await card(his, stranger.client.agent_id)) is None
        opened = await open_session(his, OpenParams(welcome=["anna"]))
        await knock(stranger, opened)
        result = await join_requests(his, opened.room)
        assert [len(result.requests), len(result.admitted)] == [1, 0]
        # The same words, signed by the agent as well, are believed.
        await put(stranger, meta)
        result = await join_requests(his, opened.room)
        assert [len(result.requests), len(result.admitted)] == [0, 1]


async def test_agents_of_whom_it_is_for_walk_in_and_others_wait(
    tmp_path: Path,
) -> None:
    names = ("Anna", "bob", "carl", "eve")
    anna, bob, carl, eve = (person(tmp_path, name) for name in names)
    anna_at_home = mint_identity(tmp_path / "her-desk", hub_url=HUB, name="Anna")
    knows(bob, anna, "anna")
    knows(bob, carl, "carl")
    async with stage(tmp_path) as at:
        his = await agent_of(at, bob)
        with pytest.raises(UsageError, match="nobody called 'eve'"):
            await open_session(his, OpenParams(welcome=["anna", "eve"]))
        opened = await open_session(his, OpenParams(welcome=["ANNA"]))
        assert opened.welcome == ["anna"]
        at_desk = await agent_of(at, anna_at_home)
        for whose in (anna, carl, eve):
            await knock(await agent_of(at, whose), opened)
        await knock(at_desk, opened)
        his_other = await agent_of(at, bob, app="codex")
        await knock(his_other, opened)
        at_terminal = await at.enter("bob", home=bob.home)
        await knock(at_terminal, opened)

        result = await join_requests(his, opened.room)
        assert {_said(one) for one in result.admitted} == {
            "anna's Claude Code in stagent ✓",
            "your Codex in stagent",
            "you",
        }
        assert {_said(one) for one in result.requests} == {
            "carl's Claude Code in stagent ✓",
            f"Claude Code in stagent, says it is eve's ({fingerprint(eve.agent_id)})",
            "Claude Code in stagent, says it is Anna's "
            f"({fingerprint(anna_at_home.agent_id)})",
        }
        assert (await knock(his_other, opened)).state is JoinState.JOINED
        # Another machine of the same contact counts for rooms of before.
        knows(bob, anna_at_home, "anna")
        result = await join_requests(his, opened.room)
        assert [_said(one) for one in result.admitted] == [
            "anna's Claude Code in stagent ✓"
        ]
        members = await roster(his, opened.room)
        assert sorted(filter(None, map(_said, members.entries))) == [
            "anna's Claude Code in stagent ✓",
            "anna's Claude Code in stagent ✓",
            "you",
            "your Claude Code in stagent",
            "your Codex in stagent",
        ]


def _said(one: Any) -> str | None:
    agent = getattr(one, "agent", None) or one.id
    return one.affiliation and belongs(one.affiliation, agent)


async def test_who_is_not_vouched_for_any_more_or_no_contact_any_more_waits(
    tmp_path: Path,
) -> None:
    anna, bob, other = (person(tmp_path, name) for name in ("Anna", "bob", "anna"))
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        his, hers = await agent_of(at, bob), await agent_of(at, anna)
        opened = await open_session(his, OpenParams(welcome=["anna"]))
        await knock(hers, opened)
        await put(hers, None)
        assert words(await card(his, hers.client.agent_id)) is None
        result = await join_requests(his, opened.room)
        assert [len(result.requests), len(result.admitted)] == [1, 0]

        # Nor does another person walk in who took over a contact's name.
        await register(hers, RegisterParams())
        Contacts(bob.home).untrust("anna")
        knows(bob, other, "anna")
        await knock(await agent_of(at, other), opened)
        result = await join_requests(his, opened.room)
        assert [len(result.requests), len(result.admitted)] == [2, 0]


async def test_always_lets_in_later_agents_of_a_contact_and_of_nobody_else(
    tmp_path: Path,
) -> None:
    anna, bob, eve = (person(tmp_path, name) for name in ("Anna", "bob", "eve"))
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        his, hers, evil = [await agent_of(at, one) for one in (bob, anna, eve)]
        stranger = await at.enter("stranger")
        opened = await open_session(his, OpenParams())
        for one in (hers, evil, stranger):
            await knock(one, opened)
        for one, why in ((evil, "whom you do not know"), (stranger, "nobody vouches")):
            with pytest.raises(UsageError, match=why):
                await approve(his, opened.room, one.client.agent_id, always=True)
        assert len((await join_requests(his, opened.room)).requests) == 3
        done = await approve(his, opened.room, hers.client.agent_id, always=True)
        assert (done.approved, done.always) == (True, True)
        await knock(await agent_of(at, anna, app="codex"), opened)
        await knock(await agent_of(at, eve, app="codex"), opened)
        result = await join_requests(his, opened.room)
        assert [len(result.requests), len(result.admitted)] == [3, 1]


async def test_who_was_rejected_does_not_walk_in(tmp_path: Path) -> None:
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        his, hers = await agent_of(at, bob), await agent_of(at, anna)
        opened = await open_session(his, OpenParams())
        await knock(hers, opened)
        await decide(his, opened.room, hers.client.agent_id, approve=False)
        his.known_rooms.opened(his.hub, opened.room, welcome=[anna.agent_id])
        result = await join_requests(his, opened.room)
        assert (result.requests, result.admitted) == ([], [])


async def test_foreign_words_do_not_pass_for_ours(tmp_path: Path) -> None:
    """A name, a folder and an app may be anything; ✓ and ' are ours."""
    bob = person(tmp_path, "bob")
    eve = person(tmp_path, "Anna's Claude Code ✓ — x")
    async with stage(tmp_path) as at:
        his, evil = await agent_of(at, bob), await agent_of(at, eve)
        place = {"app": "bob's Claude ✓\x1b[1m", "folder": "a\nb" + "c" * 500}
        meta = (await card(evil)).card.meta or {}
        await put(evil, meta | {"com.parler.place": place})
        one = await card(his, evil.client.agent_id)
        shown = introduced(one.card.name, one.card.role, one.card.id, one.affiliation)
        mark = fingerprint(eve.agent_id)
        assert shown == (
            f'stagent-claude {one.fingerprint} — "bob\'s Claude ✓␛[1m" in "a␊b'
            + "c" * 60
            + f'…", says it is "Anna\'s Claude Code ✓ — x"\'s ({mark})'
        )


async def test_a_person_is_trusted_by_what_was_compared(tmp_path: Path) -> None:
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    async with stage(tmp_path) as at:
        his, hers = await agent_of(at, bob), await agent_of(at, anna)
        known = Contacts(bob.home)
        mark = fingerprint(anna.agent_id)
        for who in (
            mark.lower(),
            anna.agent_id,
            hers.client.agent_id,
            fingerprint(hers.client.agent_id),
        ):
            result = await trust(his, who)
            assert (result.id, result.called) == (anna.agent_id, "Anna"), who
            assert [one.ids for one in known.all()] == [[anna.agent_id]]
            known.untrust("Anna")
        with pytest.raises(UsageError, match="part of a fingerprint"):
            await trust(his, mark[:14])
        with pytest.raises(UsageError, match="a name proves nothing"):
            await trust(his, "stagent-claude")  # his own bears it as well
        assert known.all() == []


async def test_a_name_is_shown_to_a_person_and_never_guessed(tmp_path: Path) -> None:
    anna, bob, eve = (person(tmp_path, name) for name in ("Anna", "bob", "Anna"))
    seen: list[Found] = []

    def agrees(found: Found) -> bool:
        seen.append(found)
        return len(seen) > 1

    async with stage(tmp_path) as at:
        his = await agent_of(at, bob)
        await agent_of(at, anna, folder="web")
        with pytest.raises(UsageError, match="proves nothing"):
            await trust(his, "web-claude", agrees=agrees)
        assert (await trust(his, "web-claude", agrees=agrees)).id == anna.agent_id
        assert [one.id for one in seen] == [anna.agent_id] * 2
        await agent_of(at, eve, folder="web")
        with pytest.raises(UsageError, match="more than one"):
            await trust(his, "web-claude", agrees=agrees)
        plain = await at.enter("plain")
        await put(plain, None)
        with pytest.raises(UsageError, match="nobody vouches"):
            await trust(his, "plain", agrees=agrees)


async def test_two_persons_of_one_name_stay_two(tmp_path: Path) -> None:
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    lookalike = mint_identity(tmp_path / "other", hub_url=HUB, name=CYRILLIC)
    async with stage(tmp_path) as at:
        his = await agent_of(at, bob)
        first, second = await agent_of(at, anna), await agent_of(at, lookalike)
        await trust(his, anna.agent_id)
        with pytest.raises(UsageError, match="somebody else as Anna"):
            await trust(his, second.client.agent_id)
        mark = fingerprint(lookalike.agent_id)
        assert words(await card(his, second.client.agent_id)) == (
            f'Claude Code in stagent, says it is "{CYRILLIC}"\'s ({mark})'
        )
        result = await trust(his, second.client.agent_id, "anna")
        assert [one.id for one in result.contact.ids] == [
            anna.agent_id,
            lookalike.agent_id,
        ]
        assert words(await card(his, first.client.agent_id)) == (
            "Anna's Claude Code in stagent ✓"
        )


async def test_oneself_is_no_contact_and_an_unknown_id_needs_a_name(
    tmp_path: Path,
) -> None:
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    async with stage(tmp_path) as at:
        his = await agent_of(at, bob)
        for who in (bob.agent_id, his.client.agent_id):
            with pytest.raises(UsageError, match="yourself"):
                await trust(his, who)
        with pytest.raises(UsageError, match="to be called"):
            await trust(his, anna.agent_id)
        with pytest.raises(UsageError, match="no agent at the hub"):
            await trust(his, fingerprint(anna.agent_id))
        result = await trust(his, anna.agent_id, "anna")
        assert result.contact.name == "anna"
        assert contacts_called(his, ["Anna"])[0].ids == [anna.agent_id]


async def test_an_agent_makes_the_person_of_its_machine_when_it_is_asked_whose_it_is(
    tmp_path: Path,
) -> None:
    home = tmp_path / "machine" / AGENT_HOME
    async with stage(tmp_path) as at:
        ctx = await at.enter("claude", home=home)
        assert not (tmp_path / "machine" / "config.json").exists()
        result = await register(ctx, RegisterParams())
        whose = load_identity(machine_home(home))
        assert ensure_person(machine_home(home), hub_url=HUB).name == whose.name
        assert result.affiliation is not None
        assert result.affiliation.person is not None
        assert result.affiliation.person.relation is Relation.OWN
        assert result.affiliation.person.id == whose.agent_id


async def test_a_name_that_several_have_means_the_nearest_of_them(
    tmp_path: Path,
) -> None:
    names = ("Anna", "bob", "carl", "eve")
    anna, bob, carl, eve = (person(tmp_path, name) for name in names)
    knows(bob, anna, "anna")
    knows(bob, carl, "carl")
    async with stage(tmp_path) as at:
        his = await agent_of(at, bob, folder="web")
        evil = await agent_of(at, eve)
        opened = await open_session(his, OpenParams(gated=False))
        assert (await find_agent(his, "stagent-claude")).agent == evil.client.agent_id
        await knock(evil, opened)
        hers = await agent_of(at, anna)
        assert (await find_agent(his, "stagent-claude")).agent == hers.client.agent_id
        assert (await card(his, "stagent-claude")).card.id == hers.client.agent_id
        await agent_of(at, carl)
        with pytest.raises(UsageError, match="more than one"):
            await find_agent(his, "stagent-claude")
        own = await agent_of(at, bob, app="codex")
        assert (await find_agent(his, "stagent-claude")).agent == own.client.agent_id


async def test_a_crowd_at_the_door_hides_no_contacts_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 4)
    monkeypatch.setattr(knocks, "MAX_ANNOUNCED", 3)
    anna, bob = person(tmp_path, "Anna"), person(tmp_path, "bob")
    knows(bob, anna, "anna")
    async with stage(tmp_path) as at:
        his, hers = await agent_of(at, bob), await agent_of(at, anna)
        opened = await open_session(his, OpenParams())
        invited = await open_session(his, OpenParams(welcome=["anna"]))
        for number in range(6):
            stranger = await at.enter(f"stranger{number}")
            for door in (opened, invited):
                await knock(stranger, door)
        told = Told()
        watch = knocks.Knocks(told)
        at.hub.clock.advance(1000)
        for door in (opened, invited):
            await knock(hers, door)
            watch.stale.add(door.room)
        await watch.look(his, None)
        mark = fingerprint(hers.client.agent_id)
        of_hers = {room: text for room, text in told.notices if mark in text}
        assert "was let into" in of_hers[invited.room]
        assert of_hers[opened.room].startswith("KNOCK")


class Told:
    """What a model is told."""

    def __init__(self) -> None:
        self.notices: list[tuple[str, str]] = []

    def notice(self, text: str, *, key: str, room: str = "") -> None:
        self.notices.append((room, text))

    def withdraw(self, key: str, room: str = "") -> None:
        raise AssertionError(key)
