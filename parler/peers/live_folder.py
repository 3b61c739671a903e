"""Where the agents of one user on this machine know of each other.

One folder for each user of the system, whatever home an agent was given: two homes of
one user would else not see each other's sessions and reservations. Earlier versions
kept them in the machine home; what lies there counts until it ends.

Quick to import: a hook asks before every edit.
"""

from pathlib import Path

from parler.identity.homes import process_environment, user_home_of

FOLDER = "live"


def live_folder(home: Path) -> Path:
    """``~/.parler/live`` of the user who runs us.

    Args:
        home: The machine home; taken where the system knows of no other.
    """
    user = user_home_of(process_environment())
    return (user / ".parler" if user else home) / FOLDER


def earlier_folder(home: Path) -> Path:
    """Where records lay before, which may be the same one."""
    return home / FOLDER
