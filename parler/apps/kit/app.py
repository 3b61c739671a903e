"""What an agent app is to us: its names, and facets that are loaded when asked for.

Light, since a hook reads it: an app's folder declares its `App` with the standard
library alone, and each facet is a function that imports its module when called.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from parler.apps.kit.config import Config
    from parler.apps.kit.headless import Headless
    from parler.apps.kit.hooks import Hooks
    from parler.apps.kit.platform import Machine
    from parler.apps.kit.waker import FindWaker
AGENTS = "agents"
"""Below the home: one home for each app."""


class App(NamedTuple):
    """An agent app."""

    id: str
    """In homes, records and command lines of hooks."""

    title: str
    config: "Callable[[], Config]"
    aliases: tuple[str, ...] = ()
    """What people may type instead of the id; also what it was once written as."""

    commands: tuple[str, ...] = ()
    """Programs on the PATH that tell it is installed."""

    programs: tuple[str, ...] = ()
    """What its processes are called, without a suffix and in lower case."""

    marks: tuple[str, ...] = ()
    """Variables that the shells of its agent have, and no person's."""

    shared: tuple[str, ...] = ()
    """By which program or argument one process of it serves several windows."""

    conversation_variables: tuple[str, ...] = ()
    """What tells its MCP server or its shell the conversation they belong to."""

    is_editor: bool = False
    """Its windows have terminals for people, too."""

    clients: tuple[str, ...] = ()
    """How it introduces itself over MCP."""

    channel: str | None = None
    """The experimental capability of MCP by which it shows its model what we say."""

    instructions: tuple[str, ...] = ()
    """Files by which a folder is this app's."""

    hooks: "Callable[[], Hooks] | None" = None
    find_waker: "Callable[[], FindWaker] | None" = None
    headless: "Callable[[], Headless] | None" = None
    folders: "Callable[[], Callable[[Path], list[Path]]] | None" = None
    """From the user's home to the folders in which it has worked."""

    @property
    def can_wake(self) -> bool:
        """Whether there is any way to its model while it is idle."""
        return self.find_waker is not None or self.channel is not None

    def is_installed(self, machine: "Machine") -> bool:
        """Whether the app is on this machine, as far as can be told."""
        if any(machine.has_command(command) for command in self.commands):
            return True
        return any(_exists(path) for path in self.config().traces(machine))

    def home(self, base_home: "Path") -> "Path":
        """The home of the app's agents."""
        return base_home / AGENTS / self.id


def _exists(path: "Path") -> bool:
    try:
        return path.exists()
    except OSError:
        return False
