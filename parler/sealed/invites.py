"""The secret half of a session key: what it proves, to both sides of the door.

It is a hash of the room's id, so a hub that shows another room shows one it does not
fit; and a hub never sees it, so who proves that it has it was given the key. It says
nothing about who that is: a person decides.
"""

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field

from parler.sealed import crypto
from parler.sealed.crypto import INVITE_SECRET_BYTES, Secret
from parler.sealed.formats import HASH_BYTES, MAX_KNOCKS, Refused, Verdict, b64, unb64
from parler.wire.base import AgentId, Code, Millis

SECRET_CHARS = 26
_FORGIVEN = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class Invite:
    """A session key of ours: its code, what its secret is made of, and its end."""

    code: Code
    r: Secret = field(repr=False)
    expires_at: Millis

    def secret(self, room_id: bytes) -> Secret:
        """What is passed on beside the code."""
        return crypto.invite_secret(room_id, self.r)


def new_invite(code: Code, expires_at: Millis) -> Invite:
    """An invite with a secret of its own."""
    return Invite(code, Secret(secrets.token_bytes(HASH_BYTES)), expires_at)


def spell_secret(secret: bytes) -> str:
    """The secret as people pass it on: base32 without padding (RFC 4648, section 6)."""
    return base64.b32encode(secret).decode().rstrip("=")


def read_secret(text: str) -> Secret:
    """A secret as people paste it: lower case, blanks and dashes are forgiven.

    Raises:
        Refused: ``invite``, if it is none in its one canonical spelling.
    """
    tidy = _FORGIVEN.sub("", text)
    if not tidy.isascii() or len(tidy) != SECRET_CHARS:
        raise Refused(Verdict.INVITE)
    try:
        secret = base64.b32decode(tidy.upper() + "=" * (-SECRET_CHARS % 8))
    except binascii.Error:
        raise Refused(Verdict.INVITE) from None
    if len(secret) != INVITE_SECRET_BYTES or spell_secret(secret) != tidy.upper():
        raise Refused(Verdict.INVITE)
    return Secret(secret)


def check_room(secret: bytes, *, room_id: bytes, r: bytes) -> None:
    """Hold a room against the key that is to open it.

    Args:
        r: As it came with the keys of the room.

    Raises:
        Refused: ``invite``: it is not the room the key was made for.
    """
    if not crypto.same(crypto.invite_secret(room_id, r), secret):
        raise Refused(Verdict.INVITE)


def prove_knock(secret: bytes, *, agent: AgentId, code: Code) -> str:
    """What a knocker's card says for as long as it is at the door."""
    return b64(crypto.knock_proof(secret, agent=agent, code=code))


def check_knock(
    proofs: list[str], secret: bytes, *, agent: AgentId, code: Code
) -> None:
    """Hold the proofs on a knocker's card against an invite of ours.

    Raises:
        Refused: ``knock``: it came with the code only.
    """
    ours = crypto.knock_proof(secret, agent=agent, code=code)
    fits = False
    for proof in proofs[:MAX_KNOCKS]:
        try:
            fits |= crypto.same(unb64(proof), ours)
        except Refused:
            continue
    if not fits:
        raise Refused(Verdict.KNOCK)
