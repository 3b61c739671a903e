"""What operations on this machine are given, from a command's flags."""

import os
import secrets
from typing import TYPE_CHECKING

from parler.cli._run import Options, settings_of

if TYPE_CHECKING:
    from parler.ops.machine_context import Here


def here_of(options: Options) -> "Here":
    """This machine, as seen by this process; no identity is made for it."""
    from parler.errors import UsageError
    from parler.identity.homes import (
        current_directory,
        machine_home,
        process_environment,
        user_home_of,
    )
    from parler.identity.identity import find_identity
    from parler.ops.machine_context import Here
    from parler.runtime.bootstrap import now

    folder = current_directory()
    if folder is None:
        raise UsageError("this folder has gone", next_step="cd somewhere else")
    settings = settings_of(options)
    identity = find_identity(settings.home)
    environment = process_environment()
    return Here(
        home=machine_home(settings.base_home),
        folder=folder,
        environment=environment,
        agent=identity.agent_id if identity else None,
        name=settings.name or (identity.name if identity else "somebody"),
        pid=os.getpid(),
        now=now,
        token=secrets.token_hex,
        user_home=user_home_of(environment),
    )
