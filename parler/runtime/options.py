"""The settings of a connected agent, from variables that no other command reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from parler.identity.homes import truthy

MAX_LABELS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How much is offered, and what others are told of us."""

    folder: Path
    """Where the agent works."""

    full: bool = False
    """All tools, not only those of the main job."""

    verbose: bool = False
    """Messages are never cut."""

    register: bool = True
    public: bool = False
    tags: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    description: str | None = None
    presence_managed: bool = False
    """Somebody else tells the hub what we are doing."""


def server_options(env: Mapping[str, str], cwd: Path) -> ServerOptions:
    """Read them (protocol 2.4)."""
    project = env.get("CLAUDE_PROJECT_DIR")
    return ServerOptions(
        folder=cwd / project if project else cwd,
        full=env.get("PARLER_TOOLS", "").strip().lower() == "full",
        verbose=truthy(env.get("PARLER_MCP_VERBOSE")),
        register=not truthy(env.get("PARLER_NO_REGISTER")),
        public=truthy(env.get("PARLER_PUBLIC")),
        tags=_labels(env.get("PARLER_TAGS")),
        skills=_labels(env.get("PARLER_SKILLS")),
        description=env.get("PARLER_DESCRIBE") or None,
        presence_managed=truthy(env.get("PARLER_PRESENCE_MANAGED")),
    )


def _labels(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").replace(",", " ").split())[:MAX_LABELS]
