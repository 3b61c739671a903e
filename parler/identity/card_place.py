"""Where an agent works, as its card tells: in which app, and the name of the folder.

A card never tells where that folder lies.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from parler.identity.homes import (
    is_person_home,
    project_directory,
    project_home,
    workspace_name,
)
from parler.identity.places import place_of
from parler.wire.foreign import Foreign, exact, foreign
from parler.wire.records import AgentCard

PLACE = "com.parler.place"
"""Where it stands in a card's `meta`."""

MAX_CHARS = 100
"""Of each; more of a folder's name is told to nobody."""


class CardPlace(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An app by its id, and a folder by its name."""

    app: Foreign | None = None
    folder: Foreign | None = None


def card_place(
    home: Path, env: Mapping[str, str], cwd: Path | None, user_home: Path | None
) -> CardPlace | None:
    """Where the agent of a home works; None for the person, and if nothing is known."""
    if is_person_home(home):
        return None
    known = place_of(home)
    folder = Path(known.folder) if known.folder else None
    if folder is None:
        here = project_directory(env, cwd, user_home, app=known.app)
        session = env.get("PARLER_AGENT_SESSION") or None
        # Only if this home is that project's: a command may speak of another one.
        if here and project_home(home).name == workspace_name(here, session):
            folder = here
    return _clean(known.app, folder.name if folder else None)


def told_place(card: AgentCard) -> CardPlace | None:
    """Where an agent says it works; what it says may be anything."""
    try:
        said = msgspec.convert((card.meta or {}).get(PLACE), CardPlace)
    except msgspec.ValidationError:
        return None
    return _clean(exact(said.app), exact(said.folder))


def _clean(app: str | None, folder: str | None) -> CardPlace | None:
    place = CardPlace(app=foreign(_text(app)), folder=foreign(_text(folder)))
    return place if place.app or place.folder else None


def _text(text: str | None) -> str | None:
    # A folder's name may hold bytes that are no text.
    clean = (text or "").encode("utf-8", "replace").decode().strip()
    return clean[:MAX_CHARS] or None
