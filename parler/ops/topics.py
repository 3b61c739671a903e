"""What a session is about: said in its first message, by whoever opened it."""

from parler.wire.foreign import Foreign, foreign

SEED = "📋 session context (from "
_TOPIC = "Topic: "
MAX_TOPIC_CHARS = 200


def seed_of(name: str, topic: str | None, context: str | None) -> str | None:
    """The first message of a session: its topic and recap; None if there is neither."""
    topic = " ".join((topic or "").split())
    context = (context or "").strip("\n")
    said = [f"{_TOPIC}{topic}"] if topic else []
    said += [context] if context.strip() else []
    return f"{SEED}{name}):\n" + "\n\n".join(said) if said else None


def topic_in(first: str) -> Foreign:
    """The topic that a session's first message names; empty if it names none."""
    head, _, rest = first.partition("):\n")
    line = rest.partition("\n")[0]
    if not head.startswith(SEED) or not line.startswith(_TOPIC):
        return foreign("")
    return foreign(line.removeprefix(_TOPIC).strip()[:MAX_TOPIC_CHARS])
