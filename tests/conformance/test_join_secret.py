"""A hub with a join secret (protocol 2.3): who is let in, and in which order it looks.

Runs on a second hub that this suite starts itself.
"""

from tests._support.plainclient import PlainAgent
from tests.conformance.conftest import SECRET
from tests.conformance.hubs import HubUnderTest


async def test_without_the_secret_nobody_is_let_in(private_hub: HubUnderTest) -> None:
    agent = PlainAgent.create("ann")
    async with agent.dial(private_hub.url, sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = agent.introduction() | {"nonce": nonce, "sig": agent.prove(nonce)}
        for secret in (None, "", "wrong", SECRET.upper(), SECRET + " "):
            refused = await ann.expect_error(
                ("not_authorized", "rate_limited"), "hello", **fields, secret=secret
            )
            if refused.get("code") == "not_authorized":
                assert "requires a join secret" in refused["message"]
        await ann.expect_error("unauthenticated", "ping")


async def test_the_secret_opens_also_after_a_wrong_one(
    private_hub: HubUnderTest,
) -> None:
    agent = PlainAgent.create("ann")
    async with agent.dial(private_hub.url, sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = agent.introduction() | {"nonce": nonce, "sig": agent.prove(nonce)}
        await ann.expect_error("not_authorized", "hello", **fields, secret="wrong")
        await ann.ask("welcome", "hello", **fields, secret=SECRET)
        await ann.ask("pong", "ping")


async def test_the_signature_is_looked_at_before_the_secret(
    private_hub: HubUnderTest,
) -> None:
    agent = PlainAgent.create("ann")
    async with agent.dial(private_hub.url, sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = agent.introduction() | {"nonce": nonce, "sig": agent.sign(b"x")}
        await ann.expect_error("unauthenticated", "hello", **fields, secret="wrong")
        await ann.expect_error("unauthenticated", "hello", **fields, secret=SECRET)


async def test_the_challenge_is_given_without_the_secret(
    private_hub: HubUnderTest,
) -> None:
    agent = PlainAgent.create("ann")
    async with agent.dial(private_hub.url, sign_in=False) as ann:
        assert await ann.challenge()
