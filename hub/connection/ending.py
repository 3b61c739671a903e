"""Why connections end: their close codes (protocol 3.5), and last words."""

from dataclasses import dataclass

from parler.wire.replies import Error

NORMAL, GOING_AWAY, VIOLATION = 1000, 1001, 1008
TOO_BIG, RESTART, OVERLOADED = 1009, 1012, 1013


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ends: its close code, and a last error frame if it gets one."""

    code: int
    reason: str
    error: Error | None = None
