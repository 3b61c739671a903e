"""In whose name a server works: the seat that its window has at this moment.

A server may start before its window knows which conversation it resumes, and a window
may turn to another one. Then it has another seat, which whoever hears of it first, a
hook or a call, has taken for it.
"""

from collections.abc import Callable, Mapping

from parler.identity.homes import Home
from parler.identity.settings import Flags, Settings, process_settings
from parler.peers.seats import Seats, Window, seats_of, server_window

Resolve = Callable[[Callable[[Home], Home]], Settings]


class Seating:
    """Of the window above this process."""

    def __init__(
        self,
        flags: Flags,
        env: Mapping[str, str],
        *,
        resolve: Resolve | None = None,
        window: Callable[[Home, Mapping[str, str]], Window] = server_window,
    ) -> None:
        """Nothing is taken before `settings`.

        Args:
            resolve: Makes the settings of a seat.
            window: Finds the window.
        """
        self._env = env
        self._resolve = resolve or (lambda seat: process_settings(flags, seat=seat))
        self._find_window = window
        self._seats: Seats | None = None
        self._window: Window | None = None
        self._seat = self._found = 1

    def settings(self) -> Settings:
        """Those of the seat of our window, which takes one if it has none.

        Raises:
            ConfigError: They cannot be used, or no seat can be had.
        """
        found = self._resolve(self._find)
        self._seat = self._found
        return found

    def moved(self, conversation: str | None = None) -> Settings | None:
        """The settings of another seat, if the window has another one by now.

        Args:
            conversation: The one that the window is in, if the app has just told.

        Raises:
            ConfigError: As for `settings`.
        """
        if self._seats is None or self._window is None:
            return None
        window = self._window
        if conversation is not None:
            window = window._replace(conversation=conversation, is_current=True)
        if self._seats.seat_of(window) == self._seat:
            return None
        return self.settings()

    def may_move(self) -> bool:
        """Whether the window may yet turn out to resume the conversation of a seat."""
        return self._seats is not None and self._seats.may_be_told(self._seat)

    def _find(self, home: Home) -> Home:
        if self._seats is None or self._window is None:
            self._seats = seats_of(home)
            self._window = self._find_window(home, self._env)
        self._found = self._seats.seat_of(self._window)
        return home._replace(seat=self._found)
