"""Sealing and opening: the text of a room's message, of a direct one, keys in a grant.

Encrypted first and signed then: what is made here is a part of a message, and the whole
is signed like any other (`parler.identity.message_signing`). Nothing here decides who
may read; whoever has the key opens it.
"""

from dataclasses import dataclass
from typing import Any

from parler.identity.signing import Keypair
from parler.sealed import crypto
from parler.sealed.crypto import Secret
from parler.sealed.formats import (
    KEY_BYTES,
    MAX_PLAINTEXT_BYTES,
    NEVER_INSIDE,
    SALT_BYTES,
    SEALED_KIND,
    VERSION,
    At,
    Grant,
    GrantedKeys,
    Plaintext,
    Refused,
    SealedDirect,
    Verdict,
    b64,
    print_struct,
    read_direct,
    read_granted,
    read_plaintext,
    unb64,
)
from parler.wire.base import AgentId
from parler.wire.canonical import canonical_json

_MAX_CT_CHARS = 4 * (MAX_PLAINTEXT_BYTES + MAX_PLAINTEXT_BYTES // 8) // 3


class TooLong(ValueError):
    """A text that is longer than a sealed message may be; it goes as a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Where and by whom a message is said: what its ciphertext is bound to."""

    room_id: bytes
    author: AgentId
    uid: str


def seal_message(
    plain: Plaintext,
    envelope: Envelope,
    epoch_key: bytes,
    *,
    state: str,
    n: int,
    prev: str | None,
    at: At,
    salt: bytes | None = None,
) -> dict[str, Any]:
    """Make the sealed part of a room's message.

    Args:
        state: The hash of the state under which it is written.
        n: Its number among its author's messages in this room.
        prev: The digest of the author's message before it; None of the first.
        at: How far the author has read.
        salt: Fresh unless given.

    Raises:
        TooLong: The text has more than 700,000 bytes.
    """
    salt = crypto.new_salt() if salt is None else salt
    header: dict[str, Any] = {
        "kind": SEALED_KIND,
        "v": VERSION,
        "st": state,
        "n": n,
        "at": list(at),
        "salt": b64(salt),
    }
    if prev is not None:
        header["prev"] = prev
    return header | {"ct": _seal_body(plain, header, envelope, epoch_key, salt)}


def open_message(
    part: dict[str, Any], envelope: Envelope, epoch_key: bytes
) -> Plaintext:
    """Open the sealed part of a room's message, as it came.

    Raises:
        Refused: ``base64``, ``salt``, ``tag`` or ``json``.
    """
    return read_plaintext(_open_body(part, envelope, epoch_key))


def inner_parts(plain: Plaintext) -> tuple[list[dict[str, Any]], list[str]]:
    """The parts of a message that may be inside, and the kinds of those that may not.

    What means something to a hub or a reader of the outside is not hidden in content.
    """
    kept = [part for part in plain.parts if part["kind"] not in NEVER_INSIDE]
    dropped = [part["kind"] for part in plain.parts if part["kind"] in NEVER_INSIDE]
    return kept, dropped


def seal_grant(
    keys: dict[int, Secret],
    *,
    granter: AgentId,
    state: bytes,
    to: AgentId,
    r: bytes | None = None,
) -> Grant:
    """Seal epoch keys to a member.

    Args:
        keys: By epoch.
        state: The hash of the state that entitles it to them.
        r: What the secret of its session key was made of.

    Raises:
        Refused: ``id``, if nothing can be sealed to it.
    """
    inside = GrantedKeys(
        keys={str(epoch): b64(key) for epoch, key in keys.items()},
        r=None if r is None else b64(r),
    )
    text = canonical_json(print_struct(inside))
    if len(keys) != 1 or r is not None:  # how many would show
        text = _padded(text)
    info = crypto.grant_info(granter=granter, state=state, to=to)
    return Grant(to=to, ct=b64(crypto.seal_to(to, text, info)))


def open_grant(
    grant: Grant, keypair: Keypair, *, granter: AgentId, state: bytes
) -> tuple[dict[int, Secret], Secret | None]:
    """Open a grant to us: keys by epoch that nobody has vouched for yet, and ``r``.

    Raises:
        Refused: ``base64``, ``hpke`` or ``json``.
    """
    info = crypto.grant_info(granter=granter, state=state, to=keypair.agent_id)
    granted = read_granted(crypto.open_sealed_to(keypair, unb64(grant.ct), info))
    keys = {
        int(epoch): Secret(unb64(key, KEY_BYTES)) for epoch, key in granted.keys.items()
    }
    r = None if granted.r is None else Secret(unb64(granted.r, KEY_BYTES))
    return keys, r


def seal_direct(
    plain: Plaintext, *, author: AgentId, to: AgentId, uid: str
) -> dict[str, Any]:
    """Make the sealed part of a direct message, which opens for both by itself.

    Raises:
        Refused: ``recipients``, to oneself; ``id``, if nothing can be sealed to it.
        TooLong: The text has more than 700,000 bytes.
    """
    if author == to:
        raise Refused(Verdict.RECIPIENTS)
    key, salt = crypto.new_key(), crypto.new_salt()
    recipients = [
        {"id": one, "ct": b64(crypto.seal_to(one, key, _info(author, one, uid)))}
        for one in sorted([author, to])
    ]
    header: dict[str, Any] = {
        "kind": SEALED_KIND,
        "v": VERSION,
        "to": recipients,
        "salt": b64(salt),
    }
    pair = crypto.direct_pair(author, to)
    envelope = Envelope(room_id=pair, author=author, uid=uid)
    return header | {"ct": _seal_body(plain, header, envelope, key, salt)}


def open_direct(
    part: dict[str, Any], keypair: Keypair, *, author: AgentId, uid: str
) -> Plaintext:
    """Open the sealed part of a direct message, as it came.

    Raises:
        Refused: ``recipients``, ``hpke``, ``base64``, ``salt``, ``tag`` or ``json``.
    """
    direct = read_direct(part)
    ours = _own_copy(direct, keypair.agent_id, author)
    info = _info(author, keypair.agent_id, uid)
    key = Secret(crypto.open_sealed_to(keypair, unb64(ours), info))
    one, other = (recipient.id for recipient in direct.to)
    envelope = Envelope(room_id=crypto.direct_pair(one, other), author=author, uid=uid)
    if len(key) != KEY_BYTES:
        raise Refused(Verdict.HPKE)
    return read_plaintext(_open_body(part, envelope, key))


def _info(author: AgentId, to: AgentId, uid: str) -> bytes:
    return crypto.direct_info(author=author, to=to, uid=uid)


def _own_copy(direct: SealedDirect, reader: AgentId, author: AgentId) -> str:
    ids = [recipient.id for recipient in direct.to]
    in_order = ids[0] < ids[1]
    if not in_order or reader not in ids or author not in ids:
        raise Refused(Verdict.RECIPIENTS)
    return direct.to[ids.index(reader)].ct


def _seal_body(
    plain: Plaintext,
    header: dict[str, Any],
    envelope: Envelope,
    key: bytes,
    salt: bytes,
) -> str:
    text = canonical_json(print_struct(plain))
    if len(text) > MAX_PLAINTEXT_BYTES:
        raise TooLong(f"{len(text)} bytes; at most {MAX_PLAINTEXT_BYTES} can be sealed")
    message_key, nonce = crypto.message_key(key, envelope.room_id, salt)
    sealed = crypto.encrypt(message_key, nonce, _padded(text), _aad(header, envelope))
    return b64(sealed)


def _open_body(part: dict[str, Any], envelope: Envelope, key: bytes) -> bytes:
    ct, salt = part.get("ct"), part.get("salt")
    if not isinstance(ct, str) or not isinstance(salt, str) or len(ct) > _MAX_CT_CHARS:
        raise Refused(Verdict.FORMAT)
    sealed, raw_salt = unb64(ct), unb64(salt)
    if len(raw_salt) != SALT_BYTES:
        raise Refused(Verdict.SALT)
    header = {name: value for name, value in part.items() if name != "ct"}
    message_key, nonce = crypto.message_key(key, envelope.room_id, raw_salt)
    return crypto.decrypt(message_key, nonce, sealed, _aad(header, envelope))


def _aad(header: dict[str, Any], envelope: Envelope) -> bytes:
    return crypto.message_aad(
        author=envelope.author,
        header=header,
        room_id=envelope.room_id,
        uid=envelope.uid,
    )


def _padded(text: bytes) -> bytes:
    return text.ljust(crypto.padded_length(len(text)))
