"""Replays the shim's log into the folder tree as it is and as a disk would have it.

It decides which names survive a power cut. It knows nothing of file contents and
touches no file.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# Letter of a record -> number of its fields, the letter not counted.
_FIELDS = {b"A": 4, b"D": 2, b"Y": 2, b"R": 2, b"X": 2}
_FIELDS_ELSE = 1


@dataclass(slots=True, eq=False)
class Node:
    """Something that has a name: a file, a folder or a symbolic link."""

    creation: "Change | None" = None


@dataclass(slots=True, eq=False)
class File(Node):
    """A file, whose durable bytes are `data/<id>`."""

    id: int = 0
    ino: int = 0
    mode: int = 0o600


@dataclass(slots=True, eq=False)
class Link(Node):
    """A symbolic link."""

    target: str = ""


@dataclass(slots=True, eq=False)
class Folder(Node):
    """A folder with the names it has and the names that would survive."""

    mode: int = 0o700
    current: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Change:
    """One namespace operation: all of its entries become durable together."""

    entries: tuple[tuple[Folder, str, Node | None], ...]


class Namespace:
    """The tree below the root, now and durable, and the changes in between."""

    def __init__(self) -> None:
        self.root = Folder()
        self.pending: list[Change] = []
        self.files: dict[int, File] = {}
        self.processes = 0

    @classmethod
    def replay(cls, log: bytes) -> tuple["Namespace", int]:
        """Replays a log and says how much of it is whole records."""
        names = cls()
        tokens = log.split(b"\0")[:-1]
        at = used = 0
        while at < len(tokens):
            letter, end = tokens[at], at + 1 + _FIELDS.get(tokens[at], _FIELDS_ELSE)
            if end > len(tokens):
                break
            names._apply(letter, [os.fsdecode(token) for token in tokens[at + 1 : end]])
            used += sum(len(token) + 1 for token in tokens[at:end])
            at = end
        return names, used

    def settle(self, count: int) -> None:
        """Makes the oldest pending changes durable, as a journal written so far."""
        oldest = set(self.pending[:count])
        self._make_durable(lambda change: change in oldest)

    def walk(self, *, durable: bool) -> Iterator[tuple[str, Node]]:
        """Yields relative path and node, each folder before what is in it."""
        stack: list[tuple[str, Folder]] = [("", self.root)]
        while stack:
            prefix, folder = stack.pop()
            for name, node in (folder.durable if durable else folder.current).items():
                yield prefix + name, node
                if isinstance(node, Folder):
                    stack.append((f"{prefix}{name}/", node))

    def _apply(self, letter: bytes, fields: list[str]) -> None:
        match letter, fields:
            case b"A", [path, number, ino, mode]:
                self._add_file(path, number=int(number), ino=int(ino), mode=int(mode))
            case b"D", [path, mode]:
                self._folder(path).mode = int(mode)
            case b"Y", [path, target]:
                self._set({path: Link(target=target)})
            case b"R" | b"X", [old, new]:
                swapped = self._find(new) if letter == b"X" else None
                self._set({old: swapped, new: self._find(old)})
            case b"U", [path]:
                self._set({path: None})
            case b"S", [path]:
                self._sync_folder(self._folder(path))
            case b"F", [number]:
                self._sync_creation(self.files[int(number)])
            case b"P", _:
                self.processes += 1
            case b"Z", _:
                self.settle(len(self.pending))
            case _:
                raise ValueError(f"unknown record {letter!r} in the log")

    def _add_file(self, path: str, *, number: int, ino: int, mode: int) -> None:
        file = self.files.setdefault(number, File(id=number))
        file.ino, file.mode = ino, mode
        self._set({path: file})

    def _split(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        return self._folder(parent), name

    def _find(self, path: str) -> Node | None:
        folder, name = self._split(path)
        return folder.current.get(name)

    def _folder(self, path: str) -> Folder:
        """The folder at a path; one never announced exists all the same."""
        if not path:
            return self.root
        node = self._find(path)
        if not isinstance(node, Folder):
            node = Folder()
            self._set({path: node})
        return node

    def _set(self, wanted: dict[str, Node | None]) -> None:
        entries = []
        for path, node in wanted.items():
            folder, name = self._split(path)
            entries.append((folder, name, node))
            if node is None:
                folder.current.pop(name, None)
            else:
                folder.current[name] = node
        change = Change(tuple(entries))
        for _, _, node in entries:
            if node is not None and node.creation is None:
                node.creation = change
        self.pending.append(change)

    def _make_durable(self, wanted: Callable[[Change], bool]) -> None:
        """Makes changes durable, and first what happened to the same names before."""
        chosen: list[Change] = []
        names: set[tuple[Folder, str]] = set()
        for change in reversed(self.pending):
            touched = {(folder, name) for folder, name, _ in change.entries}
            if wanted(change) or touched & names:
                chosen.append(change)
                names |= touched
        for change in reversed(chosen):
            for folder, name, node in change.entries:
                if node is None:
                    folder.durable.pop(name, None)
                else:
                    folder.durable[name] = node
        done = set(chosen)
        self.pending = [change for change in self.pending if change not in done]

    def _sync_folder(self, synced: Folder) -> None:
        self._make_durable(
            lambda change: any(folder is synced for folder, _, _ in change.entries)
        )

    def _sync_creation(self, node: Node) -> None:
        """The sync of a new file keeps the name it was created under, and the way."""
        if node.creation is None:
            return
        creation = node.creation
        self._make_durable(lambda change: change is creation)
        for folder, _, made in creation.entries:
            if made is node and folder is not self.root:
                self._sync_creation(folder)
