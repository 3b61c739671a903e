"""Whether what somebody typed can be said on the wire at all."""

from parler.errors import UsageError


def check_texts(**typed: str | None) -> None:
    """Refuse a text that is not valid UTF-8; each is named as people call it.

    Raises:
        UsageError: One of them holds bytes of another encoding.
    """
    for name, text in typed.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            said = name.replace("_", " ")
            raise UsageError(f"the {said} is not valid UTF-8") from None
