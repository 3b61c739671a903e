"""The handshake of protocol 2.3, walked in full, and what is refused before it.

An expired challenge cannot be reached from outside (its 60 s outlast the handshake
deadline of 1.5); that row is left to tests with the hub's own clock.
"""

import base64
from typing import Any

import pytest

from tests._support.plainclient import NONCE, Link, encode_seed
from tests.conformance.steps import ANY_ERROR, Mesh, open_room, roster


def proof(link: Link, nonce: str, **fields: Any) -> dict[str, Any]:
    """The fields of a signed hello."""
    own = link.agent.introduction()
    return own | {"nonce": nonce, "sig": link.agent.prove(nonce)} | fields


async def test_unsigned_hello_is_answered_by_a_challenge(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        reply = await ann.ask("challenge", "hello", **ann.agent.introduction())
        assert NONCE.fullmatch(reply["nonce"])
        assert reply["version"] == "0.2"


async def test_signed_hello_is_welcomed_with_id_and_name(mesh: Mesh) -> None:
    async with mesh.link("ann", role="planner", sign_in=False) as ann:
        welcome = await ann.sign_in()
        assert welcome["id"] == ann.id
        assert welcome["name"] == "ann"
        await ann.ask("pong", "ping")


async def test_every_challenge_is_new(mesh: Mesh) -> None:
    async with (
        mesh.link("ann", sign_in=False) as ann,
        mesh.link("bob", sign_in=False) as bob,
    ):
        nonces = {await ann.challenge(), await ann.challenge(), await bob.challenge()}
        assert len(nonces) == 3


async def test_wrong_signature_is_refused_and_does_not_use_up_the_challenge(
    mesh: Mesh,
) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        wrong = proof(ann, nonce, sig=ann.agent.sign(b"something else"))
        await ann.expect_error("unauthenticated", "hello", **wrong)
        await ann.expect_error("unauthenticated", "ping")
        await ann.ask("welcome", "hello", **proof(ann, nonce))


async def test_signature_of_another_key_is_refused(mesh: Mesh) -> None:
    mallory = mesh.agent("mallory")
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        forged = proof(ann, nonce, sig=mallory.prove(nonce))
        await ann.expect_error("unauthenticated", "hello", **forged)


async def test_challenge_of_another_connection_is_worthless(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with (
        mesh.link(agent, sign_in=False) as one,
        mesh.link(agent, sign_in=False) as two,
    ):
        stolen = await one.challenge()
        await two.challenge()
        await two.expect_error("unauthenticated", "hello", **proof(two, stolen))


@pytest.mark.parametrize("spoilt", ["garbage", "unpadded", "short", "url-safe", "crlf"])
async def test_undecodable_signature_is_a_wrong_one(mesh: Mesh, spoilt: str) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        good = ann.agent.prove(nonce)
        raw = base64.b64decode(good)
        bad = {
            "garbage": "%%%%",
            "unpadded": good.rstrip("="),
            "short": base64.b64encode(raw[:63]).decode(),
            "url-safe": "-_" + good[2:],
            "crlf": good[:40] + "\r\n" + good[40:],
        }[spoilt]
        await ann.expect_error("unauthenticated", "hello", **proof(ann, nonce, sig=bad))


async def test_signed_hello_without_a_challenge_is_out_of_order(mesh: Mesh) -> None:
    nonce = "parler-auth:v1:0123456789ab:9999999999999:" + (
        "5f0c3c52-1c5e-4f5e-8a53-0c8f6b6f2a10"
    )
    async with mesh.link("ann", sign_in=False) as ann:
        await ann.expect_error("protocol", "hello", **proof(ann, nonce))
        await ann.sign_in()


async def test_the_latest_challenge_wins(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        first, second = await ann.challenge(), await ann.challenge()
        await ann.expect_error("unauthenticated", "hello", **proof(ann, first))
        await ann.ask("welcome", "hello", **proof(ann, second))


@pytest.mark.parametrize("echo", ["", "parler-auth:v1:other", None])
async def test_the_echoed_nonce_is_not_looked_at(mesh: Mesh, echo: str | None) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = proof(ann, nonce) | {"nonce": echo}
        await ann.ask("welcome", "hello", **fields)


async def test_the_fifth_hello_is_one_too_many(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        for _ in range(4):
            nonce = await ann.challenge()
        await ann.expect_error("rate_limited", "hello", **proof(ann, nonce))


async def test_failed_proofs_count_as_hellos(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        wrong = proof(ann, nonce, sig=ann.agent.sign(b"x"))
        for _ in range(3):
            await ann.expect_error("unauthenticated", "hello", **wrong)
        await ann.expect_error("rate_limited", "hello", **proof(ann, nonce))


async def test_the_fourth_hello_may_still_succeed(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        for _ in range(3):
            nonce = await ann.challenge()
        await ann.ask("welcome", "hello", **proof(ann, nonce))


async def test_hello_after_welcome_is_out_of_order(mesh: Mesh) -> None:
    async with mesh.link("ann") as ann:
        await ann.expect_error("protocol", "hello", **ann.agent.introduction())
        await ann.ask("pong", "ping")


@pytest.mark.parametrize(
    ("field", "most"), [("id", 256), ("name", 256), ("role", 256), ("sig", 512)]
)
async def test_overlong_hello_fields_are_refused(
    mesh: Mesh, field: str, most: int
) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        long = proof(ann, nonce) | {field: "é" * (most // 2) + "x"}
        await ann.expect_error("too_large", "hello", **long)


async def test_an_overlong_secret_is_refused(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = proof(ann, nonce, secret="x" * 4097)
        await ann.expect_error("too_large", "hello", **fields)


async def test_name_and_role_may_have_256_bytes(mesh: Mesh) -> None:
    agent = mesh.agent("é" * 128, "r" * 256)
    async with mesh.link(agent) as ann:
        assert ann.welcome["name"] == agent.name


@pytest.mark.parametrize("field", ["id", "name"])
async def test_hello_without_a_required_field_is_malformed(
    mesh: Mesh, field: str
) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        fields = ann.agent.introduction()
        del fields[field]
        await ann.expect_error("bad_frame", "hello", **fields)
        await ann.sign_in()


@pytest.mark.parametrize("claim", ["lower", "seed", "checksum", "words", "longer"])
async def test_what_is_not_an_id_never_signs_in(mesh: Mesh, claim: str) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        good = ann.id
        bad = {
            "lower": good.lower(),
            "seed": encode_seed(bytes(range(32))),
            "checksum": good[:-1] + ("A" if good[-1] != "A" else "B"),
            "words": "not an id",
            "longer": good + "A",
        }[claim]
        first = await ann.request("hello", id=bad, name="ann")
        if first["type"] == "challenge":
            sig = ann.agent.prove(first["nonce"])
            fields = {"nonce": first["nonce"], "sig": sig}
            first = await ann.request("hello", id=bad, name="ann", **fields)
        assert first["type"] == "error"
        await ann.expect_error("unauthenticated", "ping")


@pytest.mark.parametrize("op", ["ping", "rooms", "subscribe"])
async def test_nothing_works_before_the_handshake(mesh: Mesh, op: str) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        await ann.expect_error("unauthenticated", op)
        await ann.challenge()
        await ann.expect_error("unauthenticated", op)
        await ann.expect_error("unauthenticated", "pull", room="r", waitSecs=60)


async def test_a_secret_nobody_asked_for_is_ignored(mesh: Mesh) -> None:
    if not mesh.hub.managed:
        pytest.skip("whether that hub has a join secret is not known")
    async with mesh.link("ann", secret="whatever") as ann:
        await ann.ask("pong", "ping")


async def test_null_role_and_secret_are_the_same_as_none(mesh: Mesh) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        nonce = await ann.challenge()
        fields = proof(ann, nonce, role=None)
        if mesh.hub.managed:
            fields["secret"] = None
        await ann.ask("welcome", "hello", **fields)


async def test_one_agent_may_be_connected_twice(mesh: Mesh) -> None:
    agent = mesh.agent("ann")
    async with mesh.link(agent) as one, mesh.link(agent) as two:
        await one.ask("pong", "ping")
        await two.ask("pong", "ping")


async def test_a_later_hello_replaces_name_and_role_and_keeps_the_presence(
    mesh: Mesh,
) -> None:
    agent = mesh.agent("ann", "planner")
    renamed = mesh.agent("anna", seed=agent.seed)
    async with mesh.link(agent) as ann:
        room = (await open_room(ann))["room"]
        await ann.ask(
            "presence_ok", "presence", status="working", activity="x", attention="dnd"
        )
    async with mesh.link(renamed) as anna:
        entry = (await roster(anna, room))[agent.id]
        assert entry["name"] == "anna"
        assert "role" not in entry
        assert entry["attention"] == "dnd"
        # A fresh status is kept: one-shot connections must not hide work (13.25).
        assert entry["status"] == "working"
        assert entry["activity"] == "x"


async def test_a_malformed_frame_is_malformed_also_before_the_handshake(
    mesh: Mesh,
) -> None:
    async with mesh.link("ann", sign_in=False) as ann:
        await ann.expect_raw_error("bad_frame", "{")
        await ann.expect_error("bad_frame", "no_such_op")
        await ann.sign_in()


async def test_a_hello_that_is_refused_leaves_no_agent_behind(mesh: Mesh) -> None:
    ghost = mesh.agent("ghost")
    async with mesh.link(ghost, sign_in=False) as link:
        nonce = await link.challenge()
        wrong = proof(link, nonce, sig=link.agent.sign(b"x"))
        await link.expect_error("unauthenticated", "hello", **wrong)
    async with mesh.link("ann") as ann:
        dm = {"kind": "dm", "agent": ghost.id}
        await ann.expect_error(ANY_ERROR, "send", target=dm, parts=[])
