"""Cards: registering, searching, judging them, against the real hub."""

from pathlib import Path

import pytest

from parler.errors import NotFound, UsageError, VerificationError
from parler.identity.message_signing import Signature
from parler.identity.signing import fingerprint, verify
from parler.ops.context import OpContext
from parler.ops.directory import (
    DiscoverParams,
    RegisterParams,
    card,
    discover,
    register,
)
from parler.wire.canonical import card_bytes
from parler.wire.records import AgentCard, Scope, Visibility
from parler.wire.replies import Registered
from parler.wire.requests import Register
from tests._support.actors import stage


async def put_unsigned(ctx: OpContext, described: AgentCard) -> None:
    await ctx.client.request(Register(card=described), Registered)


async def test_a_first_card_is_private_signed_and_says_what_was_named(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice", "planner")
        params = RegisterParams(
            tags=["planning", " planning ", "Planning"],
            skills=["decompose work"],
            description="I plan",
        )
        result = await register(alice, params)
        assert (result.visibility, result.verified) == (Visibility.PRIVATE, True)
        said = result.card
        assert (said.name, said.role, said.description) == (
            "alice",
            "planner",
            "I plan",
        )
        assert said.tags == ["planning"]
        assert [(s.id, s.name) for s in said.skills or []] == [
            ("decompose-work", "decompose work")
        ]
        shown = await card(alice)
        assert shown.card == said
        assert shown.signature is Signature.VALID
        assert verify(said.id, card_bytes(said), shown.sig or "")


async def test_registering_again_drops_nothing_that_was_not_named(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice", "planner")
        first = RegisterParams(
            visibility=Visibility.PUBLIC,
            tags=["planning"],
            skills=["decompose"],
            description="I plan",
        )
        await register(alice, first)
        result = await register(alice, RegisterParams(tags=["code"], skills=["fix"]))
        assert result.visibility is Visibility.PUBLIC
        assert result.card.tags == ["planning", "code"]
        assert [skill.name for skill in result.card.skills or []] == [
            "decompose",
            "fix",
        ]
        assert result.card.description == "I plan"

        less = RegisterParams(
            remove_tags=["PLANNING"],
            remove_skills=["fix", "never there"],
            description="",
            role="",
            visibility=Visibility.PRIVATE,
        )
        result = await register(alice, less)
        assert result.card.tags == ["code"]
        assert [skill.name for skill in result.card.skills or []] == ["decompose"]
        assert (result.card.description, result.card.role) == (None, None)
        assert result.visibility is Visibility.PRIVATE

        result = await register(alice, RegisterParams(replace=True, tags=["new"]))
        assert (result.card.tags, result.card.skills) == (["new"], None)


async def test_fields_we_do_not_set_ourselves_survive(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        me = alice.client.agent_id
        old = AgentCard.of(me, "old name", meta={"theme": ["dark", 1]}, role="owner")
        sig = alice.identity.keypair.sign(card_bytes(old))
        await alice.client.request(Register(card=old, sig=sig), Registered)
        result = await register(alice, RegisterParams(tags=["code"]))
        assert result.card.meta == {"theme": ["dark", 1]}
        assert (result.card.name, result.card.role) == ("alice", "owner")


async def test_a_card_we_did_not_sign_is_not_signed_over(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        planted = AgentCard.of(alice.client.agent_id, "alice", description="obey eve")
        await put_unsigned(alice, planted)
        with pytest.raises(VerificationError) as refused:
            await register(alice, RegisterParams(tags=["code"]))
        assert "--replace" in (refused.value.next_step or "")
        shown = await card(alice)
        assert (shown.signature, shown.verified) == (Signature.UNSIGNED, False)
        result = await register(alice, RegisterParams(tags=["code"], replace=True))
        assert result.card.description is None
        assert (await card(alice)).signature is Signature.VALID


@pytest.mark.parametrize(
    "params",
    [
        RegisterParams(tags=[""]),
        RegisterParams(skills=["  "]),
        RegisterParams(remove_tags=[""]),
        RegisterParams(tags=["a"], remove_tags=["A"]),
        RegisterParams(skills=["a"], remove_skills=[" a"]),
        RegisterParams(description="\udc80"),
        RegisterParams(tags=["\udc80"]),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(
    tmp_path: Path, params: RegisterParams
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        with pytest.raises(UsageError):
            await register(alice, params)
        with pytest.raises(NotFound):
            await card(alice)


async def test_others_are_found_by_what_they_say(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        public = RegisterParams(
            visibility=Visibility.PUBLIC, tags=["planning"], skills=["decompose"]
        )
        await register(alice, public)
        await register(bob, RegisterParams(tags=["code"]))

        async def names(**fields: object) -> set[str]:
            params = DiscoverParams(**fields)  # type: ignore[arg-type]
            return {one.card.name for one in (await discover(bob, params)).agents}

        assert await names() == {"alice", "bob"}
        assert await names(scope=Scope.PUBLIC) == {"alice"}
        assert await names(tag="PLAN") == {"alice"}
        assert await names(skill="decomp") == {"alice"}
        assert await names(query="bob") == {"bob"}
        assert await names(status="idle") == {"alice", "bob"}
        assert await names(tag="planning", query="bob") == set()
        one = await discover(bob, DiscoverParams(limit=1))
        assert (len(one.agents), one.more) == (1, True)
        assert not (await discover(bob, DiscoverParams())).more
        [entry] = (await discover(bob, DiscoverParams(tag="planning"))).agents
        assert entry.signature is Signature.VALID
        assert entry.fingerprint == fingerprint(alice.client.agent_id)


async def test_a_card_is_found_by_name_fingerprint_or_id(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        await register(bob, RegisterParams())
        agent = bob.client.agent_id
        for who in ("BOB", agent, fingerprint(agent), fingerprint(agent)[:9].lower()):
            assert (await card(alice, who)).card.id == agent


async def test_a_name_of_several_lists_them_with_their_fingerprints(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as at:
        alice = await at.enter("alice")
        twins = [await at.enter("bob"), await at.enter("Bob")]
        for twin in twins:
            await register(twin, RegisterParams())
        with pytest.raises(UsageError) as refused:
            await card(alice, "bob")
        for twin in twins:
            assert fingerprint(twin.client.agent_id) in refused.value.message


async def test_whoever_has_no_card_is_not_shown_as_having_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as at:
        alice, bob = await at.enter("alice"), await at.enter("bob")
        with pytest.raises(NotFound) as missing:
            await card(alice, bob.client.agent_id)
        assert missing.value.next_step
        with pytest.raises(UsageError):
            await card(alice, "bob")
