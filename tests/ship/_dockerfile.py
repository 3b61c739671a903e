"""Carries out a Dockerfile's steps in clean root file systems, without an engine.

It knows the instructions that ours uses and refuses others. A base image is stood in
for by a Debian with its Python under the name that the image gives it.
"""

import fnmatch
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.ship._root import Root


@dataclass(slots=True)
class Stage:
    """A stage, and what its instructions have set."""

    root: Root
    name: str
    env: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its value; lines that go on are joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    for line in joined.splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, " ".join(rest.split()) if word == "RUN" else rest.strip()


def in_context(context: Path) -> set[str]:
    """The top-level names that .dockerignore lets into the build."""
    lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*", "everything is out unless it is named"
    named = [line[1:] for line in lines if line.startswith("!")]
    return {
        path.name
        for path in context.iterdir()
        if any(fnmatch.fnmatch(path.name, one) for one in named)
    }


class Build:
    """A build of one Dockerfile."""

    def __init__(self, context: Path, roots: list[Root], offline: Mapping[str, str]):
        self.context = context
        self.allowed = in_context(context)
        self.stages: dict[str, Stage] = {}
        self._roots = iter(roots)
        self._offline = offline

    def run(self) -> Stage:
        """Carry out all of it; returns the last stage."""
        text = (self.context / "Dockerfile").read_text(encoding="utf-8")
        stage: Stage | None = None
        for word, value in instructions(text):
            if word == "ARG":
                continue
            if word == "FROM":
                stage = self._begin(value)
                continue
            assert stage is not None
            self._step(stage, word, value)
        assert stage is not None
        return stage

    def _begin(self, value: str) -> Stage:
        image, _, name = value.partition(" AS ")
        assert image.startswith("python:")
        stage = Stage(root=next(self._roots), name=name or "last")
        link = stage.root.folder / "usr/local/bin/python"
        link.symlink_to("/usr/bin/python3")
        stage.env["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        self.stages[stage.name] = stage
        return stage

    def _step(self, stage: Stage, word: str, value: str) -> None:
        match word:
            case "ENV":
                stage.env |= dict(pair.split("=", 1) for pair in shlex.split(value))
            case "WORKDIR":
                stage.folder = value
                (stage.root.folder / value.lstrip("/")).mkdir(exist_ok=True)
            case "COPY":
                self._copy(stage, value)
            case "RUN":
                script = f"cd {stage.folder} && {value}"
                variables = stage.env | dict(self._offline)
                stage.root.run("sh", "-ec", script, user=stage.user, env=variables)
            case "USER":
                stage.user = value
            case "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT":
                stage.settings[word] = value
            case "CMD":
                stage.settings[word] = value
            case _:
                raise AssertionError(f"{word} is not known here")

    def _copy(self, stage: Stage, value: str) -> None:
        words = value.split()
        source_root = self.context
        if words[0].startswith("--from="):
            source_root = self.stages[words.pop(0).partition("=")[2]].root.folder
        *sources, target = words
        into = target if target.startswith("/") else f"{stage.folder}/{target}"
        place = stage.root.folder / into.strip("/").replace("/./", "/")
        for source in sources:
            path = source_root / source.strip("/")
            if source_root == self.context:
                assert source in self.allowed, f"{source} is not in the context"
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, place, symlinks=True, ignore=ignored)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place / path.name)


def words_of(stage: Stage, *names: str) -> list[str]:
    """The words of instructions in their JSON form."""
    found: list[str] = []
    for name in names:
        value = stage.settings[name]
        found += json.loads(value[value.index("[") :])
    return found
