"""What a person sees of an app: its screen in a real terminal, with the colours.

The terminal is tmux, which also answers what apps ask of one.
"""

import shlex
import subprocess
from typing import Self

from tests._support.polling import WAIT, eventually
from tests.agents._kit.sandbox import Asked, Ends, Sandbox

COLUMNS = 88
BUSY = ("esctocancel", "escinterrupt", "esctointerrupt", "ExecutingHooks")
"""Of what an app shows while it works, without blanks."""

STYLE = (
    "set -g default-terminal tmux-256color",
    "set -g terminal-overrides ',*:RGB'",
    "set -g status off",
    "set -g escape-time 0",
)


class Screen(Ends):
    """Opened with `with`: an app draws on it, and somebody types."""

    def __init__(self, box: Sandbox, command: list[str], *, rows: int) -> None:
        self.box = box
        style = box.folder / "tmux.conf"
        style.write_text("\n".join(STYLE), encoding="utf-8")
        self._tmux = ["tmux", "-u", "-f", str(style), "-S", str(box.folder / "tmux")]
        self._command, self._rows = shlex.join(command), rows

    def __enter__(self) -> Self:
        size = ("-x", str(COLUMNS), "-y", str(self._rows))
        command = f"exec env -u TMUX -u TMUX_PANE COLORTERM=truecolor {self._command}"
        self.box.run([*self._tmux, "new-session", "-d", *size, command])
        return self

    def close(self) -> None:
        self._say("kill-server")

    def tell(self, line: str) -> Asked:
        """Type a line, which the model is told then; what that was asked."""
        before = len(self.box.model.asked)
        self._say("send-keys", "-l", line)
        self.until(line)
        return self.box.model.hear(line, lambda: self.press("Enter"), before)

    def press(self, key: str) -> None:
        """Press a key, as tmux calls it."""
        self._say("send-keys", key)

    def until(self, *words: str, idle: bool = False) -> str:
        """Wait until all of this is to be seen, however it is wrapped.

        With `idle` the app must also have nothing to do.

        Returns the screen, with the codes of its colours.
        """
        wanted = ["".join(text.split()) for text in words]

        def seen() -> str | None:
            shown = "".join(self.text().split())
            busy = idle and any(mark in shown for mark in BUSY)
            if all(one in shown for one in wanted) and not busy:
                return self._say("capture-pane", "-p", "-e", "-N")
            return None

        try:
            return str(eventually(seen, "screen"))
        except AssertionError:
            raise AssertionError(f"{words} are not on\n{self.text()}") from None

    def text(self) -> str:
        """What is to be seen now."""
        return self._say("capture-pane", "-p")

    def _say(self, *words: str) -> str:
        return subprocess.run(
            [*self._tmux, *words],
            env=self.box.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=WAIT,
            check=False,
        ).stdout
