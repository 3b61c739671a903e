"""What the commands that hand something over have in common: how it reads."""

from typing import TYPE_CHECKING

from parler.text.terminal import shown_name

if TYPE_CHECKING:
    from parler.ops.attachments import Sender


def bytes_of(size: int) -> str:
    """A size for people."""
    if size < 1024:
        return f"{size} bytes"
    if size < 1024**2:
        return f"{size / 1024:.1f} KiB"
    return f"{size / 1024**2:.1f} MiB"


def sender_of(sender: "Sender | None") -> str:
    """Who sent something, and what there is to believe of it."""
    from parler.identity.message_signing import Signature

    if sender is None:
        return "from whoever gave you its id: no message of this room speaks of it"
    proofs = {
        Signature.VALID: "signature verified",
        Signature.UNSIGNED: "NOT SIGNED: anybody at the hub could have written it",
        Signature.INVALID: "✗ UNVERIFIED: forged or damaged",
    }
    role = f" ({shown_name(sender.role)})" if sender.role else ""
    name = f"{shown_name(sender.name)}{role} {sender.fingerprint}"
    return f"from {name}, {proofs[sender.signature]}"
