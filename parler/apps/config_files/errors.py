"""What can go wrong with another program's configuration file.

Whatever is raised here, the file in question is still as it was.
"""

from pathlib import Path

from parler.errors import AppError

__all__ = ["ChangedMeanwhile", "FileRefused", "AppError", "Unfitting", "Unparsable"]


class Unparsable(AppError):
    """A text that its app, too, could not read; `line` and `column` count from 1."""

    code = "unparsable"

    def __init__(self, reason: str, *, line: int, column: int) -> None:
        """Say what is wrong, and where."""
        super().__init__(f"line {line}, column {column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column

    @classmethod
    def at(cls, text: str, position: int, reason: str) -> "Unparsable":
        """The same, for a position in a text."""
        before = text[:position]
        start = max(before.rfind("\n"), before.rfind("\r")) + 1
        line = before.count("\n") + before.replace("\r\n", "").count("\r") + 1
        return cls(reason, line=line, column=position - start + 1)


class Unfitting(AppError):
    """A text that is well formed, but has no place for our entry."""

    code = "unfitting"


class FileRefused(AppError):
    """A file that is not to be written: read-only, a link into nowhere, not ours."""

    code = "file_refused"


class ChangedMeanwhile(AppError):
    """Somebody else wrote the file between our reading and our writing."""

    code = "changed_meanwhile"

    def __init__(self, path: Path) -> None:
        """Name the file."""
        super().__init__(
            f"{path} was changed by another program just now; it is left alone",
            next_step="close that app, then the same command again",
        )
