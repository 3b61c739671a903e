"""The only place that prints: results on stdout, everything else on stderr.

Text for people is wrapped to the terminal between words, so that a peer's words never
start a line of their own and no fingerprint is torn, and painted there. With ``--json``
a result is one line of JSON and stderr carries errors in the same form.
"""

import os
import re
import select
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TextIO

from parler._version import __version__
from parler.cli._colour import painted, wants_colour
from parler.cli._progress import clear, counting, transfer, waiting
from parler.errors import UsageError
from parler.identity.homes import process_environment
from parler.text.terminal import clip, safe_json, visible, wrap
from parler.wire.codes import PROTOCOL_VERSION

_LABEL = re.compile(r"\w[\w :-]{0,18} {2,}(?=\S)")
"""What stands before a value, in a column of its own."""


class Ours(str):
    """A line of a result of strangers that is ours, to be copied as it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a command's words go."""

    json: bool
    quiet: bool

    def result(
        self,
        value: Any,
        text: Iterable[str],
        *,
        foreign: bool = False,
        paged: bool = False,
    ) -> None:
        """Show a result, and see to it that it was taken: as JSON, or as lines.

        Args:
            foreign: Strangers wrote a part of it, so only we may start a line.
            paged: On a terminal that it does not fit into, by the user's pager.
        """
        if self.json:
            self._print(json_line(value))
        elif paged and at_terminal():
            _show_long(
                "\n".join(_fit(line, sys.stdout, foreign=foreign) for line in text)
            )
        else:
            for line in text:
                self._print(_fit(line, sys.stdout, foreign=foreign))
        sys.stdout.flush()

    def verbatim(self, text: str) -> None:
        """Show what is for a program, as it is."""
        self._print(text)
        sys.stdout.flush()

    def clipped(self, text: str) -> str:
        """One line, cut where this terminal would break it."""
        if not at_terminal():
            return text
        width = shutil.get_terminal_size().columns
        return clip(text, width)

    def ring(self) -> None:
        """Ring the terminal's bell, if a person sits at it."""
        if not self.json and at_terminal():
            print(end="\a", flush=True)  # noqa: T201

    def note(self, text: str) -> None:
        """Say something beside the result, on stderr, unless told to be quiet."""
        if not self.quiet:
            complain(text)

    def undo(self, line: str) -> None:
        """Tell a person the command that takes back what was just done."""
        if not self.json and _at_terminal(sys.stderr):
            self.note(f"undo: {line}")

    def progress(self, what: str) -> Callable[[int, int], None] | None:
        """A row on stderr that follows a transfer; None where nobody watches."""
        return transfer(what) if self._is_watched else None

    def counting(self) -> Callable[[str, int, int], None] | None:
        """The same of things that are done one by one, several kinds in a row."""
        return counting() if self._is_watched else None

    def waiting(
        self, what: str, at_most: float | None = None
    ) -> AbstractContextManager[None]:
        """A row on stderr that says for how many seconds the block has taken."""
        return waiting(what, at_most) if self._is_watched else nullcontext()

    @property
    def _is_watched(self) -> bool:
        return not (self.quiet or self.json) and _at_terminal(sys.stderr)

    def still_there(self) -> None:
        """Raise BrokenPipeError if nobody reads stdout any more."""
        poll = getattr(select, "poll", None)
        if poll is None:
            return
        watch = poll()
        watch.register(sys.stdout.fileno(), 0)
        gone = select.POLLERR | select.POLLHUP | select.POLLNVAL
        if any(what & gone for _, what in watch.poll(0)):
            raise BrokenPipeError

    def _print(self, line: str) -> None:
        clear()
        print(line)  # noqa: T201


def _show_long(text: str) -> None:
    from parler.machine.pager import pager_of, show_paged

    environment = process_environment()
    pager = pager_of(environment)
    fits = text.count("\n") + 2 < shutil.get_terminal_size().lines
    if fits or pager is None or not show_paged(f"{text}\n", pager, environment):
        print(text)  # noqa: T201


def json_line(value: Any) -> str:
    """A value as one line of JSON that no terminal can be hurt by."""
    import msgspec

    # Parts are verbatim JSON of their author and may hold line breaks.
    compact = msgspec.json.format(msgspec.json.encode(value), indent=-1)
    return safe_json(compact.decode())


def complain(text: str) -> None:
    """Print a line on stderr; what cannot be printed is dropped."""
    _print_error(_fit(visible(text), sys.stderr))


def put_question(question: str) -> bool:
    """Ask the person at the terminal, on stderr; only y and Enter agrees."""
    lines = [_fit(visible(line), sys.stderr) for line in question.split("\n")]
    shown = "\n".join(lines) + " [y/N]: "
    clear()
    print(shown, end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def show_error(
    code: str,
    message: str,
    next_step: str | None,
    *,
    as_json: bool,
    may_have_happened: bool | None = None,
) -> None:
    """Print an error: as one line, and at a terminal the next command on its own."""
    if as_json:
        error: dict[str, Any] = {"code": code, "message": message, "next": next_step}
        if may_have_happened is not None:
            error["mayHaveHappened"] = may_have_happened
        _print_error(json_line({"error": error}))
        return
    said = [visible(f"error: {message}")]
    said += [visible(f"next: {next_step}")] if next_step else []
    if not _at_terminal(sys.stderr):
        said = [" — ".join(said)]
    _print_error("\n".join(_fit(line, sys.stderr) for line in said))


def show_help(text: str) -> None:
    """Print a help page that was asked for wrongly, on stderr."""
    if wants_colour(sys.stderr, process_environment()):
        text = painted(text)
    _print_error(text)


def version_line(version: str, protocol: str) -> str:
    """The versions of the program and of what it speaks, for people."""
    return f"parler {version}, protocol {protocol}"


def show_version() -> int | None:
    """Say which version this is; None if whoever tells what is wrong has to do it."""
    try:
        prepare_streams()
        line = version_line(__version__, PROTOCOL_VERSION)
        Output(json=False, quiet=False).result(None, [line])
    except BrokenPipeError:
        drop_stdout()
    except (OSError, UsageError):
        return None
    return 0


def prepare_streams() -> None:
    """Never fail for a character that the terminal's encoding lacks.

    Raises:
        UsageError: There is no stdout: nothing could be shown, or count as read.
    """
    if sys.stdout is None:
        raise UsageError("stdout is closed: there is nowhere to print to")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def settle_stdout() -> None:
    """Write what was printed so far; where that fails, it is lost in silence."""
    try:
        sys.stdout.flush()
    except OSError:
        drop_stdout()


def drop_stdout() -> None:
    """Let the interpreter end in silence after its reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _fit(text: str, stream: TextIO, *, foreign: bool = False) -> str:
    """Lines as a person reads them: broken between words on a terminal, in colour."""
    foreign = foreign and not isinstance(text, Ours)
    width = shutil.get_terminal_size().columns if _at_terminal(stream) else None
    in_colour = wants_colour(stream, process_environment())
    shown: list[str] = []
    for line in text.split("\n"):
        if width is None:
            rows = [line]
        elif foreign:
            rows = wrap(line, width).split("\n")
        else:
            rows = wrap(line, width, _hanging(line), ours=True).split("\n")
        if in_colour:  # what a further row starts with may be anybody's
            rows = [
                painted(one, foreign=foreign or at > 0) for at, one in enumerate(rows)
            ]
        shown += rows
    return "\n".join(shown)


def _hanging(line: str) -> str:
    """What the further rows of a line start with: blanks up to its value, or a few."""
    label = _LABEL.match(line)
    indent = len(line) - len(line.lstrip(" "))
    return " " * (label.end() if label else indent + 4)


def _print_error(line: str) -> None:
    out: TextIO = sys.stderr
    try:
        clear()
        print(line, file=out, flush=True)
    except OSError:
        return  # nobody reads it; the exit status still tells


def at_terminal() -> bool:
    """Whether results are read by a person."""
    return _at_terminal(sys.stdout)


def _at_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
