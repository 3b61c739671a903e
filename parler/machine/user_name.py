"""What the user of this machine is called: by git, else by the system.

Only a proposal. Whether anybody takes it as a name is decided where it is used.
"""

from collections.abc import Iterator
from contextlib import suppress

GIT_SECS = 5.0


def user_names() -> Iterator[str]:
    """The names there are, the best one first."""
    import getpass  # both take long, and are needed once in a home's life
    import subprocess

    # Of the user alone: a repository may come from anybody, with a name in its config.
    command = ["git", "config", "--global", "--includes", "--get", "user.name"]
    with suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
        said = subprocess.run(  # noqa: S603 - our own words only
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECS,
            check=True,
        )
        yield said.stdout.decode()
    with suppress(OSError, KeyError, ImportError):
        yield getpass.getuser()
