"""Replacing this program by its newest version, with the tool that installed it.

The only thing here that asks a package index, and only when it is told to: by the tool
itself, so that its index, its mirrors and its certificates are the ones it uses anyway.
"""

import re
import tempfile
from importlib import metadata
from pathlib import Path

import msgspec

from parler._version import __version__
from parler.errors import ConfigError, UsageError
from parler.machine.installed import (
    DISTRIBUTION,
    Installed,
    Way,
    run_tool,
    version_now,
)
from parler.ops.capability import Capability, Hints
from parler.ops.context import Result
from parler.text.terminal import shell_word, visible

FETCH_SECS = 120.0
REPLACE_SECS = 600.0
MAX_NEWS = 40
"""Lines of the changelog that are shown."""

CHANGELOG = "share/doc/parler/CHANGELOG.md"
_OTHERWISE = {
    Way.SYSTEM: "uv tool install parler-agents, or pipx install parler-agents: beside "
    "what the system's package manager looks after",
    Way.SINGLE: "build it anew, in a newer checkout: ./scripts/build-single",
    Way.CHECKOUT: "git pull",
}


class UpdateResult(Result):
    """What is there, and what there is."""

    how: str
    """As one of `machine.installed.Way`."""

    where: str
    version: str
    newest: str | None = None
    """In the index; None if nothing there could replace this."""

    newer: bool = False
    updated: bool = False
    news: list[str] = msgspec.field(default_factory=list)
    """Lines of the changelog between the two."""

    next: str | None = None
    """What else would bring a newer one."""


def look(found: Installed, *, version: str = __version__) -> UpdateResult:
    """Which version is there and which is the newest; changes nothing.

    Raises:
        ConfigError: The tool that would replace it says that it cannot.
    """
    result = UpdateResult(how=found.way.value, where=str(found.where), version=version)
    if not found.is_replaceable:
        result.next = _OTHERWISE.get(found.way) or _again_from(found)
        return result
    with tempfile.TemporaryDirectory(prefix="parler-update-") as name:
        folder = Path(name)
        run_tool(
            found.fetching(folder),
            FETCH_SECS,
            "the newest version was not found",
            instead=found.replacing(),  # that folder is gone by then
        )
        [newest] = metadata.distributions(name=DISTRIBUTION, path=[name])
        result.newest = visible(newest.version)
        result.newer = _parts(newest.version) > _parts(version)
        changes = folder / CHANGELOG
        if result.newer and changes.is_file():
            text = changes.read_text(encoding="utf-8", errors="replace")
            result.news = _news(text, since=version)
    return result


def _again_from(found: Installed) -> str:
    """What takes a newer version from where this one came from."""
    source = found.source or ""
    installer = Path(source, "scripts/install.sh")
    if found.way in (Way.UV, Way.PIPX, Way.SCRIPT) and installer.is_file():
        clone, script = shell_word(source, None), shell_word(str(installer), None)
        return f"git -C {clone} pull && {script}"  # a clone, as the README has it
    return f"install it again from {shell_word(source, None)}"


def update(found: Installed, result: UpdateResult) -> UpdateResult:
    """Replace what is there by the newest version.

    Raises:
        UsageError: No tool does that for what is installed so.
        ConfigError: The tool failed; what was there is as the tool left it.
    """
    if not found.is_replaceable:
        raise UsageError(
            f"what is there is from {found.source or found.way.value}, which is not "
            "replaced by the package index",
            next_step=result.next,
        )
    run_tool(found.replacing(), REPLACE_SECS, "it was not updated")
    if (there := version_now()) != result.newest:
        raise ConfigError(
            f"{found.replacing()[0]} ended well and left {there} in place, as with a "
            "version that was asked for when it was installed",
            next_step=" ".join(map(shell_word, found.again())),
        )
    return msgspec.structs.replace(result, updated=True)


UPDATE = Capability(
    run=update,
    about="Update Parler itself, by the tool that installed it.",
    more="Asks the package index that this tool uses, and a person before anything "
    "changes. Exit status of --check: 0 if nothing is newer, 10 if something is.",
    command="update",
    no_tool="a person decides what is installed on the machine",
    hints=Hints(destroys=True),
)


def _parts(version: str) -> tuple[tuple[int, ...], bool]:
    """What versions are ordered by, as far as ours differ: a release comes last."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = tuple(map(int, match[0].split("."))) if match else ()
    return numbers, match is not None and match[0] == version.partition("+")[0]


def _news(changelog: str, *, since: str) -> list[str]:
    """The lines of all releases that came after one."""
    lines: list[str] = []
    takes = False
    for line in changelog.splitlines():
        if heading := re.match(r"## (\d\S*)", line):
            takes = _parts(heading[1]) > _parts(since)
        if takes and line.strip():
            lines.append(visible(line))
    return lines[:MAX_NEWS]
