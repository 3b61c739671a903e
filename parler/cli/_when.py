"""Times as people at a terminal tell them now."""

from datetime import tzinfo

from parler.text.transcript import shown_time


def when(ts: int, zone: tzinfo | None = None) -> str:
    """A time to the minute, with its date unless that is today."""
    from parler.runtime.bootstrap import now

    return shown_time(ts, zone, now())
