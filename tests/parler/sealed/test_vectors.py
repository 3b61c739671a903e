"""Every frozen case of the format: 142, of which 73 are to be refused, by name.

A case is a test of its own. One that is to be refused has to be refused for the reason
that the file names, by `Refused` and by nothing else.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from parler.identity.message_signing import sign_parts
from parler.identity.signing import InvalidKey, Keypair, exchange_key
from parler.sealed import blobs, crypto, envelope, formats, invites, state
from parler.sealed.envelope import Envelope
from parler.sealed.formats import Grant, Link, Plaintext, Refused, Verdict, b64, unb64
from parler.sealed.reader import Reader, Reading, enter, find_admission
from parler.sealed.state import SignedState, Standing
from parler.sealed.store import StoredRoom, memory_store
from parler.wire.base import AgentId, Code, MessageId, RoomName
from parler.wire.canonical import canonical_json, message_bytes, parse_json
from parler.wire.foreign import foreign
from parler.wire.parts import read_part
from parler.wire.records import EndpointRef, RoomTarget, StoredMessage

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "v1" / "sealed-vectors.json"
FROZEN: Any = parse_json(VECTORS.read_text(encoding="utf-8"))
KEYPAIRS = {one["name"]: Keypair.from_seed(one["seed"]) for one in FROZEN["identities"]}
ROOM = unb64(FROZEN["room"])
HUB_ROOM = RoomName("room.abc234")


@dataclass(frozen=True)
class Case:
    """A frozen case: what is done, and which refusal it is to end in."""

    name: str
    run: Callable[[], None]
    refuse: str | None = None


def pad64(text: str) -> bytes:
    return base64.b64decode(text)


def identities() -> Iterator[Case]:
    for one in FROZEN["identities"]:

        def check(one: Any = one) -> None:
            keypair = KEYPAIRS[one["name"]]
            assert keypair.agent_id == one["id"]
            assert b64(keypair.exchange_secret()) == one["x25519Secret"]
            assert b64(exchange_key(one["id"])) == one["x25519Public"]
            sealed = crypto.seal_to(one["id"], b"word", b"context")
            assert crypto.open_sealed_to(keypair, sealed, b"context") == b"word"

        yield Case(f"identity: {one['name']}", check)
    for one in FROZEN["identitiesRefused"]:

        def check(one: Any = one) -> None:
            with pytest.raises(InvalidKey):
                exchange_key(one["id"])
            crypto.seal_to(one["id"], b"word", b"context")

        yield Case(f"identity: {one['why']}", check, one["refuse"])


def padding() -> Iterator[Case]:
    for one in FROZEN["padding"]:

        def check(one: Any = one) -> None:
            assert crypto.padded_length(one["length"]) == one["padded"]

        yield Case(f"padding: {one['length']}", check)


def commitments() -> Iterator[Case]:
    for number, one in enumerate(FROZEN["commitments"]):

        def check(one: Any = one) -> None:
            assert b64(crypto.commitment(unb64(one["key"]), one["epoch"])) == one["kc"]

        yield Case(f"commitment: {number}, epoch {one['epoch']}", check)


def signed(one: Any) -> SignedState:
    return SignedState(Link(state=one["state"], sig=one["sig"]))


GENESIS, *LATER = (signed(one) for one in FROZEN["states"])
BY_NAME = {one["name"]: signed(one) for one in FROZEN["states"]}


def standing(current: SignedState) -> Standing:
    """The room in which a state has just become current."""
    past = {one.hash: one for one in (GENESIS, current)}
    if current.state.s == 2:
        past[LATER[0].hash] = LATER[0]
    return Standing(
        owner=GENESIS.state.by,
        room_id=GENESIS.hash,
        current=current,
        known=past.get,
    )


def states() -> Iterator[Case]:
    for one in FROZEN["states"]:

        def check(one: Any = one) -> None:
            made = signed(one)
            assert crypto.state_bytes(one["state"]).decode() == one["bytes"]
            assert made.hash == one["hash"]
            by = next(k for k in KEYPAIRS.values() if k.agent_id == made.state.by)
            assert state.sign_state(by, made.state) == made
            author = made.state.by
            if made == GENESIS:
                assert made.hash == FROZEN["room"]
                state.check_genesis(made, author=author, hub_room=HUB_ROOM)
                return
            before = LATER[0] if made.state.s == 2 else GENESIS
            room = standing(before)
            state.check_next(made, room, author=author, hub_room=HUB_ROOM)

        yield Case(f"state: {one['name']}", check)
    for one in FROZEN["statesRefused"]:

        def check(one: Any = one) -> None:
            room = standing(BY_NAME[one["after"]])
            made, author = signed(one), one["author"]
            state.check_next(made, room, author=author, hub_room=HUB_ROOM)

        yield Case(f"state: {one['why']}", check, one["refuse"])


def doors() -> Iterator[Case]:
    frozen = FROZEN["invite"]
    r, secret, code = unb64(frozen["r"]), unb64(frozen["secret"]), frozen["code"]

    def check_invite() -> None:
        assert crypto.invite_secret(ROOM, r) == secret
        spelled = invites.spell_secret(secret)
        assert f"{code}.{spelled}@wss://hub.example" == frozen["key"]
        assert f"https://hub.example/join/{code}#{spelled}" == frozen["link"]
        assert invites.read_secret(f" {spelled[:9].lower()}-{spelled[9:]} ") == secret
        invites.check_room(secret, room_id=ROOM, r=r)

    yield Case("invite", check_invite)
    for one in frozen["refused"]:

        def check(one: Any = one) -> None:
            invites.check_room(secret, room_id=unb64(one["room"]), r=unb64(one["r"]))

        yield Case(f"invite: {one['why']}", check, one["refuse"])
    for one in [*frozen["knock"], *frozen["knockRefused"]]:

        def check(one: Any = one) -> None:
            agent, proofs = AgentId(one["agent"]), [one["proof"]]
            invites.check_knock(proofs, secret, agent=agent, code=Code(code))
            assert invites.prove_knock(secret, agent=agent, code=Code(code)) in proofs

        name = one.get("why", one["agent"][:6])
        yield Case(f"knock: {name}", check, one.get("refuse"))


def grants() -> Iterator[Case]:
    frozen = FROZEN["grant"]
    bob, plain = KEYPAIRS["bob"], frozen["plaintext"]

    def check_grant() -> None:
        granter, st = AgentId(frozen["from"]), unb64(frozen["st"])
        info = crypto.grant_info(granter=granter, state=st, to=frozen["to"])
        assert info.decode() == frozen["info"]
        keys, r = envelope.open_grant(
            Grant(to=frozen["to"], ct=frozen["ct"]), bob, granter=granter, state=st
        )
        assert keys == {1: unb64(plain["keys"]["1"])}
        assert r == unb64(plain["r"])
        again = envelope.seal_grant(
            keys, granter=granter, state=st, to=bob.agent_id, r=r
        )
        assert len(again.ct) == len(frozen["ct"])
        opened = envelope.open_grant(again, bob, granter=granter, state=st)
        assert opened == (keys, r)

    yield Case("grant", check_grant)
    for one in frozen["refused"]:

        def check(one: Any = one) -> None:
            envelope.open_grant(
                Grant(to=frozen["to"], ct=one["ct"]),
                KEYPAIRS[one["as"]],
                granter=one["from"],
                state=unb64(one["st"]),
            )

        yield Case(f"grant: {one['why']}", check, one["refuse"])


def messages() -> Iterator[Case]:
    frozen = FROZEN["message"]
    bob, header = KEYPAIRS["bob"], frozen["header"]
    uid, ts = frozen["uid"], frozen["ts"]
    key, salt = unb64(frozen["epochKey"]), unb64(header["salt"])
    place = Envelope(room_id=ROOM, author=bob.agent_id, uid=uid)

    def check_message() -> None:
        assert frozen["notice"] == formats.MESSAGE_NOTICE
        assert frozen["noticeKeys"] == formats.GRANT_NOTICE
        message_key, nonce = crypto.message_key(key, ROOM, salt)
        assert (b64(message_key), b64(nonce)) == (frozen["key"], frozen["nonce"])
        aad = crypto.message_aad(
            author=bob.agent_id, header=header, room_id=ROOM, uid=uid
        )
        assert aad.decode() == frozen["aad"]
        notice, part, sig = frozen["parts"]
        padded = crypto.decrypt(message_key, nonce, pad64(part["ct"]), aad)
        assert b64(padded) == frozen["paddedPlaintext"]
        plain = envelope.open_message(part, place, key)
        assert formats.print_struct(plain) == frozen["plaintext"]
        made = envelope.seal_message(
            msgspec.convert(frozen["plaintext"], Plaintext),
            place,
            key,
            state=header["st"],
            n=header["n"],
            prev=header["prev"],
            at=tuple(header["at"]),
            salt=salt,
        )
        assert made == part
        said = message_bytes(
            author=bob.agent_id,
            target=RoomTarget(HUB_ROOM),
            parts=[notice, made],
            ts=ts,
            uid=uid,
            reply_to=None,
        )
        assert said.decode() == frozen["signedBytes"]
        raw = sign_parts(
            bob,
            RoomTarget(HUB_ROOM),
            [read_part(notice), read_part(made)],
            ts=ts,
            uid=uid,
        )
        assert parse_json(bytes(raw)) == [notice, part, sig]
        digest = crypto.entry_digest(bob.agent_id, frozen["parts"])
        assert b64(digest) == frozen["entry"]

    yield Case("message", check_message)
    for one in FROZEN["messageRefused"]:

        def check(one: Any = one) -> None:
            envelope.open_message(
                one["part"],
                Envelope(
                    room_id=unb64(one["room"]), author=one["author"], uid=one["uid"]
                ),
                unb64(one["epochKey"]),
            )

        yield Case(f"message: {one['why']}", check, one["refuse"])


def logs() -> Iterator[Case]:
    frozen = FROZEN["log"]
    said = frozen["messages"]
    digests = [crypto.entry_digest(one["from"], one["parts"]) for one in said]

    def head(order: list[int]) -> str:
        at = unb64(frozen["room"])
        for number in order:
            at = crypto.next_head(at, digests[number])
        return b64(at)

    for number, one in enumerate(said):

        def check(number: int = number, one: Any = one) -> None:
            assert b64(digests[number]) == one["entry"]
            assert head(list(range(number + 1))) == one["head"]
            assert head([0, 1, 3, 2, 4]) == frozen["swapped34"] != head([0, 1, 2, 3, 4])
            assert head([0, 1, 3, 4]) == frozen["dropped3"]
            reply = frozen["reply"]
            digest = crypto.entry_digest(
                reply["from"], reply["parts"], reply["replyTo"]
            )
            assert b64(digest) == reply["entry"]

        yield Case(f"log: {number + 1}", check)


MUTATIONS: dict[str, Callable[[bytes], bytes]] = {
    "last chunk dropped": lambda sealed: sealed[: 2 * 65_552],
    "chunks 0 and 1 swapped": lambda sealed: (
        sealed[65_552 : 2 * 65_552] + sealed[:65_552] + sealed[2 * 65_552 :]
    ),
    "one byte appended": lambda sealed: sealed + b"\0",
    "last byte dropped": lambda sealed: sealed[:-1],
    "bit flipped in chunk 1": lambda sealed: (
        sealed[:65_600] + bytes([sealed[65_600] ^ 1]) + sealed[65_601:]
    ),
    "chunk 1 left out": lambda sealed: sealed[:65_552] + sealed[2 * 65_552 :],
    "announced size 140000": lambda sealed: sealed,
    "other file key": lambda sealed: sealed,
}


def files() -> Iterator[Case]:
    frozen = FROZEN["blob"]
    key, size = unb64(frozen["fileKey"]), frozen["size"]
    content = bytes(number % 251 for number in range(size))

    def sealed() -> bytes:
        target = io.BytesIO()
        made = blobs.seal_blob(io.BytesIO(content), target, size=size, file_key=key)
        assert (made.sha256, made.size) == (frozen["sha256"], frozen["sealedSize"])
        return target.getvalue()

    def check_blob() -> None:
        data = sealed()
        assert hashlib.sha256(data).hexdigest() == frozen["sha256"]
        assert (b64(data[:32]), b64(data[-32:])) == (
            frozen["first32"],
            frozen["last32"],
        )
        assert crypto.padded_length(size) == frozen["padded"]
        assert b64(crypto.blob_key(key)) == frozen["key"]
        assert frozen["chunk"] == blobs.CHUNK_BYTES
        nonces = [blobs.chunk_nonce(n, last=n == 2) for n in range(3)]
        assert [b64(nonce) for nonce in nonces] == frozen["nonces"]
        opened = io.BytesIO()
        blobs.open_blob(io.BytesIO(data), opened, size=size, file_key=key)
        assert opened.getvalue() == content

    yield Case("blob", check_blob)
    for one in FROZEN["blobRefused"]:

        def check(what: str = one["mutation"]) -> None:
            blobs.open_blob(
                io.BytesIO(MUTATIONS[what](sealed())),
                io.BytesIO(),
                size=140_000 if what == "announced size 140000" else size,
                file_key=crypto.new_key() if what == "other file key" else key,
            )

        yield Case(f"blob: {one['mutation']}", check, one["refuse"])


def direct_messages() -> Iterator[Case]:
    frozen = FROZEN["direct"]
    author, uid = frozen["author"], frozen["uid"]

    def check_direct() -> None:
        alice, bob = (KEYPAIRS[name] for name in frozen["opens"])
        pair = crypto.direct_pair(alice.agent_id, bob.agent_id)
        assert b64(pair) == frozen["pair"]
        for keypair in (alice, bob):
            plain = envelope.open_direct(
                frozen["part"], keypair, author=author, uid=uid
            )
            assert formats.print_struct(plain) == frozen["plaintext"]
        part = envelope.seal_direct(plain, author=author, to=bob.agent_id, uid=uid)
        assert part.keys() == frozen["part"].keys()
        assert envelope.open_direct(part, bob, author=author, uid=uid) == plain
        assert envelope.open_direct(part, alice, author=author, uid=uid) == plain

    yield Case("direct message", check_direct)
    for one in frozen["refused"]:

        def check(one: Any = one) -> None:
            envelope.open_direct(
                one["part"],
                KEYPAIRS[one["as"]],
                author=one["author"],
                uid=one["uid"],
            )

        yield Case(f"direct message: {one['why']}", check, one["refuse"])


def stored(one: Any) -> StoredMessage:
    return StoredMessage(
        seq=one["seq"],
        id=MessageId(f"0190-{one['seq']}"),
        room=one["room"],
        author=EndpointRef(id=one["from"], name=foreign("somebody")),
        parts=msgspec.Raw(canonical_json(one["parts"])),
        ts=0,
    )


TRANSCRIPTS = [FROZEN["transcript"], *FROZEN["transcripts"]]
LEFT_OUT = {Verdict.BEFORE_YOUR_TIME, Verdict.WAITING}
FINE = {Verdict.OPEN, Verdict.STATE, Verdict.KEYS}


@cache
def read_as(reader: str, number: int) -> tuple[list[list[Reading]], dict[str, Any]]:
    """What a member makes of each message it is shown, and what it ends with."""
    transcript, keypair = TRANSCRIPTS[number], KEYPAIRS[reader]
    shown = [stored(one) for one in transcript["messages"]]
    if reader == "dave":
        shown = [one for one in shown if one.seq > transcript["daveSeesAfterSeq"]]
    with (
        closing(memory_store()) as store,
        store.room("wss://hub.example", HUB_ROOM) as room,
    ):
        if reader == "dave":
            admission = find_admission(shown[0], keypair, None)
            assert admission is not None
            enter(room, admission)
        each = [Reader(room, keypair).read(message) for message in shown]
        return each, end_of(room, [one for some in each for one in some])


def end_of(room: StoredRoom, readings: list[Reading]) -> dict[str, Any]:
    """What a member has read, as the file says it."""
    position = room.position
    assert position.base is not None
    assert position.head is not None
    opened = [one.plain for one in room.entries() if one.plain]
    refused = [one for one in readings if one.verdict not in FINE | LEFT_OUT]
    return {
        "texts": [part["text"] for plain in opened for part in plain.parts],
        "refused": [[one.verdict, one.entry.message.seq] for one in refused],
        "alarms": [alarm.kind for alarm in room.alarms()],
        "epochs": list(room.epoch_keys()),
        "head": [position.base + position.rows, b64(position.head)],
    }


def transcripts() -> Iterator[Case]:
    for number, one in enumerate(TRANSCRIPTS):

        def check(number: int = number, one: Any = one) -> None:
            for reader, ends in one["readers"].items():
                assert read_as(reader, number)[1] == ends

        yield Case(f"transcript: {one['what']}", check)
        refused = {seq: verdict for verdict, seq in one["readers"]["alice"]["refused"]}
        for row, message in enumerate(one["messages"], start=1):
            kinds = [part["kind"] for part in message["parts"]]
            fine = Verdict.STATE if formats.GRANT_KIND in kinds else Verdict.OPEN
            verdict = refused.get(message["seq"], fine)

            def check_one(
                number: int = number, row: int = row, verdict: str = verdict
            ) -> None:
                (reading,) = read_as("alice", number)[0][row - 1]
                assert (reading.entry.row, reading.verdict) == (row, verdict)

            yield Case(f"transcript {number}: {message['seq']}", check_one)


KINDS = (
    *(identities, padding, commitments, states, doors, grants),
    *(messages, logs, files, direct_messages, transcripts),
)
CASES = [case for kind in KINDS for case in kind()]


def test_no_case_is_left_out() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == 142
    assert sum(case.refuse is not None for case in CASES) == 73


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_frozen_case(case: Case) -> None:
    if case.refuse is None:
        case.run()
        return
    with pytest.raises(Refused) as refused:
        case.run()
    assert refused.value.verdict in case.refuse.split(" or ")
