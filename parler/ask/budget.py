"""What answering may cost a project: starts within an hour, money within a day.

Everything is counted before an agent is started, and what cannot be counted is not
started. Money is set aside first, as much as one answer may cost, and settled when
the cost is known; after a crash, or where an app does not say what it cost, what was
set aside counts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from parler.ask.alias import Alias
from parler.ask.projects import Project
from parler.ask.thread import FOLDER
from parler.errors import ConfigError
from parler.machine.files import aside, locked, read_bounded, write_private
from parler.wire.base import Millis

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
USD_PER_QUESTION = 1.0
"""What one answer may cost; it counts as spent where an app never says."""

_MAX_ENTRIES = 10_000


class _Spent(msgspec.Struct):
    turn: str
    at: Millis
    usd: float


class _Counts(msgspec.Struct):
    spent: list[_Spent] = []


class AskBudget:
    """What a project spent on answers; processes share the file."""

    def __init__(self, home: Path, alias: Alias, *, now: Callable[[], Millis]) -> None:
        """Use the file in the project's folder; nothing is read or written yet."""
        self._path = home / FOLDER / alias / "budget.json"
        self._now = now

    def begin(self, turn: str, project: Project) -> tuple[float, str | None]:
        """Set money aside for one answer: how much it may cost, or why it may not be.

        Raises:
            ConfigError: It cannot be counted.
        """
        with self._changing() as counts:
            now = self._now()
            # Also what was spent in the future counts: a clock set back renews nothing.
            counts.spent = [one for one in counts.spent if one.at > now - DAY_MS]
            recent = [one for one in counts.spent if one.at > now - HOUR_MS]
            if len(recent) >= min(project.per_hour, _MAX_ENTRIES):
                return 0.0, (
                    f"{project.alias} has answered {len(recent)} questions within an "
                    "hour, and may answer no more"
                )
            left = project.usd_per_day - sum(one.usd for one in counts.spent)
            if not left > 0:
                return 0.0, (
                    f"{project.alias} has spent its ${project.usd_per_day:g} of "
                    "these 24 hours"
                )
            allowed = min(left, USD_PER_QUESTION)
            counts.spent.append(_Spent(turn, now, allowed))
            return allowed, None

    def settle(self, turn: str, usd: float | None) -> None:
        """Note what an answer cost; None if nobody knows.

        Raises:
            ConfigError: It cannot be counted.
        """
        if usd is None or not 0 <= usd < float("inf"):
            return
        with self._changing() as counts:
            for one in counts.spent:
                if one.turn == turn:
                    one.usd = usd

    @contextmanager
    def _changing(self) -> Iterator[_Counts]:
        with locked(self._path):
            counts = self._read()
            yield counts
            counts.spent = counts.spent[-_MAX_ENTRIES:]
            write_private(self._path, msgspec.json.encode(counts))

    def _read(self) -> _Counts:
        try:
            data = read_bounded(self._path, limit=4 * 2**20)
            return msgspec.json.decode(data, type=_Counts)
        except FileNotFoundError:
            return _Counts()
        except (msgspec.DecodeError, UnicodeError):
            raise ConfigError(
                f"{self._path} is damaged: what was spent is not known",
                next_step=f"{aside(self._path)}; its counts begin anew",
            ) from None
